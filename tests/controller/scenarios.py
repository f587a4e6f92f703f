"""Scenarios of whole rollouts, to run undisturbed and then with a fault at every write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count

from autocanary.decide.detection import UNCHANGED_SECONDS
from autocanary.model.rollout import Verb
from autocanary.ports import Message
from autocanary.simulator.fakes import RecordingNotifier
from autocanary.simulator.pod_behaviour import ready_after_seconds
from tests.controller.comparison_policies import comparison_policy
from tests.controller.driver import (
    BROKEN,
    V2,
    V3,
    Driver,
    FaultPoint,
    WriteFaults,
    fast_policy,
    without_repeats,
)

__all__ = ["RARE_SCENARIOS", "SCENARIOS", "FaultAt", "Outcome", "run_with_faults", "run_without_faults"]

_LONGEST = 3600  # seconds; steps with comparisons last as long as the evidence takes
FaultAt = Callable[[int, str], "tuple[FaultPoint, BaseException] | None"]


@dataclass(frozen=True)
class Outcome:
    """How it ended: final phase and reason by rollout, weights without repetitions, events by rollout.

    ``events`` has each transition once, ``messages`` every message by its id.
    """

    endings: Mapping[str, tuple[str, str]]
    weights: tuple[int | None, ...]
    events: Mapping[str, tuple[str, ...]]
    messages: tuple[str, ...]
    writes: tuple[str, ...]
    seconds: float


def _promotion(driver: Driver) -> None:
    driver.release(V2, 0)
    driver.finish("mnist-00002", _LONGEST)


def _rollback(driver: Driver) -> None:
    driver.release(V2, 0)
    driver.finish("mnist-00002", _LONGEST)


def _unstaged(driver: Driver) -> None:
    driver.release(V2, None)
    driver.finish("mnist-00002", _LONGEST)


def _adopted(driver: Driver) -> None:
    driver.release(V2, 30)
    driver.finish("mnist-00002", _LONGEST)


def _supersede(driver: Driver) -> None:
    driver.release(V2, 0)
    driver.until(lambda: 10 in driver.weights(), _LONGEST)
    driver.run(8)
    driver.release(V3, 0)
    driver.finish("mnist-00003", _LONGEST)
    driver.finish("mnist-00002", _LONGEST)


SCENARIOS: Mapping[str, Callable[[Driver], None]] = {
    "promotion": _promotion,
    "rollback": _rollback,
    "unstaged": _unstaged,
    "adopted": _adopted,
    "supersede": _supersede,
}


def _escalated(driver: Driver) -> None:
    """The candidate's pods crash, so the 0 does not arrive: stable's spec is put back."""
    driver.release(V2, 0)
    driver.until(lambda: 10 in driver.weights() and driver.has_rollout("mnist-00002"), _LONGEST)
    driver.run(8)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.write(Verb.ABORT)
    driver.finish("mnist-00002", _LONGEST)
    driver.run(60)
    assert driver.rollout_names() == ["mnist-00002"], "the restored spec is part of the rollback, no release"
    assert {name: share for name, share in driver.world.split("mnist").items() if share} == {"00001": 100}


def _paused(driver: Driver) -> None:
    """A user pauses, resumes and, at the next step, aborts."""
    driver.release(V2, 0)
    driver.until(lambda: 10 in driver.weights() and driver.has_rollout("mnist-00002"), _LONGEST)
    driver.pause()
    driver.run(30)
    driver.pause(False)
    driver.until(lambda: 50 in driver.weights(), _LONGEST)
    driver.write(Verb.ABORT)
    driver.finish("mnist-00002", _LONGEST)


def _pruned(driver: Driver) -> None:
    """One finished rollout is kept: the older one's record is deleted at the end of the next."""
    driver.release(V2, 0)
    driver.finish("mnist-00002", _LONGEST)
    driver.run(30)
    driver.release(V3, 0)
    driver.finish("mnist-00003", _LONGEST)
    driver.run(60)


def _repaired(driver: Driver) -> None:
    """After a promotion a changed spec makes no revision: KServe gives a share to the one before stable."""
    driver.release(V2, 0)
    driver.finish("mnist-00002", _LONGEST)
    driver.run(30)
    driver.world.kserve.refuse_revisions("models", "mnist", "quota exceeded")
    driver.release(V3, 10)
    driver.until(lambda: driver.world.split("mnist") == {"00002": 100}, _LONGEST)
    driver.run(60)


RARE_SCENARIOS: Mapping[str, Callable[[Driver], None]] = {
    "escalated": _escalated,
    "paused": _paused,
    "pruned": _pruned,
    "mended": _repaired,
}
"""With the rarer writes: restoring a spec, answering a user, deleting a record."""


def _run_scenario(
    scenario: str, write_faults: WriteFaults, notify: FaultAt | None = None, *, compared: bool = False
) -> Driver:
    driver = Driver(
        comparison_policy(bake=0.0) if compared else fast_policy(min_requests=1.0),
        qualities={V2: BROKEN} if scenario == "rollback" else None,
        behaviours={V2: ready_after_seconds(4.0), V3: ready_after_seconds(4.0)},
        scrape_seconds=2.0,
        history_limit=1 if scenario == "pruned" else 10,
    )
    driver.deploy_stable()
    write_faults.watch(driver.world)
    if notify is not None:
        _inject_message_faults(driver, notify)
    {**SCENARIOS, **RARE_SCENARIOS}[scenario](driver)
    return driver


def _inject_message_faults(driver: Driver, fault_at: FaultAt) -> None:
    """The same for notifications: ``fault_at`` receives the number of the message and its event."""
    numbers = count(1)
    send = RecordingNotifier.notify

    class FaultyNotifier(RecordingNotifier):
        def notify(self, message: Message) -> None:
            found = fault_at(next(numbers), message.notification.event)
            if found is not None and found[0] is FaultPoint.BEFORE:
                raise found[1]
            send(self, message)
            if found is not None:
                raise found[1]

    driver.notifiers = FaultyNotifier
    driver.restart()
    driver.restarted = False
    driver.run(UNCHANGED_SECONDS + 2)


def _outcome(driver: Driver, write_faults: WriteFaults) -> Outcome:
    names = driver.rollout_names()
    return Outcome(
        endings={name: (driver.phase(name).value, driver.rollout(name).progress.reason.value) for name in names},
        weights=tuple(without_repeats(driver.weights())),
        events={name: tuple(driver.world.notifier.events(name)) for name in names},
        messages=tuple(each.notification.id for each in driver.world.notifier.messages),
        writes=tuple(write_faults.verbs),
        seconds=driver.world.now(),
    )


@cache
def run_without_faults(scenario: str, *, compared: bool = False) -> Outcome:
    write_faults = WriteFaults(lambda *_: None)
    return _outcome(_run_scenario(scenario, write_faults, compared=compared), write_faults)


def run_with_faults(
    scenario: str,
    fault_at: FaultAt,
    notify: FaultAt | None = None,
    *,
    prepare: Callable[[WriteFaults], None] | None = None,
    compared: bool = False,
) -> tuple[Outcome, Driver]:
    """The same course with what ``fault_at`` says happening to its writes, and ``notify`` to its messages.

    ``prepare`` may have more in store, for calls that are no writes. ``compared``: under a policy that compares with
    stable, not under one of thresholds.
    """
    write_faults = WriteFaults(fault_at)
    if prepare is not None:
        prepare(write_faults)
    driver = _run_scenario(scenario, write_faults, notify, compared=compared)
    return _outcome(driver, write_faults), driver
