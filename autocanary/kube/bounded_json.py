"""The API server's JSON, decoded object by object: one object that cannot be decoded hides no other.

An object is skipped when it is nested deeper than ``MAX_DEPTH``, longer than ``MAX_OBJECT_BYTES``, or refused by
the decoder. Depth is counted before the decoder runs, because a deep document exhausts the stack. Of a skipped
object only ``metadata.namespace``, ``name`` and ``resourceVersion`` are read, by a scan without recursion. All
of it takes time in proportion to the length of the text.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in its stubs
from typing import Any, NamedTuple

from autocanary.model.foreign_text import clean_text

__all__ = [
    "MAX_DEPTH",
    "MAX_OBJECT_BYTES",
    "ListPage",
    "SkippedObject",
    "WatchEvent",
    "decode_document",
    "decode_event",
    "decode_list",
]

MAX_DEPTH = 100
"""Levels of objects and lists; an InferenceService has about 20."""
MAX_OBJECT_BYTES = 4 * 1024 * 1024
"""Of one object; etcd stores 1.5 MiB."""

_DECODER = json.JSONDecoder()
_DECODER_ERRORS = (ValueError, RecursionError, MemoryError)
_QUOTED = re.compile(rb'"[^"]*"?')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_ALL_CURLY = bytes.maketrans(b"[]", b"{}")
_SPACE = re.compile(r"[ \t\r\n]*")
_STRUCTURE = re.compile(r'["{}\[\]]')
_SCALAR = re.compile(r"[^,}\]\s]+")
_NAME_LIMIT = 253
_TOO_LONG = f"it is longer than {MAX_OBJECT_BYTES // 1024 // 1024} MiB"
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_NOT_AN_OBJECT = "it is not a JSON object"


@dataclass(frozen=True, slots=True)
class SkippedObject:
    """An object that cannot be decoded; a text that cannot be read either is empty."""

    namespace: str
    name: str
    resource_version: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list: the objects that could be decoded, how long each is as text, and the others by name."""

    metadata: dict[str, Any]
    items: list[dict[str, Any]]
    skipped: list[SkippedObject] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


class WatchEvent(NamedTuple):
    """``type`` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; ``document`` is what the event is about."""

    type: str
    document: dict[str, Any] | SkippedObject


def decode_document(body: bytes) -> dict[str, Any]:
    """One JSON object; ValueError when it is none, or outside the bounds."""
    if len(body) > MAX_OBJECT_BYTES:
        raise ValueError(_TOO_LONG)
    if not _is_within_depth(body, MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    try:
        document = json.loads(body)
    except _DECODER_ERRORS as error:
        raise ValueError(_describe(error)) from error
    if not isinstance(document, dict):
        raise ValueError(_NOT_AN_OBJECT)
    return document


def decode_list(body: bytes) -> ListPage:
    """A Kubernetes list; ValueError when it is none. Its objects are decoded one by one."""
    scanner = _Scanner(body, shallow=_is_within_depth(body, MAX_DEPTH + 2))
    metadata: object = None
    items: list[dict[str, Any]] = []
    skipped: list[SkippedObject] = []
    sizes: list[int] = []
    for name in scanner.members():
        if name == "items" and scanner.peek() == "[":
            for begin in scanner.elements():
                item = scanner.value()
                if isinstance(item, dict):
                    items.append(item)
                    sizes.append(scanner.position() - begin)
                else:
                    skipped.append(scanner.skipped_at(begin, item))
        else:
            value = scanner.value()
            metadata = value if name == "metadata" else metadata
    if not isinstance(metadata, dict):
        raise ValueError("it is not a list of Kubernetes")
    return ListPage(metadata, items, skipped, sizes)


def decode_event(line: bytes) -> WatchEvent:
    """One line of a watch; ValueError when it is not a whole event.

    A line that is longer than ``MAX_OBJECT_BYTES`` may lack its end.
    """
    too_long = len(line) > MAX_OBJECT_BYTES
    scanner = _Scanner(line, shallow=not too_long and _is_within_depth(line, MAX_DEPTH + 1))
    kind = ""
    document: dict[str, Any] | SkippedObject | None = None
    for name in scanner.members():
        if name == "object" and too_long:
            document = scanner.skipped_at(scanner.position(), _Undecodable(_TOO_LONG))
            break
        begin = scanner.position()
        value = scanner.value()
        if name == "type" and isinstance(value, str):
            kind = value
        elif name == "object":
            document = value if isinstance(value, dict) else scanner.skipped_at(begin, value)
    if not kind or document is None:
        raise ValueError("it is not a watch event")
    return WatchEvent(kind, document)


@dataclass(frozen=True, slots=True)
class _Undecodable:
    """Stands for a value that is left out."""

    reason: str


class _Scanner:
    """Reads one JSON text from left to right. All methods raise ValueError where the text is not JSON.

    ``shallow``: the whole text may be given to the decoder; else each value is measured before.
    """

    def __init__(self, text: bytes, *, shallow: bool) -> None:
        self._text = text.decode("utf-8", "replace")
        self._shallow = shallow
        self._at = 0

    def position(self) -> int:
        """Where the next value begins."""
        self.peek()
        return self._at

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def members(self) -> Iterator[str]:
        """The names of an object's members; the caller reads each value before the next name."""
        for _ in self._separated("{", "}"):
            self._take('"')
            name, self._at = scanstring(self._text, self._at, False)
            self._take(":")
            yield name

    def elements(self) -> Iterator[int]:
        """Where each element of a list begins; the caller reads each before the next."""
        return self._separated("[", "]")

    def value(self) -> Any:
        """The next value, decoded; ``_Undecodable`` when it is outside the bounds or refused."""
        begin = self.position()
        if self._shallow:
            try:
                value, self._at = _DECODER.raw_decode(self._text, begin)
            except _DECODER_ERRORS:
                self._at = begin  # measured below; the text may be no JSON at all
            else:
                return value if self._at - begin <= MAX_OBJECT_BYTES else _Undecodable(_TOO_LONG)
        depth = self._pass()
        if depth > MAX_DEPTH:
            return _Undecodable(_TOO_DEEP)
        if self._at - begin > MAX_OBJECT_BYTES:
            return _Undecodable(_TOO_LONG)
        try:
            return _DECODER.raw_decode(self._text, begin)[0]
        except _DECODER_ERRORS as error:
            return _Undecodable(_describe(error))

    def skipped_at(self, begin: int, value: object) -> SkippedObject:
        """Names the object at ``begin``, as far as it can be read."""
        reason = value.reason if isinstance(value, _Undecodable) else _NOT_AN_OBJECT
        found: dict[str, str] = {}
        end, self._at = self._at, begin
        with contextlib.suppress(ValueError):  # its end is missing: what was read before counts
            for name in self.members():
                if name == "metadata":
                    self._read_names(found)
                    break
                self._pass()
        self._at = end
        return SkippedObject(
            clean_text(found.get("namespace", ""), _NAME_LIMIT),
            clean_text(found.get("name", ""), _NAME_LIMIT),
            clean_text(found.get("resourceVersion", ""), _NAME_LIMIT),
            reason,
        )

    def _read_names(self, found: dict[str, str]) -> None:
        for name in self.members():
            if name in ("namespace", "name", "resourceVersion") and self.peek() == '"':
                found[name], self._at = scanstring(self._text, self._at + 1, False)
            else:
                self._pass()

    def _separated(self, opening: str, closing: str) -> Iterator[int]:
        self._take(opening)
        if self.peek() == closing:
            self._at += 1
            return
        while True:
            yield self.position()
            if self.peek() != ",":
                break
            self._at += 1
        self._take(closing)

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise ValueError(f"{character} is missing at character {self._at}")
        self._at += 1

    def _pass(self) -> int:
        """Go behind the next value; how deeply it is nested."""
        depth = deepest = 0
        if self.peek() not in ('"', "{", "["):
            scalar = _SCALAR.match(self._text, self._at)
            if scalar is None:
                raise ValueError(f"a value is missing at character {self._at}")
            self._at = scalar.end()
            return 0
        while found := _STRUCTURE.search(self._text, self._at):
            character, self._at = found.group(), found.end()
            if character == '"':
                _, self._at = scanstring(self._text, self._at, False)
            elif character in "{[":
                depth += 1
                deepest = max(deepest, depth)
            else:
                depth -= 1
            if depth <= 0:
                return deepest
        raise ValueError("the text ends within a value")


def _is_within_depth(text: bytes, limit: int) -> bool:
    """Whether nothing is nested deeper; brackets that do not match are left to the decoder."""
    plain = _QUOTED.sub(b"", text.replace(b"\\\\", b"").replace(b'\\"', b""))
    brackets = plain.translate(_ALL_CURLY, _NOT_BRACKETS)
    if brackets.count(b"{") <= limit:
        return True
    for _ in range(limit):  # each pass takes the innermost level away
        shorter = brackets.replace(b"{}", b"")
        if not shorter or len(shorter) == len(brackets):
            return True
        brackets = shorter
    return False


def _describe(error: BaseException) -> str:
    return clean_text(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
