"""YAML to plain values, with the line and column of each, and without YAML 1.1's surprises.

PyYAML's composer returns nodes with positions; the values are built from them here, so that every later
problem can name its place. Refused, each with its place: values that YAML 1.1 and newer
readers understand differently (``on``, ``17:00``, ``010``), duplicate keys, keys that are not text, documents
that are too deep, and aliases that unfold to too much.

Over 300 lines because the walk over the nodes and the errors that it finds are one recursion.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from autocanary.errors import Problem
from autocanary.limits import FILE_VALUES, POLICY_DEPTH, POLICY_VALUES
from autocanary.policy_files.policy_errors import FieldPath, Position, SourcePositions, format_path
from autocanary.policy_files.units import format_value
from autocanary.policy_files.yaml_syntax_errors import position_at, syntax_problem

__all__ = [
    "Node",
    "ParsedYaml",
    "compose_documents",
    "has_other_fields",
    "is_mapping",
    "parse_node",
    "position_of",
    "root_field",
]

_MAX_DEEP_DOCUMENTS = 20  # what comes after so many of them in a file is not read
_DOCUMENT_START = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)  # ends a document even within quotes and brackets

_YAML_TAG_PREFIX = "tag:yaml.org,2002:"
_BOOL, _INT, _FLOAT, _NULL, _MERGE = (f"{_YAML_TAG_PREFIX}{name}" for name in ("bool", "int", "float", "null", "merge"))
_TEXT = frozenset({"str", "timestamp", "value"})  # a date is text to a policy
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_PLAIN_FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MAX_NUMBER_LENGTH = 300


@dataclass
class ParsedYaml:
    """A document as plain values. ``misread_paths`` are the paths whose value is not what its author meant."""

    value: Any
    positions: SourcePositions
    problems: list[Problem]
    misread_paths: set[FieldPath]


class _TooMuchError(Exception):
    """A document is too deep or too large; carries the place and the sentence."""

    def __init__(self, mark: yaml.Mark, message: str, hint: str) -> None:
        super().__init__(message)
        self.position = position_at(mark)
        self.index = mark.index
        self.message = message
        self.hint = hint


class _Loader(yaml.SafeLoader):
    """Composes only; bounded in depth and number, since both would otherwise be the author's choice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.count = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self.count += 1
        if self.count > FILE_VALUES:
            raise _TooMuchError(mark, f"the file holds more than {FILE_VALUES} values", "split it into several files")
        if self.depth >= POLICY_DEPTH:
            raise _TooMuchError(
                mark, f"the document is nested deeper than {POLICY_DEPTH} levels", "a policy needs about 8"
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def compose_documents(text: str, source: str) -> Iterator[Node | Problem]:
    """The documents of a file. A document that is too deep is a Problem, and the next one is read.

    After any other Problem the rest cannot be read. Empty documents (between two ``---``) are left out.
    """
    line = 0
    for _ in range(_MAX_DEEP_DOCUMENTS):
        skipped_to = yield from _compose_until_too_deep(text, line, source)
        if skipped_to is None:
            return
        line += text.count("\n", 0, skipped_to)
        text = text[skipped_to:]


def _compose_until_too_deep(text: str, line: int, source: str) -> Generator[Node | Problem, None, int | None]:
    """Returns where the document after one that is too deep begins; None at the end."""
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        yield syntax_problem(error, text, source)
        return None
    loader.line = line
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None and not (isinstance(node, ScalarNode) and node.tag == _NULL):
                yield node
    except _TooMuchError as error:
        yield Problem(source, *error.position, error.message, error.hint)
        # The parser's time grows with the square of the depth, so the rest of the document is not parsed.
        following = _DOCUMENT_START.search(text, error.index) if loader.count <= FILE_VALUES else None
        return following.start() if following is not None else None
    except yaml.YAMLError as error:
        yield syntax_problem(error, text, source)
    finally:
        loader.dispose()
    return None


def root_field(node: Node, name: str) -> str | None:
    """The text of a top-level field, without reading the rest; None when it is not there."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == name and isinstance(value, ScalarNode):
                return str(value.value)
    return None


def root_fields(node: Node) -> frozenset[str]:
    """The names of the top-level fields, without reading the rest."""
    fields = node.value if isinstance(node, MappingNode) else ()
    return frozenset(key.value for key, _ in fields if isinstance(key, ScalarNode))


def has_other_fields(node: Node) -> bool:
    """Whether a document holds more than its version and its kind."""
    return isinstance(node, MappingNode) and len(node.value) > 2


def is_mapping(node: Node) -> bool:
    return isinstance(node, MappingNode)


def position_of(node: Node, name: str = "") -> Position:
    """Where a document begins, or the value of one of its top-level fields."""
    fields = node.value if name and isinstance(node, MappingNode) else ()
    of = next((value for key, value in fields if getattr(key, "value", None) == name), node)
    return position_at(of.start_mark)


def parse_node(node: Node, source: str) -> ParsedYaml:
    """The values in a document, and everything about its YAML that is wrong."""
    node_parser = _NodeParser(source, SourcePositions(start=position_at(node.start_mark)))
    try:
        value = node_parser.value(node, ())
    except _TooMuchError as error:
        node_parser.problems.append(Problem(source, *error.position, error.message, error.hint))
        value = None
        node_parser.misread_paths.add(())
    return ParsedYaml(value, node_parser.positions, node_parser.problems, node_parser.misread_paths)


class _NodeParser:
    """One pass over one document."""

    def __init__(self, source: str, positions: SourcePositions) -> None:
        self.source = source
        self.positions = positions
        self.problems: list[Problem] = []
        self.misread_paths: set[FieldPath] = set()
        self._count = 0

    def value(self, node: Node, path: FieldPath) -> Any:
        self._check_size(node, len(path))
        self.positions.values[path] = self._position(node, path)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(each, (*path, index)) for index, each in enumerate(node.value)]
        assert isinstance(node, ScalarNode)  # noqa: S101 - there is no fourth kind of node
        return self._scalar(node, path)

    def _position(self, node: Node, path: FieldPath) -> Position:
        """Blocks are best named by the key above them, everything else by where it starts."""
        is_block = isinstance(node, MappingNode | SequenceNode) and not node.flow_style
        return self.positions.keys.get(path, position_at(node.start_mark)) if is_block else position_at(node.start_mark)

    def _mapping(self, node: MappingNode, path: FieldPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in self._pairs(node, path):
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in result:
                line, column = self.positions.keys[here]
                message = f"{format_value(key)} is written twice, first at {line}:{column}"
                self._add_problem(key_node, message, "keep one of the two", path)
                continue
            self.positions.keys[here] = position_at(key_node.start_mark)
            result[key] = self.value(value_node, here)
        return result

    def _pairs(self, node: MappingNode, path: FieldPath, depth: int = 0) -> list[tuple[Node, Node]]:
        """The fields of a mapping; those merged with ``<<: *base`` come last, and only where not written."""
        pairs = [(key, value) for key, value in node.value if key.tag != _MERGE]
        given = {key.value for key, _ in pairs if isinstance(key, ScalarNode)}
        for key, merged in node.value:
            if key.tag != _MERGE:
                continue
            for base in merged.value if isinstance(merged, SequenceNode) else [merged]:
                self._check_size(base, len(path) + depth)
                if not isinstance(base, MappingNode):
                    self._add_problem(base, "<< merges mappings only", "write it as <<: *anchor", path)
                    continue
                fresh = [pair for pair in self._pairs(base, path, depth + 1) if pair[0].value not in given]
                given |= {each.value for each, _ in fresh}
                pairs += fresh
        return pairs

    def _check_size(self, node: Node, depth: int) -> None:
        self._count += 1
        if self._count > POLICY_VALUES or depth > POLICY_DEPTH:
            hint = "write the values out, or use fewer aliases"
            raise _TooMuchError(node.start_mark, "the document is too large once its aliases are unfolded", hint)

    def _key(self, node: Node, path: FieldPath) -> str | None:
        if not isinstance(node, ScalarNode):
            self._add_problem(node, "a field's name must be text", "write name: value", path)
            return None
        if node.tag == _BOOL and node.value.lower() not in ("true", "false"):
            message = f"YAML 1.1 reads the bare word {node.value} as {_bool_text(node)}"
            self._add_problem(node, message, f'write "{node.value}" in quotes if text is meant', path)
        elif node.tag.removeprefix(_YAML_TAG_PREFIX) not in _TEXT:
            message = f"the field's name {format_value(node.value)} is not text"
            self._add_problem(node, message, f'write "{node.value}" in quotes', path)
        return str(node.value)

    def _scalar(self, node: ScalarNode, path: FieldPath) -> Any:
        text = str(node.value)
        tag = node.tag.removeprefix(_YAML_TAG_PREFIX)
        if tag in _TEXT:
            if node.style is None:
                self.positions.unquoted[path] = text
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if node.tag in (_INT, _FLOAT) and len(text) <= _MAX_NUMBER_LENGTH:
            if node.tag == _INT and _PLAIN_INT.fullmatch(text):
                return int(text)
            if node.tag == _FLOAT and _PLAIN_FLOAT.fullmatch(text):
                return float(text)
        self.misread_paths.add(path)
        self._add_problem(node, *self._misread_message(node, text), path)
        return text

    def _misread_message(self, node: Node, text: str) -> tuple[str, str]:
        """What is wrong with a scalar that is not read."""
        quote = f'write "{format_value(text)}" in quotes if text is meant'
        if node.tag == _BOOL:
            word = _bool_text(node)
            return f"YAML 1.1 reads the bare word {text} as {word}", f'write {word}, or "{text}" in quotes'
        if node.tag in (_INT, _FLOAT):
            if len(text) > _MAX_NUMBER_LENGTH:
                return f"{format_value(text)} has too many digits", "write a number that can be compared"
            if ":" in text:
                return (
                    f"YAML 1.1 reads {format_value(text)} without quotes as {_sexagesimal(text)}",
                    f'write "{text}"',
                )
            return f"{format_value(text)} is a number that YAML 1.1 and 1.2 read differently", quote
        return f"the tag {format_value(node.tag)} is not read here", "remove it"

    def _add_problem(self, node: Node, message: str, hint: str, path: FieldPath) -> None:
        message = f"{format_path(path)}: {message}" if path else message
        self.problems.append(Problem(self.source, *position_at(node.start_mark), message, hint))


def _bool_text(node: Node) -> str:
    return "true" if node.value.lower() in ("yes", "on", "true") else "false"


def _sexagesimal(text: str) -> str:
    """What YAML 1.1 makes of 17:00."""
    total = 0.0
    for part in text.lstrip("+-").replace("_", "").split(":"):
        total = total * 60 + float(part)
    return f"the number {'-' if text.startswith('-') else ''}{total:.10g}"
