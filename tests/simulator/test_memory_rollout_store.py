"""The RolloutStore port in memory: JSON forms, versions, a user's edits, and every way in which it can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, Unreachable
from autocanary.model.policy import Component
from autocanary.model.progress import Phase, Progress, StepState
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from autocanary.simulator.fault_injection import FaultTiming
from autocanary.simulator.memory_rollout_store import InMemoryRolloutStore
from autocanary.simulator.virtual_clock import VirtualClock


def store() -> InMemoryRolloutStore:
    return InMemoryRolloutStore(VirtualClock())


def rollout(**changes: Any) -> Rollout:
    progress = Progress(
        Phase.PROGRESSING, Reason.ANALYSING, "evaluating", 100.0, 110.0, step=StepState(index=0, weight=10)
    )
    return replace(
        Rollout(
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
        ),
        **changes,
    )


def test_what_is_created_comes_back_with_uid_and_version() -> None:
    """And is what rollouts, read and the document say; once more is no second object, nor over another's."""
    books = store()
    made = books.create(rollout())
    assert made == rollout(uid=made.uid, resource_version=made.resource_version, created_at=made.created_at)
    assert made.uid
    assert made.created_at == books._clock.now()
    assert books.rollouts() == [made]
    assert books.cached("models", "iris-00002") == made
    assert books.cached("elsewhere", "iris-00002") is None
    assert books.read("models", "iris-00002") == made
    assert books.document("models", "iris-00002")["status"]["phase"] == "Progressing"
    assert books.take_changes() == set()
    assert books.create(rollout(progress=replace(made.progress, step=replace(made.progress.step, weight=50)))) == made
    with pytest.raises(AlreadyExists):
        books.create(rollout(service_uid="another"))


def test_record_with_an_old_version_is_a_conflict() -> None:
    """The status is written, the spec is not; an old version is a conflict."""
    books = store()
    made = books.create(rollout())
    later = replace(made.progress, phase=Phase.BAKING)
    stored = books.update_status(replace(made, progress=later, paused=True))
    assert stored.progress == later
    assert stored.paused is False
    assert stored.resource_version != made.resource_version
    with pytest.raises(Conflict, match="modified"):
        books.update_status(made)
    assert [write.verb for write in books.writes] == ["create", "update_status", "update_status"]
    assert [write.phase for write in books.writes] == ["Staging", "Progressing", "Baking"]


def test_record_rejects_values_json_cannot_hold() -> None:
    """As the API server would refuse it."""
    books = store()
    made = books.create(rollout())
    with pytest.raises(ValueError, match="JSON"):
        books.update_status(
            replace(
                made,
                progress=replace(
                    made.progress, analysis=replace(made.progress.analysis, last_evaluation_at=float("nan"))
                ),
            )
        )


def test_user_request_is_stored() -> None:
    """The request is in the spec, the change is announced once, and our next write conflicts."""
    books = store()
    made = books.create(rollout())
    asked = books.write_request("models", "iris-00002", paused=True, request=Request("1", "promote"))
    assert (asked.paused, asked.request) == (True, Request("1", "promote"))
    assert books.take_changes() == {("models", "iris-00002")}
    assert books.take_changes() == set()
    with pytest.raises(Conflict):
        books.update_status(made)
    kept = books.write_request("models", "iris-00002", paused=None, request=None)
    assert (kept.paused, kept.request) == (True, Request("1", "promote"))
    with pytest.raises(NotFound):
        books.write_request("models", "nobody", paused=True, request=None)


def test_external_edit_and_delete_are_reported() -> None:
    """Both are announced; a write on what is gone is NotFound."""
    books = store()
    made = books.create(rollout())
    books.edit("models", "iris-00002", lambda document: document["spec"].update(paused=True))
    assert books.rollouts()[0].paused
    assert books.take_changes() == {("models", "iris-00002")}
    books.remove("models", "iris-00002")
    assert books.take_changes() == {("models", "iris-00002")}
    assert books.read("models", "iris-00002") is None
    with pytest.raises(NotFound):
        books.update_status(made)


def test_delete_checks_the_uid() -> None:
    """Another uid of the same name is a conflict; what is gone already is no error."""
    books = store()
    made = books.create(rollout())
    with pytest.raises(Conflict, match="UID"):
        books.delete(replace(made, uid="other"))
    assert books.rollouts() == [made]
    books.delete(made)
    books.delete(made)
    assert books.rollouts() == []
    assert books.take_changes() == set()


def test_garbage_collection_of_a_deleted_service() -> None:
    """Rollouts of a service that is gone go too, as if a user had deleted them."""
    books = store()
    books.create(rollout())
    kept = books.create(rollout(name="other", service="other", service_uid="u2"))
    books.collect_garbage("u1")
    assert books.rollouts() == [kept]
    assert books.take_changes() == {("models", "iris-00002")}


def test_a_crash_between_create_and_the_first_status() -> None:
    """The object is there, at its beginning."""
    books = store()
    books.faults.next(Unreachable("cut"), timing=FaultTiming.BETWEEN, verb="create")
    with pytest.raises(Unreachable):
        books.create(rollout())
    (found,) = books.rollouts()
    assert (found.progress.phase, found.progress.started_at) == (Phase.STAGING, found.created_at)


def test_record_succeeds_when_the_response_is_lost() -> None:
    """It is written, so that repeating it with the old version conflicts."""
    books = store()
    made = books.create(rollout())
    books.faults.next(Unreachable("cut"), timing=FaultTiming.AFTER, verb="update_status")
    with pytest.raises(Unreachable):
        books.update_status(made)
    with pytest.raises(Conflict):
        books.update_status(made)


def test_every_call_can_fail() -> None:
    """Before anything happens."""
    books = store()
    made = books.create(rollout())
    calls = {
        "create": lambda: books.create(rollout(name="x")),
        "update_status": lambda: books.update_status(made),
        "read": lambda: books.read("models", "iris-00002"),
        "write_request": lambda: books.write_request("models", "iris-00002", paused=True, request=None),
        "delete": lambda: books.delete(made),
    }
    for verb, call in calls.items():
        books.faults.next(Busy("x"), verb=verb)
        with pytest.raises(Busy):
            call()  # type: ignore[no-untyped-call]
    assert books.rollouts() == [made]
