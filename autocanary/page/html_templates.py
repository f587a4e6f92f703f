"""Jinja2 with everything escaped, and how times, phases and plots are written. Only this module knows Jinja2."""

from __future__ import annotations

import functools
from datetime import datetime, timezone
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from autocanary import __version__
from autocanary.model.comparison_wording import evidence_text
from autocanary.model.progress import Phase
from autocanary.model.value_wording import format_duration
from autocanary.page.plots import Plot, bar, sparkline

__all__ = ["phase_style", "render", "static_file"]

_STYLES = {
    Phase.STAGING: ("waiting", "○"),
    Phase.PROGRESSING: ("moving", "▶"),
    Phase.HOLDING: ("holding", "◆"),
    Phase.PAUSED: ("user", "‖"),
    Phase.BAKING: ("moving", "▶"),
    Phase.FINALIZING: ("moving", "▶"),
    Phase.ROLLING_BACK: ("bad", "↩"),
    Phase.PROMOTED: ("good", "✓"),
    Phase.ROLLED_BACK: ("bad", "✕"),
    Phase.SUPERSEDED: ("over", "–"),
    Phase.ABANDONED: ("over", "–"),
    Phase.MISSED: ("user", "!"),
}
"""A class and a sign for each phase: the sign and the word say what the colour says."""


def phase_style(phase: str) -> str:
    """The CSS class of a phase."""
    return _STYLES[Phase(phase)][0]


def render(template: str, **context: Any) -> str:
    """A page or a part of one."""
    return _environment().get_template(template).render(**context)


@functools.cache
def static_file(name: str) -> str:
    """A file of this package's ``static`` folder."""
    return (resources.files("autocanary.page") / "static" / name).read_text("utf-8")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("autocanary.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        clock=_clock,
        iso=_iso,
        duration=format_duration,
        evidence_text=evidence_text,
        phase_style=phase_style,
        phase_sign=lambda phase: _STYLES[Phase(phase)][1],
        phase_words=_phase_words,
        segment=lambda text: quote(str(text), safe=""),
        code_words=_code_words,
        thousands=lambda number: f"{number:,.0f}",
    )
    environment.globals.update(plot=_plot, bar=_bar, sparkline=_sparkline, version=__version__)
    return environment


def _code_words(text: str) -> Markup:
    """Commands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a single backtick is a character
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(each) if at % 2 else each for at, each in enumerate(parts))


def _plot(drawing: Plot) -> Markup:
    return Markup(drawing.svg())  # noqa: S704 - numbers and class names of plots.py alone


def _bar(percent: float | None, kind: str, target: float | None = None) -> Markup:
    return Markup(bar(percent or 0.0, kind, target=target))  # noqa: S704 - likewise


def _sparkline(values: list[float]) -> Markup:
    return Markup(sparkline(values))  # noqa: S704 - likewise


def _phase_words(phase: str) -> str:
    """``RolledBack`` as ``Rolled back``."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in phase[1:])
    return phase[:1] + words


def _clock(at: float | None, *, seconds: bool = True) -> str:
    """``2026-11-30 08:12:05 UTC``; "" for None."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, tz=timezone.utc).strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''} UTC")


def _iso(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(int(at), tz=timezone.utc).isoformat().replace("+00:00", "Z")
