"""The process dies at every single write, before it, in the middle of it and after it, and another goes on."""

from __future__ import annotations

import pytest

from tests.controller.driver import Driver, FaultPoint, ProcessCrash
from tests.controller.scenarios import RARE_SCENARIOS, SCENARIOS, Outcome, run_with_faults, run_without_faults


def assert_same_notifications(driver: Driver) -> None:
    """A message that is sent again after a crash is the same message."""
    texts: dict[str, set[tuple[str, str, int]]] = {}
    for each in driver.world.notifier.messages:
        notification = each.notification
        texts.setdefault(notification.id, set()).add((notification.event, notification.message, notification.weight))
    assert all(len(variants) == 1 for variants in texts.values())


def same(outcome: Outcome, expected: Outcome) -> bool:
    """A record that is due for pruning may stay until the next rollout ends."""
    kept = {name: phase_and_reason for name, phase_and_reason in outcome.endings.items() if name in expected.endings}
    notified = {name: events for name, events in outcome.events.items() if name in expected.events}
    return kept == expected.endings and outcome.weights == expected.weights and notified == expected.events


def stable_tracker_was_lost(scenario: str, victim: int, when: FaultPoint) -> bool:
    """What is in memory alone can be lost: stable's spec, and what was stable, until a record says so."""
    unrecorded = {"escalated": 1, "mended": run_without_faults("mended").writes.index("restore")}
    return when is FaultPoint.BEFORE and unrecorded.get(scenario) == victim


@pytest.mark.parametrize("when", list(FaultPoint))
@pytest.mark.parametrize(
    ("scenario", "compared"),
    [*((each, False) for each in (*SCENARIOS, *RARE_SCENARIOS)), ("promotion", True), ("rollback", True)],
)
def test_crash_at_any_write_does_not_change_outcome(scenario: str, compared: bool, when: FaultPoint) -> None:
    """Same weights in the same order, same end, each transition notified once: as if it had never stopped."""
    expected = run_without_faults(scenario, compared=compared)
    different = []
    for victim, verb in enumerate(expected.writes, start=1):
        if (when is FaultPoint.BETWEEN and verb != "create") or stable_tracker_was_lost(scenario, victim, when):
            continue

        def timing(number: int, _: str, victim: int = victim) -> tuple[FaultPoint, BaseException] | None:
            return (when, ProcessCrash(victim)) if number == victim else None

        outcome, driver = run_with_faults(scenario, timing, compared=compared)
        assert driver.restarted, f"write {victim} ({verb}) was never made"
        assert_same_notifications(driver)
        if not same(outcome, expected):
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"crash {when.value} these writes: {different}; expected {expected}"


@pytest.mark.parametrize("when", [FaultPoint.BEFORE, FaultPoint.AFTER])
@pytest.mark.parametrize("scenario", [*SCENARIOS, *RARE_SCENARIOS])
def test_crash_at_any_notification_repeats_it_with_same_id(scenario: str, when: FaultPoint) -> None:
    """The record says who has heard; a message that may or may not have arrived is repeated as it was."""
    expected = run_without_faults(scenario)
    different = []
    for victim in range(1, len(expected.messages) + 1):

        def timing(number: int, _: str, victim: int = victim) -> tuple[FaultPoint, BaseException] | None:
            return (when, ProcessCrash(victim)) if number == victim else None

        outcome, driver = run_with_faults(scenario, lambda *_: None, timing)
        assert driver.restarted, f"message {victim} was never notified"
        assert_same_notifications(driver)
        if not same(outcome, expected):
            different.append((victim, outcome.endings, outcome.weights, outcome.events))
        for name in driver.rollout_names():
            notified = driver.rollout(name).progress.outbox.delivered
            assert len(notified) == len(set(notified)) == len(expected.events.get(name, notified))
    assert not different, f"crash {when.value} these messages: {different}; expected {expected}"


def test_scenarios_cover_every_kind_of_write() -> None:
    """Otherwise no crash would ever have met some of them. (Finalizing has its own, in test_beside.)"""
    made = {verb for scenario in (*SCENARIOS, *RARE_SCENARIOS) for verb in run_without_faults(scenario).writes}
    assert made == {"create", "update_status", "weight", "restore", "delete"}


def test_scenarios_end_as_named() -> None:
    """Otherwise the crashes would be tried on something else."""
    assert run_without_faults("promotion").weights == (10, 50, 100)
    assert run_without_faults("rollback").weights == (10, 0)
    assert run_without_faults("unstaged").weights == (0, 10, 50, 100)
    assert run_without_faults("supersede").weights == (10, 50, 100)
    assert run_without_faults("adopted").weights == (50, 100)
    assert run_without_faults("supersede").endings["mnist-00002"] == ("Superseded", "NewRevision")
    assert run_without_faults("escalated").weights[:2] == (10, 0)
    assert "restore" in run_without_faults("escalated").writes
    assert run_without_faults("paused").weights == (10, 50, 0)
    assert "delete" in run_without_faults("pruned").writes
    assert run_without_faults("mended").weights == (10, 50, 100, None)
    assert run_without_faults("promotion", compared=True).weights == (10, 50, 100)
    assert run_without_faults("promotion", compared=True).seconds > run_without_faults("promotion").seconds + 240
    assert run_without_faults("rollback", compared=True).endings["mnist-00002"] == ("RolledBack", "WorseThanStable")


@pytest.mark.parametrize("scenario", ["promotion", "supersede"])
def test_two_crashes_in_a_row(scenario: str) -> None:
    """The second process dies at its second write: the third one still ends it the same."""
    expected = run_without_faults(scenario)
    for victim in range(1, len(expected.writes), 3):

        def timing(number: int, _: str, victim: int = victim) -> tuple[FaultPoint, BaseException] | None:
            return (FaultPoint.AFTER, ProcessCrash(number)) if number in (victim, victim + 2) else None

        outcome, _ = run_with_faults(scenario, timing)
        assert outcome.endings == expected.endings
        assert outcome.weights == expected.weights
        assert outcome.events == expected.events
