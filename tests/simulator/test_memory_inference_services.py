"""The Cluster port over the simulated KServe: cache, writes, and every way in which they can fail."""

from __future__ import annotations

import pytest

from autocanary.errors import Busy, ClusterError, Conflict, Forbidden, Unreachable
from autocanary.model.policy import Component
from autocanary.simulator.fault_injection import FaultTiming
from autocanary.simulator.memory_inference_services import ServiceWrite
from autocanary.simulator.world import World

V1, V2 = "iris-predictor-00001", "iris-predictor-00002"


def world() -> World:
    """A service with its second revision staged at 0."""
    made = World()
    made.deploy("iris", "v1")
    made.advance(30)
    made.deploy("iris", "v2", weight=0)
    made.advance(30)
    made.cluster.take_changes()
    return made


def test_cache_follows_the_api_server() -> None:
    """services, observe and changed tell of what has happened, once."""
    made = World()
    assert made.cluster.services() == []
    made.deploy("iris", "v1")
    key = made.key("iris")
    assert made.cluster.take_changes() == {key}
    assert made.cluster.take_changes() == set()
    made.advance(30)
    assert made.cluster.take_changes() == {key}
    seen = made.cluster.observe(key)
    assert seen is not None
    assert seen.created == V1
    assert made.cluster.services() == [seen]
    assert made.cluster.observe(made.key("nobody")) is None
    assert made.cluster.observe(made.key("iris", component=Component.TRANSFORMER)) is None


def test_cache_lists_existing_services() -> None:
    """A cluster opened late lists what exists."""
    from autocanary.simulator.memory_inference_services import InMemoryCluster

    made = world()
    late = InMemoryCluster(made.kserve)
    assert [seen.key for seen in late.services()] == [made.key("iris")]
    assert late.take_changes() == {made.key("iris")}


def test_deleted_service_is_reported_and_dropped() -> None:
    """Its key is among the changed ones, and nothing is observed."""
    made = world()
    made.kserve.delete("models", "iris")
    made.advance(1)
    assert made.cluster.take_changes() == {made.key("iris")}
    assert made.cluster.observe(made.key("iris")) is None
    assert made.cluster.refresh(made.key("iris")) is None


def test_a_weight_is_written_and_recorded() -> None:
    """The answer is the object as written; the record says when and what."""
    made = world()
    seen = made.cluster.observe(made.key("iris"))
    assert seen is not None
    after = made.cluster.set_weight(seen, 10)
    assert (after.weight, after.writer) == (10, "autocanary")
    assert made.cluster.writes == [ServiceWrite(made.now(), made.key("iris"), 10)]
    made.advance(1)
    assert made.split("iris") == {"00002": 10, "00001": 90}


def test_write_on_a_stale_observation_is_a_conflict() -> None:
    """Nothing is written, and a refresh gives the observation that passes."""
    made = world()
    seen = made.cluster.observe(made.key("iris"))
    assert seen is not None
    made.kserve.patch("models", "iris", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Conflict):
        made.cluster.set_weight(seen, 10)
    assert made.cluster.writes == []
    fresh = made.cluster.refresh(made.key("iris"))
    assert fresh is not None
    assert made.cluster.set_weight(fresh, 10).weight == 10


def test_restoring_the_stable_spec() -> None:
    """One patch brings the spec back and removes the field."""
    made = World()
    made.deploy("iris", "v1")
    made.advance(30)
    stable = made.cluster.observe(made.key("iris"))
    assert stable is not None
    made.deploy("iris", "v2", weight=0)
    made.advance(30)
    seen = made.cluster.observe(made.key("iris"))
    assert seen is not None
    after = made.cluster.restore(seen, stable.spec, None)
    assert (after.spec_digest, after.weight) == (stable.spec_digest, None)
    assert made.cluster.writes[-1] == ServiceWrite(made.now(), made.key("iris"), None, restored=True)


@pytest.mark.parametrize("error", [Conflict("x"), Busy("x"), Forbidden("x"), Unreachable("x")])
def test_injected_error_fails_one_write(error: ClusterError) -> None:
    """Before it has happened: nothing is written."""
    made = world()
    seen = made.cluster.observe(made.key("iris"))
    assert seen is not None
    made.cluster.faults.next(error)
    with pytest.raises(type(error)):
        made.cluster.set_weight(seen, 10)
    assert made.cluster.writes == []
    assert made.cluster.set_weight(seen, 10).weight == 10


def test_response_may_be_lost_after_the_write() -> None:
    """The error comes, but the weight is there."""
    made = world()
    seen = made.cluster.observe(made.key("iris"))
    assert seen is not None
    made.cluster.faults.next(Unreachable("cut"), timing=FaultTiming.AFTER, verb="weight")
    with pytest.raises(Unreachable):
        made.cluster.set_weight(seen, 10)
    again = made.cluster.observe(made.key("iris"))
    assert again is not None
    assert again.weight == 10
    assert [write.weight for write in made.cluster.writes] == [10]


def test_injected_error_applies_to_the_matching_call() -> None:
    """By verb and by name, as often as planned, until it is cleared."""
    made = world()
    key = made.key("iris")
    seen = made.cluster.observe(key)
    assert seen is not None
    made.cluster.faults.next(Busy("x"), name="other")
    made.cluster.faults.next(Busy("x"), verb="refresh", times=2)
    made.cluster.set_weight(seen, 10)
    for _ in range(2):
        with pytest.raises(Busy):
            made.cluster.refresh(key)
    assert made.cluster.refresh(key) is not None
    made.cluster.faults.next(Busy("x"))
    made.cluster.faults.clear()
    assert made.cluster.refresh(key) is not None


def test_cache_age_grows_while_the_watch_is_down() -> None:
    """The cache stays as it was; own writes and refresh still see; afterwards it catches up."""
    made = world()
    key = made.key("iris")
    made.cluster.set_watch_down()
    made.advance(20)
    made.cluster.set_watch_down()
    made.kserve.patch("models", "iris", {"metadata": {"labels": {"a": "b"}}})
    made.deploy("late", "v1")
    made.advance(20)
    assert made.cluster.cache_age(key, "serving.kserve.io/v1beta1") == 40.0
    old = made.cluster.observe(key)
    assert old is not None
    assert old.labels == {}
    assert made.cluster.take_changes() == set()
    fresh = made.cluster.refresh(key)
    assert fresh is not None
    assert fresh.labels == {"a": "b"}
    made.cluster.set_watch_down(False)
    assert made.cluster.cache_age(key, "serving.kserve.io/v1beta1") == 0.0
    assert made.cluster.take_changes() == {key, made.key("late")}
