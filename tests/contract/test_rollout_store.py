"""The Ledger port: what is written comes back, people's changes are noticed, and nothing foreign is touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autocanary.errors import AlreadyExists, Conflict, NotFound
from autocanary.model.measurement import Reading, ReadingKind, Source, Unit
from autocanary.model.progress import MetricState, Phase, Telling
from autocanary.model.rollout import Request, Rollout
from tests.contract.place import Place
from tests.kube.samples import rollout

NAME = "mnist-00002"


def attempt(place: Place) -> Rollout:
    """An attempt whose state holds everything that is easily lost: nulls, fractions, empty text."""
    return rollout(namespace=place.namespace)


def told(place: Place) -> set[tuple[str, str]]:
    """What others have changed; own writes and the end of a watch's delay are waited for."""
    place.rest(0.5)
    return place.ledger.changed()


def test_what_is_created_comes_back(place: Place) -> None:
    """With a uid, a version and a time, and otherwise as it was given."""
    wanted = attempt(place)
    made = place.ledger.create(wanted)
    assert made.uid
    assert made.resource_version
    assert made.created_at > 1_700_000_000
    assert made == wanted.but(
        uid=made.uid, resource_version=made.resource_version, created_at=made.created_at
    )
    assert list(place.ledger.rollouts()) == [made]
    assert place.ledger.known(place.namespace, NAME) == made
    assert place.ledger.read(place.namespace, NAME) == made
    assert place.person.read(place.namespace, NAME) == made
    assert told(place) == set(), "its own writes are nobody else's"
    assert list(place.ledger.rollouts()) == [made]


def test_what_is_not_there_is_read_as_nothing(place: Place) -> None:
    """No rollout, no error."""
    assert place.ledger.read(place.namespace, NAME) is None
    assert place.ledger.known(place.namespace, NAME) is None
    assert list(place.ledger.rollouts()) == []
    assert place.ledger.changed() == set()


def test_a_record_replaces_the_whole_state(place: Place) -> None:
    """What the new state does not hold is gone, not merged; spec and metadata stay."""
    made = place.ledger.create(attempt(place))
    reading = Reading(ReadingKind.VALUE, 99.25, Unit.PERCENT, 1234.5, 0.75, Source.KNATIVE)
    later = made.progress.but(
        phase=Phase.BAKING,
        weight=100,
        from_weight=50,
        metrics={"latency": MetricState(2, 7, True, reading)},
        decisions=(),
        untold=(Telling("a/2", "step_taken", 1.5, "Baking", 3, 100, "StepPassed", "100 % – ✓", ("log",)),),
        told=(),
        verified_at=None,
        step_started_at=1_700_000_050.125,
    )
    stored = place.ledger.record(made.but(progress=later, paused=True, candidate="other"))
    assert stored == made.but(progress=later, resource_version=stored.resource_version)
    assert stored.resource_version != made.resource_version
    assert place.ledger.read(place.namespace, NAME) == stored
    assert list(place.ledger.rollouts()) == [stored]
    assert told(place) == set()


def test_a_record_of_an_old_version_is_a_conflict(place: Place) -> None:
    """Nothing of it is written."""
    made = place.ledger.create(attempt(place))
    stored = place.ledger.record(made.but(progress=made.progress.but(weight=25)))
    with pytest.raises(Conflict):
        place.ledger.record(made.but(progress=made.progress.but(weight=50)))
    assert place.ledger.read(place.namespace, NAME) == stored


@pytest.mark.parametrize(
    "wish",
    [
        lambda ledger, place: ledger.ask(place.namespace, NAME, paused=True, request=None),
        lambda ledger, place: ledger.ask(
            place.namespace, NAME, paused=None, request=Request("7", "promote", "kim")
        ),
    ],
    ids=["paused", "request"],
)
def test_a_persons_wish_is_noticed(place: Place, wish: Callable[..., Rollout]) -> None:
    """Our next record conflicts; read anew and recorded again, both are kept. The change is told once."""
    made = place.ledger.create(attempt(place))
    asked = wish(place.person, place)
    assert asked.progress == made.progress
    assert place.eventually(lambda: place.ledger.rollouts()[0] == asked)
    assert told(place) == {(place.namespace, NAME)}
    assert told(place) == set()
    with pytest.raises(Conflict):
        place.ledger.record(made)
    fresh = place.ledger.read(place.namespace, NAME)
    assert fresh == asked
    later = fresh.progress.but(answered="7", answer="going to 25 %")
    stored = place.ledger.record(fresh.but(progress=later))
    assert (stored.paused, stored.request) == (asked.paused, asked.request)
    assert stored.progress == later


def test_a_wish_replaces_the_one_before(place: Place) -> None:
    """Who asked the first does not stay with the second; pausing leaves requests alone and the reverse."""
    place.ledger.create(attempt(place))
    place.person.ask(place.namespace, NAME, paused=None, request=Request("1", "promote", "kim"))
    asked = place.person.ask(place.namespace, NAME, paused=True, request=None)
    assert (asked.paused, asked.request) == (True, Request("1", "promote", "kim"))
    asked = place.person.ask(place.namespace, NAME, paused=None, request=Request("2", "abort"))
    assert (asked.paused, asked.request) == (True, Request("2", "abort"))
    asked = place.person.ask(place.namespace, NAME, paused=False, request=Request("3", "resume", "kim"))
    assert (asked.paused, asked.request) == (False, Request("3", "resume", "kim"))
    assert place.ledger.read(place.namespace, NAME) == asked


def test_nothing_can_be_asked_of_nothing(place: Place) -> None:
    """NotFound, and nothing is made."""
    with pytest.raises(NotFound):
        place.person.ask(place.namespace, NAME, paused=True, request=None)
    assert place.ledger.read(place.namespace, NAME) is None


def test_a_rollout_that_somebody_deleted(place: Place) -> None:
    """It is told of, leaves the picture, and no record brings it back."""
    made = place.ledger.create(attempt(place))
    assert told(place) == set()
    place.delete_rollout(NAME)
    assert place.eventually(lambda: not place.ledger.rollouts())
    assert told(place) == {(place.namespace, NAME)}
    assert place.ledger.read(place.namespace, NAME) is None
    with pytest.raises(NotFound):
        place.ledger.record(made)
    assert list(place.ledger.rollouts()) == []
    assert place.ledger.read(place.namespace, NAME) is None


def test_a_rollout_that_we_delete(place: Place) -> None:
    """It is gone at once; once more is no error; a namesake is left alone."""
    made = place.ledger.create(attempt(place))
    place.ledger.delete(made)
    assert list(place.ledger.rollouts()) == []
    assert place.ledger.read(place.namespace, NAME) is None
    place.ledger.delete(made)
    namesake = place.ledger.create(attempt(place))
    assert namesake.uid != made.uid
    with pytest.raises(Conflict):
        place.ledger.delete(made)
    assert place.ledger.read(place.namespace, NAME) == namesake


def test_a_create_of_the_same_attempt_is_taken_over(place: Place) -> None:
    """It was made by a call whose answer was lost, or by the leader before: what it recorded counts."""
    made = place.ledger.create(attempt(place))
    stored = place.ledger.record(made.but(progress=made.progress.but(weight=50)))
    assert place.ledger.create(attempt(place)) == stored
    assert list(place.ledger.rollouts()) == [stored]


@pytest.mark.parametrize(
    "foreign",
    [{"service_uid": "another"}, {"candidate": "mnist-predictor-00009"}, {"attempt": 2}],
    ids=["service", "candidate", "attempt"],
)
def test_a_create_over_a_foreign_object_is_refused(place: Place, foreign: dict[str, object]) -> None:
    """The object of that name is about something else, and stays as it is."""
    made = place.ledger.create(attempt(place).but(**foreign))
    with pytest.raises(AlreadyExists):
        place.ledger.create(attempt(place))
    assert place.ledger.read(place.namespace, NAME) == made


def test_several_rollouts_are_kept_apart(place: Place) -> None:
    """Each has its own state and versions; only the one that was changed is told of."""
    first = place.ledger.create(attempt(place))
    second = place.ledger.create(attempt(place).but(name="mnist-00003", candidate="mnist-predictor-00003"))
    assert {each.name: each for each in place.ledger.rollouts()} == {NAME: first, "mnist-00003": second}
    assert told(place) == set()
    place.person.ask(place.namespace, "mnist-00003", paused=True, request=None)
    place.ledger.record(first.but(progress=first.progress.but(weight=100)))
    assert place.eventually(lambda: any(each.paused for each in place.ledger.rollouts()))
    assert told(place) == {(place.namespace, "mnist-00003")}
