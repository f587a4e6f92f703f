"""Several namespaces as one picture."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.kube.api_errors import KindMissing
from autocanary.kube.cache import Change, Key
from autocanary.kube.list_watch import Pace
from autocanary.kube.multi_namespace_cache import Mirror
from autocanary.kube.resource import LEASES
from tests.kube.fake_api import FakeApi, Reply, status, until


def named(document: dict[str, Any]) -> str:
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def mirror(api: FakeApi, *namespaces: str, changes: list[Change[str]] | None = None) -> Mirror[str]:
    heard = changes.append if changes is not None else lambda _: None
    return Mirror(api.session(), LEASES, named, heard, namespaces=namespaces, pace=Pace(missing=0.01))


@pytest.fixture
def populated(api: FakeApi) -> FakeApi:
    for namespace in ("a", "b", "c"):
        api.put("leases", {"metadata": {"name": "x", "namespace": namespace}})
    return api


def test_named_namespaces_are_watched_one_by_one(populated: FakeApi) -> None:
    """Each needs only a Role; the others are never asked for. A name given twice is watched once."""
    both = mirror(populated, "a", "b", "a")
    both.start()
    assert both.wait(5)
    assert sorted(both.values()) == ["a/x", "b/x"]
    assert (both.get(Key("b", "x")), both.get(Key("c", "x"))) == ("b/x", None)
    both.stop()
    assert {each.path.split("/")[5] for each in populated.requests} == {"a", "b"}
    assert len([each for each in populated.made("GET") if "limit" in each.query]) == 2


def test_all_namespaces_are_one_watch(populated: FakeApi) -> None:
    """Without names one stream carries everything."""
    changes: list[Change[str]] = []
    everything = mirror(populated, changes=changes)
    everything.start()
    assert everything.wait(5)
    until(lambda: len(populated.watches()) == 1)
    populated.put("leases", {"metadata": {"name": "y", "namespace": "d"}})
    until(lambda: everything.get(Key("d", "y")) == "d/y")
    everything.stop()
    assert len(changes) == 4


def test_it_is_as_old_as_its_oldest_namespace(populated: FakeApi) -> None:
    """One namespace that cannot be read must not hide behind the others."""
    populated.reply("GET", "/namespaces/b/", *[Reply(403, status(403, "Forbidden", "no"))] * 50)
    both = mirror(populated, "a", "b")
    both.start()
    assert not both.wait(0.05)
    until(lambda: both.fault is not None)
    assert both.age() == both.age(Key("b", "y")) == float("inf")
    assert both.age(Key("a", "x")) < 5
    assert both.age(Key("elsewhere", "x")) == float("inf")
    both.stop()


def test_own_writes_enter_at_once_where_they_belong(populated: FakeApi) -> None:
    """A namespace that is not watched has no picture to enter."""
    one = mirror(populated, "a")
    one.start()
    assert one.wait(5)
    assert one.put(Key("a", "new"), "900", "a/new")
    assert not one.put(Key("z", "new"), "900", "z/new")
    one.remove(Key("a", "new"))
    one.remove(Key("z", "new"))
    one.stop()
    assert list(one.values()) == ["a/x"]


def test_a_kind_that_is_not_served_is_a_fault(api: FakeApi) -> None:
    """Whoever needs it can say so."""
    api.unserved.add("leases")
    missing = mirror(api)
    missing.start()
    assert missing.wait(5)
    until(lambda: isinstance(missing.fault, KindMissing))
    missing.stop()


def test_an_answer_enters_an_empty_picture(api: FakeApi) -> None:
    """The first object of all is seen before the watch tells of it."""
    everything = mirror(api)
    assert everything.put(Key("a", "x"), "7", "a/x")
    assert list(everything.values()) == ["a/x"]
    everything.remove(Key("a", "x"))
    assert list(everything.values()) == []
