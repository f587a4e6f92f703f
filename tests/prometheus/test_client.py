"""One query to a server that does everything wrong that servers, proxies and networks do."""

from __future__ import annotations

import gc
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from requests.structures import CaseInsensitiveDict

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.prometheus import client as client_module
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.query_errors import QueryTimedOut
from tests.testbed.servers import HttpSink, ReceivedRequest, SinkReply, free_port

SECRET = "s3cr3t-t0ken"
JSON = {"Content-Type": "application/json"}
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"


def success(result: Any = None, kind: str = "vector", **more: Any) -> bytes:
    rows = [{"metric": {"a": "b"}, "value": [1.5, "2.5"]}] if result is None else result
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": rows}, **more}).encode()


def failure(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


@pytest.fixture
def server() -> Iterator[HttpSink]:
    with HttpSink() as sink:
        sink.answer(200, success(), headers=JSON)
        yield sink


def base(server: HttpSink) -> str:
    return server.url.removesuffix("/")


class RecordingClient:
    """A client, and the outcomes it counted."""

    def __init__(self, config: PrometheusConfig) -> None:
        self.outcomes: list[str] = []
        self.client = PrometheusClient(config, self.outcomes.append)

    def failed(self, query: str = "up") -> MetricsError:
        """The error of a query that fails: one sentence, no secret in it or in what it was raised from."""
        with pytest.raises(MetricsError) as raised:
            self.client.query(query)
        error: BaseException | None = raised.value
        assert "\n" not in str(error)
        while error is not None:
            assert SECRET not in repr(error)
            error = error.__cause__
        return raised.value


@pytest.fixture
def recording(server: HttpSink) -> Iterator[RecordingClient]:
    config = PrometheusConfig(f"http://user:{SECRET}@{base(server).removeprefix('http://')}", timeout=2)
    made = RecordingClient(config)
    yield made
    made.client.close()


# --- what goes out


def test_query_is_sent_in_the_post_body(server: HttpSink, recording: RecordingClient) -> None:
    """A grouped query is far longer than the URLs that proxies let pass; the server gets a deadline too."""
    query = "sum(" + "a" * 50_000 + ")"
    answer = recording.client.query(query)
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/query")
    assert parse_qs(request.body.decode()) == {"query": [query], "nocache": ["1"], "timeout": ["1800ms"]}
    assert request.headers["cache-control"] == "no-store"
    assert (answer.samples[0].value, answer.kind, answer.warnings) == (2.5, "vector", ())
    assert recording.outcomes == ["ok"]


def test_query_parameters_of_the_settings_are_sent(server: HttpSink) -> None:
    """Thanos, VictoriaMetrics and Mimir refuse partial answers only when they are asked to."""
    made = RecordingClient(PrometheusConfig(base(server), params={"partial_response": "false"}))
    made.client.query("up")
    assert parse_qs(server.requests[0].body.decode())["partial_response"] == ["false"]
    made.client.close()


def test_client_falls_back_to_get_after_405(server: HttpSink, recording: RecordingClient) -> None:
    """405 is learnt from once."""
    server.answer_once(405, b"no")
    recording.client.query("up")
    recording.client.query("up")
    assert [request.method for request in server.requests] == ["POST", "GET", "GET"]
    assert parse_qs(urlsplit(server.requests[-1].path).query)["query"] == ["up"]


def test_credentials_in_the_url_become_a_header(server: HttpSink, recording: RecordingClient) -> None:
    """They are sent, and the address in messages is without them."""
    recording.client.query("up")
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    server.answer(500, b"")
    assert "user" not in str(recording.failed())


def test_a_token_is_read_again_at_each_query(server: HttpSink, tmp_path: Path) -> None:
    """Rotated tokens are picked up without a restart; extra headers go along."""
    token = tmp_path / "token"
    made = RecordingClient(PrometheusConfig(base(server), token_file=str(token), headers={"X-Scope-OrgID": "team"}))
    for text in ("first", "second\n"):
        token.write_text(text)
        made.client.query("up")
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    assert server.requests[0].headers["x-scope-orgid"] == "team"
    made.client.close()


def test_a_password_comes_from_its_file(server: HttpSink, tmp_path: Path) -> None:
    """Basic authentication in UTF-8."""
    (tmp_path / "password").write_text("pä:ss\n")
    config = PrometheusConfig(base(server), username="me", password_file=str(tmp_path / "password"))
    made = RecordingClient(config)
    made.client.query("up")
    assert server.requests[0].headers["authorization"] == "Basic bWU6cMOkOnNz"
    made.client.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (f"{SECRET}\nX-Evil: 1".encode(), "more than one line"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(
    server: HttpSink, tmp_path: Path, content: bytes | None, said: str
) -> None:
    """The file is in the message, what is in it never; nothing is sent."""
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    made = RecordingClient(PrometheusConfig(base(server), token_file=str(token)))
    error = made.failed()
    assert said in str(error)
    assert str(token) in str(error)
    assert server.requests == []
    assert made.outcomes == ["unreachable"]
    made.client.close()


def test_proxy_and_ca_environment_is_ignored(
    server: HttpSink, recording: RecordingClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies, CA bundles and .netrc of the environment neither redirect the query nor add to it."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
    made = RecordingClient(PrometheusConfig(base(server)))
    made.client.query("up")
    assert "authorization" not in server.requests[0].headers
    made.client.close()


# --- what comes back


def test_warnings_make_an_answer_partial(server: HttpSink, recording: RecordingClient) -> None:
    """They are kept, and the outcome says so."""
    server.answer(200, success(warnings=["a store is down"]), headers=JSON)
    assert recording.client.query("up").warnings == ("a store is down",)
    assert recording.outcomes == ["partial"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            400,
            failure("bad_data", "parse error: unexpected end"),
            MetricsRefused,
            "parse error: unexpected end",
        ),
        (422, failure("execution", "too many samples"), MetricsRefused, "too many samples"),
        (200, failure("bad_data", "no"), MetricsRefused, "refuses the query: no"),
        (400, b"Bad Request", MetricsRefused, "HTTP 400"),
        (413, b"", MetricsRefused, "too long for a proxy"),
        (414, PAGE, MetricsRefused, "too long for a proxy"),
        (503, failure("timeout", "query timed out"), QueryTimedOut, "gave up on the query: query timed out"),
        (503, failure("unavailable", "starting"), MetricsUnreachable, "HTTP 503: starting"),
        (500, failure("internal", "disk"), MetricsUnreachable, "HTTP 500: disk"),
        (200, failure("internal", "disk"), MetricsUnreachable, "disk"),
        (401, b"", MetricsUnreachable, "credentials"),
        (403, PAGE, MetricsUnreachable, "credentials"),
        (404, b"404 page not found", MetricsUnreachable, "path prefix"),
        (429, b"slow down", MetricsUnreachable, "asked too often"),
        (500, b"", MetricsUnreachable, "HTTP 500"),
        (502, PAGE, MetricsUnreachable, "HTTP 502"),
        (200, PAGE, MetricsUnreachable, "a web page"),
        (200, b"", MetricsUnreachable, "empty body"),
        (200, success()[:-5], MetricsUnreachable, "cut or foreign text"),
        (200, b"[]", MetricsUnreachable, "cut or foreign text"),
        (200, b"[" * 100_000, MetricsUnreachable, "cut or foreign text"),
        (200, b'{"status": "success"}', MetricsUnreachable, "not Prometheus'"),
        (200, b'{"status": "success", "data": {"result": "x"}}', MetricsUnreachable, "not Prometheus'"),
        (200, b'{"status": "ok"}', MetricsUnreachable, "foreign text"),
    ],
)
def test_every_bad_response_is_one_sentence(
    server: HttpSink,
    recording: RecordingClient,
    status: int,
    body: bytes,
    kind: type[MetricsError],
    said: str,
) -> None:
    """Refused when the query itself is the reason, unreachable otherwise; nothing is retried."""
    server.answer(status, body)
    error = recording.failed()
    assert type(error) is kind
    assert said in str(error)
    assert recording.outcomes == ["refused" if kind is MetricsRefused else "unreachable"]
    assert len(server.requests) == 1


def test_a_redirect_is_named_without_its_parameters(server: HttpSink, recording: RecordingClient) -> None:
    """It is not followed: it would take the token elsewhere."""
    server.answer(302, b"", headers={"Location": f"https://sso.example/login?state={SECRET}"})
    assert "redirects to https://sso.example/login, which looks like a login page" in str(recording.failed())
    assert len(server.requests) == 1


def test_a_long_error_text_is_trimmed(server: HttpSink, recording: RecordingClient) -> None:
    """Prometheus quotes the query back; a message stays a sentence."""
    server.answer(400, failure("bad_data", "x\n" * 5000))
    assert len(str(recording.failed())) < 500


def test_silent_server_times_out(server: HttpSink) -> None:
    """Nothing comes back within the timeout."""
    server.answer(200, success(), delay=5)
    made = RecordingClient(PrometheusConfig(base(server), timeout=0.2))
    assert "did not answer within 0.2 s" in str(made.failed())
    made.client.close()


def test_refused_connection_is_unreachable() -> None:
    """A refused connection and a name that does not resolve are distinguished."""
    made = RecordingClient(PrometheusConfig(f"http://127.0.0.1:{free_port()}"))
    assert "refuses the connection" in str(made.failed())
    made.client.close()
    made = RecordingClient(PrometheusConfig("http://no-such-host.invalid:9090"))
    assert "does not resolve" in str(made.failed())
    made.client.close()


def test_each_thread_gets_its_own_response(server: HttpSink) -> None:
    """Warnings and payloads of concurrent queries are not mixed up."""

    class Echo(HttpSink):
        def reply_to(self, received: ReceivedRequest) -> SinkReply:
            super().reply_to(received)
            [number] = parse_qs(received.body.decode())["query"]
            return SinkReply(body=success([{"metric": {}, "value": [1, number]}], warnings=[number]), headers=JSON)

    with Echo() as echo:
        made = PrometheusClient(PrometheusConfig(base(echo), connections=4))
        wrong: list[object] = []

        def query(first: int) -> None:
            for number in range(first, first + 20):
                answer = made.query(str(number))
                if (answer.samples[0].value, answer.warnings) != (number, (str(number),)):
                    wrong.append(answer)

        threads = [threading.Thread(target=query, args=(first,)) for first in range(0, 160, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(echo.requests) == 160
        made.close()


# --- version


def test_version_may_be_missing(server: HttpSink, recording: RecordingClient) -> None:
    """Thanos and filtering proxies do not tell it; that is no error."""
    server.answer(200, json.dumps({"status": "success", "data": {"version": "3.1.0"}}).encode())
    assert recording.client.version() == "3.1.0"
    assert server.requests[0].path == "/api/v1/status/buildinfo"
    server.answer(404, b"")
    assert recording.client.version() == ""
    server.answer(200, b'{"status": "success", "data": []}')
    assert recording.client.version() == ""


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(made)]
    subprocess.run(["openssl", "req", *kind, *name, *files], check=True, capture_output=True)
    return made, key


def test_tls_trusts_the_ca_file_alone(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """Right with its CA file, refused without, with a wrong one, and with one that is not there."""
    made, key = certificate
    with HttpSink() as sink:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made, key)
        sink._server.socket = context.wrap_socket(sink._server.socket, server_side=True)
        sink.answer(200, success(), headers=JSON)
        url = base(sink).replace("http://", "https://")
        good = RecordingClient(PrometheusConfig(url, ca_file=str(made)))
        assert good.client.query("up").samples[0].value == 2.5
        good.client.close()
        (tmp_path / "junk.pem").write_text("junk")
        for ca_file, said in (
            ("", "TLS: certificate verify failed"),
            (str(tmp_path / "junk.pem"), "TLS:"),
            (str(tmp_path / "none.pem"), "none.pem cannot be read"),
        ):
            bad = RecordingClient(PrometheusConfig(url, ca_file=ca_file))
            assert said in str(bad.failed())
            bad.client.close()


def test_response_payload_is_freed_after_use(server: HttpSink, recording: RecordingClient) -> None:
    """A large one would otherwise stay in memory for each thread until its next query."""
    server.answer(200, success(marked=[]), headers=JSON)
    recording.client.query("up")
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, dict) and "marked" in each]


def test_date_header_is_the_time_of_the_server(server: HttpSink, recording: RecordingClient) -> None:
    """The server's own clock says when it answered; a foreign or missing date says nothing."""
    answered = recording.client.query("up").server_time
    assert answered is not None
    assert abs(answered - time.time()) < 3
    for text, expected in (("Sun, 29 Nov 2026 20:17:42 GMT", 1795983462.0), ("yesterday", None), ("", None)):
        assert client_module._server_time(CaseInsensitiveDict({"date": text})) == expected
    assert client_module._server_time(CaseInsensitiveDict()) is None
