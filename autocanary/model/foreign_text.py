"""Text that others wrote: cut, on one line, and without control characters.

Texts of tenants, servers and receivers enter log lines, messages, statuses and terminals only through here.
Both functions take time in proportion to ``limit``, whatever the length of the text.
"""

from __future__ import annotations

import re

__all__ = ["clean_text", "printable_text"]

_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-?]{0,40}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)")
"""Terminal commands as a whole (ECMA-48 CSI and OSC); of an unfinished one only the ESC goes."""

_KEPT_ON_SEVERAL_LINES = "\n\t"


def clean_text(text: str, limit: int = 300) -> str:
    """One line of at most ``limit`` characters, without control characters; a cut is marked by ``…``.

    Runs of white space become one space. Removed are terminal commands, control and format characters
    (bidirectional overrides, zero-width characters), private use, and lone surrogates, which UTF-8 cannot hold.

    >>> clean_text("bad\\x1b[2J\\ngateway\\x07")
    'bad gateway'
    """
    begin = text[: 4 * limit]  # four times as much, because part of it is removed
    line = " ".join(_remove_unprintable(begin, "").split())
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    return f"{line[: limit - 1].rstrip()}…"


def printable_text(text: str, limit: int) -> str:
    """As ``clean_text``, but line breaks and tabs stay, for text that is shown on several lines."""
    begin = text[:limit]
    return _remove_unprintable(begin, _KEPT_ON_SEVERAL_LINES) + ("…" if len(text) > limit else "")


def _remove_unprintable(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(each if each.isprintable() or each in kept else " " if each.isspace() else "" for each in text)
