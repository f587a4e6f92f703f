"""Tests of autocanary.outbound.http_client against real servers."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from autocanary.errors import DeliveryError
from autocanary.outbound.http_client import (
    NO_RETRY,
    HttpClient,
    HttpResponse,
    raise_for_status,
    url_origin,
)
from tests.notifications.http_receiver import Receiver, Reply


@contextmanager
def speaking(words: bytes, *, hold: bool = False) -> Iterator[int]:
    """A server that answers every connection with these bytes and, holding, says nothing more."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(words)
            if hold:
                done.wait(5)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        thread.join()
        listener.close()


def test_post_sends_json_and_returns_the_response(receiver: Receiver, http: HttpClient) -> None:
    """Payload, headers and the receiver's words arrive on both sides."""
    receiver.replies(Reply(202, b"begun\n  it"))
    answer = http.post(receiver.url("/hook?x=1"), {"a": "ü"}, headers={"X-Mine": "1"})
    assert answer == HttpResponse(202, "begun it")
    assert answer.ok
    [got] = receiver.received
    assert got.path == "/hook?x=1"
    assert got.json == {"a": "ü"}
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["X-Mine"] == "1"
    assert got.headers["User-Agent"].startswith("autocanary/")


@pytest.mark.parametrize("status", [200, 299])
def test_2xx_is_accepted(status: int) -> None:
    """Any 2xx passes the check."""
    raise_for_status(HttpResponse(status, ""), "http://host/")


@pytest.mark.parametrize("status", [400, 403, 404, 410, 302])
def test_4xx_is_not_retried(status: int) -> None:
    """An answer that means "never" says so, with the place and the words but not the path."""
    with pytest.raises(DeliveryError, match=f"^https://host:8443 answered {status}: no_service$") as caught:
        raise_for_status(HttpResponse(status, "no_service", 5.0), "https://u:p@host:8443/secret")
    assert caught.value.retry_after == NO_RETRY


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_408_425_429_and_5xx_are_retried(status: int) -> None:
    """Overload and faults are temporary, and the named pause is kept."""
    with pytest.raises(DeliveryError, match=f"answered {status}$") as caught:
        raise_for_status(HttpResponse(status, "", 7.0), "http://host/")
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 00:01:00 -0000", 60.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_retry_after(receiver: Receiver, header: str, seconds: float | None) -> None:
    """Retry-After is seconds or a date; what is neither is left out."""
    receiver.replies(Reply(429, headers={"Retry-After": header.encode().decode("latin-1")}))
    http = HttpClient(now=lambda: 1_767_225_600.0)
    assert http.post(receiver.url(), {}).retry_after == seconds


def test_a_proxy_of_the_environment_is_used(
    receiver: Receiver, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many clusters reach the outside only through one; NO_PROXY names what is inside."""
    monkeypatch.setenv("HTTP_PROXY", receiver.url())
    assert http.post("http://hooks.example.com/services/x", {}).status == 200
    assert [got.path for got in receiver.received] == ["http://hooks.example.com/services/x"]
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,.svc")
    assert http.post(receiver.url("/inside"), {}).status == 200


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://bot:c4n4ry@127.0.0.1:1", "through the proxy of HTTPS_PROXY or HTTP_PROXY"),
        ("http://", "cannot be used"),
    ],
)
def test_proxy_error_does_not_quote_the_password(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, proxy: str, words: str
) -> None:
    """And tried again: it is not the receiver that refuses."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(DeliveryError, match=words) as caught:
        http.post("https://hooks.example.com/services/c4n4ry", {})
    assert "c4n4ry" not in str(caught.value)
    assert caught.value.retry_after is None


def test_netrc_credentials_are_not_sent(
    receiver: Receiver, http: HttpClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are not meant for this receiver; a header of ours stays."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    http.post(receiver.url(), {})
    http.post(receiver.url(), {}, headers={"Authorization": "Bearer t"})
    assert [got.headers.get("Authorization") for got in receiver.received] == [None, "Bearer t"]


def test_a_ca_bundle_of_the_environment_is_used(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are always checked; a company's own CA is named where requests reads it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent.pem")
    with pytest.raises(DeliveryError, match=r"nonexistent\.pem"):
        http.post("https://127.0.0.1:1/", {})


def test_untrusted_certificate_is_rejected(
    receiver: Receiver, http: HttpClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is sent then, tokens least of all; with its CA in the bundle it is as good as any."""
    made, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", *kind, *name, "-keyout", str(key), "-out", str(made)],
        check=True,
        capture_output=True,
    )
    receiver.over_tls(made, key)
    with pytest.raises(DeliveryError, match=r"failed the TLS handshake.*certificate verify failed"):
        http.post(receiver.url("/secret"), {}, headers={"Authorization": "Bearer c4n4ry"})
    assert receiver.received == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made))
    assert http.post(receiver.url("/secret"), {}).status == 200


def test_reads_the_body_up_to_the_limit(receiver: Receiver, http: HttpClient) -> None:
    """The explanation stays short either way."""
    receiver.replies(Reply(200, b"z" * 9000))
    assert len(http.post(receiver.url(), {}).body) == 4096
    answer = http.post(receiver.url(), {}, body_limit=10_000)
    assert len(answer.body) == 9000
    assert len(answer.text) == 300


def test_redirect_on_the_same_host_keeps_method_and_body(receiver: Receiver, http: HttpClient) -> None:
    """307 is followed with the payload."""
    receiver.replies(Reply(307, headers={"Location": "/final"}), Reply(200))
    assert http.post(receiver.url("/first"), {"a": 1}).status == 200
    assert [(got.path, got.json) for got in receiver.received] == [("/first", {"a": 1}), ("/final", {"a": 1})]


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (307, "http://other.example/"),
        (308, "http://[::1/"),
        (307, "ftp://127.0.0.1/"),
        (302, "/login"),
    ],
)
def test_redirect_to_another_host_is_not_followed(
    receiver: Receiver, http: HttpClient, status: int, location: str
) -> None:
    """Another host, another scheme or a redirect that would drop the body ends there."""
    receiver.replies(Reply(status, headers={"Location": location}))
    answer = http.post(receiver.url(), {})
    assert answer.status == status
    assert "name the final address" in answer.text
    assert len(receiver.received) == 1


def test_body_of_a_redirect_is_not_read_either(receiver: Receiver, http: HttpClient) -> None:
    """A redirect with an endless body costs no more than any other answer."""
    receiver.replies(Reply(302, b"x" * 3_000_000, {"Location": "http://other.example/"}))
    assert http.post(receiver.url(), {}).text == "redirects to http://other.example; name the final address"


def test_redirect_loop_ends(receiver: Receiver, http: HttpClient) -> None:
    """At most three redirects are followed."""
    receiver.replies(Reply(308, headers={"Location": "/again"}))
    assert http.post(receiver.url(), {}).status == 308
    assert len(receiver.received) == 4


def test_long_body_is_truncated_and_redacted(receiver: Receiver, http: HttpClient) -> None:
    """Only the start of a body is read, and what resembles a secret in it is not kept."""
    receiver.replies(Reply(500, b"at https://a:b@ci/ " + b"x" * 3_000_000))
    text = http.post(receiver.url(), {}).text
    assert text.startswith("at https://***@ci/ xxx")
    assert len(text) < 400


def test_truncated_body_still_returns_the_status() -> None:
    """The status has arrived; a body that is cut short does not change it."""
    with speaking(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno") as port:
        assert HttpClient().post(f"http://127.0.0.1:{port}/", {}) == HttpResponse(403, "no")


def test_body_is_not_read_past_the_deadline() -> None:
    """A receiver that stops in the middle of a body is not waited for."""
    ticks = iter([0.0, 0.0, 99.0])
    with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", hold=True) as port:
        http = HttpClient(read=5.0, monotonic=lambda: next(ticks))
        assert http.post(f"http://127.0.0.1:{port}/", {}) == HttpResponse(200, "half")


def test_headers_byte_by_byte_are_late() -> None:
    """Each byte comes well within a read timeout, and the head of the answer never ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(500):
                connection.sendall(b"a")
                time.sleep(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with pytest.raises(DeliveryError, match=r"did not answer within 0\.3 s"):
            HttpClient().post(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, read=0.3)
    finally:
        listener.close()
        thread.join()


def test_get_sends_no_body(receiver: Receiver, http: HttpClient) -> None:
    """The receiver sees the headers and an empty body; the client the whole answer."""
    receiver.replies(Reply(200, b'{"value": 1}'))
    answer = http.get(receiver.url("/score?x=1"), headers={"Authorization": "Bearer t"})
    [got] = receiver.received
    assert (got.path, got.body, got.headers["Authorization"]) == ("/score?x=1", b"", "Bearer t")
    assert (answer.body, answer.whole) == (b'{"value": 1}', True)


def test_cut_body_is_not_whole(receiver: Receiver, http: HttpClient) -> None:
    """Longer than the limit, or shorter than the receiver announced."""
    receiver.replies(Reply(200, b"x" * 11), Reply(200, b"{}", {"Content-Length": "3"}), Reply(200, b"x" * 9))
    answers = [http.get(receiver.url(), body_limit=10) for _ in range(3)]
    assert [(len(each.body), each.whole) for each in answers] == [(10, False), (2, False), (9, True)]


def test_no_answer_in_time() -> None:
    """Silence is an error that names the place and the limit."""
    with speaking(b"", hold=True) as port, pytest.raises(DeliveryError) as caught:
        HttpClient(read=0.05).post(f"http://127.0.0.1:{port}/secret", {})
    assert str(caught.value) == f"http://127.0.0.1:{port} did not answer within 0.05 s"
    assert caught.value.retry_after is None


def test_connection_refused(http: HttpClient) -> None:
    """A closed port is an error in the operating system's words, without the path."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeliveryError, match=r"cannot be reached \(\[Errno \d+\] Connection refused\)$") as caught:
        http.post(f"http://user:pw@127.0.0.1:{port}/secret", {})
    assert "secret" not in str(caught.value)
    assert "pw" not in str(caught.value)
    assert caught.value.retry_after is None


def test_connection_cut(receiver: Receiver, http: HttpClient) -> None:
    """A receiver that hangs up without a word has not answered."""
    receiver.replies(Reply(abrupt=True))
    with pytest.raises(DeliveryError, match="cannot be reached"):
        http.post(receiver.url(), {})


def test_not_http_at_all(http: HttpClient) -> None:
    """Something that speaks another protocol has not answered."""
    with (
        speaking(b"SSH-2.0-OpenSSH_9.2\r\n") as port,
        pytest.raises(DeliveryError, match="cannot be reached"),
    ):
        http.post(f"http://127.0.0.1:{port}/", {})


def test_tls_to_a_plain_port() -> None:
    """A failed handshake says that it is about TLS."""
    with (
        speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
        pytest.raises(DeliveryError, match="TLS handshake"),
    ):
        HttpClient().post(f"https://127.0.0.1:{port}/", {})


@pytest.mark.parametrize("url", ["ftp://host/", "nonsense", "http://a..b/", "http://[::1/", "http://host:99999/"])
def test_address_that_cannot_be_called(http: HttpClient, url: str) -> None:
    """An impossible address is refused for good, in one sentence."""
    with pytest.raises(DeliveryError, match=r"is not an http or https address that can be called$") as caught:
        http.post(url, {})
    assert caught.value.retry_after == NO_RETRY


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@hooks.example:8443/a/b?c", "https://hooks.example:8443"),
        ("http://host", "http://host"),
        ("/only/a/path", "an address without a host"),
        ("http://[::1", "an address that cannot be read"),
    ],
)
def test_url_origin(url: str, shown: str) -> None:
    """The place is what may be shown of an address."""
    assert url_origin(url) == shown


def test_default_clocks_are_the_real_ones(receiver: Receiver) -> None:
    """Without injection a date in Retry-After is held against the present."""
    receiver.replies(Reply(429, headers={"Retry-After": "Thu, 01 Jan 2099 00:00:00 GMT"}))
    pause = HttpClient().post(receiver.url(), {}).retry_after
    assert pause is not None
    assert abs(pause - (4_070_908_800 - time.time())) < 3600
