"""Policies from files and folders.

A folder is read with its subfolders, ``*.yaml``, ``*.yml`` and ``*.json``, without anything whose name
begins with a dot: a mounted ConfigMap keeps its generations in ``..data`` and ``..2024_01_01…`` and shows
each file through a link. A file may hold several documents; those of another kind are passed over with a
warning. So are, in a folder that was searched, those that are no Kubernetes documents at all (values of a
chart, a schema). In a file that the user names they are errors.

Over 300 lines because finding, reading and checking a file is one path, which every command takes whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from autocanary.errors import PolicyError, Problem
from autocanary.limits import FILE_BYTES
from autocanary.model.policy import Policy
from autocanary.model.rollout_json import API_GROUP, API_VERSION
from autocanary.model.rollout_json import KIND as ROLLOUT_KIND
from autocanary.policy_files.policy_errors import SourcePositions
from autocanary.policy_files.schema import KIND
from autocanary.policy_files.schema_errors import closest_word
from autocanary.policy_files.typo_repair import RepairedDocument
from autocanary.policy_files.units import format_value
from autocanary.policy_files.validate_document import policy_key, validate_document
from autocanary.policy_files.yaml_reader import (
    Node,
    compose_documents,
    has_other_fields,
    is_mapping,
    parse_node,
    position_of,
    root_field,
    root_fields,
)

__all__ = [
    "LoadResult",
    "LoadedDocument",
    "PolicyFile",
    "find_files",
    "load_file",
    "load_paths",
    "load_text",
    "parse",
    "read_file",
]

_SUFFIXES = (".yaml", ".yml", ".json")
_KUBERNETES_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec"})


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """One RolloutPolicy document: its policy, or what is wrong with it.

    ``namespace`` and ``name`` are what the document calls itself, "" where it does not say. ``repaired`` is
    what it was probably meant to be.
    """

    source: str
    namespace: str
    name: str
    policy: Policy | None
    problems: tuple[Problem, ...]
    positions: SourcePositions
    repaired: RepairedDocument = field(default=RepairedDocument({}), compare=False)

    @property
    def position(self) -> str:
        return f"{self.source}:{self.positions.start[0]}"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What files hold. ``problems`` are those of files and of documents that are no policy.

    ``sources`` are the files in the order in which they were read.
    """

    documents: tuple[LoadedDocument, ...]
    problems: tuple[Problem, ...]
    sources: tuple[str, ...] = ()

    @property
    def policies(self) -> tuple[Policy, ...]:
        return tuple(each.policy for each in self.documents if each.policy is not None)

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, file by file and from top to bottom."""
        everything = [*self.problems, *(problem for each in self.documents for problem in each.problems)]
        sources = dict.fromkeys((*self.sources, *(each.source for each in everything)))
        order = {source: at for at, source in enumerate(sources)}
        return tuple(sorted(everything, key=lambda each: (order[each.source], each.line, each.column)))

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(each for each in self.all_problems if each.severity == "error")

    @property
    def readable(self) -> bool:
        """Whether the files themselves could be read to their ends."""
        return not any(each.severity == "error" for each in self.problems)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file to read, and the path that was asked for when it was found."""

    file: Path
    root: Path

    @property
    def found_in_folder(self) -> bool:
        """Whether it was found in a folder, rather than named."""
        return self.file != self.root


def parse(text: str | bytes, source: str = "policy") -> tuple[Policy, ...]:
    """The policies in a text; raises PolicyError with every problem in it."""
    load_result = load_text(text, source)
    if load_result.errors:
        raise PolicyError(load_result.errors)
    return load_result.policies


def load_paths(paths: Iterable[str | os.PathLike[str]]) -> LoadResult:
    """The policies in files and folders, with everything that is wrong. Nothing is raised."""
    documents: list[LoadedDocument] = []
    problems: list[Problem] = []
    sources: list[str] = []
    seen: set[str] = set()
    for path in paths:
        files, missing = find_files(Path(path))
        problems += missing
        sources += (each.source for each in missing)
        for each in files:
            where = os.path.abspath(each.file)
            if where in seen:
                continue
            seen.add(where)
            sources.append(str(each.file))
            load_result = load_file(each)
            documents += load_result.documents
            problems += load_result.problems
    return LoadResult(tuple(documents), tuple(problems), tuple(sources))


def find_files(root: Path) -> tuple[tuple[PolicyFile, ...], tuple[Problem, ...]]:
    """The files of a path: itself, or those in its folder."""
    try:
        if not root.is_dir():
            root.stat()
            return (PolicyFile(root, root),), ()
    except (OSError, ValueError) as error:
        return (), (_read_problem(root, error),)
    unreadable: list[Problem] = []

    def note(error: OSError) -> None:
        unreadable.append(_read_problem(Path(error.filename or root), error))

    files: list[Path] = []
    visited: set[str] = set()
    # Links to folders are followed, since a ConfigMap shows its subfolders through them; each folder once.
    for folder, folders, names in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        candidates = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        files += [each for each in candidates if each.suffix in _SUFFIXES]
    if not files and not unreadable:
        message = f"no policy is in this folder, which was searched for {', '.join('*' + s for s in _SUFFIXES)}"
        unreadable.append(Problem(str(root), 0, 0, message, severity="warning"))
    return tuple(PolicyFile(file, root) for file in files), tuple(unreadable)


def load_file(found: PolicyFile) -> LoadResult:
    content = read_file(found.file)
    if isinstance(content, Problem):
        return LoadResult((), (content,))
    return load_text(content, str(found.file), found_in_folder=found.found_in_folder)


def read_file(file: Path) -> bytes | Problem:
    """The content of a file, at most FILE_BYTES of it."""
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        return _read_problem(file, error)
    if len(content) > FILE_BYTES:
        return Problem(str(file), 0, 0, "the file is larger than 1 MiB", "split it into several files")
    return content


def load_text(text: str | bytes, source: str, *, found_in_folder: bool = False) -> LoadResult:
    """The policies in a text, with everything that is wrong. Nothing is raised.

    ``found_in_folder``: the user did not name the file, so what is no Kubernetes document is passed over.
    """
    decoded = _decode(text, source) if isinstance(text, bytes) else text.removeprefix("\ufeff")
    if isinstance(decoded, Problem):
        return LoadResult((), (decoded,))
    documents: list[LoadedDocument] = []
    problems: list[Problem] = []
    nodes = list(compose_documents(decoded, source))
    for node in nodes:
        if isinstance(node, Problem):
            problems.append(node)
            continue
        if found_in_folder and is_mapping(node) and not root_fields(node) & _KUBERNETES_FIELDS:
            message = "passed over: this is no Kubernetes document, it has neither apiVersion nor kind"
            problems.append(Problem(source, *position_of(node), message, severity="warning"))
            continue
        reason = _not_a_policy(node, source)
        if reason is None or _is_probably_policy(node):
            documents.append(_document(node, source, reason))
        else:
            problems.append(reason)
    if not nodes:
        hint = f"write a policy into it that begins with apiVersion: {API_VERSION}"
        problems.append(Problem(source, 1, 1, "the file is empty", hint))
    return LoadResult(tuple(documents), tuple(problems))


def _document(node: Node, source: str, wrong_kind: Problem | None = None) -> LoadedDocument:
    yaml_document = parse_node(node, source)
    namespace, name = policy_key(yaml_document.value)
    origin = f"{source}:{yaml_document.positions.start[0]}"
    policy, repaired, problems = None, RepairedDocument({}), tuple(yaml_document.problems)
    if () not in yaml_document.misread_paths:
        value = yaml_document.value
        if wrong_kind is not None:
            value, problems = {**value, "kind": KIND}, (wrong_kind, *problems)
        result = validate_document(
            value,
            source=source,
            origin=origin,
            positions=yaml_document.positions,
            misread_paths=yaml_document.misread_paths,
        )
        policy, repaired = result.policy, result.repaired
        problems += result.problems
    if problems:
        policy = None
    ordered = tuple(sorted(problems, key=lambda each: (each.line, each.column)))
    return LoadedDocument(source, namespace, name, policy, ordered, yaml_document.positions, repaired)


def _is_probably_policy(node: Node) -> bool:
    """Whether a document without the right kind is examined as a policy all the same."""
    kind, version = root_field(node, "kind") or "", root_field(node, "apiVersion") or ""
    is_near = not kind or (kind != ROLLOUT_KIND and bool(closest_word(kind, [KIND])))
    return is_near and version.startswith(f"{API_GROUP}/") and has_other_fields(node)


def _not_a_policy(node: Node, source: str) -> Problem | None:
    """Why a document is passed over (a warning) or cannot be one (an error); None for a policy."""
    position = position_of(node)
    if not is_mapping(node):
        message = "a policy is a mapping with apiVersion, kind, metadata and spec"
        return Problem(source, *position, message)
    kind, version = root_field(node, "kind"), root_field(node, "apiVersion") or ""
    if kind == KIND:
        return None
    if kind is None:
        return Problem(source, *position, "kind is missing", f"add kind: {KIND}")
    if kind == "List":
        return Problem(
            source, *position, "a List is not read", "put each policy into a document of its own, between ---"
        )
    if kind != ROLLOUT_KIND and (version.startswith(f"{API_GROUP}/") or closest_word(kind, [KIND])):
        position = position_of(node, "kind")
        return Problem(source, *position, f"the kind {format_value(kind)} is not known", f"did you mean {KIND}?")
    message = f"passed over: {format_value(kind)} is not a {KIND}"
    return Problem(source, *position, message, severity="warning")


def _decode(content: bytes, source: str) -> str | Problem:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        message = f"the byte 0x{content[error.start]:02x} here is not UTF-8"
        return Problem(source, line, column, message, "save the file as UTF-8")


def _read_problem(path: Path, error: OSError | ValueError) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem(str(path), 0, 0, "there is no such file or folder", "check the path")
    if isinstance(error, OSError):
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        return Problem(str(path), 0, 0, f"it cannot be read: {reason}", "check the path and its rights")
    return Problem(ascii(str(path)), 0, 0, "this is not a path that can be read", "check the path")
