"""Each fault of the proxies does what its name says, seen from a client."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.testbed.servers import (
    LOGIN_PAGE,
    CutBody,
    Delay,
    DropResponse,
    FaultProxy,
    Hang,
    HttpSink,
    ReceivedRequest,
    Reset,
    RespondInstead,
    TcpProxy,
    wait_until,
    writes,
)
from tests.testbed.servers.http import fetch

BODY = b"0123456789" * 10


@pytest.fixture
def upstream() -> Iterator[HttpSink]:
    """The server behind the proxy."""
    with HttpSink() as sink:
        sink.answer(body=BODY)
        yield sink


@pytest.fixture
def proxy(upstream: HttpSink) -> Iterator[FaultProxy]:
    """A proxy without faults yet."""
    with FaultProxy(upstream.url) as between:
        yield between


class TestFaultProxy:
    """The proxy that reads requests."""

    def test_without_a_fault_it_carries_both_ways(self, proxy: FaultProxy, upstream: HttpSink) -> None:
        """Method, path, headers and body arrive; the answer comes back; both sides count one."""
        status, body = fetch(f"{proxy.url}/a?b=c", method="PUT", body=b"{}", headers={"X-Test": "1"})
        assert (status, body) == (200, BODY)
        [seen] = upstream.requests
        assert (seen.method, seen.path, seen.body, seen.headers["x-test"]) == ("PUT", "/a?b=c", b"{}", "1")
        assert proxy.count() == proxy.count(writes) == 1

    def test_reset_keeps_the_request_from_the_server(self, proxy: FaultProxy, upstream: HttpSink) -> None:
        """The client sees a reset, the server nothing."""
        done: list[str] = []
        proxy.inject(Reset(lambda: done.append("first")))
        with pytest.raises(ConnectionResetError):
            fetch(proxy.url)
        assert upstream.requests == []
        assert done == ["first"]

    def test_drop_response_lets_the_server_act(self, proxy: FaultProxy, upstream: HttpSink) -> None:
        """The server has acted by the time the action runs, and the client never learns of it."""
        acted: list[int] = []
        proxy.inject(DropResponse(lambda: acted.append(len(upstream.requests))))
        with pytest.raises(ConnectionResetError):
            fetch(proxy.url, method="POST", body=b"{}")
        assert acted == [1]

    def test_hang_says_nothing(self, proxy: FaultProxy) -> None:
        """The client's own deadline is what ends it."""
        proxy.inject(Hang())
        with pytest.raises(TimeoutError):
            fetch(proxy.url, seconds=0.3)

    def test_answer_replaces_the_server(self, proxy: FaultProxy, upstream: HttpSink) -> None:
        """Status, body and headers are the test's own."""
        proxy.inject(RespondInstead(429, b"slow down", {"Retry-After": "7"}))
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        client.request("GET", "/")
        answer = client.getresponse()
        assert (answer.status, answer.getheader("Retry-After"), answer.read()) == (429, "7", b"slow down")
        client.close()
        assert upstream.requests == []

    def test_login_page_is_html_with_200(self, proxy: FaultProxy) -> None:
        """What a single sign-on in front of a server answers."""
        proxy.inject(LOGIN_PAGE)
        status, body = fetch(proxy.url)
        assert status == 200
        assert b"<html>" in body

    @pytest.mark.parametrize(("after", "arrived"), [(None, 50), (0, 0), (30, 30)])
    def test_cut_body_breaks_off(self, proxy: FaultProxy, after: int | None, arrived: int) -> None:
        """The head promises more than comes."""
        proxy.inject(CutBody(after))
        with pytest.raises(http.client.IncompleteRead) as broken:
            fetch(proxy.url)
        assert len(broken.value.partial) == arrived

    def test_delay_comes_before_the_server(self, proxy: FaultProxy) -> None:
        """The answer is whole, only late."""
        proxy.inject(Delay(0.3))
        began = time.monotonic()
        assert fetch(proxy.url) == (200, BODY)
        assert time.monotonic() - began >= 0.3

    def test_faults_strike_requests_chosen_by_when_skip_and_times(self, proxy: FaultProxy) -> None:
        """Only the second write to /x fails; reads and other paths pass."""

        def to_x(received: ReceivedRequest) -> bool:
            return writes(received) and received.path == "/x"

        injected = proxy.inject(RespondInstead(500), to_x, skip=1, times=1)
        asked = [("GET", "/x"), ("POST", "/x"), ("POST", "/y"), ("POST", "/x"), ("POST", "/x")]
        statuses = [fetch(proxy.url + path, method=method)[0] for method, path in asked]
        assert statuses == [200, 200, 200, 500, 200]
        assert injected.struck == 1

    def test_the_last_fault_comes_first_and_clear_forgets_all(self, proxy: FaultProxy) -> None:
        """A passing trouble can be laid over a lasting one."""
        proxy.inject(RespondInstead(500))
        proxy.inject(RespondInstead(503), times=1)
        assert [fetch(proxy.url)[0] for _ in range(2)] == [503, 500]
        proxy.clear()
        assert fetch(proxy.url)[0] == 200

    def test_a_server_that_is_down_resets(self) -> None:
        """An accepted connection cannot be refused any more; a reset is the nearest."""
        with HttpSink() as gone:
            address = gone.url
        with FaultProxy(address) as proxy, pytest.raises(ConnectionResetError):
            fetch(proxy.url)

    def test_refuse_and_listen_on_the_same_port(self, proxy: FaultProxy) -> None:
        """An outage seen as a refused connection, and its end."""
        proxy.refuse()
        with pytest.raises(OSError, match="refused"):
            fetch(proxy.url)
        proxy.listen()
        assert fetch(proxy.url)[0] == 200

    def test_an_action_may_refuse_from_inside_a_request(self, proxy: FaultProxy) -> None:
        """The outage begins exactly at the k-th request."""
        proxy.inject(Reset(proxy.refuse))
        with pytest.raises(ConnectionResetError):
            fetch(proxy.url)
        with pytest.raises(OSError, match="refused"):
            fetch(proxy.url)


class TestTcpProxy:
    """The proxy that only carries bytes."""

    def test_delay_and_cut_after(self, upstream: HttpSink) -> None:
        """Whole connections are late, or break off after so many bytes."""
        with TcpProxy(upstream.url) as tunnel:
            tunnel.delay = 0.2
            began = time.monotonic()
            assert fetch(tunnel.url) == (200, BODY)
            assert time.monotonic() - began >= 0.2
            tunnel.delay, tunnel.cut_after = 0.0, 10
            with pytest.raises((http.client.HTTPException, OSError)):
                fetch(tunnel.url)

    def test_an_open_connection_can_freeze_thaw_and_be_cut(self) -> None:
        """The silent drop of a long watch, its end, and a balancer's reset."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            with TcpProxy(address) as tunnel, socket.create_connection(("127.0.0.1", tunnel.port)) as client:
                far, _ = server.accept()
                with far:
                    client.settimeout(5)
                    far.sendall(b"one")
                    assert client.recv(10) == b"one"

                    tunnel.freeze()
                    time.sleep(0.2)
                    far.sendall(b"two")
                    client.settimeout(0.3)
                    with pytest.raises(TimeoutError):
                        client.recv(10)

                    tunnel.thaw()
                    client.settimeout(5)
                    assert client.recv(10) == b"two"

                    tunnel.cut_connections()
                    with pytest.raises(ConnectionResetError):
                        client.recv(10)

    def test_leaving_ends_every_thread(self, upstream: HttpSink) -> None:
        """Hundreds of tests do not pile up connections."""
        names = ("proxy-connection", "proxy-accept")

        def running() -> set[str]:
            return {thread.name for thread in threading.enumerate()} & set(names)

        with FaultProxy(upstream.url) as proxy:
            proxy.inject(Hang())
            client = socket.create_connection(("127.0.0.1", proxy.port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: proxy.count() == 1, seconds=5, what="the request")
            assert running() == set(names)
        with client:
            wait_until(lambda: not running(), seconds=5, what="the threads' end")
        assert running() == set()
