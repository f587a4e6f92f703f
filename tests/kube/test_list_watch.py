"""List-then-watch: every way a stream can end, and what the cache shows meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from autocanary.kube import skipped_objects
from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.cache import Change, ObjectKey
from autocanary.kube.list_watch import Reflector, WatchTiming
from autocanary.kube.resource import LEASES
from autocanary.kube.watch_stream import MAX_LINE_BYTES
from autocanary.logs import capture
from tests.kube.fake_api import FakeApi, Reply, Request, Script, status, until

QUICK = WatchTiming(first_backoff=0.001, max_backoff=0.01, retry_not_served=0.01)


class RunningReflector:
    """A watch on leases whose value is the holder, with what it did written down."""

    def __init__(self, api: FakeApi, timing: WatchTiming = QUICK, **options: Any) -> None:
        self.now = 0.0
        self.changes: list[Change[str]] = []
        self.pauses: list[float] = []
        self.faults_at_pauses: list[object] = []
        self.client = api.client(timeout=(1.0, options.pop("read", 5.0)))
        self._stopped = threading.Event()
        self.watch: Reflector[str] = Reflector(
            self.client,
            LEASES,
            options.pop("namespace", ""),
            holder,
            options.pop("on_change", self.changes.append),
            timing=timing,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.faults_at_pauses.append(self.watch.fault)
        self._stopped.wait(min(seconds, 0.01))

    def values(self) -> list[str]:
        return sorted(self.watch.cache.values())

    def stop(self) -> None:
        self._stopped.set()
        self.watch.stop()


def holder(document: dict[str, Any]) -> str:
    return str(document["spec"]["holderIdentity"])


def lease(name: str, held_by: Any, namespace: str = "ml") -> dict[str, Any]:
    spec = {"holderIdentity": held_by} if held_by is not None else {}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def event(kind: str, version: int, name: str = "a", held_by: str = "x") -> bytes:
    metadata = {"name": name, "namespace": "ml", "resourceVersion": str(version)}
    document = {"metadata": metadata, "spec": {"holderIdentity": held_by}}
    return json.dumps({"type": kind, "object": document}).encode() + b"\n"


@pytest.fixture
def follow(api: FakeApi) -> Iterator[Callable[..., RunningReflector]]:
    followers: list[RunningReflector] = []

    def start(**options: Any) -> RunningReflector:
        followers.append(RunningReflector(api, **options))
        followers[-1].watch.start()
        return followers[-1]

    yield start
    for follower in followers:
        follower.stop()


def test_cache_follows_server(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Listed, added, changed, deleted: the cache shows it and every change is reported once."""
    api.put("leases", lease("a", "one"))
    follower = follow()
    assert follower.watch.wait(5)
    assert follower.values() == ["one"]
    api.put("leases", lease("b", "two"))
    until(lambda: follower.values() == ["one", "two"])
    api.put("leases", lease("a", "three"))
    api.drop("leases", "ml", "b")
    until(lambda: follower.values() == ["three"])
    until(lambda: len(follower.changes) == 4)
    assert [(each.before, each.after) for each in follower.changes] == [
        (None, "one"),
        (None, "two"),
        ("one", "three"),
        ("two", None),
    ]


def test_a_long_list_is_read_in_pages(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Thousands of objects in one answer would be held in memory at once, on both sides."""
    for number in range(7):
        api.put("leases", lease(f"l{number}", str(number)))
    follower = follow(timing=WatchTiming(page_size=3))
    assert follower.watch.wait(5)
    assert follower.values() == [str(number) for number in range(7)]
    assert [each.get("continue") for each in lists(api)] == [None, "3", "6"]


def test_one_namespace_is_watched_alone(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """A Role in one namespace must be enough."""
    api.put("leases", lease("a", "mine"))
    api.put("leases", lease("a", "foreign", namespace="other"))
    follower = follow(namespace="ml")
    assert follower.watch.wait(5)
    assert follower.values() == ["mine"]
    assert all("/namespaces/ml/" in each.path for each in api.requests)


def test_the_age_is_since_the_last_confirmation(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Before the first list nothing is known; then lists, events and bookmarks confirm, silence does not."""
    assert RunningReflector(api).watch.cache_age() == float("inf")
    follower = follow()
    assert follower.watch.wait(5)
    follower.now = 40.0
    assert follower.watch.cache_age() == 40.0
    api.put("leases", lease("a", "one"))
    until(lambda: follower.watch.cache_age() == 0.0)


def test_a_bookmark_confirms_and_moves_on(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """On a quiet cluster bookmarks are all there is; the next watch begins where the bookmark stood."""
    api.scripts.append(Script((event("BOOKMARK", 500),)))
    follow()
    until(lambda: len(api.watches()) == 2)
    assert [each.query["resourceVersion"] for each in api.watches()] == ["100", "500"]
    assert len(lists(api)) == 1


def test_clean_end_of_watch_confirms_cache(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """The server has said all there was to say until then."""
    follower = follow()
    assert follower.watch.wait(5)
    until(lambda: len(api.watches()) == 1)
    follower.now = 50.0
    api.scripts.append(Script())  # for the watch after the next list or end
    api.cut_streams()
    until(lambda: len(api.watches()) >= 3)
    assert follower.watch.cache_age() == 0.0


def test_a_cut_stream_leads_to_a_new_list(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """What happened in between is in the list."""
    api.put("leases", lease("a", "one"))
    follower = follow()
    until(lambda: len(api.watches()) == 1)
    api.cut_streams()
    api.put("leases", lease("b", "two"))
    until(lambda: follower.values() == ["one", "two"])
    until(lambda: follower.watch.fault is None)
    assert len(lists(api)) == 2


def test_a_half_open_stream_is_given_up(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Nothing comes and nothing ends: the read timeout just above the server's own is the end."""
    api.scripts.append(Script(end="hang"))
    with capture() as log:
        follower = follow(timing=WatchTiming(watch_seconds=0.05, silence_grace=0.02, first_backoff=0.001))
        until(lambda: len(api.watches()) >= 2)
        api.put("leases", lease("a", "one"))
        until(lambda: follower.values() == ["one"])
    logged = log.named("watch_failed")
    assert "no answer in time" in logged[0]["error"]


def test_an_expired_version_leads_to_a_new_list(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """410 comes as an event in a 200 answer; and again and again, it is asked ever more slowly."""
    expired = json.dumps({"type": "ERROR", "object": json.loads(status(410, "Expired", "too old"))}).encode()
    api.scripts.extend(Script((expired + b"\n",)) for _ in range(4))
    follower = follow(timing=WatchTiming(first_backoff=1.0, max_backoff=4.0))
    until(lambda: len(api.watches()) == 5)
    until(lambda: follower.watch.fault is None)
    assert len(lists(api)) == 5
    for sleep, bound in zip(follower.pauses, (1.0, 2.0, 4.0, 4.0), strict=True):
        assert bound / 2 <= sleep <= bound


def test_a_410_as_an_answer_leads_to_a_new_list(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Some servers refuse the watch itself."""
    api.put("leases", lease("a", "one"))
    api.reply("GET", "/leases", Reply(200, api.handle(_list())[1]), Reply(410, status(410, "Expired", "old")))
    follower = follow()
    until(lambda: len(api.watches()) == 2)
    until(lambda: follower.watch.fault is None)
    assert len(api.requests) == 4


def test_an_expired_page_begins_the_list_again(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """A continue token dies after some minutes; half a list must never be taken for the whole."""
    for number in range(4):
        api.put("leases", lease(f"l{number}", str(number)))
    first = api.handle(_list(limit="2"))[1]
    api.reply("GET", "/leases", Reply(200, first), Reply(410, status(410, "Expired", "continue too old")))
    follower = follow(timing=WatchTiming(page_size=2, first_backoff=0.001))
    assert follower.watch.wait(5)
    assert follower.values() == ["0", "1", "2", "3"]
    assert follower.watch.cache.get(ObjectKey("ml", "l3")) == "3"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, status(500, "InternalError", "etcd")),
        Reply(503),
        Reply(429, b"", {"Retry-After": "0.01"}),
        Reply(401, status(401, "Unauthorized", "Unauthorized")),
        Reply(403, status(403, "Forbidden", "cannot list")),
        Reply(409, status(409, "Conflict", "odd")),
        Reply(200, b"<html>"),
        Reply(200, b'{"items": [', cut=True),
    ],
)
def test_a_refused_list_is_tried_again(api: FakeApi, follow: Callable[..., RunningReflector], reply: Reply) -> None:
    """Whatever the refusal, the cache is filled when it is over; the fault and its end are logged once."""
    api.put("leases", lease("a", "one"))
    api.reply("GET", "/leases", reply, reply)
    with capture() as log:
        follower = follow()
        until(lambda: follower.values() == ["one"])
        until(lambda: follower.watch.fault is None)
    assert len(log.named("watch_failed")) == 1
    assert len(log.named("watch_recovered")) == 1
    assert len(follower.pauses) == 2


def test_retry_after_is_obeyed(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """A server that asks for a pause gets it."""
    api.reply("GET", "/leases", Reply(429, b"", {"Retry-After": "7"}))
    follower = follow()
    assert follower.watch.wait(5)
    assert follower.pauses[0] == 7.0


def test_a_slow_list_is_given_up_and_tried_again(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """A list that hangs must not block the cache."""
    api.reply("GET", "/leases", Reply(delay=5))
    follower = follow(read=0.05)
    assert follower.watch.wait(5)
    assert len(api.requests) >= 2


def test_a_missing_definition_is_asked_for_quietly(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Nothing serves the kind: so nothing of it exists, which is known, and it may be installed later."""
    api.unserved.add("leases")
    with capture() as log:
        follower = follow(timing=WatchTiming(retry_not_served=30.0))
        assert follower.watch.wait(5)
        until(lambda: len(follower.pauses) == 3)
        assert isinstance(follower.watch.fault, ResourceNotServed)
        assert (follower.values(), follower.watch.cache_age()) == ([], 0.0)
        api.put("leases", lease("a", "one"))
        api.unserved.clear()
        until(lambda: follower.values() == ["one"])
    assert follower.pauses[:3] == [30.0, 30.0, 30.0]
    assert [each["level"] for each in log.named("watch_failed")] == ["info"]


def test_a_definition_that_vanishes_is_not_the_end_of_its_objects(
    api: FakeApi, follow: Callable[..., RunningReflector]
) -> None:
    """Nothing may be concluded from a cache that cannot be confirmed: it stays, and grows old."""
    api.put("leases", lease("a", "one"))
    follower = follow()
    until(lambda: len(api.watches()) == 1)
    api.unserved.add("leases")
    follower.now = 10.0
    api.cut_streams()
    until(lambda: isinstance(follower.watch.fault, ResourceNotServed))
    assert follower.values() == ["one"]
    assert follower.watch.cache_age() == 10.0


def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_loop(
    api: FakeApi, follow: Callable[..., RunningReflector]
) -> None:
    """An overloaded proxy does that; each new try waits longer."""
    api.scripts.extend(Script() for _ in range(3))
    follower = follow(timing=WatchTiming(first_backoff=1.0, max_backoff=30.0))
    until(lambda: len(api.watches()) == 4)
    assert len(follower.pauses) == 3
    assert follower.pauses[2] > follower.pauses[0]


@pytest.mark.parametrize(("relist_after", "listed"), [(600.0, 1), (-1.0, 4)])
def test_everything_is_listed_again_after_a_time(
    api: FakeApi, follow: Callable[..., RunningReflector], relist_after: float, listed: int
) -> None:
    """Whatever a watch might lose without a word shows then at the latest; until then no list is needed."""
    api.scripts.extend(Script((event("BOOKMARK", 500),)) for _ in range(3))
    follow(timing=WatchTiming(relist_after=relist_after))
    until(lambda: len(api.watches()) == 4)
    assert len(lists(api)) == listed


def test_unreadable_object_does_not_hide_others(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """It keeps what was known of it, and is logged once."""
    api.put("leases", lease("a", "one"))
    api.put("leases", lease("odd", None))
    with capture() as log:
        follower = follow()
        assert follower.watch.wait(5)
        assert follower.values() == ["one"]
        api.put("leases", lease("odd", "fine"))
        until(lambda: follower.values() == ["fine", "one"])
        api.put("leases", lease("odd", None))
        api.put("leases", lease("b", "last"))
        until(lambda: "last" in follower.values())
    assert follower.values() == ["fine", "last", "one"]
    assert [each["object"] for each in log.named("object_skipped")] == ["odd", "odd"]


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {}}\n'])
def test_a_garbled_stream_leads_to_a_new_list(
    api: FakeApi, follow: Callable[..., RunningReflector], line: bytes
) -> None:
    """Half a line of a dying server must not end the thread."""
    api.scripts.append(Script((line,), end="hang"))
    with capture() as log:
        follower = follow()
        until(lambda: len(api.watches()) == 2)
        until(lambda: follower.watch.fault is None)
    assert "not an event" in log.named("watch_failed")[0]["error"]


def test_an_error_event_of_another_kind_leads_to_a_new_list(
    api: FakeApi, follow: Callable[..., RunningReflector]
) -> None:
    """The API server ends watches this way when it cannot go on."""
    logged = json.loads(status(500, "InternalError", "etcd is gone"))
    api.scripts.append(Script((json.dumps({"type": "ERROR", "object": logged}).encode() + b"\n",)))
    with capture() as log:
        follow()
        until(lambda: len(api.watches()) == 2)
    assert "etcd is gone" in log.named("watch_failed")[0]["error"]


def test_failing_handler_concerns_its_own_object(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """The objects after it are handled, in a list and in a watch; neither begins again."""
    for name in "abc":
        api.put("leases", lease(name, name))
    handled: list[str] = []

    def failing_for_b(change: Change[str]) -> None:
        if change.key.name == "b":
            raise RecursionError("too deep")
        handled.append(str(change.after))

    with capture() as log:
        follower = follow(on_change=failing_for_b)
        until(lambda: len(api.watches()) == 1)
        api.put("leases", lease("b", "b2"))
        api.put("leases", lease("c", "c2"))
        until(lambda: "c2" in handled)
    follower.stop()
    assert handled == ["a", "c", "c2"]
    assert [each["object"] for each in log.named("change_not_handled")] == ["b", "b"]
    assert len(lists(api)) == 1
    assert follower.watch.is_healthy()


def test_crash_of_the_watch_is_said(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that freezes without a word would be believed: the fault is set, and a new list ends it."""
    api.put("leases", lease("a", "one"))
    follower = RunningReflector(api)

    def crash(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    monkeypatch.setattr(follower.client, "list_pages", crash)
    with capture() as log:
        follower.watch.start()
        until(lambda: follower.values() == ["one"])
    follower.stop()
    assert log.named("watch_crashed")
    assert "crashed: RuntimeError" in str(follower.faults_at_pauses[0])
    assert follower.watch.fault is None


def deep(kind: str, version: int, name: str = "odd", levels: int = 1500) -> bytes:
    """An event whose object is nested too deeply."""
    whole = event(kind, version, name, "HERE")
    return whole.replace(b'"HERE"', b'{"a":' * levels + b"1" + b"}" * levels)


def test_deep_object_of_a_watch_is_skipped_and_counted(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """The watch goes on with the next event, resumes after the deep one, and stays healthy."""
    lines = (
        event("ADDED", 101, "a", "one"),
        deep("ADDED", 102),
        event("ADDED", 103, "b", "two"),
        deep("MODIFIED", 104),
    )
    api.scripts.append(Script(lines))
    with capture() as log:
        follower = follow()
        until(lambda: len(api.watches()) == 2)
    assert follower.values() == ["one", "two"]
    assert [each.query["resourceVersion"] for each in api.watches()] == ["100", "104"]
    assert len(lists(api)) == 1
    assert [(each["namespace"], each["object"]) for each in log.named("object_skipped")] == [("ml", "odd")]
    assert list(follower.watch.skipped()) == [ObjectKey("ml", "odd")]
    assert follower.watch.is_healthy()
    assert follower.watch.fault is None


@pytest.mark.parametrize(
    "end", [deep("DELETED", 103), event("DELETED", 103, "odd"), event("MODIFIED", 103, "odd", "fine")]
)
def test_skipped_object_is_forgotten(api: FakeApi, follow: Callable[..., RunningReflector], end: bytes) -> None:
    """Deleted or corrected, it is not counted any more."""
    api.scripts.append(Script((event("ADDED", 101, "odd", "before"), deep("MODIFIED", 102), end)))
    follower = follow()
    until(lambda: len(api.watches()) == 2)
    assert follower.watch.skipped() == {}
    assert follower.values() == (["fine"] if b"fine" in end else [])


def test_deep_object_of_a_list_keeps_what_was_known(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """It exists: reading it as deleted would abandon its rollout. After a restart nothing is known of it."""
    whole = b'{"metadata":{"resourceVersion":"200"},"items":[%s,%s]}' % (
        json.dumps(
            lease("b", "two") | {"metadata": {"name": "b", "namespace": "ml", "resourceVersion": "101"}}
        ).encode(),
        deep("x", 150, "a").split(b'"object": ', 1)[1].rstrip()[:-1],
    )
    api.put("leases", lease("a", "one"))
    api.put("leases", lease("b", "two"))
    follower = follow()
    until(lambda: len(api.watches()) == 1)
    api.reply("GET", "/leases", Reply(200, whole))
    api.cut_streams()
    until(lambda: list(follower.watch.skipped()) == [ObjectKey("ml", "a")])
    until(lambda: follower.watch.fault is None)
    assert follower.values() == ["one", "two"]
    follower.stop()
    api.reply("GET", "/leases", Reply(200, whole))
    fresh = follow()
    assert fresh.watch.wait(5)
    assert fresh.values() == ["two"]


def test_long_line_of_a_watch_is_skipped(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """It is not held in memory, and the next line is read."""
    long = event("ADDED", 102, "odd", "x" * (MAX_LINE_BYTES + 1000))
    api.scripts.append(Script((event("ADDED", 101, "a", "one"), long, event("ADDED", 103, "b", "two"))))
    follower = follow()
    until(lambda: len(api.watches()) == 2, seconds=20)
    assert follower.values() == ["one", "two"]
    assert list(follower.watch.skipped()) == [ObjectKey("ml", "odd")]


def test_page_that_is_too_long_is_asked_for_in_halves(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """Objects of 1 MiB each, 500 to a page, would need more memory than the pod has."""
    for number in range(6):
        api.put("leases", lease(f"l{number}", str(number) + "x" * 3_000_000))
    follower = follow(timing=WatchTiming(page_size=4))
    assert follower.watch.wait(20)
    assert [each[0] for each in follower.values()] == list("012345")
    assert [each["limit"] for each in lists(api)] == ["4", "2", "2", "2"]


def test_watch_is_unhealthy_when_its_cache_is_not_confirmed(
    api: FakeApi, follow: Callable[..., RunningReflector]
) -> None:
    """Before the first list, after two minutes without news, and while each watch fails at once."""
    follower = RunningReflector(api)
    assert not follower.watch.is_healthy()
    follower = follow()
    assert follower.watch.wait(5)
    assert follower.watch.is_healthy()
    follower.now = 119.0
    assert follower.watch.is_healthy()
    follower.now = 120.0
    assert not follower.watch.is_healthy()


def test_watch_that_fails_again_and_again_is_unhealthy(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """The list alone would confirm the cache each time."""
    api.scripts.extend(Script((b"not json\n",)) for _ in range(200))
    follower = follow()
    until(lambda: len(api.watches()) > 10)
    assert not follower.watch.is_healthy()


def test_it_stops_at_once_even_when_idle(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """A pod has seconds to go; a watch waits for most of a minute."""
    follower = follow()
    until(lambda: len(api.watches()) == 1)
    began = time.monotonic()
    follower.stop()
    assert "watch-leases" not in {each.name for each in threading.enumerate()}
    assert time.monotonic() - began < 1.0
    assert follower.watch.fault is None


def test_stopping_before_the_start_is_allowed(api: FakeApi) -> None:
    """A service that fails while it starts stops everything."""
    follower = RunningReflector(api)
    follower.stop()
    assert not follower.watch.wait(0)


def lists(api: FakeApi) -> list[Mapping[str, str]]:
    return [each.query for each in api.made("GET") if "limit" in each.query]


def _list(**query: str) -> Any:
    return Request("GET", "/apis/coordination.k8s.io/v1/leases", query, {}, None)


def test_retry_after_of_a_year_is_a_minute(api: FakeApi, follow: Callable[..., RunningReflector]) -> None:
    """A watch that slept for so long would be a cache that is as old."""
    api.reply("GET", "/leases", Reply(429, b"", {"Retry-After": "31536000"}))
    running = follow()
    until(lambda: running.pauses)
    assert running.pauses[0] == 60.0


def test_objects_of_a_namespace_are_bounded_together(
    api: FakeApi, follow: Callable[..., RunningReflector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond it are left out and named; another namespace has a share of its own, and what goes makes room."""
    monkeypatch.setattr(skipped_objects, "NAMESPACE_BYTES", 4_000)
    api.put("leases", lease("a", "a" * 3_000))
    api.put("leases", lease("b", "b" * 3_000))
    api.put("leases", lease("c", "c" * 3_000, "other"))
    with capture() as log:
        running = follow()
        assert running.watch.wait(5)
        assert [each[0] for each in running.values()] == ["a", "c"]
        api.put("leases", lease("d", "d" * 3_000))
        until(lambda: len(running.watch.skipped()) == 2)
    assert {each["object"] for each in log.named("object_skipped")} == {"b", "d"}
    assert "larger than" in log.named("object_skipped")[0]["error"]
    api.put("leases", lease("a", "a" * 4_500))  # it grows beyond the limit: what was known of it stays
    until(lambda: len(running.watch.skipped()) == 3)
    assert [each[0] for each in running.values()] == ["a", "c"]
    api.drop("leases", "ml", "a")
    api.put("leases", lease("b", "b" * 3_100))
    until(lambda: [each[0] for each in running.values()] == ["b", "c"])
    assert ObjectKey("ml", "b") not in running.watch.skipped()
