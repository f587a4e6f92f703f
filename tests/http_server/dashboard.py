"""The chart's Grafana dashboard as the tests see it: its queries, with Grafana's variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DASHBOARD", "FILE", "Query", "filled", "panels", "queries", "variables"]

FILE = Path(__file__).resolve().parents[2] / "charts/autocanary/files/dashboards/autocanary.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class Query:
    """One question of the dashboard, and where it stands."""

    where: str
    expression: str

    def __str__(self) -> str:
        return self.where


def panels() -> list[dict[str, Any]]:
    """Everything that shows something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Of panels and annotations."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(f"{panel['title']}/{target['refId']}", target["expr"])
    for note in DASHBOARD["annotations"]["list"]:
        yield Query(f"annotation {note['name']}", note["expr"])


def variables() -> Mapping[str, tuple[str, str]]:
    """The selector and the label of each variable that is asked of Prometheus."""
    found = {}
    for each in DASHBOARD["templating"]["list"]:
        if each["type"] == "query":
            parts = _LABEL_VALUES.fullmatch(each["query"]["query"])
            assert parts is not None, each["name"]
            found[each["name"]] = (parts[1], parts[2])
    return found


def filled(expression: str, values: Mapping[str, str]) -> str:
    """With a value for each variable; KeyError for one that has none."""
    return _VARIABLE.sub(lambda name: values[name[1]], expression)
