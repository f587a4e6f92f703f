"""Commands, flags, targets, settings and metrics that the pages name do exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from autocanary.cli.root import app
from autocanary.http_server.metric_table import METRIC_SPECS
from autocanary.settings import ENV_PREFIX, Settings
from tests.docs.pages import PAGES, ROOT, code

_COMMAND = re.compile(r"(?:^|(?:\||&&|;)\s*|\$ )(?:kubectl )?autocanary (?=[a-z-])([^|&;<]*)")
_FOR_THE_TESTS = {"AUTOCANARY_TEST_REAL"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _calls(page: Path) -> Iterator[list[str]]:
    """The words after `autocanary` of every call on a page."""
    for line in code(page):
        for found in _COMMAND.finditer(line):
            yield found[1].replace("…", " ").replace("\\", " ").split()


@each_page
def test_commands_and_their_flags_exist(page: Path) -> None:
    """Every `autocanary …` on a page is a command, with flags that it has."""
    commands: Any = typer.main.get_command(app)
    wrong = []
    for command, *rest in _calls(page):
        known = commands.commands.get(command)
        params = known.params if known is not None else commands.params
        flags = {flag for each in params for flag in (*each.opts, *each.secondary_opts)} | {"-h", "--help"}
        unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in flags]
        if known is None and not command.startswith("--"):
            wrong.append(command)
        wrong += [f"{command} {flag}" for flag in unknown]
    assert wrong == []


def test_the_pages_show_most_commands() -> None:
    """The test above would pass on pages without any."""
    shown = {words[0] for page in PAGES for words in _calls(page) if words}
    assert {"run", "validate", "crds", "status", "promote", "pause", "resume", "abort", "retry"} <= shown


@each_page
def test_make_targets_exist(page: Path) -> None:
    """Every `make …` on a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {found[1] for line in code(page) if (found := re.match(r"make ([a-z]+)\b", line))}
    assert named - targets == set()


@each_page
def test_settings_and_metrics_exist(page: Path) -> None:
    """Every AUTOCANARY_… variable is a setting, and every autocanary_… series is exported."""
    settings = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | _FOR_THE_TESTS
    metrics = {row.name for row in METRIC_SPECS}
    text = "\n".join(code(page))
    assert set(re.findall(r"\bAUTOCANARY_[A-Z_]+\b", text)) - settings == set()
    assert set(re.findall(r"\bautocanary_[a-z_]+\b", text)) - metrics == set()


@each_page
def test_values_of_the_chart_exist(page: Path) -> None:
    """Every value that a page sets with Helm is one of the chart's."""
    values = yaml.safe_load((ROOT / "charts/autocanary/values.yaml").read_text(encoding="utf-8"))
    named = [path for line in code(page) for path in re.findall(r"--set(?:-file|-string)? ([a-zA-Z.]+)=", line)]
    assert [path for path in named if not _has(values, path.split("."))] == []


def _has(values: Any, path: list[str]) -> bool:
    """Whether the chart has a value of that path; policies are named freely."""
    if path[0] == "policies":
        return len(path) == 2
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True
