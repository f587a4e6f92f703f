"""PromQL's text in pieces, and values as literals: strings, regular expressions and durations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autocanary.errors import InputError

__all__ = ["Token", "escape", "escape_regex", "promql_duration", "quote_string", "tokens"]


_LINE_END = re.compile(r"[\r\n]")
_RE2_SPECIAL = re.compile(r"[\\.*+?|(){}$^\[\]]")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))


def promql_duration(seconds: float) -> str:
    """As Prometheus prints it: 60 is ``1m``, 90 is ``1m30s``, 0.5 is ``500ms``."""
    left = round(seconds * 1000)
    parts = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def escape_regex(text: str) -> str:
    """``text`` as an RE2 expression that matches exactly it."""
    # A class needs no backslash, so the same text is right in raw strings and readable in quoted ones.
    return _RE2_SPECIAL.sub(_escape_regex_character, text)


def _escape_regex_character(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in "\\^[]" else f"[{found[0]}]"


def quote_string(text: str) -> str:
    """``text`` as a PromQL string literal in double quotes."""
    return f'"{escape(text, chr(34))}"'


def escape(text: str, quote_character: str) -> str:
    """``text`` for the inside of a string literal that is delimited by ``quote_character``."""
    if quote_character == "`":
        if "`" in text:
            raise InputError("a value with a back quote cannot be in a back-quoted string: use double quotes")
        return text
    if text.isprintable():
        return text.replace("\\", "\\\\").replace(quote_character, f"\\{quote_character}")
    return "".join(_escape_character(character, quote_character) for character in text)


def _escape_character(character: str, quote_character: str) -> str:
    if character in ("\\", quote_character):
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        raise InputError("a value holds half of a surrogate pair, which is not text")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of template: the inside of a string literal (``quote_mark`` is its mark), a comment, or code."""

    text: str
    quote_mark: str = ""
    regex: bool = False
    comment: bool = False


def tokens(template: str) -> Iterator[Token]:
    """Pieces that, joined, are the template again; the marks themselves belong to the code around."""
    at = start = 0
    matching = False  # whether the code so far ends in a regular-expression operator
    while at < len(template):
        character = template[at]
        if character in "\"'`":
            yield Token(template[start : at + 1])
            end = _end_of_string(template, at)
            yield Token(template[at + 1 : end], quote_mark=character, regex=matching)
            start, at, matching = end, end + 1, False
        elif character == "#":
            yield Token(template[start:at])
            start = at
            newline = _LINE_END.search(template, at)
            at = newline.start() if newline is not None else len(template)
            yield Token(template[start:at], comment=True)
            start = at
        else:
            if not character.isspace():
                matching = template[max(start, at - 1) : at + 1] in ("=~", "!~")
            at += 1
    yield Token(template[start:])


def _end_of_string(template: str, start: int) -> int:
    """Where the string that begins at ``start`` ends: at its closing mark, or at the end of the text."""
    quote_character = template[start]
    at = start + 1
    while at < len(template) and template[at] != quote_character:
        at += 2 if template[at] == "\\" and quote_character != "`" else 1
    return min(at, len(template))
