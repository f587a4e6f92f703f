"""Live pages: what is new and nothing else, capped, kept open, and closed first."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from autocanary.model.progress import Phase
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.page.live_updates import CPU_SHARE, CpuBudget, Feed, LiveStreams, TooManyStreams
from tests.cli.fake_client import POLICY, rollout
from tests.page.served import NOW, FakeAccess, FakeSource, OpenStream, ServedPage


def _events(stream: OpenStream, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The next events, comments left out."""
    found: list[tuple[str, dict[str, Any]]] = []
    name = ""
    while len(found) < count:
        line = stream.readline().decode()
        assert line, "the stream has ended"
        if line.startswith("event: "):
            name = line.removeprefix("event: ").strip()
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


def test_a_row_is_sent_when_its_rollout_changes() -> None:
    """All of the page first, then what is new, then what does not belong to the page."""
    source = FakeSource([rollout(), rollout(service="other")], POLICY)
    with ServedPage(source, FakeAccess()) as served:
        stream = served.stream("/live")
        assert stream.headers["content-type"].startswith("text/event-stream")
        [(name, data)] = _events(stream, 1)
        assert name == "update"
        assert data["rows"] == {}
        assert sorted(data["parts"]) == ["list", "tabs"]
        assert "r-models-mnist-00002" in data["parts"]["list"]
        source.kept[0] = replace(source.kept[0], progress=with_stored_fields(source.kept[0].progress, {"weight": 50}))
        [(_, data)] = _events(stream, 1)
        assert list(data["rows"]) == ["r-models-mnist-00002"]
        assert "50 %" in data["rows"]["r-models-mnist-00002"]
        source.kept.append(rollout(service="third"))
        source.at += 60
        [(name, data)] = _events(stream, 1)
        assert name == "update"
        assert "r-models-third-00002" in data["parts"]["list"]
        assert '<span class="count">3</span>' in data["parts"]["tabs"]
        stream.close()


def test_a_page_of_one_rollout_is_sent_in_parts() -> None:
    """Those that have changed: what a user types into the form is not replaced by the same form."""
    source = FakeSource([rollout()], POLICY)
    with ServedPage(source, FakeAccess()) as served:
        stream = served.stream("/rollouts/models/mnist-00002/live")
        [(_, data)] = _events(stream, 1)
        assert "acts" in data["parts"]
        source.kept[0] = replace(source.kept[0], progress=replace(source.kept[0].progress, message="something else"))
        [(_, data)] = _events(stream, 1)
        assert list(data["parts"]) == ["live"]
        assert data["title"] == "mnist: Progressing – autocanary"
        stream.close()


def test_a_duration_in_a_sentence_is_made_again() -> None:
    """A rollout that waits for a user changes nothing, and "1m so far" is false an hour later."""
    waiting = rollout(Phase.PAUSED, reason=Reason.FAILURE_PAUSED, message="it failed")
    waiting = replace(waiting, progress=replace(waiting.progress, phase_since=NOW - 60))
    source = FakeSource([waiting], POLICY)
    with ServedPage(source, FakeAccess()) as served:
        listed, opened = served.stream("/live"), served.stream("/rollouts/models/mnist-00002/live")
        [(_, first)], [(_, shown)] = _events(listed, 1), _events(opened, 1)
        assert "paused, 1m so far" in first["parts"]["list"]
        assert "paused, 1m so far" in shown["parts"]["live"]
        source.at += 3600
        [(_, later)], [(_, shown)] = _events(listed, 1), _events(opened, 1)
        assert "paused, 1h1m so far" in later["rows"]["r-models-mnist-00002"]
        assert "paused, 1h1m so far" in shown["parts"]["live"]
        listed.close()
        opened.close()


def test_streams_are_capped() -> None:
    """Of one visitor and of all together; a stream that ends makes room."""
    with ServedPage(FakeSource([rollout()], POLICY), FakeAccess()) as served:
        streams = [served.stream("/live") for _ in range(20)]
        assert all(each.status == 200 for each in streams)
        refused = served.get("/live")
        assert refused.status == 503
        assert refused.headers["retry-after"] == "5"
        assert served.get("/").status == 200
        streams.pop().close()
        _until(lambda: served.page.live.open_streams < 20)
        again = served.stream("/live")
        assert again.status == 200
        for each in [*streams, again]:
            each.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_streams_end_first_when_the_service_stops() -> None:
    """A server that waits for them would wait for ever."""
    served = ServedPage(FakeSource([rollout()], POLICY), FakeAccess())
    with served:
        stream = served.stream("/live")
        _events(stream, 1)
        began = time.monotonic()
    assert time.monotonic() - began < 3.0
    assert stream.read().strip() == b""
    stream.close()


def _run(work: Callable[[LiveStreams], Any], **options: Any) -> Any:
    async def outer() -> Any:
        async def in_thread(job: Callable[[], Any]) -> Any:
            return await asyncio.to_thread(job)

        return await work(LiveStreams(in_thread, **options))

    return asyncio.run(outer())


async def _always() -> bool:
    return True


def test_a_quiet_stream_has_a_comment() -> None:
    """Proxies close connections that say nothing."""

    async def work(live: LiveStreams) -> list[bytes]:
        stream = live.open("v", "k", lambda _: None, _always)
        return [await anext(stream) for _ in range(3)]

    assert _run(work, comment_seconds=0.05)[1:] == [b": still here\n\n"] * 2


def test_pages_that_show_the_same_are_rendered_once() -> None:
    """Whatever the number of browsers."""
    threads: list[int] = []

    def render(feed: Feed) -> dict[str, Any] | None:
        if feed.seen.setdefault("sent", 0) == 0:
            threads.append(threading.get_ident())
            feed.seen["sent"] = 1
            return {"x": 1}
        return None

    async def work(live: LiveStreams) -> list[bytes]:
        streams = [live.open(f"v{number}", "k", render, _always) for number in range(30)]
        for stream in streams:
            assert (await anext(stream)).startswith(b"retry")
        return [await anext(stream) for stream in streams]

    events = _run(work, shortest_round=0.01)
    assert set(events) == {b'event: update\ndata: {"x": 1}\n\n'}
    assert len(threads) <= 2


def test_a_page_that_cannot_be_rendered_does_not_end_the_others() -> None:
    """Its own stream stays open, too."""

    def broken(_: Feed) -> dict[str, Any]:
        raise ValueError("no")

    def counting(feed: Feed) -> dict[str, Any]:
        feed.seen["n"] = feed.seen.get("n", 0) + 1
        return {"n": feed.seen["n"]}

    async def work(live: LiveStreams) -> bytes:
        bad, good = live.open("v", "bad", broken, _always), live.open("v", "good", counting, _always)
        await anext(bad)
        await anext(good)
        await anext(good)
        return await anext(good)

    assert b'"n": ' in _run(work, shortest_round=0.01)


def test_after_the_end_nothing_begins() -> None:
    """A request that comes while the service stops."""

    async def work(live: LiveStreams) -> None:
        live.close()
        with pytest.raises(TooManyStreams):
            live.open("v", "k", lambda _: None, _always)

    _run(work)


def test_a_reader_that_does_not_read_is_let_go() -> None:
    """It holds no memory without end; the browser connects again."""
    numbers = iter(range(10_000))

    async def work(live: LiveStreams) -> list[bytes]:
        stream = live.open("v", "k", lambda _: {"n": next(numbers)}, _always)
        await anext(stream)
        await asyncio.sleep(1.5)
        return [each async for each in stream]

    received = _run(work, shortest_round=0.01)
    assert len(received) < 20


def test_one_expensive_round_delays_no_update() -> None:
    """As when the garbage of the whole process is collected in it, which takes a quarter of a second in a large one."""
    spent = [0.0]
    numbers = iter(range(10_000))

    def render(_: Feed) -> dict[str, Any]:
        number = next(numbers)
        spent[0] += 0.3 if number == 1 else 0.002
        return {"n": number}

    async def work(live: LiveStreams) -> list[bytes]:
        stream = live.open("v", "k", render, _always)
        await anext(stream)
        return [await asyncio.wait_for(anext(stream), 10) for _ in range(4)]

    events = _run(work, shortest_round=0.01, cpu_clock=lambda: spent[0])
    assert [json.loads(each.split(b"data: ")[1])["n"] for each in events] == [0, 1, 2, 3]


def test_rounds_that_are_always_expensive_come_rarely() -> None:
    """Over time they take their share of a core, and no page waits longer than the longest round."""
    budget = CpuBudget(1.0, 30.0)
    at, used, before = 0.0, 0.0, 0.0
    for _ in range(200):
        pause = budget.pause(0.1, at - before)
        used, before, at = used + 0.1, at, at + pause
        assert 1.0 <= pause <= 30.0
    assert used / at == pytest.approx(CPU_SHARE, rel=0.05)
    assert budget.pause(100.0, 1.0) == 30.0
    assert budget.pause(0.0, 30.0) == 1.0


def test_what_failed_to_be_rendered_comes_with_the_next_round() -> None:
    """The page had noted the new record as sent before it failed."""
    failures = iter([ValueError("a list that changed while it was read")])
    versions = iter(["first", "second", "second", "second"])

    def render(feed: Feed) -> dict[str, Any] | None:
        version = next(versions, "second")
        if feed.seen.get("version") == version:
            return None
        feed.seen["version"] = version
        if version == "second":
            for error in failures:
                raise error
        return {"version": version}

    async def work(live: LiveStreams) -> list[bytes]:
        stream = live.open("v", "k", render, _always)
        await anext(stream)
        return [await asyncio.wait_for(anext(stream), 10) for _ in range(2)]

    assert [b"second" in each for each in _run(work, shortest_round=0.01)] == [False, True]


def test_a_visitor_who_leaves_before_the_first_byte_keeps_no_place() -> None:
    """A connection that ends while the answer begins, so that nothing is ever read from the stream."""
    with ServedPage(FakeSource([rollout()], POLICY), FakeAccess()) as served:

        async def leaves(message: Any) -> None:
            raise OSError(message["type"])

        async def receives() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "method": "GET",
            "path": "/live",
            "raw_path": b"/live",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", served.host.encode())],
            "client": ("127.0.0.1", 1),
        }
        for _ in range(25):
            with pytest.raises((OSError, ClientDisconnect)):
                asyncio.run(served.page.application(scope, receives, leaves))
        assert served.page.live.open_streams == 0
        assert served.get("/").status == 200
