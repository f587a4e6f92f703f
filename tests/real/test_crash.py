"""``kill -9`` before and after every write of whole rollouts on a real API server: the same story each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from autocanary.decide.detection import SETTLED_AFTER
from autocanary.model.decision import Event
from tests.real.mortal import Moment, Mortal
from tests.real.place import NAME, ROLLOUT, SECOND, Place, once, places, watching
from tests.real.stage import Stage
from tests.testbed.servers import Received

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def promotion(place: Place) -> None:
    """A good candidate, from 0 to 100."""
    place.release()
    place.finish()


def rollback(place: Place) -> None:
    """Every fifth answer of the candidate is an error."""
    place.breaks()
    place.release()
    place.finish()


def escalated(place: Place) -> None:
    """The candidate's pods crash and a person gives up: 0 does not arrive, so stable's spec is put back."""
    time.sleep(SETTLED_AFTER + 3)  # stable's spec is learned when it has been at rest for so long
    place.release()
    place.until_weight(10)
    place.crash()
    place.ask("abort")
    place.finish()


@dataclass(frozen=True)
class Course:
    play: Callable[[Place], None]
    weights: list[int]
    shares: list[int]
    phase: str
    events: list[str]
    policy: dict[str, object]


COURSES = {
    "promotion": Course(
        promotion,
        [10, 50, 100],
        [0, 10, 50, 100],
        "Promoted",
        ["rollout_started", "step_taken", "step_taken", "step_taken", "rollout_promoted"],
        {},
    ),
    "rollback": Course(
        rollback,
        [10, 0],
        [0, 10, 0],
        "RolledBack",
        ["rollout_started", "step_taken", "rollback_started", "rollout_rolled_back"],
        {},
    ),
    "escalated": Course(
        escalated,
        [10, 0],
        [0, 10, 0],
        "RolledBack",
        ["rollout_started", "step_taken", "rollback_started", "rollout_warning", "rollout_rolled_back"],
        {"stepDuration": "10m"},
    ),
}
HOLDS = (Event.HELD.value, Event.RESUMED.value)
"""A service that is dead half of the time may see too little for a while: a hold may be told, and its end."""
CELLS = [(course, moment) for course in COURSES for moment in Moment]


@dataclass(frozen=True)
class Story:
    """What became of one course."""

    place: Place
    mortal: Mortal


def _is_create(received: Received) -> bool:
    """What stable is made of is only in memory before the rollout is recorded: without it nothing escalates."""
    return received.method == "POST" and received.path.partition("?")[0].endswith("/canaryrollouts")


@pytest.fixture(scope="module")
def stories(stage: Stage) -> Iterator[dict[tuple[str, Moment], Future[Story]]]:
    """All courses at the same time, each with an autocanary of its own."""
    found = {(course, moment): f"{course}-{moment.value}" for course, moment in CELLS}
    with ExitStack() as stack, ThreadPoolExecutor(len(found), "course") as pool:
        ground = places(stage, *found.values())
        for (course, _), namespace in found.items():
            ground[namespace].policy(**COURSES[course].policy)
        stack.enter_context(watching(*ground.values()))

        def tell(course: str, moment: Moment) -> Story:
            place = ground[found[course, moment]]
            spared = _is_create if course == "escalated" else (lambda _: False)
            mortal = stack.enter_context(
                Mortal(stage, moment, "--namespace", place.namespace, "--no-leader-election", spares=spared)
            )
            place.until(lambda: mortal.events("started"), "the first life")
            COURSES[course].play(place)
            return Story(place, mortal)

        yield {cell: pool.submit(tell, *cell) for cell in CELLS}


@pytest.mark.parametrize(("course", "moment"), CELLS, ids=lambda each: getattr(each, "value", each))
def test_a_kill_at_every_write(
    course: str, moment: Moment, stories: dict[tuple[str, Moment], Future[Story]]
) -> None:
    """Same weights in the same order, no jump up, same end; told once each, and recorded so."""
    expected = COURSES[course]
    story = stories[course, moment].result()
    place, mortal = story.place, story.mortal
    print(f"{course} {moment.value}: killed {len(mortal.deaths)} times: {mortal.deaths}")  # noqa: T201 - the figure
    assert {"patch", "status", "events"} <= set(mortal.deaths)
    weights = once(place.weights())
    assert weights[: len(expected.weights)] == expected.weights, place.story()
    if course == "escalated":  # stable's spec, put back, is a new revision: it is rolled out like any other
        assert place.spec()["model"]["storageUri"] == f"gs://models/{NAME}/v1"
    else:
        assert weights == expected.weights, place.story()
    assert once([each.get(SECOND, 0) for each in place.shares]) == expected.shares
    assert place.phase == expected.phase, place.story()
    notified = [id_.split("/")[2:] for id_ in place.status()["notified"]]
    assert [event for event, _ in notified if event not in HOLDS] == expected.events
    texts = place.told()
    assert len(texts) == len(notified), texts  # an Event's name follows from the id: there are no two of one
    said: dict[str, str] = {}
    for line in mortal.events():
        if line["logger"] == "autocanary.audit" and line["rollout"] == ROLLOUT:
            said.setdefault(line["message"], line["event"])
    assert [event for event in said.values() if event not in HOLDS] == expected.events
    messages = [text for text in place.stage.messages(place.namespace) if "00003" not in text]
    assert len(set(messages)) == len(notified), messages
    assert "Traceback" not in mortal.text()
