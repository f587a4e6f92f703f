"""The RolloutStore port: what is written comes back, users' changes are noticed, and nothing foreign is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import AlreadyExists, Conflict, NotFound
from autocanary.model.measurement import Measurement, MeasurementKind, Source, Unit
from autocanary.model.progress import MetricState, Notification, Phase
from autocanary.model.rollout import Request, Rollout
from tests.contract.backend import Backend
from tests.kube.samples import rollout

NAME = "mnist-00002"


def attempt(backend: Backend) -> Rollout:
    """An attempt whose state holds everything that is easily lost: nulls, fractions, empty text."""
    return rollout(namespace=backend.namespace)


def changed_keys(backend: Backend) -> set[tuple[str, str]]:
    """What others have changed; own writes and the end of a watch's delay are waited for."""
    backend.rest(0.5)
    return backend.store.take_changes()


def test_created_rollout_is_read_back(backend: Backend) -> None:
    """With a uid, a version and a time, and otherwise as it was given."""
    wanted = attempt(backend)
    made = backend.store.create(wanted)
    assert made.uid
    assert made.resource_version
    assert made.created_at > 1_700_000_000
    assert made == replace(wanted, uid=made.uid, resource_version=made.resource_version, created_at=made.created_at)
    assert list(backend.store.rollouts()) == [made]
    assert backend.store.cached(backend.namespace, NAME) == made
    assert backend.store.read(backend.namespace, NAME) == made
    assert backend.user_store.read(backend.namespace, NAME) == made
    assert changed_keys(backend) == set(), "its own writes are no other client's"
    assert list(backend.store.rollouts()) == [made]


def test_missing_rollout_is_none(backend: Backend) -> None:
    """No rollout, no error."""
    assert backend.store.read(backend.namespace, NAME) is None
    assert backend.store.cached(backend.namespace, NAME) is None
    assert list(backend.store.rollouts()) == []
    assert backend.store.take_changes() == set()


def test_a_record_replaces_the_whole_state(backend: Backend) -> None:
    """What the new state does not hold is gone, not merged; spec and metadata stay."""
    made = backend.store.create(attempt(backend))
    measurement = Measurement(MeasurementKind.VALUE, 99.25, Unit.PERCENT, 1234.5, 0.75, Source.KNATIVE)
    later = replace(
        made.progress,
        phase=Phase.BAKING,
        step=replace(made.progress.step, weight=100, from_weight=50, verified_at=None, started_at=1_700_000_050.125),
        analysis=replace(made.progress.analysis, metrics={"latency": MetricState(2, 7, True, measurement)}),
        decisions=(),
        outbox=replace(
            made.progress.outbox,
            pending=(Notification("a/2", "step_taken", 1.5, "Baking", 3, 100, "StepPassed", "100 % – ✓", ("log",)),),
            delivered=(),
        ),
    )
    stored = backend.store.update_status(replace(made, progress=later, paused=True, candidate="other"))
    assert stored == replace(made, progress=later, resource_version=stored.resource_version)
    assert stored.resource_version != made.resource_version
    assert backend.store.read(backend.namespace, NAME) == stored
    assert list(backend.store.rollouts()) == [stored]
    assert changed_keys(backend) == set()


def test_a_record_of_an_old_version_is_a_conflict(backend: Backend) -> None:
    """Nothing of it is written."""
    made = backend.store.create(attempt(backend))
    stored = backend.store.update_status(
        replace(made, progress=replace(made.progress, step=replace(made.progress.step, weight=25)))
    )
    with pytest.raises(Conflict):
        backend.store.update_status(
            replace(made, progress=replace(made.progress, step=replace(made.progress.step, weight=50)))
        )
    assert backend.store.read(backend.namespace, NAME) == stored


@pytest.mark.parametrize(
    "user_request",
    [
        lambda store, backend: store.write_request(backend.namespace, NAME, paused=True, request=None),
        lambda store, backend: store.write_request(
            backend.namespace, NAME, paused=None, request=Request("7", "promote", "kim")
        ),
    ],
    ids=["paused", "request"],
)
def test_user_request_is_observed(backend: Backend, user_request: Callable[..., Rollout]) -> None:
    """Our next record conflicts; read again and recorded again, both are kept. The change is notified once."""
    made = backend.store.create(attempt(backend))
    asked = user_request(backend.user_store, backend)
    assert asked.progress == made.progress
    assert backend.eventually(lambda: backend.store.rollouts()[0] == asked)
    assert changed_keys(backend) == {(backend.namespace, NAME)}
    assert changed_keys(backend) == set()
    with pytest.raises(Conflict):
        backend.store.update_status(made)
    fresh = backend.store.read(backend.namespace, NAME)
    assert fresh == asked
    later = replace(fresh.progress, requests=replace(fresh.progress.requests, answered_id="7", answer="going to 25 %"))
    stored = backend.store.update_status(replace(fresh, progress=later))
    assert (stored.paused, stored.request) == (asked.paused, asked.request)
    assert stored.progress == later


def test_newer_user_request_replaces_the_older(backend: Backend) -> None:
    """Who asked the first does not stay with the second; pausing leaves requests alone and the reverse."""
    backend.store.create(attempt(backend))
    backend.user_store.write_request(backend.namespace, NAME, paused=None, request=Request("1", "promote", "kim"))
    asked = backend.user_store.write_request(backend.namespace, NAME, paused=True, request=None)
    assert (asked.paused, asked.request) == (True, Request("1", "promote", "kim"))
    asked = backend.user_store.write_request(backend.namespace, NAME, paused=None, request=Request("2", "abort"))
    assert (asked.paused, asked.request) == (True, Request("2", "abort"))
    asked = backend.user_store.write_request(
        backend.namespace, NAME, paused=False, request=Request("3", "resume", "kim")
    )
    assert (asked.paused, asked.request) == (False, Request("3", "resume", "kim"))
    assert backend.store.read(backend.namespace, NAME) == asked


def test_request_for_a_missing_rollout_is_not_found(backend: Backend) -> None:
    """NotFound, and nothing is made."""
    with pytest.raises(NotFound):
        backend.user_store.write_request(backend.namespace, NAME, paused=True, request=None)
    assert backend.store.read(backend.namespace, NAME) is None


def test_a_rollout_that_a_user_deleted(backend: Backend) -> None:
    """It is announced, leaves the cache, and no record brings it back."""
    made = backend.store.create(attempt(backend))
    assert changed_keys(backend) == set()
    backend.delete_rollout(NAME)
    assert backend.eventually(lambda: not backend.store.rollouts())
    assert changed_keys(backend) == {(backend.namespace, NAME)}
    assert backend.store.read(backend.namespace, NAME) is None
    with pytest.raises(NotFound):
        backend.store.update_status(made)
    assert list(backend.store.rollouts()) == []
    assert backend.store.read(backend.namespace, NAME) is None


def test_a_rollout_that_we_delete(backend: Backend) -> None:
    """It is gone at once; once more is no error; a namesake is left alone."""
    made = backend.store.create(attempt(backend))
    backend.store.delete(made)
    assert list(backend.store.rollouts()) == []
    assert backend.store.read(backend.namespace, NAME) is None
    backend.store.delete(made)
    namesake = backend.store.create(attempt(backend))
    assert namesake.uid != made.uid
    with pytest.raises(Conflict):
        backend.store.delete(made)
    assert backend.store.read(backend.namespace, NAME) == namesake


def test_create_adopts_the_same_attempt(backend: Backend) -> None:
    """It was made by a call whose answer was lost, or by the leader before: what it recorded counts."""
    made = backend.store.create(attempt(backend))
    stored = backend.store.update_status(
        replace(made, progress=replace(made.progress, step=replace(made.progress.step, weight=50)))
    )
    assert backend.store.create(attempt(backend)) == stored
    assert list(backend.store.rollouts()) == [stored]


@pytest.mark.parametrize(
    "foreign",
    [{"service_uid": "another"}, {"candidate": "mnist-predictor-00009"}, {"attempt": 2}],
    ids=["service", "candidate", "attempt"],
)
def test_a_create_over_a_foreign_object_is_refused(backend: Backend, foreign: dict[str, Any]) -> None:
    """The object of that name is about something else, and stays as it is."""
    made = backend.store.create(replace(attempt(backend), **foreign))
    with pytest.raises(AlreadyExists):
        backend.store.create(attempt(backend))
    assert backend.store.read(backend.namespace, NAME) == made


def test_several_rollouts_are_kept_apart(backend: Backend) -> None:
    """Each has its own state and versions; only the one that was changed is announced."""
    first = backend.store.create(attempt(backend))
    second = backend.store.create(replace(attempt(backend), name="mnist-00003", candidate="mnist-predictor-00003"))
    assert {each.name: each for each in backend.store.rollouts()} == {NAME: first, "mnist-00003": second}
    assert changed_keys(backend) == set()
    backend.user_store.write_request(backend.namespace, "mnist-00003", paused=True, request=None)
    backend.store.update_status(
        replace(first, progress=replace(first.progress, step=replace(first.progress.step, weight=100)))
    )
    assert backend.eventually(lambda: any(each.paused for each in backend.store.rollouts()))
    assert changed_keys(backend) == {(backend.namespace, "mnist-00003")}
