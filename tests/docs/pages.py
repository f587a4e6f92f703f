"""The project's pages as the tests see them: their text, code blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "PAGES",
    "ROOT",
    "Block",
    "anchors",
    "blocks",
    "code",
    "commands",
    "links",
    "prose",
    "table_after",
    "text_of",
]

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text[:60]!r}"


def text_of(page: str) -> str:
    """A page by its path from the root of the project."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(page, found[1], found[2])


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def code(page: Path) -> Iterator[str]:
    """Everything that is set as code, a line at a time; comments of the shell left out."""
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            yield line.partition(" #")[0].strip()
    yield from (span.strip() for span in re.findall(r"`([^`\n]+)`", prose(page)))


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures."""
    yield from _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """What a link may name after the #, as GitHub makes it of headings."""
    return {_slug(heading) for heading in _HEADING.findall(prose(page))}


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def table_after(page: str, words: str) -> list[list[str]]:
    """The rows, without head and rule, of the first table after some words of a page."""
    rest = text_of(page).split(words, 1)[1]
    rows = rest[rest.index("\n|") + 1 :].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def commands(page: str) -> list[str]:
    """A page's shell lines in order, without comments; continued lines are one."""
    found: list[str] = []
    for block in blocks(ROOT / page):
        if block.language == "sh":
            lines = block.text.replace("\\\n", " ").splitlines()
            found += [line.partition("  #")[0].partition("   #")[0].strip() for line in lines if line.strip()]
    return found
