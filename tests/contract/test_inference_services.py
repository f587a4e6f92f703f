"""The Cluster port: what is seen of a service as its weight moves, and what becomes of a write."""

from __future__ import annotations

import pytest

from autocanary.errors import Conflict, NotFound, Refused
from autocanary.model.observation import Mode, Observation, ServiceKey, Trinary
from tests.contract.place import Place
from tests.contract.worlds import only_kserve


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
    first = place.revision(1)
    seen = place.at_rest()
    assert seen.key == place.key()
    assert seen.uid
    assert seen.api_version == place.form.api_version
    assert bookkeeping(seen) == (first, "", first, first)
    assert seen.traffic == {first: 100}
    assert seen.weight is None
    assert seen.mode is Mode.KNATIVE
    assert (seen.route_ready, seen.service_ready, seen.latest_ready) == (Trinary.TRUE,) * 3
    assert (seen.failure, seen.reconcile_error) == ("", "")
    assert not seen.stopped
    assert not seen.deleting
    assert not seen.auto_update_disabled
    assert place.form.uri_of(seen) == "gs://models/mnist/v1"
    assert list(place.cluster.services()) == [seen]
    assert place.cluster.age(seen.key, seen.api_version) < 5


def test_what_does_not_exist_is_not_seen(place: Place) -> None:
    """Neither in the picture nor when it is asked for."""
    assert list(place.cluster.services()) == []
    assert place.cluster.observe(place.key()) is None
    assert place.cluster.refresh(place.key()) is None


def test_a_candidate_staged_at_0(place: Place) -> None:
    """It is ready and named, and gets nothing."""
    first, second = place.revision(1), place.revision(2)
    before = place.at_rest()
    place.serve("mnist", "v2", 0)
    waiting = place.becomes(created=second)
    assert bookkeeping(waiting) == (first, "", first, second)
    assert waiting.traffic == place.form.while_starting(first)
    assert place.answering() == {first: 100}
    seen = place.becomes(ready=second, traffic={first: 100, second: 0})
    assert bookkeeping(seen) == (first, "", second, second)
    assert seen.weight == 0
    assert seen.writer.startswith("kubectl")
    assert seen.in_effect(candidate=second, stable=first, weight=0)
    assert seen.spec_digest != before.spec_digest
    assert "canaryTrafficPercent" not in seen.spec


def test_a_weight_is_written_and_takes_effect_later(place: Place) -> None:
    """The answer has the weight and the old traffic; the status follows."""
    first, second = place.revision(1), place.revision(2)
    staged = place.staged()
    answer = place.cluster.set_weight(staged, 10)
    assert (answer.weight, answer.writer) == (10, "autocanary")
    assert answer.resource_version != staged.resource_version
    assert answer.spec_digest == staged.spec_digest
    assert answer.uid == staged.uid
    assert place.seen().weight == 10, "the next look must not see the world before the write"
    assert not answer.in_effect(candidate=second, stable=first, weight=10)
    seen = place.becomes(traffic={first: 90, second: 10}, route_ready=Trinary.TRUE)
    assert seen.in_effect(candidate=second, stable=first, weight=10)
    assert bookkeeping(seen) == (first, "", second, second)


def test_a_promotion(place: Place) -> None:
    """At 100 the candidate has everything, and is rolled out once what the spec lacks is settled."""
    first, second, stable = place.revision(1), place.revision(2), place.form.promoted(2, "mnist")
    staged = place.staged(weight=50)
    place.cluster.set_weight(staged, 100)
    seen = place.becomes(**place.form.at_100(first, second), route_ready=Trinary.TRUE)
    assert (seen.ready, seen.created) == (second, second)
    assert seen.in_effect(candidate=second, stable=first, weight=100)
    assert place.answering() == {second: 100}
    done = place.settled(seen)
    assert bookkeeping(done) == (stable, place.form.previous(first), stable, stable)
    assert done.spec_digest == staged.spec_digest
    assert place.answering() == {stable: 100}


def test_a_rollback(place: Place) -> None:
    """At 0 stable has everything; the candidate is still the newest and still named, with 0."""
    first, second = place.revision(1), place.revision(2)
    staged = place.staged(weight=10)
    place.cluster.set_weight(staged, 0)
    seen = place.becomes(traffic={first: 100, second: 0})
    assert bookkeeping(seen) == (first, "", second, second)
    assert seen.weight == 0


def test_a_rollback_after_a_promotion(place: Place) -> None:
    """The traffic goes back to the revision before, which is then the rolled-out one again."""
    first, second = place.revision(1), place.revision(2)
    promoted = place.promoted()
    place.cluster.set_weight(promoted, 0)
    seen = place.becomes(rolled_out=first, traffic={first: 100, second: 0})
    assert bookkeeping(seen) == (first, place.form.previous(first), second, second)


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
    seen = place.staged(weight=50)
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
    first = place.revision(1)
    before = place.staged()
    place.delete("mnist")
    assert place.eventually(lambda: place.cluster.observe(place.key()) is None)
    namesake = place.at_rest()
    assert namesake.uid != before.uid
    assert namesake.created == first, "its revisions start over"
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
    first, second, restored = place.revision(1), place.revision(2), place.form.restored("mnist")
    stable = place.at_rest()
    place.serve("mnist", "v2", 10, args=["--fast"], env=[{"name": "A", "value": "b"}])
    place.becomes(ready=second, traffic={first: 90, second: 10})
    answer = place.cluster.restore(place.seen(), stable.spec, None)
    assert answer.spec == stable.spec
    assert answer.spec_digest == stable.spec_digest
    assert answer.weight is None
    seen = place.becomes(rolled_out=restored, traffic={restored: 100})
    assert seen.spec == stable.spec


def test_the_stable_spec_is_put_back_with_a_weight(place: Place) -> None:
    """A blocked rollback is unblocked by stable's content: staged at 0 where that takes a new revision."""
    first, second, restored = place.revision(1), place.revision(2), place.form.restored("mnist")
    stable = place.at_rest()
    place.serve("mnist", "v2", 10)
    place.becomes(ready=second, traffic={first: 90, second: 10})
    answer = place.cluster.restore(place.seen(), stable.spec, 0)
    assert answer.spec_digest == stable.spec_digest
    assert (answer.weight, answer.writer) == place.form.put_back_at_0
    seen = place.becomes(ready=restored, traffic={restored: 0, first: 100})
    assert bookkeeping(seen) == (first, "", restored, restored)
    assert place.answering() == {first: 100}


def test_a_weight_that_another_manager_wrote(place: Place) -> None:
    """Is seen, and by whom it was written."""
    first, second = place.revision(1), place.revision(2)
    place.cluster.set_weight(place.staged(), 10)
    place.patch("mnist", {"canaryTrafficPercent": 40}, "argocd")
    seen = place.becomes(weight=40, traffic={first: 60, second: 40})
    assert seen.writer == "argocd"
    assert place.cluster.set_weight(seen, 20).writer == "autocanary"


def test_a_field_that_another_manager_removed(place: Place) -> None:
    """KServe then promotes the candidate, whatever it is; KFServing takes all traffic from it."""
    first, second = place.revision(1), place.revision(2)
    place.staged(weight=10)
    place.patch("mnist", {"canaryTrafficPercent": None}, "argocd")
    seen = place.becomes(**place.form.without_weight(first, second))
    assert (seen.ready, seen.created) == (second, second)


def test_an_unstaged_release_can_be_caught(place: Place) -> None:
    """The new revision is named before it is ready; 0 written in between keeps the traffic on stable."""
    first, second = place.revision(1), place.revision(2)
    place.at_rest()
    place.serve("mnist", "v2-slow2", place.form.unstaged)
    seen = place.becomes(created=second)
    assert (seen.weight, seen.ready, seen.rolled_out) == (place.form.unstaged, first, first)
    assert seen.traffic == place.form.while_starting(first)
    assert place.answering() == {first: 100}
    place.cluster.set_weight(seen, 0)
    ready = place.becomes(ready=second, traffic={first: 100, second: 0})
    assert bookkeeping(ready) == (first, "", second, second)


def test_an_unstaged_release_that_is_not_caught(place: Place) -> None:
    """Takes everything when it is ready."""
    first, second = place.revision(1), place.revision(2)
    place.at_rest()
    place.serve("mnist", "v2", place.form.unstaged)
    seen = place.becomes(**place.form.at_100(first, second) | {"weight": place.form.unstaged})
    assert (seen.ready, seen.created) == (second, second)
    assert place.answering() == {second: 100}


@only_kserve
def test_the_grand_previous_trap_and_the_way_out(place: Place) -> None:
    """A weight without a new revision sends traffic to the revision before stable; the spec repairs it."""
    first, second, third = place.revision(1), place.revision(2), place.revision(3)
    stable = place.promoted()
    place.refuse_revisions("mnist", "quota exceeded")
    place.serve("mnist", "v3", 10)
    trapped = place.becomes(rolled_out=first, traffic={first: 90, second: 10})
    assert trapped.created == second
    place.refuse_revisions("mnist", "")
    place.eventually(lambda: place.seen().created == third)
    fresh = place.cluster.refresh(place.key())
    assert fresh is not None
    assert place.cluster.restore(fresh, stable.spec, None).spec == stable.spec
    fourth = place.revision(4)
    seen = place.becomes(rolled_out=fourth, traffic={fourth: 100})
    assert first not in seen.traffic


def test_a_revision_that_cannot_become_ready_says_why(place: Place) -> None:
    """In words, while its share stays with stable."""
    first, second, third = place.revision(1), place.revision(2), place.revision(3)
    place.at_rest()
    place.serve("mnist", "v2-crash", 10)
    assert place.eventually(lambda: place.seen().failure != "")
    seen = place.seen()
    assert "model failed to load" in seen.failure
    assert bookkeeping(seen) == (first, "", first, second)
    assert seen.latest_ready is Trinary.FALSE
    assert seen.traffic == place.form.while_starting(first)
    assert place.answering() == {first: 100}
    place.serve("mnist", "v3", 10)
    healed = place.becomes(ready=third, traffic={first: 90, third: 10})
    assert healed.failure == ""


def test_a_read_is_newer_than_the_picture(place: Place) -> None:
    """``refresh`` sees somebody's write at once, and the picture has it from then on."""
    place.staged()
    place.patch("mnist", {"canaryTrafficPercent": 33}, "argocd")
    fresh = place.cluster.refresh(place.key())
    assert fresh is not None
    assert fresh.weight == 33
    assert place.seen().weight == 33
