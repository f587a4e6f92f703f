"""Tests of the texts of every message in every channel, against the files of ``golden/``."""

from __future__ import annotations

import pytest

from tests.notifications.golden_messages import CASES, FOLDER, render

AGAIN = "python -m tests.notifications.golden_messages writes the files again; read what changed"


@pytest.mark.parametrize("name", list(CASES))
def test_messages_of_every_channel(name: str) -> None:
    """The text that users read is reviewed as text."""
    assert render(CASES[name]) == (FOLDER / f"{name}.txt").read_text("utf-8"), AGAIN


def test_every_file_has_its_case() -> None:
    """No file stays behind when a case goes."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize("name", list(CASES))
def test_every_case_has_a_message_worth_reading(name: str) -> None:
    """A case that no longer reaches its transition would show nothing."""
    assert "=====" in (FOLDER / f"{name}.txt").read_text("utf-8")


def test_the_headline_of_a_rollback() -> None:
    """What failed, its value, its limit, the requests and the violations, and who has the traffic."""
    assert (
        "mnist-predictor-00002 rolled back: success rate 97.26 % (needs 99 %), 146 requests, 2 of 2 violations. "
        "mnist-predictor-00001 has 100 %."
    ) in render(CASES["rolled_back_by_errors"])


def test_the_worst_metric_leads() -> None:
    """A latency 78 times over its limit comes before a success rate that is twice as bad as allowed."""
    text = render(CASES["rolled_back_by_the_worse_of_two"])
    assert "rolled back: p99 latency" in text


@pytest.mark.parametrize("name", list(CASES))
def test_action_is_required_only_where_autocanary_has_no_way_out(name: str) -> None:
    """Of all cases one needs the reader before anything else happens."""
    required = "action required" in render(CASES[name])
    assert required == (name == "rollback_blocked_and_stable_unknown")
