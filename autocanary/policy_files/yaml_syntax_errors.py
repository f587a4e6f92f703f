"""PyYAML's complaints about text that is not YAML, as sentences with a place."""

from __future__ import annotations

import yaml

from autocanary.errors import Problem
from autocanary.policy_files.policy_errors import Position

__all__ = ["position_at", "syntax_problem"]


def position_at(mark: yaml.Mark | None) -> Position:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def syntax_problem(error: yaml.YAMLError, text: str, source: str) -> Problem:
    """PyYAML's complaint as one sentence."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position] if isinstance(error.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else "this character"
        return Problem(source, line, column, f"YAML does not allow the character {character}", "remove it")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = position_at(mark)
    problem = str(getattr(error, "problem", None) or "it cannot be read")
    if "'\\t'" in problem:
        return Problem(source, *position, "YAML does not allow a tab here", "indent with spaces")
    hint = next((advice for start, advice in _HINTS.items() if problem.startswith(start)), "")
    context = getattr(error, "context", None)
    where = f" {context}" if context else ""
    return Problem(source, *position, f"this is not YAML: {problem}{where}", hint)


_HINTS = {
    "mapping values are not allowed here": "check the indentation, and quote text that holds a colon",
    "could not find expected ':'": "write name: value, with a space after the colon",
    "expected <block end>": "check the indentation: the lines of one block start at one column",
    "did not find expected": "check the indentation and the brackets",
    "expected ',' or": "check the brackets and quotes",
    "found undefined alias": "define it with & before it is used with *",
    "found unexpected end of stream": "a quote is not closed",
    "found duplicate anchor": "each anchor needs its own name",
    "found character": "quote text that starts with a special character such as @, ` or %",
}
