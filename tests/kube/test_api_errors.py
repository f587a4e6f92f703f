"""Answers and failures as our own errors."""

from __future__ import annotations

import json
import ssl

import pytest
from kubernetes.client import ApiException
from urllib3 import HTTPSConnectionPool
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPSConnection

from autocanary.errors import (
    AlreadyExists,
    Busy,
    ClusterError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Unreachable,
)
from autocanary.kube.api_errors import (
    ResourceNotServed,
    connection_error,
    error_from_response,
    invalid_response_error,
)
from tests.kube.fake_api import status

SERVER = "https://k8s.example:6443"
ADMISSION = "forbidden: ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: not now"
WEBHOOK = 'admission webhook "inferenceservice.kserve-webhook-server.defaulter" denied the request: no'
MODIFIED = "the object has been modified"


def fault(code: int, body: bytes = b"", *, group: str = "autocanary.dev", retry: str | None = None) -> ClusterError:
    headers = {"Retry-After": retry} if retry else {}
    return error_from_response(code, headers, body, action="patch CanaryRollout ml/a", group=group, server=SERVER)


@pytest.mark.parametrize(
    ("code", "body", "kind", "said"),
    [
        (409, status(409, "Conflict", MODIFIED), Conflict, MODIFIED),
        (409, status(409, "AlreadyExists", "a already exists"), AlreadyExists, "already exists"),
        (410, status(410, "Expired", "too old resource version"), Conflict, "too old"),
        (422, status(422, "Invalid", "metadata.uid: field is immutable"), Conflict, "metadata.uid"),
        (404, status(404, "NotFound", 'canaryrollouts "a" not found', name="a"), NotFound, '"a" not found'),
        (401, status(401, "Unauthorized", "Unauthorized"), Forbidden, "expired"),
        (403, status(403, "Forbidden", 'User "x" cannot patch resource'), Forbidden, "chart's roles"),
        (403, status(403, "Forbidden", WEBHOOK), Refused, "denied the request"),
        (403, status(403, "Forbidden", ADMISSION), Refused, "denied request: not now"),
        (400, status(400, "BadRequest", WEBHOOK), Refused, "denied the request"),
        (400, status(400, "", 'cannot unmarshal string into "canaryTrafficPercent"'), Refused, "unmarshal"),
        (415, status(415, "UnsupportedMediaType", "the body of the request"), Refused, "body of the request"),
        (422, status(422, "Invalid", "spec.request.id: too short"), Refused, "too short"),
        (405, b"", Refused, "405"),
        (408, b"", Busy, "408"),
        (429, status(429, "TooManyRequests", "please try again later"), Busy, "try again"),
        (500, status(500, "InternalError", "failed calling webhook"), Busy, "failed calling webhook"),
        (503, b"upstream is down", Busy, "upstream is down"),
        (504, status(504, "Timeout", "Timeout: request did not complete"), Busy, "did not complete"),
        (302, b"", Unreachable, "not an API server"),
    ],
)
def test_every_answer_has_its_error(code: int, body: bytes, kind: type[ClusterError], said: str) -> None:
    """The class says what to do next, the sentence what was tried and what the server said."""
    error = fault(code, body)
    assert type(error) is kind
    assert error.status == code
    assert said in str(error)
    assert "\n" not in str(error)


def test_more_rights_do_not_help_in_a_dying_namespace() -> None:
    """The API server calls it Forbidden, and no role would change that."""
    causes = [{"reason": "NamespaceTerminating", "message": "namespace ml is being terminated"}]
    body = status(403, "Forbidden", "forbidden: because it is being terminated", causes=causes)
    assert type(fault(403, body)) is Refused


@pytest.mark.parametrize(
    ("group", "advice"),
    [
        ("autocanary.dev", "autocanary crds | kubectl apply -f -"),
        ("serving.kserve.io", "is KServe installed?"),
        ("coordination.k8s.io", "404 page not found"),
    ],
)
def test_distinguishes_a_missing_definition_from_a_missing_object(group: str, advice: str) -> None:
    """A 404 that names no object is about the kind, and each kind is installed in its own way."""
    error = fault(404, b"404 page not found\n", group=group)
    assert type(error) is ResourceNotServed
    assert advice in str(error)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("Wed, 21 Oct", None), ("-1", None)])
def test_retry_after_is_seconds_or_nothing(header: str | None, seconds: float | None) -> None:
    """Only a number of seconds can be waited for."""
    assert fault(429, retry=header).retry_after == seconds


def test_a_web_page_is_not_quoted() -> None:
    """A proxy's error page says nothing to the reader of a log line."""
    error = fault(502, b"<html><body>Bad Gateway</body></html>")
    assert "web page" in str(error)
    assert "<" not in str(error)


def test_long_messages_are_trimmed_to_one_line() -> None:
    """Validation errors of the API server can be many lines long."""
    error = fault(422, status(422, "Invalid", "x\n" * 1000))
    assert len(str(error)) < 400
    assert "x x x" in str(error)


@pytest.mark.parametrize("body", [status(400, "BadRequest", "\x1b[2Jno\x1b]0;owned\x07"), b"\x1b[2Jno\x1b]0;owned\x07"])
def test_control_characters_are_removed(body: bytes) -> None:
    """A webhook's refusal reaches the terminal of `autocanary abort`."""
    assert str(fault(400, body)).endswith(": no")


def test_message_that_is_no_text_is_shown_as_text() -> None:
    """A proxy may answer with a Status of another shape."""
    body = b'{"kind": "Status", "message": {"deep": [1]}}'
    assert "{'deep': [1]}" in str(fault(400, body))


CONNECTION = HTTPSConnection("k8s.example", 6443)


def pool() -> HTTPSConnectionPool:
    return HTTPSConnectionPool("k8s.example", 6443)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            urllib3_errors.NewConnectionError(CONNECTION, "x: [Errno 111] Connection refused"),
            "connection refused",
        ),
        (urllib3_errors.ConnectTimeoutError(pool(), "x"), "no connection in time"),
        (urllib3_errors.ReadTimeoutError(pool(), "/", "x"), "no answer in time"),
        (urllib3_errors.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")), "was cut"),
        (urllib3_errors.ProxyError("x", OSError("Tunnel connection failed: 403")), "proxy does not answer"),
        (urllib3_errors.NameResolutionError("k8s", pool(), OSError("x")), "cannot be resolved"),  # type: ignore[arg-type]
        (
            urllib3_errors.MaxRetryError(pool(), "/", urllib3_errors.ReadTimeoutError(pool(), "/", "x")),
            "in time",
        ),
        (ConnectionResetError(104, "Connection reset by peer"), "was cut"),
        (ssl.SSLError("x"), "cut"),
        (
            ApiException(
                status=0,
                reason="SSLError\n[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed "
                "certificate (_ssl.c:992)",
            ),
            "certificate verify failed: self-signed certificate",
        ),
        (urllib3_errors.SSLError("handshake failure"), "handshake failure"),
        (urllib3_errors.LocationParseError("a:b"), "stray characters"),
        (urllib3_errors.DecodeError("not gzip"), "not gzip"),
    ],
)
def test_every_network_failure_says_why_and_what_to_check(error: Exception, said: str) -> None:
    """One sentence with the address, the cause and a hint."""
    translated = connection_error(error, server=SERVER)
    assert type(translated) is Unreachable
    assert str(translated).startswith(f"cannot reach the API server at {SERVER}: ")
    assert said in str(translated)
    assert "; check " in str(translated)


def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    """http.client quotes the header, which is the token."""
    translated = connection_error(ValueError("Invalid header value b'Bearer secret\\n'"), server=SERVER)
    assert "secret" not in str(translated)


def test_an_answer_that_is_not_json_names_the_address() -> None:
    """A login page answers 200 to everything."""
    translated = invalid_response_error(b"<!doctype html><p>Log in", "no JSON", action="get Lease a/b", server=SERVER)
    assert type(translated) is Unreachable
    assert SERVER in str(translated)
    assert "web page" in str(translated)
    assert json.dumps("Log in") not in str(translated)
