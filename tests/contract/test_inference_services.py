"""The Cluster port: what is seen of a service as its weight moves, and what becomes of a write."""

from __future__ import annotations

import pytest

from autocanary.errors import Conflict, NotFound, Refused
from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from tests.contract.backend import Backend
from tests.contract.backends import only_kserve


def bookkeeping(observation: Observation) -> tuple[str, str, str, str]:
    return observation.rolled_out, observation.previous, observation.ready, observation.created


def next_changes(backend: Backend) -> set[ServiceKey]:
    """What is announced as soon as anything is."""
    notified: set[ServiceKey] = set()

    def something() -> bool:
        notified.update(backend.cluster.take_changes())
        return bool(notified)

    assert backend.eventually(something)
    return notified


def test_a_service_at_rest(backend: Backend) -> None:
    """One revision has everything, and no weight is set."""
    first = backend.revision(1)
    observation = backend.wait_until_ready()
    assert observation.key == backend.key()
    assert observation.uid
    assert observation.api_version == backend.manifest_format.api_version
    assert bookkeeping(observation) == (first, "", first, first)
    assert observation.traffic == {first: 100}
    assert observation.weight is None
    assert observation.mode is DeploymentMode.KNATIVE
    assert (observation.route_ready, observation.service_ready, observation.latest_ready) == (ConditionStatus.TRUE,) * 3
    assert (observation.failure, observation.reconcile_error) == ("", "")
    assert not observation.stopped
    assert not observation.deleting
    assert not observation.auto_update_disabled
    assert backend.manifest_format.uri_of(observation) == "gs://models/mnist/v1"
    assert list(backend.cluster.services()) == [observation]
    assert backend.cluster.cache_age(observation.key, observation.api_version) < 5


def test_missing_service_is_none(backend: Backend) -> None:
    """Neither in the cache nor when it is read."""
    assert list(backend.cluster.services()) == []
    assert backend.cluster.observe(backend.key()) is None
    assert backend.cluster.refresh(backend.key()) is None


def test_a_candidate_staged_at_0(backend: Backend) -> None:
    """It is ready and named, and gets nothing."""
    first, second = backend.revision(1), backend.revision(2)
    before = backend.wait_until_ready()
    backend.serve("mnist", "v2", 0)
    waiting = backend.wait_until(created=second)
    assert bookkeeping(waiting) == (first, "", first, second)
    assert waiting.traffic == backend.manifest_format.while_starting(first)
    assert backend.traffic_served() == {first: 100}
    observation = backend.wait_until(ready=second, traffic={first: 100, second: 0})
    assert bookkeeping(observation) == (first, "", second, second)
    assert observation.weight == 0
    assert observation.writer.startswith("kubectl")
    assert observation.weight_in_effect(candidate=second, stable=first, weight=0)
    assert observation.spec_digest != before.spec_digest
    assert "canaryTrafficPercent" not in observation.spec


def test_a_weight_is_written_and_takes_effect_later(backend: Backend) -> None:
    """The answer has the weight and the old traffic; the status follows."""
    first, second = backend.revision(1), backend.revision(2)
    staged = backend.staged()
    answer = backend.cluster.set_weight(staged, 10)
    assert (answer.weight, answer.writer) == (10, "autocanary")
    assert answer.resource_version != staged.resource_version
    assert answer.spec_digest == staged.spec_digest
    assert answer.uid == staged.uid
    assert backend.observation().weight == 10, "the next look must not see the world before the write"
    assert not answer.weight_in_effect(candidate=second, stable=first, weight=10)
    observation = backend.wait_until(traffic={first: 90, second: 10}, route_ready=ConditionStatus.TRUE)
    assert observation.weight_in_effect(candidate=second, stable=first, weight=10)
    assert bookkeeping(observation) == (first, "", second, second)


def test_a_promotion(backend: Backend) -> None:
    """At 100 the candidate has everything, and is rolled out once what the spec lacks is finalized."""
    first, second, stable = (
        backend.revision(1),
        backend.revision(2),
        backend.manifest_format.promoted(2, "mnist"),
    )
    staged = backend.staged(weight=50)
    backend.cluster.set_weight(staged, 100)
    observation = backend.wait_until(**backend.manifest_format.at_100(first, second), route_ready=ConditionStatus.TRUE)
    assert (observation.ready, observation.created) == (second, second)
    assert observation.weight_in_effect(candidate=second, stable=first, weight=100)
    assert backend.traffic_served() == {second: 100}
    done = backend.finalized(observation)
    assert bookkeeping(done) == (stable, backend.manifest_format.previous(first), stable, stable)
    assert done.spec_digest == staged.spec_digest
    assert backend.traffic_served() == {stable: 100}


def test_a_rollback(backend: Backend) -> None:
    """At 0 stable has everything; the candidate is still the newest and still named, with 0."""
    first, second = backend.revision(1), backend.revision(2)
    staged = backend.staged(weight=10)
    backend.cluster.set_weight(staged, 0)
    observation = backend.wait_until(traffic={first: 100, second: 0})
    assert bookkeeping(observation) == (first, "", second, second)
    assert observation.weight == 0


def test_a_rollback_after_a_promotion(backend: Backend) -> None:
    """The traffic goes back to the revision before, which is then the rolled-out one again."""
    first, second = backend.revision(1), backend.revision(2)
    promoted = backend.promoted()
    backend.cluster.set_weight(promoted, 0)
    observation = backend.wait_until(rolled_out=first, traffic={first: 100, second: 0})
    assert bookkeeping(observation) == (first, backend.manifest_format.previous(first), second, second)


def test_a_write_is_compare_and_set(backend: Backend) -> None:
    """What was seen before another client's write conflicts; read again, it succeeds."""
    stale = backend.staged()
    backend.patch("mnist", {"minReplicas": 0}, "argocd")
    with pytest.raises(Conflict):
        backend.cluster.set_weight(stale, 10)
    with pytest.raises(Conflict):
        backend.cluster.restore(stale, stale.spec, 0)
    backend.rest(3.0)  # the controllers have written the status that follows from the patch
    fresh = backend.cluster.refresh(backend.key())
    assert fresh is not None
    assert fresh.weight == 0
    assert backend.cluster.set_weight(fresh, 10).weight == 10


def test_writing_the_same_weight_changes_nothing(backend: Backend) -> None:
    """The write succeeds and the object does not move, so a repetition after a lost answer is harmless."""
    staged = backend.staged(weight=10)
    again = backend.cluster.set_weight(staged, 10)
    assert (again.weight, again.resource_version) == (10, staged.resource_version)
    assert again.writer == staged.writer


@pytest.mark.parametrize("weight", [-1, 101])
def test_a_weight_that_kserve_cannot_use_is_refused(backend: Backend, weight: int) -> None:
    """Before it is sent: the API server would take it, and KServe then stops reconciling."""
    observation = backend.staged(weight=50)
    with pytest.raises(Refused, match=r"0\.\.100"):
        backend.cluster.set_weight(observation, weight)
    with pytest.raises(Refused, match=r"0\.\.100"):
        backend.cluster.restore(observation, observation.spec, weight)
    assert backend.observation().weight == 50


def test_a_deleted_service(backend: Backend) -> None:
    """It leaves the cache, and a write to it finds nothing."""
    staged = backend.staged()
    backend.delete("mnist")
    assert backend.eventually(lambda: backend.cluster.refresh(backend.key()) is None)
    assert backend.eventually(lambda: backend.cluster.observe(backend.key()) is None)
    assert list(backend.cluster.services()) == []
    with pytest.raises(NotFound):
        backend.cluster.set_weight(staged, 10)
    with pytest.raises(NotFound):
        backend.cluster.restore(staged, staged.spec, None)


def test_recreated_service_has_another_uid(backend: Backend) -> None:
    """What was seen of the one cannot be written to the other."""
    first = backend.revision(1)
    before = backend.staged()
    backend.delete("mnist")
    assert backend.eventually(lambda: backend.cluster.observe(backend.key()) is None)
    namesake = backend.wait_until_ready()
    assert namesake.uid != before.uid
    assert namesake.created == first, "its revisions start over"
    with pytest.raises(Conflict):
        backend.cluster.set_weight(before, 10)
    assert backend.observation().weight is None
    assert backend.observation().uid == namesake.uid


def test_changed_keys_are_returned_once(backend: Backend) -> None:
    """Exactly those that have changed, and then no more of them."""
    backend.wait_until_ready("one")
    backend.wait_until_ready("two")
    backend.rest(0.5)
    assert backend.cluster.take_changes() <= {backend.key("one"), backend.key("two")}
    assert backend.cluster.take_changes() == set()
    backend.patch("one", {"minReplicas": 2}, "argocd")
    assert next_changes(backend) == {backend.key("one")}
    backend.rest(2.0)  # the new revision is ready
    assert backend.cluster.take_changes() == {backend.key("one")}
    assert backend.cluster.take_changes() == set()
    backend.delete("two")
    assert next_changes(backend) == {backend.key("two")}


def test_the_stable_spec_is_put_back_without_a_weight(backend: Backend) -> None:
    """All of it: what the candidate had added goes, what it had changed is as before."""
    first, second, restored = (
        backend.revision(1),
        backend.revision(2),
        backend.manifest_format.restored("mnist"),
    )
    stable = backend.wait_until_ready()
    backend.serve("mnist", "v2", 10, args=["--fast"], env=[{"name": "A", "value": "b"}])
    backend.wait_until(ready=second, traffic={first: 90, second: 10})
    answer = backend.cluster.restore(backend.observation(), stable.spec, None)
    assert answer.spec == stable.spec
    assert answer.spec_digest == stable.spec_digest
    assert answer.weight is None
    observation = backend.wait_until(rolled_out=restored, traffic={restored: 100})
    assert observation.spec == stable.spec


def test_the_stable_spec_is_put_back_with_a_weight(backend: Backend) -> None:
    """A blocked rollback is unblocked by stable's content: staged at 0 where that takes a new revision."""
    first, second, restored = (
        backend.revision(1),
        backend.revision(2),
        backend.manifest_format.restored("mnist"),
    )
    stable = backend.wait_until_ready()
    backend.serve("mnist", "v2", 10)
    backend.wait_until(ready=second, traffic={first: 90, second: 10})
    answer = backend.cluster.restore(backend.observation(), stable.spec, 0)
    assert answer.spec_digest == stable.spec_digest
    assert (answer.weight, answer.writer) == backend.manifest_format.put_back_at_0
    observation = backend.wait_until(ready=restored, traffic={restored: 0, first: 100})
    assert bookkeeping(observation) == (first, "", restored, restored)
    assert backend.traffic_served() == {first: 100}


def test_a_weight_that_another_manager_wrote(backend: Backend) -> None:
    """Is seen, and by which source it was written."""
    first, second = backend.revision(1), backend.revision(2)
    backend.cluster.set_weight(backend.staged(), 10)
    backend.patch("mnist", {"canaryTrafficPercent": 40}, "argocd")
    observation = backend.wait_until(weight=40, traffic={first: 60, second: 40})
    assert observation.writer == "argocd"
    assert backend.cluster.set_weight(observation, 20).writer == "autocanary"


def test_a_field_that_another_manager_removed(backend: Backend) -> None:
    """KServe then promotes the candidate, whatever it is; KFServing takes all traffic from it."""
    first, second = backend.revision(1), backend.revision(2)
    backend.staged(weight=10)
    backend.patch("mnist", {"canaryTrafficPercent": None}, "argocd")
    observation = backend.wait_until(**backend.manifest_format.without_weight(first, second))
    assert (observation.ready, observation.created) == (second, second)


def test_release_without_weight_is_intercepted(backend: Backend) -> None:
    """The new revision is named before it is ready; 0 written in between keeps the traffic on stable."""
    first, second = backend.revision(1), backend.revision(2)
    backend.wait_until_ready()
    backend.serve("mnist", "v2-slow2", backend.manifest_format.unstaged)
    observation = backend.wait_until(created=second)
    assert (observation.weight, observation.ready, observation.rolled_out) == (
        backend.manifest_format.unstaged,
        first,
        first,
    )
    assert observation.traffic == backend.manifest_format.while_starting(first)
    assert backend.traffic_served() == {first: 100}
    backend.cluster.set_weight(observation, 0)
    ready = backend.wait_until(ready=second, traffic={first: 100, second: 0})
    assert bookkeeping(ready) == (first, "", second, second)


def test_release_without_weight_takes_all_traffic(backend: Backend) -> None:
    """Takes everything when it is ready."""
    first, second = backend.revision(1), backend.revision(2)
    backend.wait_until_ready()
    backend.serve("mnist", "v2", backend.manifest_format.unstaged)
    observation = backend.wait_until(
        **backend.manifest_format.at_100(first, second) | {"weight": backend.manifest_format.unstaged}
    )
    assert (observation.ready, observation.created) == (second, second)
    assert backend.traffic_served() == {second: 100}


@only_kserve
def test_wrong_stable_is_repaired_by_restoring_the_spec(backend: Backend) -> None:
    """A weight without a new revision sends traffic to the revision before stable; the spec repairs it."""
    first, second, third = backend.revision(1), backend.revision(2), backend.revision(3)
    stable = backend.promoted()
    backend.refuse_revisions("mnist", "quota exceeded")
    backend.serve("mnist", "v3", 10)
    trapped = backend.wait_until(rolled_out=first, traffic={first: 90, second: 10})
    assert trapped.created == second
    backend.refuse_revisions("mnist", "")
    backend.eventually(lambda: backend.observation().created == third)
    fresh = backend.cluster.refresh(backend.key())
    assert fresh is not None
    assert backend.cluster.restore(fresh, stable.spec, None).spec == stable.spec
    fourth = backend.revision(4)
    observation = backend.wait_until(rolled_out=fourth, traffic={fourth: 100})
    assert first not in observation.traffic


def test_a_revision_that_cannot_become_ready_says_why(backend: Backend) -> None:
    """In words, while its share stays with stable."""
    first, second, third = backend.revision(1), backend.revision(2), backend.revision(3)
    backend.wait_until_ready()
    backend.serve("mnist", "v2-crash", 10)
    assert backend.eventually(lambda: backend.observation().failure != "")
    observation = backend.observation()
    assert "model failed to load" in observation.failure
    assert bookkeeping(observation) == (first, "", first, second)
    assert observation.latest_ready is ConditionStatus.FALSE
    assert observation.traffic == backend.manifest_format.while_starting(first)
    assert backend.traffic_served() == {first: 100}
    backend.serve("mnist", "v3", 10)
    healed = backend.wait_until(ready=third, traffic={first: 90, third: 10})
    assert healed.failure == ""


def test_refresh_is_newer_than_the_cache(backend: Backend) -> None:
    """``refresh`` sees a client's write at once, and the cache has it from then on."""
    backend.staged()
    backend.patch("mnist", {"canaryTrafficPercent": 33}, "argocd")
    fresh = backend.cluster.refresh(backend.key())
    assert fresh is not None
    assert fresh.weight == 33
    assert backend.observation().weight == 33


@only_kserve
def test_the_version_before_the_spec_was_changed_is_read_back(backend: Backend) -> None:
    """The API server keeps it for some minutes: its spec, its status, and for how long it had been so."""
    before = backend.wait_until_ready()
    backend.rest(2.5)
    backend.serve("mnist", "v2", 0)
    now = backend.wait_until(ready=backend.revision(2))
    earlier = backend.cluster.earlier_version(now)
    assert earlier is not None
    assert (earlier.observation.uid, earlier.observation.spec) == (before.uid, before.spec)
    assert bookkeeping(earlier.observation) == bookkeeping(before)
    assert earlier.seconds is not None
    assert 1 <= earlier.seconds < 30
    assert earlier.observation.generation == 1 < now.generation


@only_kserve
def test_a_service_that_was_never_changed_has_no_earlier_version(backend: Backend) -> None:
    """Its first spec is its only one."""
    assert backend.cluster.earlier_version(backend.wait_until_ready()) is None
