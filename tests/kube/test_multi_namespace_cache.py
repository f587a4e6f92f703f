"""Several namespaces as one picture."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.cache import Change, ObjectKey
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.multi_namespace_cache import MultiNamespaceCache
from autocanary.kube.resource import LEASES
from tests.kube.fake_api import FakeApi, Reply, status, until


def named(document: dict[str, Any]) -> str:
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def multi_cache(api: FakeApi, *namespaces: str, changes: list[Change[str]] | None = None) -> MultiNamespaceCache[str]:
    heard = changes.append if changes is not None else lambda _: None
    return MultiNamespaceCache(
        api.client(), LEASES, named, heard, namespaces=namespaces, timing=WatchTiming(retry_not_served=0.01)
    )


@pytest.fixture
def populated(api: FakeApi) -> FakeApi:
    for namespace in ("a", "b", "c"):
        api.put("leases", {"metadata": {"name": "x", "namespace": namespace}})
    return api


def test_named_namespaces_are_watched_one_by_one(populated: FakeApi) -> None:
    """Each needs only a Role; the others are never asked for. A name given twice is watched once."""
    both = multi_cache(populated, "a", "b", "a")
    both.start()
    assert both.wait(5)
    assert sorted(both.values()) == ["a/x", "b/x"]
    assert (both.get(ObjectKey("b", "x")), both.get(ObjectKey("c", "x"))) == ("b/x", None)
    both.stop()
    assert {each.path.split("/")[5] for each in populated.requests} == {"a", "b"}
    assert len([each for each in populated.made("GET") if "limit" in each.query]) == 2


def test_all_namespaces_are_one_watch(populated: FakeApi) -> None:
    """Without names one stream carries everything."""
    changes: list[Change[str]] = []
    everything = multi_cache(populated, changes=changes)
    everything.start()
    assert everything.wait(5)
    until(lambda: len(populated.watches()) == 1)
    populated.put("leases", {"metadata": {"name": "y", "namespace": "d"}})
    until(lambda: everything.get(ObjectKey("d", "y")) == "d/y")
    everything.stop()
    assert len(changes) == 4


def test_age_is_that_of_oldest_namespace(populated: FakeApi) -> None:
    """One namespace that cannot be read must not hide behind the others."""
    populated.reply("GET", "/namespaces/b/", *[Reply(403, status(403, "Forbidden", "no"))] * 50)
    both = multi_cache(populated, "a", "b")
    both.start()
    assert not both.wait(0.05)
    until(lambda: both.fault is not None)
    assert both.cache_age() == both.cache_age(ObjectKey("b", "y")) == float("inf")
    assert both.cache_age(ObjectKey("a", "x")) < 5
    assert both.cache_age(ObjectKey("elsewhere", "x")) == float("inf")
    both.stop()


def test_own_writes_update_cache_of_their_namespace(populated: FakeApi) -> None:
    """A namespace that is not watched has no picture to enter."""
    one = multi_cache(populated, "a")
    one.start()
    assert one.wait(5)
    assert one.put(ObjectKey("a", "new"), "900", "a/new")
    assert not one.put(ObjectKey("z", "new"), "900", "z/new")
    one.remove(ObjectKey("a", "new"))
    one.remove(ObjectKey("z", "new"))
    one.stop()
    assert list(one.values()) == ["a/x"]


def test_a_kind_that_is_not_served_is_a_fault(api: FakeApi) -> None:
    """A caller that needs it can say so."""
    api.unserved.add("leases")
    missing = multi_cache(api)
    missing.start()
    assert missing.wait(5)
    until(lambda: isinstance(missing.fault, ResourceNotServed))
    missing.stop()


def test_response_updates_empty_cache(api: FakeApi) -> None:
    """The first object of all is seen before the watch reports it."""
    everything = multi_cache(api)
    assert everything.put(ObjectKey("a", "x"), "7", "a/x")
    assert list(everything.values()) == ["a/x"]
    everything.remove(ObjectKey("a", "x"))
    assert list(everything.values()) == []
