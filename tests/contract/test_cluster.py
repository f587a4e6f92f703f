"""The Cluster port: what is seen of a service as its weight moves, and what becomes of a write."""

from __future__ import annotations

import pytest

from autocanary.core.observation import Mode, Observation, ServiceKey, Trinary
from autocanary.errors import Conflict, NotFound, Refused
from tests.contract.place import Place, revision

FIRST, SECOND, THIRD = (revision(number) for number in (1, 2, 3))


def bookkeeping(seen: Observation) -> tuple[str, str, str, str]:
    return seen.rolled_out, seen.previous, seen.ready, seen.created


def next_changes(place: Place) -> set[ServiceKey]:
    """What is told of as soon as anything is."""
    told: set[ServiceKey] = set()

    def something() -> bool:
        told.update(place.cluster.changed())
        return bool(told)

    assert place.eventually(something)
    return told


def test_a_service_at_rest(place: Place) -> None:
    """One revision has everything, and no weight is set."""
    seen = place.at_rest()
    assert seen.key == place.key()
    assert seen.uid
    assert seen.api_version == "serving.kserve.io/v1beta1"
    assert bookkeeping(seen) == (FIRST, "", FIRST, FIRST)
    assert seen.traffic == {FIRST: 100}
    assert seen.weight is None
    assert seen.mode is Mode.KNATIVE
    assert (seen.route_ready, seen.service_ready, seen.latest_ready) == (Trinary.TRUE,) * 3
    assert (seen.failure, seen.reconcile_error) == ("", "")
    assert not seen.stopped
    assert not seen.deleting
    assert not seen.auto_update_disabled
    assert seen.spec["model"]["storageUri"] == "gs://models/mnist/v1"
    assert list(place.cluster.services()) == [seen]
    assert place.cluster.age() < 5


def test_what_does_not_exist_is_not_seen(place: Place) -> None:
    """Neither in the picture nor when it is asked for."""
    assert list(place.cluster.services()) == []
    assert place.cluster.observe(place.key()) is None
    assert place.cluster.refresh(place.key()) is None


def test_a_candidate_staged_at_0(place: Place) -> None:
    """It is ready and named, and gets nothing."""
    before = place.at_rest()
    place.serve("mnist", "v2", 0)
    waiting = place.becomes(created=SECOND)
    assert bookkeeping(waiting) == (FIRST, "", FIRST, SECOND)
    assert waiting.share(SECOND) == 0
    assert waiting.share(FIRST) == 100
    seen = place.becomes(ready=SECOND, traffic={FIRST: 100, SECOND: 0})
    assert bookkeeping(seen) == (FIRST, "", SECOND, SECOND)
    assert seen.weight == 0
    assert seen.writer.startswith("kubectl")
    assert seen.in_effect(candidate=SECOND, stable=FIRST, weight=0)
    assert seen.spec_digest != before.spec_digest
    assert "canaryTrafficPercent" not in seen.spec


def test_a_weight_is_written_and_takes_effect_later(place: Place) -> None:
    """The answer has the weight and the old traffic; the status follows."""
    staged = place.staged()
    answer = place.cluster.set_weight(staged, 10)
    assert (answer.weight, answer.writer) == (10, "autocanary")
    assert answer.resource_version != staged.resource_version
    assert answer.spec_digest == staged.spec_digest
    assert answer.uid == staged.uid
    assert place.seen().weight == 10, "the next look must not see the world before the write"
    assert not answer.in_effect(candidate=SECOND, stable=FIRST, weight=10)
    seen = place.becomes(traffic={FIRST: 90, SECOND: 10}, route_ready=Trinary.TRUE)
    assert seen.in_effect(candidate=SECOND, stable=FIRST, weight=10)
    assert bookkeeping(seen) == (FIRST, "", SECOND, SECOND)


def test_a_promotion(place: Place) -> None:
    """At 100 the candidate is rolled out and stable is the one before it."""
    staged = place.staged(weight=50)
    place.cluster.set_weight(staged, 100)
    seen = place.becomes(rolled_out=SECOND, traffic={SECOND: 100})
    assert bookkeeping(seen) == (SECOND, FIRST, SECOND, SECOND)
    assert seen.weight == 100
    assert seen.in_effect(candidate=SECOND, stable=FIRST, weight=100)


def test_a_rollback(place: Place) -> None:
    """At 0 stable has everything; the candidate is still the newest and still named, with 0."""
    staged = place.staged(weight=10)
    place.cluster.set_weight(staged, 0)
    seen = place.becomes(traffic={FIRST: 100, SECOND: 0})
    assert bookkeeping(seen) == (FIRST, "", SECOND, SECOND)
    assert seen.weight == 0


def test_a_rollback_after_a_promotion(place: Place) -> None:
    """The traffic goes back to the revision before, which is then the rolled-out one again."""
    promoted = place.promoted()
    place.cluster.set_weight(promoted, 0)
    seen = place.becomes(rolled_out=FIRST, traffic={FIRST: 100, SECOND: 0})
    assert bookkeeping(seen) == (FIRST, FIRST, SECOND, SECOND)


def test_a_write_is_compare_and_set(place: Place) -> None:
    """What was seen before somebody else's write conflicts; read anew, it succeeds."""
    stale = place.staged()
    place.patch("mnist", {"minReplicas": 0}, "argocd")
    with pytest.raises(Conflict):
        place.cluster.set_weight(stale, 10)
    with pytest.raises(Conflict):
        place.cluster.restore(stale, stale.spec, 0)
    fresh = place.cluster.refresh(place.key())
    assert fresh is not None
    assert fresh.weight == 0
    assert place.cluster.set_weight(fresh, 10).weight == 10


def test_the_weight_that_is_there_already_is_no_change(place: Place) -> None:
    """The write succeeds and the object does not move, so a repetition after a lost answer is harmless."""
    staged = place.staged(weight=10)
    again = place.cluster.set_weight(staged, 10)
    assert (again.weight, again.resource_version) == (10, staged.resource_version)
    assert again.writer == staged.writer


@pytest.mark.parametrize("weight", [-1, 101])
def test_a_weight_that_kserve_cannot_use_is_refused(place: Place, weight: int) -> None:
    """Before it is sent: the API server would take it, and KServe then stops reconciling."""
    place.serve("mnist", "v1", 50)
    seen = place.becomes(weight=50)
    with pytest.raises(Refused, match=r"0\.\.100"):
        place.cluster.set_weight(seen, weight)
    with pytest.raises(Refused, match=r"0\.\.100"):
        place.cluster.restore(seen, seen.spec, weight)
    assert place.seen().weight == 50


def test_a_deleted_service(place: Place) -> None:
    """It leaves the picture, and a write to it finds nothing."""
    staged = place.staged()
    place.delete("mnist")
    assert place.eventually(lambda: place.cluster.refresh(place.key()) is None)
    assert place.eventually(lambda: place.cluster.observe(place.key()) is None)
    assert list(place.cluster.services()) == []
    with pytest.raises(NotFound):
        place.cluster.set_weight(staged, 10)
    with pytest.raises(NotFound):
        place.cluster.restore(staged, staged.spec, None)


def test_a_namesake_is_another_service(place: Place) -> None:
    """What was seen of the one cannot be written to the other."""
    before = place.staged()
    place.delete("mnist")
    assert place.eventually(lambda: place.cluster.observe(place.key()) is None)
    namesake = place.at_rest()
    assert namesake.uid != before.uid
    assert namesake.created == FIRST, "its revisions start over"
    with pytest.raises(Conflict):
        place.cluster.set_weight(before, 10)
    assert place.seen().weight is None
    assert place.seen().uid == namesake.uid


def test_the_changed_keys_are_told_once(place: Place) -> None:
    """Exactly those that have changed, and then no more of them."""
    place.at_rest("one")
    place.at_rest("two")
    place.rest(0.5)
    assert place.cluster.changed() <= {place.key("one"), place.key("two")}
    assert place.cluster.changed() == set()
    place.patch("one", {"minReplicas": 2}, "argocd")
    assert next_changes(place) == {place.key("one")}
    place.rest(2.0)  # the new revision is ready
    assert place.cluster.changed() == {place.key("one")}
    assert place.cluster.changed() == set()
    place.delete("two")
    assert next_changes(place) == {place.key("two")}


def test_the_stable_spec_is_put_back_without_a_weight(place: Place) -> None:
    """All of it: what the candidate had added goes, what it had changed is as before."""
    stable = place.at_rest()
    place.serve("mnist", "v2", 10, args=["--fast"], env=[{"name": "A", "value": "b"}])
    place.becomes(ready=SECOND, traffic={FIRST: 90, SECOND: 10})
    answer = place.cluster.restore(place.seen(), stable.spec, None)
    assert answer.spec == stable.spec
    assert answer.spec_digest == stable.spec_digest
    assert answer.weight is None
    seen = place.becomes(rolled_out=THIRD, traffic={THIRD: 100})
    assert seen.spec == stable.spec


def test_the_stable_spec_is_put_back_with_a_weight(place: Place) -> None:
    """A blocked rollback is unblocked by a revision with stable's content, staged at 0."""
    stable = place.at_rest()
    place.serve("mnist", "v2", 10)
    place.becomes(ready=SECOND, traffic={FIRST: 90, SECOND: 10})
    answer = place.cluster.restore(place.seen(), stable.spec, 0)
    assert (answer.spec_digest, answer.weight) == (stable.spec_digest, 0)
    assert answer.writer == "autocanary"
    seen = place.becomes(ready=THIRD, traffic={FIRST: 100, THIRD: 0})
    assert bookkeeping(seen) == (FIRST, "", THIRD, THIRD)


def test_a_weight_that_another_manager_wrote(place: Place) -> None:
    """Is seen, and by whom it was written."""
    place.cluster.set_weight(place.staged(), 10)
    place.patch("mnist", {"canaryTrafficPercent": 40}, "argocd")
    seen = place.becomes(weight=40, traffic={FIRST: 60, SECOND: 40})
    assert seen.writer == "argocd"
    assert place.cluster.set_weight(seen, 20).writer == "autocanary"


def test_a_field_that_another_manager_removed(place: Place) -> None:
    """KServe then promotes the candidate, whatever it is."""
    place.staged(weight=10)
    place.patch("mnist", {"canaryTrafficPercent": None}, "argocd")
    seen = place.becomes(weight=None, traffic={SECOND: 100}, rolled_out=SECOND)
    assert bookkeeping(seen) == (SECOND, FIRST, SECOND, SECOND)


def test_an_unstaged_release_can_be_caught(place: Place) -> None:
    """The new revision is named before it is ready; 0 written in between keeps the traffic on stable."""
    place.at_rest()
    place.serve("mnist", "v2-slow2")
    seen = place.becomes(created=SECOND)
    assert (seen.weight, seen.ready, seen.rolled_out) == (None, FIRST, FIRST)
    assert seen.traffic == {FIRST: 100}
    place.cluster.set_weight(seen, 0)
    ready = place.becomes(ready=SECOND, traffic={FIRST: 100, SECOND: 0})
    assert bookkeeping(ready) == (FIRST, "", SECOND, SECOND)


def test_an_unstaged_release_that_is_not_caught(place: Place) -> None:
    """Takes everything when it is ready."""
    place.at_rest()
    place.serve("mnist", "v2")
    seen = place.becomes(rolled_out=SECOND, traffic={SECOND: 100})
    assert bookkeeping(seen) == (SECOND, FIRST, SECOND, SECOND)


def test_the_grand_previous_trap_and_the_way_out(place: Place) -> None:
    """A weight without a new revision sends traffic to the revision before stable; the spec repairs it."""
    stable = place.promoted()
    place.refuse_revisions("mnist", "quota exceeded")
    place.serve("mnist", "v3", 10)
    trapped = place.becomes(rolled_out=FIRST, traffic={FIRST: 90, SECOND: 10})
    assert trapped.created == SECOND
    place.refuse_revisions("mnist", "")
    place.eventually(lambda: place.seen().created == THIRD)
    fresh = place.cluster.refresh(place.key())
    assert fresh is not None
    assert place.cluster.restore(fresh, stable.spec, None).spec == stable.spec
    fourth = revision(4)
    seen = place.becomes(rolled_out=fourth, traffic={fourth: 100})
    assert FIRST not in seen.traffic


def test_a_revision_that_cannot_become_ready_says_why(place: Place) -> None:
    """In words, while its share stays with stable."""
    place.at_rest()
    place.serve("mnist", "v2-crash", 10)
    assert place.eventually(lambda: place.seen().failure != "")
    seen = place.seen()
    assert "model failed to load" in seen.failure
    assert bookkeeping(seen) == (FIRST, "", FIRST, SECOND)
    assert seen.latest_ready is Trinary.FALSE
    assert seen.traffic == {FIRST: 100}
    assert seen.share(SECOND) == 0
    place.serve("mnist", "v3", 10)
    healed = place.becomes(ready=THIRD, traffic={FIRST: 90, THIRD: 10})
    assert healed.failure == ""


def test_a_read_is_newer_than_the_picture(place: Place) -> None:
    """``refresh`` sees somebody's write at once, and the picture has it from then on."""
    place.staged()
    place.patch("mnist", {"canaryTrafficPercent": 33}, "argocd")
    fresh = place.cluster.refresh(place.key())
    assert fresh is not None
    assert fresh.weight == 33
    assert place.seen().weight == 33
