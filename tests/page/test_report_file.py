"""The report: everything of a rollout from its record alone, the same whenever it is made, and inert."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autocanary.app.demo_run import Demo
from autocanary.app.page_data import render_rollout_report
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import from_document, to_document
from tests.cli.fake_client import decision, rollout
from tests.page.compared import run_compared

GOLDEN = Path(__file__).parent / "data"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{ 7*7 }}</style>"


def _record(name: str) -> Rollout:
    demo = Demo(name)
    demo.advance(900.0)
    [(found, _, _)] = demo.shown()
    return from_document(json.loads(json.dumps(to_document(found))))


def _without_version(text: str) -> str:
    return re.sub(r"Made by autocanary \S+", "Made by autocanary", re.sub(r"sha256-[^']+", "sha256-", text))


@pytest.mark.parametrize("name", ["errors", "compared"])
def test_the_report_is_the_golden_file(name: str) -> None:
    """Write it again with ``python -m tests.page.test_report_file`` when it changes by intent, and read the change."""
    assert _golden(name) == (GOLDEN / f"report-{name}.html").read_text("utf-8")


def _golden(name: str) -> str:
    found = run_compared(seconds=900)[0] if name == "compared" else _record(name)
    text = _without_version(render_rollout_report(found, now=found.progress.started_at + 900))
    return re.sub(r"<style>.*?</style>", "<style></style>", text, flags=re.DOTALL)


def test_an_ended_rollout_gives_the_same_report_at_any_time() -> None:
    """A year later, too: it depends on the record alone."""
    record = _record("healthy")
    assert render_rollout_report(record, now=1.8e9) == render_rollout_report(record, now=1.9e9)


class _Found(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def _hostile() -> Rollout:
    """Every text of a record that a user, a server or a webhook can write."""
    entry = {**decision(60, "step_taken", 10, HOSTILE, HOSTILE), "rule": HOSTILE, "requestedBy": HOSTILE}
    found = rollout(message=HOSTILE, decisions=(entry,), series={"metric/request-success-rate": HOSTILE})
    return replace(
        found,
        service=HOSTILE,
        name=HOSTILE,
        stable=HOSTILE,
        candidate=HOSTILE,
        policy_name=HOSTILE,
        stable_spec={"model": {"storageUri": HOSTILE}},
        candidate_spec={"model": {"storageUri": f"{HOSTILE}2", "args": [HOSTILE]}},
        policy_document={**found.policy_document, "selector": {"names": [HOSTILE]}},
        progress=replace(found.progress, released_by=HOSTILE),
    )


def test_hostile_texts_are_texts() -> None:
    """No element and no attribute comes from what others wrote; what they wrote can be read."""
    text = render_rollout_report(_hostile(), now=1.8e9)
    found = _Found()
    found.feed(text)
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert [name for name, _ in found.attributes if name.startswith("on")] == []
    assert "&lt;script&gt;alert(1)" in text
    assert "{{ 7*7 }}" in text


def test_the_file_names_no_other_and_runs_nothing() -> None:
    """It goes into a ticket: no network, no script, and a policy that forbids both."""
    text = render_rollout_report(_record("errors"))
    found = _Found()
    found.feed(text)
    assert {"script", "link", "img", "iframe", "object", "form"} & set(found.tags) == set()
    assert [value for name, value in found.attributes if name in ("href", "src", "style")] == []
    assert "default-src 'none'; style-src 'sha256-" in text


def test_a_record_of_before_has_a_report() -> None:
    """Without series, models and decisions; and one whose policy this version cannot read."""
    bare = replace(rollout(), policy_document={"unknown": True}, stable_spec=None, candidate_spec=None)
    text = render_rollout_report(bare, now=bare.progress.started_at + 60)
    assert "this version cannot read" in text
    assert "<svg" not in text.split("Evidence", 1)[1].split("Decisions")[0].replace('class="key"', "")


if __name__ == "__main__":
    for each in ("errors", "compared"):
        (GOLDEN / f"report-{each}.html").write_text(_golden(each), "utf-8")
