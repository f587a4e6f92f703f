"""A watch's lines: whole ones only, and an end that another thread can bring about."""

from __future__ import annotations

import threading

import pytest

from autocanary.errors import Busy, Unreachable
from autocanary.kube.resource import LEASES
from autocanary.kube.watch_stream import Stream
from tests.kube.fake_api import FakeApi, Reply, Script, until


def opened(api: FakeApi, read_timeout: float = 5.0) -> Stream:
    return api.client().watch(LEASES, "", resource_version="1", seconds=50, read_timeout=read_timeout)


def test_lines_are_put_together_from_any_pieces(api: FakeApi) -> None:
    """Neither chunks nor reads end where lines end."""
    api.scripts.append(Script((b'{"a": 1}\n{"b"', b": 2}", b"\n\n", b'{"c": 3}')))
    stream = opened(api)
    assert list(stream.lines()) == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']
    stream.close()


def test_the_watch_asks_for_bookmarks_and_an_end(api: FakeApi) -> None:
    """Without them an idle watch says nothing, for ever."""
    api.scripts.append(Script())
    opened(api).close()
    assert api.requests[0].query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "1",
        "timeoutSeconds": "50",
    }


def test_distinguishes_a_cut_stream_from_an_ended_one(api: FakeApi) -> None:
    """Only an end in peace says that nothing was missed."""
    api.scripts.append(Script((b'{"a": 1}\n',), end="cut"))
    stream = opened(api)
    lines = stream.lines()
    assert next(lines) == b'{"a": 1}'
    with pytest.raises(Unreachable, match="cut"):
        next(lines)
    stream.close()


def test_silence_ends_a_half_open_stream(api: FakeApi) -> None:
    """The other side may be gone without having said so."""
    api.scripts.append(Script(end="hang"))
    stream = opened(api, read_timeout=0.05)
    with pytest.raises(Unreachable, match="in time"):
        list(stream.lines())
    stream.close()


def test_another_thread_can_end_an_idle_stream(api: FakeApi) -> None:
    """A service that stops cannot wait for the next bookmark."""
    api.scripts.append(Script((b"{}\n",), end="hang"))
    stream = opened(api, read_timeout=60.0)
    heard: list[bytes] = []
    ended = threading.Event()

    def read() -> None:
        try:
            heard.extend(stream.lines())
        except Unreachable:
            heard.append(b"cut")
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: len(api.watches()) == 1)
    stream.stop()
    assert ended.wait(1.0)
    thread.join()
    stream.close()
    stream.stop()  # once more does no harm


def test_a_refused_watch_is_an_error_of_its_own(api: FakeApi) -> None:
    """The answer's code decides, before any line is read."""
    api.reply("GET", "/leases", Reply(429, b"", {"Retry-After": "3"}))
    with pytest.raises(Busy) as caught:
        opened(api)
    assert caught.value.retry_after == 3.0
