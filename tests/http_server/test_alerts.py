"""The alerts of the chart, by Prometheus' own rule tests."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.http_server.metric_table import METRIC_SPECS
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from tests.http_server.alert_cases import CASES, Case
from tests.testbed import setup
from tests.testbed.servers.skip_without_servers import require_servers

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "charts/autocanary/files/alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Its exit code and everything it said."""
    require_servers("promtool")
    return subprocess.run(
        [str(setup.find("promtool")), *words], capture_output=True, text=True, timeout=60, check=False
    )


def filled(text: str, labels: dict[str, str]) -> str:
    """A template of an annotation as Prometheus fills it in; other expressions than labels are not used."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)


def rule_test(case: Case) -> dict[str, Any]:
    """One case in promtool's form; an alert that must not fire must not at any minute."""
    expected = []
    if case.fires is not None:
        rule, labels = RULES[case.alert], dict(case.fires)
        annotations = {name: filled(text, labels) for name, text in rule["annotations"].items()}
        expected.append({"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": annotations})
    return {
        "name": str(case),
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": expected}
            for minute in ([case.minute] if expected else range(case.minute + 1))
        ],
    }


@pytest.mark.real
def test_every_alert_fires_when_it_must_and_only_then(tmp_path: Path) -> None:
    """Labels and filled-in texts included."""
    tests = {"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": [rule_test(c) for c in CASES]}
    (tmp_path / "cases.yaml").write_text(json.dumps(tests), encoding="utf-8")
    done = promtool("test", "rules", str(tmp_path / "cases.yaml"))
    assert (done.returncode, done.stdout + done.stderr) == (
        0,
        f"Unit Testing:  {tmp_path / 'cases.yaml'}\n  SUCCESS\n\n",
    )


def test_every_alert_has_a_case_for_and_one_against() -> None:
    """An alert that never fires, or always, would not be noticed otherwise."""
    assert {case.alert for case in CASES if case.fires is not None} == set(RULES)
    assert {case.alert for case in CASES if case.fires is None} == set(RULES)


@pytest.mark.real
def test_promtool_accepts_the_rules() -> None:
    """Prometheus loads the file as it is."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout + done.stderr


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_how_bad_and_what_to_do(name: str) -> None:
    """A summary, a description, a severity, and a runbook that exists."""
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    assert f"\n## {name}\n" in (ROOT / "docs/alerts.md").read_text(encoding="utf-8")


def test_every_runbook_belongs_to_an_alert_and_has_its_parts() -> None:
    """What it means, what to look at, what to do; in the order of the rules."""
    page = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (Autocanary\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(RULES)
    for name, text in sections.items():
        assert [part for part in ("**Meaning.**", "**Check.**", "**Fix.**") if part not in text] == [], name
        assert f"After {RULES[name]['for']}" in text, name
        assert f"`{RULES[name]['labels']['severity']}`" in text, name


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_series_and_words_that_exist(name: str) -> None:
    """A metric, phase or reason that is renamed takes its alert along."""
    expression = RULES[name]["expr"]
    known = {row.name for row in METRIC_SPECS} | {
        f"{row.name}_{part}" for row in METRIC_SPECS if row.kind == "histogram" for part in ("sum", "count", "bucket")
    }
    assert set(re.findall(r"\bautocanary_\w+", expression)) - known == set()
    assert set(re.findall(r'phase="(\w+)"', expression)) <= {phase.value for phase in Phase}
    assert set(re.findall(r'reason!?="(\w+)"', expression)) <= {reason.value for reason in Reason}
