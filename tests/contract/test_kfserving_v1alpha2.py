"""The Cluster port for services whose spec holds stable beside the candidate."""

from __future__ import annotations

import pytest

from autocanary.errors import Conflict, Refused
from autocanary.model.observation import Observation, Trinary, Unsettled
from tests.contract.place import Place
from tests.contract.worlds import only_kfserving

pytestmark = only_kfserving


def at_100(place: Place) -> Observation:
    """A candidate that has all the traffic."""
    place.cluster.set_weight(place.staged(), 100)
    first, second = place.revision(1), place.revision(2)
    return place.becomes(traffic={first: 0, second: 100}, route_ready=Trinary.TRUE)


def digests(seen: Observation) -> tuple[str, str]:
    """What stable and the newest revision are made of."""
    assert seen.beside is not None
    return seen.beside.digest, seen.spec_digest


def test_at_rest_nothing_is_to_be_settled(place: Place) -> None:
    """There is no candidate, and stable's spec is the one that is seen."""
    seen = place.at_rest()
    assert (seen.withdrawn, seen.unsettled) == (True, None)
    stable, newest = digests(seen)
    assert stable == newest
    with pytest.raises(Refused, match="nothing to settle"):
        place.cluster.settle(seen)


def test_stable_is_known_beside_a_candidate(place: Place) -> None:
    """Its spec is read, not remembered."""
    before = place.at_rest()
    place.serve("mnist", "v2", 0)
    seen = place.becomes(ready=place.revision(2))
    assert digests(seen)[0] == before.spec_digest
    assert seen.beside is not None
    assert seen.beside.spec == before.spec
    assert not seen.withdrawn


def test_a_promotion_is_settled_by_two_writes(place: Place) -> None:
    """Copied first, with the weight kept; cleared when stable's own revision of it is ready."""
    seen = at_100(place)
    first, second = place.revision(1), place.revision(2)
    assert (seen.rolled_out, seen.created, seen.unsettled) == (first, second, Unsettled.ADOPT)
    copied = place.cluster.settle(seen)
    assert (copied.weight, copied.spec) == (100, seen.spec)
    assert digests(copied) == (seen.spec_digest, seen.spec_digest)
    renewed = first.replace("00001", "00002")
    ready = place.becomes(rolled_out=renewed, unsettled=Unsettled.CLEAR, traffic={renewed: 0, second: 100})
    cleared = place.cluster.settle(ready)
    assert (cleared.weight, cleared.withdrawn, cleared.spec) == (None, True, seen.spec)
    done = place.becomes(unsettled=None, traffic={renewed: 100}, rolled_out=renewed)
    assert (done.created, done.ready) == (renewed, renewed)
    present = place.document("mnist")
    assert present is not None
    assert set(present["spec"]) == {"default"}


def test_settling_is_compare_and_set(place: Place) -> None:
    """What somebody else wrote meanwhile is not overwritten."""
    stale = at_100(place)
    place.edit("mnist", {"default": {"predictor": {"minReplicas": 2}}}, "argocd")
    with pytest.raises(Conflict):
        place.cluster.settle(stale)


def test_a_copy_is_not_finished_while_stable_is_not_ready(place: Place) -> None:
    """The traffic would go to a side that cannot answer yet."""
    place.at_rest()
    place.serve("mnist", "v2-slow2", 100)
    place.becomes(traffic={place.revision(1): 0, place.revision(2): 100}, route_ready=Trinary.TRUE)
    place.cluster.settle(place.seen())
    waiting = place.becomes(unsettled=Unsettled.WAIT)
    with pytest.raises(Refused, match="nothing to settle"):
        place.cluster.settle(waiting)
    place.becomes(unsettled=Unsettled.CLEAR)


def test_a_candidate_is_taken_out(place: Place) -> None:
    """Restoring leaves stable as it stands and removes what stands beside it."""
    stable = place.at_rest()
    place.serve("mnist", "v2", 10, args=["--fast"])
    place.becomes(traffic={place.revision(1): 90, place.revision(2): 10})
    answer = place.cluster.restore(place.seen(), stable.spec, 0)
    assert (answer.withdrawn, answer.weight, answer.spec) == (True, None, stable.spec)
    assert place.becomes(traffic={place.revision(1): 100}, route_ready=Trinary.TRUE).spec == stable.spec


def test_a_weight_that_is_removed_is_0(place: Place) -> None:
    """``omitempty``: the server may drop a 0 that was written."""
    place.staged(weight=10)
    place.patch("mnist", {"canaryTrafficPercent": None}, "argocd")
    assert place.becomes(traffic={place.revision(1): 100, place.revision(2): 0}).weight == 0


def test_a_candidate_that_somebody_takes_out(place: Place) -> None:
    """Is seen as such, at once, whatever the status still says."""
    place.staged(weight=10)
    place.edit("mnist", {"canary": None, "canaryTrafficPercent": None}, "argocd")
    seen = place.becomes(withdrawn=True)
    assert seen.weight is None
    place.becomes(traffic={place.revision(1): 100})


def test_stable_that_somebody_edits(place: Place) -> None:
    """Another revision stands in its place; the candidate is the same."""
    before = place.staged(weight=10)
    place.edit("mnist", {"default": {"predictor": {"minReplicas": 2}}}, "argocd")
    renewed = place.revision(1).replace("00001", "00002")
    seen = place.becomes(rolled_out=renewed, traffic={renewed: 90, place.revision(2): 10})
    assert seen.created == before.created
    assert seen.spec_digest == before.spec_digest
    assert digests(seen)[0] != digests(before)[0]
