"""The figures of the page, drawn by hand: SVG is text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

from benchmarks.judge.report import rate
from benchmarks.judge.traffic import HARMFUL, HEALTHY, LATE, LOADS
from benchmarks.judge.trials import Result

__all__ = ["detection", "false_rollbacks", "late_detection"]

_COLOURS = {
    "default": "#0b6e4f",
    "fast": "#5ab1bb",
    "robust": "#1d3557",
    "Flagger": "#d1495b",
    "Argo": "#edae49",
    "z each tick": "#7d5ba6",
    "Kayenta-like": "#8d8d8d",
    "mSPRT": "#c9a227",
    "O'Brien-Fleming": "#3f88c5",
    "bets alone": "#a1c181",
}
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 64, 16, 62, 40
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def false_rollbacks(results: Sequence[Result]) -> str:
    """The chance of a rollback of each healthy row at its worst load, on a logarithmic scale."""
    height, least = 340, 1e-4

    def y(share: float) -> float:
        part = (log10(max(share, least)) - log10(least)) / -log10(least)
        return height - _BOTTOM - part * (height - _TOP - _BOTTOM)

    colours = _colours_of(results)
    drawing = _BarChart("How often healthy rollouts are rolled back (at the worst load)", height, colours)
    for share, label in ((1.0, "100 %"), (0.1, "10 %"), (0.01, "1 %"), (0.001, "0.1 %"), (least, "never")):
        drawing.line(y(share), label)
    drawing.line(y(0.05), "5 %", strong=True)
    for place, row in enumerate(HEALTHY):
        left, wide = drawing.column(place, len(HEALTHY))
        drawing.text(left + wide / 2, height - _BOTTOM + 20, row.name, "middle")
        for index, (rule, colour) in enumerate(colours.items()):
            share = max(each.ended / each.runs for each in results if (each.row, each.rule) == (row.name, rule))
            drawing.bar(left, wide, index, y(share), y(least), colour, f"{row.name}, {rule}: {share:.2%}")
    return drawing.finished()


def detection(results: Sequence[Result]) -> str:
    """The median time to the rollback of each harmful row and load, on a logarithmic scale."""
    height, least, most = 380, 10.0, 14400.0

    def y(seconds: float) -> float:
        part = (log10(seconds) - log10(least)) / (log10(most) - log10(least))
        return height - _BOTTOM - 16 - part * (height - _TOP - _BOTTOM - 16)

    colours = _colours_of(results)
    drawing = _BarChart("How long bad releases live (median; up to the top: longer than 4 h)", height, colours)
    for seconds, label in ((10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (14400, "4 h")):
        drawing.line(y(seconds), label)
    for place, row in enumerate(HARMFUL):
        outer, span = drawing.column(place, len(HARMFUL))
        drawing.text(outer + span / 2, height - 14, f"{row.name}: {row.title}", "middle")
        for at, load in enumerate(LOADS):
            left, wide = outer + at * span / len(LOADS), span / len(LOADS) - 4
            drawing.text(left + wide / 2, height - _BOTTOM, rate(load).removesuffix(" rps"), "middle")
            for index, (rule, colour) in enumerate(colours.items()):
                found = next(e for e in results if (e.row, e.load, e.rule) == (row.name, load, rule))
                end = y(most if found.median is None else found.median)
                said = "longer" if found.median is None else f"{found.median:.0f} s"
                drawing.bar(left, wide, index, end, y(least) + 3, colour, f"{row.name}, {rate(load)}, {rule}: {said}")
    return drawing.finished()


def late_detection(results: Sequence[Result]) -> str:
    """The median time from the onset to the rollback, of each late row at 100 requests a second."""
    height, least, most, load = 380, 10.0, 14400.0, 100.0
    rows = [row for row in LATE if load in row.loads]

    def y(seconds: float) -> float:
        part = (log10(seconds) - log10(least)) / (log10(most) - log10(least))
        return height - _BOTTOM - part * (height - _TOP - _BOTTOM)

    colours = _colours_of(results)
    title = "How long harm lives that begins late (100 rps, median; to the top: longer than 4 h)"
    drawing = _BarChart(title, height, colours)
    for seconds, label in ((10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (14400, "4 h")):
        drawing.line(y(seconds), label)
    for place, row in enumerate(rows):
        left, wide = drawing.column(place, len(rows))
        drawing.text(left + wide / 2, height - _BOTTOM + 20, row.name, "middle")
        for index, (rule, colour) in enumerate(colours.items()):
            found = next(e for e in results if (e.row, e.load, e.rule) == (row.name, load, rule))
            end = y(most if found.median is None else found.median)
            said = "longer" if found.median is None else f"{found.median:.0f} s"
            drawing.bar(left, wide, index, end, y(least) + 3, colour, f"{row.name}, {rule}: {said}")
    return drawing.finished()


def _colours_of(results: Sequence[Result]) -> dict[str, str]:
    present = {each.rule for each in results}
    return {rule: colour for rule, colour in _COLOURS.items() if rule in present}


class _BarChart:
    """Bars over named columns."""

    def __init__(self, title: str, height: int, colours: Mapping[str, str]) -> None:
        self._height = height
        self._many = len(colours)
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_FONT}>',
            f"<title>{escape(title)}</title>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        ]
        self.text(_LEFT, 20, title, "start", weight="bold")
        left = float(_LEFT)
        for rule, colour in colours.items():
            self._parts.append(f'<rect x="{left:.0f}" y="32" width="11" height="11" fill="{colour}"/>')
            self.text(left + 15, 42, rule, "start")
            left += 28 + 6.2 * len(rule)

    def text(self, x: float, y: float, words: str, anchor: str, weight: str = "normal") -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="#222222">'
            f"{escape(words)}</text>"
        )

    def line(self, y: float, label: str, *, strong: bool = False) -> None:
        look = 'stroke="#b00020" stroke-dasharray="5 4"' if strong else 'stroke="#dddddd"'
        self._parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {look}/>')
        self.text(_LEFT - 6, y + 4, label, "end")

    def column(self, place: int, many: int) -> tuple[float, float]:
        """Left edge and width."""
        wide = (_WIDTH - _LEFT - _RIGHT) / many
        return _LEFT + place * wide + 6, wide - 12

    def bar(self, left: float, wide: float, index: int, top: float, bottom: float, colour: str, said: str) -> None:
        each = wide / self._many
        high = max(bottom - top, 1.0)
        self._parts.append(
            f'<rect x="{left + index * each:.1f}" y="{bottom - high:.1f}" width="{max(each - 1, 1):.1f}" '
            f'height="{high:.1f}" fill="{colour}"><title>{escape(said)}</title></rect>'
        )

    def finished(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])
