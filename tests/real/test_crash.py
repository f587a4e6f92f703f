"""``kill -9`` before and after every write of whole rollouts on a real API server: the same story each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from autocanary.decide.detection import UNCHANGED_SECONDS
from autocanary.model.decision import Event
from tests.real.installation import Installation
from tests.real.kill_at_each_write import KilledAtEachWrite, KillPoint
from tests.real.tested_service import (
    NAME,
    ROLLOUT,
    SECOND,
    ServiceUnderTest,
    places,
    recording_traffic_splits,
    without_repetitions,
)
from tests.testbed.servers import ReceivedRequest

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def promotion(place: ServiceUnderTest) -> None:
    """A good candidate, from 0 to 100."""
    place.release()
    place.finish()


def rollback(place: ServiceUnderTest) -> None:
    """Every fifth answer of the candidate is an error."""
    place.fail_candidate_requests()
    place.release()
    place.finish()


def escalated(place: ServiceUnderTest) -> None:
    """The candidate's pods crash and a user gives up: 0 does not arrive, so stable's spec is put back."""
    time.sleep(UNCHANGED_SECONDS + 3)  # stable's spec is learned when it has been at rest for so long
    place.release()
    place.until_weight(10)
    place.crash()
    place.ask("abort")
    place.finish()


@dataclass(frozen=True)
class CrashScenario:
    run: Callable[[ServiceUnderTest], None]
    weights: list[int]
    shares: list[int]
    phase: str
    events: list[str]
    policy: dict[str, object]


SCENARIOS = {
    "promotion": CrashScenario(
        promotion,
        [10, 50, 100],
        [0, 10, 50, 100],
        "Promoted",
        ["rollout_started", "step_taken", "step_taken", "step_taken", "rollout_promoted"],
        {},
    ),
    "rollback": CrashScenario(
        rollback,
        [10, 0],
        [0, 10, 0],
        "RolledBack",
        ["rollout_started", "step_taken", "rollback_started", "rollout_rolled_back"],
        {},
    ),
    "escalated": CrashScenario(
        escalated,
        [10, 0],
        [0, 10, 0],
        "RolledBack",
        ["rollout_started", "step_taken", "rollback_started", "rollout_warning", "rollout_rolled_back"],
        {"stepDuration": "10m"},
    ),
}
HOLDS = (Event.HELD.value, Event.RESUMED.value)
"""A service that is dead half of the time may see too little for a while: a hold may be notified, and its end."""
CELLS = [(course, kill_point) for course in SCENARIOS for kill_point in KillPoint]


@dataclass(frozen=True)
class CrashRun:
    """What became of one course."""

    place: ServiceUnderTest
    killed: KilledAtEachWrite


def _is_create(received: ReceivedRequest) -> bool:
    """What stable is made of is only in memory before the rollout is recorded: without it nothing escalates."""
    return received.method == "POST" and received.path.partition("?")[0].endswith("/canaryrollouts")


@pytest.fixture(scope="module")
def crash_runs(installation: Installation) -> Iterator[dict[tuple[str, KillPoint], Future[CrashRun]]]:
    """All courses at the same time, each with an autocanary of its own."""
    found = {(course, kill_point): f"{course}-{kill_point.value}" for course, kill_point in CELLS}
    with ExitStack() as stack, ThreadPoolExecutor(len(found), "course") as pool:
        ground = places(installation, *found.values())
        for (course, _), namespace in found.items():
            ground[namespace].policy(**SCENARIOS[course].policy)
        stack.enter_context(recording_traffic_splits(*ground.values()))

        def tell(course: str, kill_point: KillPoint) -> CrashRun:
            place = ground[found[course, kill_point]]
            spared = _is_create if course == "escalated" else (lambda _: False)
            killed = stack.enter_context(
                KilledAtEachWrite(
                    installation,
                    kill_point,
                    "--namespace",
                    place.namespace,
                    "--no-leader-election",
                    skips=spared,
                )
            )
            place.until(lambda: killed.events("started"), "the first life")
            SCENARIOS[course].run(place)
            return CrashRun(place, killed)

        yield {cell: pool.submit(tell, *cell) for cell in CELLS}


@pytest.mark.parametrize(("course", "kill_point"), CELLS, ids=lambda each: getattr(each, "value", each))
def test_kill_at_each_write_gives_the_same_rollout(
    course: str, kill_point: KillPoint, crash_runs: dict[tuple[str, KillPoint], Future[CrashRun]]
) -> None:
    """Same weights in the same order, no jump up, same end; notified once each, and recorded so."""
    expected = SCENARIOS[course]
    story = crash_runs[course, kill_point].result()
    place, killed = story.place, story.killed
    print(f"{course} {kill_point.value}: killed {len(killed.kills)} times: {killed.kills}")  # noqa: T201 - the figure
    assert {"patch", "status", "events"} <= set(killed.kills)
    weights = without_repetitions(place.weights())
    assert weights[: len(expected.weights)] == expected.weights, place.story()
    if course == "escalated":  # stable's spec, put back, is a new revision: it is rolled out like any other
        assert place.spec()["model"]["storageUri"] == f"gs://models/{NAME}/v1"
    else:
        assert weights == expected.weights, place.story()
    assert without_repetitions([each.get(SECOND, 0) for each in place.shares]) == expected.shares
    assert place.phase == expected.phase, place.story()
    notified = [id_.split("/")[2:] for id_ in place.status()["notified"]]
    assert [event for event, _ in notified if event not in HOLDS] == expected.events
    texts = place.notified_events()
    assert len(texts) == len(notified), texts  # an Event's name follows from the id: there are no two of one
    said: dict[str, str] = {}
    for line in killed.events():
        if line["logger"] == "autocanary.audit" and line["rollout"] == ROLLOUT:
            said.setdefault(line["message"], line["event"])
    assert [event for event in said.values() if event not in HOLDS] == expected.events
    messages = [text for text in place.installation.messages(place.namespace) if "00003" not in text]
    assert len(set(messages)) == len(notified), messages
    assert "Traceback" not in killed.text()
