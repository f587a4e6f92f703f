"""Foreign text is cut and cleaned before it goes anywhere."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from autocanary.model.foreign_text import clean_text, printable_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("plain words", "plain words"),
        ("  two\n\nlines\tand  spaces ", "two lines and spaces"),
        ("Größe 5 µs, 成功率 ✓ 🎉", "Größe 5 µs, 成功率 ✓ 🎉"),
        ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never finished", "]0;never finished"),
        ("\x9b2Jeight-bit", "2Jeight-bit"),
        ("nul\x00bell\x07back\x08del\x7f", "nulbellbackdel"),
        ("admin\u202etxt.exe\u2066", "admintxt.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("line\u2028paragraph\u2029next\x85end", "line paragraph next end"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("carriage\rreturn", "carriage return"),
    ],
)
def test_one_line_without_control_characters(text: str, clean: str) -> None:
    """What a terminal would act on is gone; what a reader needs stays."""
    assert clean_text(text) == clean


def test_no_control_character_passes() -> None:
    """Each code point of the classes Cc, Cf, Cs, Co, Zl and Zp is removed or made a space."""
    removed = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    for number in range(sys.maxunicode + 1):
        if unicodedata.category(chr(number)) in removed:
            assert clean_text(f"a{chr(number)}b") in ("ab", "a b"), hex(number)
            if chr(number) not in "\n\t":
                assert printable_text(f"a{chr(number)}b", 9) in ("ab", "a b"), hex(number)


@pytest.mark.parametrize("text", ["x" * 301, "word " * 200, " " * 5000 + "late", "\x1b[m" * 5000, "\n" * 600_000 + "x"])
def test_long_text_is_cut_and_marked(text: str) -> None:
    """Never longer than the limit, and the cut shows."""
    clean = clean_text(text, 300)
    assert len(clean) <= 300
    assert clean.endswith("…")


@pytest.mark.parametrize("text", ["x" * 300, "x " * 150, "x" * 299 + "\n"])
def test_text_that_fits_is_whole(text: str) -> None:
    """A limit is not a reason to drop what fits."""
    assert clean_text(text, 300) == " ".join(text.split())


def test_clean_text_is_stable() -> None:
    """A text that was cleaned is not changed by cleaning it again."""
    once = clean_text("a\x1b[2J b\n" * 500, 100)
    assert clean_text(once, 100) == once


class _Counted(str):
    """Counts the characters that are read of it."""

    read = 0

    def __getitem__(self, key: object) -> str:
        part = str.__getitem__(self, key)  # type: ignore[index]
        _Counted.read += len(part)
        return part


@pytest.mark.parametrize("unit", ["a.", "\x1b[", "\x1b]", " ", "\x1b]0;\x1b"])
def test_work_depends_on_the_limit_only(unit: str) -> None:
    """600 kB and 1.2 MB cost the same: only the beginning is read."""
    for size in (600_000, 1_200_000):
        _Counted.read = 0
        clean_text(_Counted(unit * (size // len(unit))), 300)
        assert _Counted.read <= 4 * 300


def test_several_lines_stay() -> None:
    """A traceback keeps its lines and loses its escape sequences."""
    assert printable_text("one\n\ttwo\x1b[2J\r\n", 100) == "one\n\ttwo \n"
    assert printable_text("abcdef", 3) == "abc…"
