"""The Ledger port in memory: JSON forms, versions, a person's edits, and every way in which it can fail."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, Unreachable
from autocanary.model.policy import Component
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from autocanary.simulator.fault_injection import Strike
from autocanary.simulator.memory_rollout_store import SimLedger
from autocanary.simulator.virtual_clock import VirtualClock


def ledger() -> SimLedger:
    return SimLedger(VirtualClock())


def rollout(**changes: Any) -> Rollout:
    progress = Progress(Phase.PROGRESSING, Reason.ANALYSING, "looking", 100.0, 110.0, step=0, weight=10)
    return Rollout(
        namespace="models",
        name="iris-00002",
        service="iris",
        service_uid="u1",
        api_version="serving.kserve.io/v1beta1",
        component=Component.PREDICTOR,
        stable="iris-predictor-00001",
        candidate="iris-predictor-00002",
        policy_name="p",
        policy_digest="d",
        policy_document={"a": 1},
        progress=progress,
    ).but(**changes)


def test_what_is_created_comes_back_with_uid_and_version() -> None:
    """And is what rollouts, read and the document say; once more is no second object, nor over another's."""
    books = ledger()
    made = books.create(rollout())
    assert made == rollout(uid=made.uid, resource_version=made.resource_version, created_at=made.created_at)
    assert made.uid
    assert made.created_at == books._clock.now()
    assert books.rollouts() == [made]
    assert books.known("models", "iris-00002") == made
    assert books.known("elsewhere", "iris-00002") is None
    assert books.read("models", "iris-00002") == made
    assert books.document("models", "iris-00002")["status"]["phase"] == "Progressing"
    assert books.changed() == set()
    assert books.create(rollout(progress=made.progress.but(weight=50))) == made
    with pytest.raises(AlreadyExists):
        books.create(rollout(service_uid="another"))


def test_a_record_is_guarded_by_the_version() -> None:
    """The status is written, the spec is not; an old version is a conflict."""
    books = ledger()
    made = books.create(rollout())
    later = made.progress.but(phase=Phase.BAKING)
    stored = books.record(made.but(progress=later, paused=True))
    assert stored.progress == later
    assert stored.paused is False
    assert stored.resource_version != made.resource_version
    with pytest.raises(Conflict, match="modified"):
        books.record(made)
    assert [write.verb for write in books.writes] == ["create", "record", "record"]
    assert [write.phase for write in books.writes] == ["Staging", "Progressing", "Baking"]


def test_a_value_that_json_cannot_hold_is_found_here() -> None:
    """As the API server would refuse it."""
    books = ledger()
    made = books.create(rollout())
    with pytest.raises(ValueError, match="JSON"):
        books.record(made.but(progress=made.progress.but(observed_weight=float("nan"))))


def test_a_person_asks() -> None:
    """The wish is in the spec, the change is told of once, and our next record conflicts."""
    books = ledger()
    made = books.create(rollout())
    asked = books.ask("models", "iris-00002", paused=True, request=Request("1", "promote"))
    assert (asked.paused, asked.request) == (True, Request("1", "promote"))
    assert books.changed() == {("models", "iris-00002")}
    assert books.changed() == set()
    with pytest.raises(Conflict):
        books.record(made)
    kept = books.ask("models", "iris-00002", paused=None, request=None)
    assert (kept.paused, kept.request) == (True, Request("1", "promote"))
    with pytest.raises(NotFound):
        books.ask("models", "nobody", paused=True, request=None)


def test_somebody_edits_or_deletes_by_hand() -> None:
    """Both are told of; a record on what is gone is NotFound."""
    books = ledger()
    made = books.create(rollout())
    books.edit("models", "iris-00002", lambda document: document["spec"].update(paused=True))
    assert books.rollouts()[0].paused
    assert books.changed() == {("models", "iris-00002")}
    books.remove("models", "iris-00002")
    assert books.changed() == {("models", "iris-00002")}
    assert books.read("models", "iris-00002") is None
    with pytest.raises(NotFound):
        books.record(made)


def test_deleting_is_of_this_object_only() -> None:
    """Another uid of the same name is a conflict; what is gone already is no error."""
    books = ledger()
    made = books.create(rollout())
    with pytest.raises(Conflict, match="UID"):
        books.delete(made.but(uid="other"))
    assert books.rollouts() == [made]
    books.delete(made)
    books.delete(made)
    assert books.rollouts() == []
    assert books.changed() == set()


def test_the_clusters_garbage_collector() -> None:
    """Rollouts of a service that is gone go too, as if somebody had deleted them."""
    books = ledger()
    books.create(rollout())
    kept = books.create(rollout(name="other", service="other", service_uid="u2"))
    books.collect_garbage("u1")
    assert books.rollouts() == [kept]
    assert books.changed() == {("models", "iris-00002")}


def test_a_crash_between_create_and_the_first_status() -> None:
    """The object is there, at its beginning."""
    books = ledger()
    books.faults.next(Unreachable("cut"), strike=Strike.BETWEEN, verb="create")
    with pytest.raises(Unreachable):
        books.create(rollout())
    (found,) = books.rollouts()
    assert (found.progress.phase, found.progress.started_at) == (Phase.STAGING, found.created_at)


def test_a_record_whose_answer_is_lost() -> None:
    """It is written, so that repeating it with the old version conflicts."""
    books = ledger()
    made = books.create(rollout())
    books.faults.next(Unreachable("cut"), strike=Strike.AFTER, verb="record")
    with pytest.raises(Unreachable):
        books.record(made)
    with pytest.raises(Conflict):
        books.record(made)


def test_every_call_can_fail() -> None:
    """Before anything happens."""
    books = ledger()
    made = books.create(rollout())
    calls = {
        "create": lambda: books.create(rollout(name="x")),
        "record": lambda: books.record(made),
        "read": lambda: books.read("models", "iris-00002"),
        "ask": lambda: books.ask("models", "iris-00002", paused=True, request=None),
        "delete": lambda: books.delete(made),
    }
    for verb, call in calls.items():
        books.faults.next(Busy("x"), verb=verb)
        with pytest.raises(Busy):
            call()  # type: ignore[no-untyped-call]
    assert books.rollouts() == [made]
