"""The Cluster port for services whose spec holds stable beside the candidate."""

from __future__ import annotations

import pytest

from autocanary.errors import Conflict, Refused
from autocanary.model.observation import ConditionStatus, Observation, PromotionPending
from tests.contract.backend import Backend
from tests.contract.backends import only_kfserving

pytestmark = only_kfserving


def at_100(backend: Backend) -> Observation:
    """A candidate that has all the traffic."""
    backend.cluster.set_weight(backend.staged(), 100)
    first, second = backend.revision(1), backend.revision(2)
    return backend.wait_until(traffic={first: 0, second: 100}, route_ready=ConditionStatus.TRUE)


def digests(observation: Observation) -> tuple[str, str]:
    """What stable and the newest revision are made of."""
    assert observation.default_endpoint is not None
    return observation.default_endpoint.digest, observation.spec_digest


def test_no_promotion_pending_for_an_unchanged_service(backend: Backend) -> None:
    """There is no candidate, and stable's spec is the one that is seen."""
    observation = backend.wait_until_ready()
    assert (observation.candidate_removed, observation.promotion_pending) == (True, None)
    stable, newest = digests(observation)
    assert stable == newest
    with pytest.raises(Refused, match="nothing to finalize"):
        backend.cluster.finalize(observation)


def test_default_endpoint_is_observed_with_a_candidate(backend: Backend) -> None:
    """Its spec is read, not remembered."""
    before = backend.wait_until_ready()
    backend.serve("mnist", "v2", 0)
    observation = backend.wait_until(ready=backend.revision(2))
    assert digests(observation)[0] == before.spec_digest
    assert observation.default_endpoint is not None
    assert observation.default_endpoint.spec == before.spec
    assert not observation.candidate_removed


def test_promotion_is_finalized_by_two_writes(backend: Backend) -> None:
    """Copied first, with the weight kept; cleared when stable's own revision of it is ready."""
    observation = at_100(backend)
    first, second = backend.revision(1), backend.revision(2)
    assert (observation.rolled_out, observation.created, observation.promotion_pending) == (
        first,
        second,
        PromotionPending.ADOPT,
    )
    copied = backend.cluster.finalize(observation)
    assert (copied.weight, copied.spec) == (100, observation.spec)
    assert digests(copied) == (observation.spec_digest, observation.spec_digest)
    renewed = first.replace("00001", "00002")
    ready = backend.wait_until(
        rolled_out=renewed, promotion_pending=PromotionPending.CLEAR, traffic={renewed: 0, second: 100}
    )
    cleared = backend.cluster.finalize(ready)
    assert (cleared.weight, cleared.candidate_removed, cleared.spec) == (None, True, observation.spec)
    done = backend.wait_until(promotion_pending=None, traffic={renewed: 100}, rolled_out=renewed)
    assert (done.created, done.ready) == (renewed, renewed)
    present = backend.document("mnist")
    assert present is not None
    assert set(present["spec"]) == {"default"}


def test_finalize_is_compare_and_set(backend: Backend) -> None:
    """What another client wrote meanwhile is not overwritten."""
    stale = at_100(backend)
    backend.edit("mnist", {"default": {"predictor": {"minReplicas": 2}}}, "argocd")
    with pytest.raises(Conflict):
        backend.cluster.finalize(stale)


def test_finalizing_waits_until_stable_is_ready(backend: Backend) -> None:
    """The traffic would go to a side that cannot answer yet."""
    backend.wait_until_ready()
    backend.serve("mnist", "v2-slow2", 100)
    backend.wait_until(traffic={backend.revision(1): 0, backend.revision(2): 100}, route_ready=ConditionStatus.TRUE)
    backend.cluster.finalize(backend.observation())
    waiting = backend.wait_until(promotion_pending=PromotionPending.WAIT)
    with pytest.raises(Refused, match="nothing to finalize"):
        backend.cluster.finalize(waiting)
    backend.wait_until(promotion_pending=PromotionPending.CLEAR)


def test_restore_removes_the_candidate(backend: Backend) -> None:
    """Restoring leaves stable as it stands and removes what stands beside it."""
    stable = backend.wait_until_ready()
    backend.serve("mnist", "v2", 10, args=["--fast"])
    backend.wait_until(traffic={backend.revision(1): 90, backend.revision(2): 10})
    answer = backend.cluster.restore(backend.observation(), stable.spec, 0)
    assert (answer.candidate_removed, answer.weight, answer.spec) == (True, None, stable.spec)
    assert backend.wait_until(traffic={backend.revision(1): 100}, route_ready=ConditionStatus.TRUE).spec == stable.spec


def test_absent_weight_is_0(backend: Backend) -> None:
    """``omitempty``: the server may drop a 0 that was written."""
    backend.staged(weight=10)
    backend.patch("mnist", {"canaryTrafficPercent": None}, "argocd")
    assert backend.wait_until(traffic={backend.revision(1): 100, backend.revision(2): 0}).weight == 0


def test_user_removes_the_candidate(backend: Backend) -> None:
    """Is seen as such, at once, whatever the status still says."""
    backend.staged(weight=10)
    backend.edit("mnist", {"canary": None, "canaryTrafficPercent": None}, "argocd")
    observation = backend.wait_until(candidate_removed=True)
    assert observation.weight is None
    backend.wait_until(traffic={backend.revision(1): 100})


def test_user_edits_the_default_endpoint(backend: Backend) -> None:
    """Another revision stands in its place; the candidate is the same."""
    before = backend.staged(weight=10)
    backend.edit("mnist", {"default": {"predictor": {"minReplicas": 2}}}, "argocd")
    renewed = backend.revision(1).replace("00001", "00002")
    observation = backend.wait_until(rolled_out=renewed, traffic={renewed: 90, backend.revision(2): 10})
    assert observation.created == before.created
    assert observation.spec_digest == before.spec_digest
    assert digests(observation)[0] != digests(before)[0]
