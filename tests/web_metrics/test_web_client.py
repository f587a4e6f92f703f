"""Tests of autocanary.web_metrics.web_client against a real server: what is read, what is refused, who gets a secret."""

from __future__ import annotations

import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.settings import WebCredentials
from autocanary.web_metrics import WebClient
from tests.web_metrics import evaluation_service as behaviours
from tests.web_metrics.conftest import LOOPBACK
from tests.web_metrics.evaluation_service import Behaviour, EvaluationService


def test_get_sends_no_credentials_unless_named(service: EvaluationService, client: WebClient) -> None:
    """The question is the URL alone."""
    assert client.get(f"{service.origin}/score?revision=a", 2.0, "", "models") == b'{"value": 1}'
    [(path, headers)] = service.asked
    assert path == "/score?revision=a"
    assert "Authorization" not in headers


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 400, 401, 403, 404, 429, 500, 503])
def test_only_200_is_an_answer(service: EvaluationService, client: WebClient, status: int) -> None:
    """The status is said, the body is not."""
    service.behaviour = behaviours.says_bytes(b'{"value": 1, "s3cret": 1}', status)
    with pytest.raises(MetricsUnreachable, match=str(status)) as error:
        client.get(service.origin, 2.0, "", "models")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (behaviours.hangs, r"did not answer within 0\.3 s"),
        (behaviours.drips_headers, r"did not answer within 0\.3 s"),
        (behaviours.drips_body, "did not send its whole answer in time"),
        (behaviours.sends_a_gigabyte, "answered more than 16 KiB"),
        (behaviours.cuts, "did not send its whole answer"),
        (behaviours.closes, "cannot be reached"),
        (behaviours.says_bytes(b" " * 16_384 + b'{"value": 1}'), "answered more than 16 KiB"),
        (
            behaviours.says_bytes(b"", 302, Location="http://169.254.169.254/latest/meta-data/"),
            "answered 302: redirects",
        ),
        (behaviours.says_bytes(b"", 307, Location="/elsewhere"), "answered 307: redirects"),
    ],
)
def test_hostile_services(service: EvaluationService, client: WebClient, behaviour: Behaviour, why: str) -> None:
    """Each ends as one sentence, in time, and the redirect is not followed."""
    service.behaviour = behaviour
    with pytest.raises(MetricsUnreachable, match=why):
        client.get(service.origin, 0.3, "", "models")
    assert len(service.asked) == 1


def test_connection_refused(client: WebClient) -> None:
    """No service at all."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(MetricsUnreachable, match="cannot be reached"):
            client.get(f"http://127.0.0.1:{bound.getsockname()[1]}", 1.0, "", "models")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/",
        "http://eval.team-b.svc/",
        "http://[::ffff:169.254.169.254]/",
        "http://0x7f000001/",
        "http://localhost:6443/",
    ],
)
def test_private_addresses_are_refused_unless_listed(url: str) -> None:
    """As for webhooks; the message names the setting."""
    client = WebClient(HttpClient(hosts=WebhookHosts(("eval.example",))))
    with pytest.raises(MetricsRefused, match="AUTOCANARY_WEBHOOK_HOSTS does not allow it"):
        client.get(url, 1.0, "", "models")


def credentials(tmp_path: Path, **changed: Any) -> WebCredentials:
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    return WebCredentials(**{"name": "eval", "hosts": ("127.0.0.*",), "token_file": str(token)} | changed)


def with_credentials(*given: WebCredentials) -> WebClient:
    return WebClient(HttpClient(hosts=LOOPBACK), given)


def test_token_is_read_when_it_is_used(service: EvaluationService, tmp_path: Path) -> None:
    """A rotated one is picked up."""
    client = with_credentials(credentials(tmp_path))
    client.get(service.origin, 2.0, "eval", "models")
    (tmp_path / "token").write_text("new")
    client.get(service.origin, 2.0, "eval", "models")
    assert [headers["Authorization"] for _, headers in service.asked] == ["Bearer t0ken", "Bearer new"]


def test_user_and_password(service: EvaluationService, tmp_path: Path) -> None:
    """Basic authentication."""
    password = tmp_path / "password"
    password.write_text("p:w")
    client = with_credentials(credentials(tmp_path, token_file="", username="u", password_file=str(password)))
    client.get(service.origin, 2.0, "eval", "models")
    assert service.asked[0][1]["Authorization"] == f"Basic {b64encode(b'u:p:w').decode()}"


@pytest.mark.parametrize(
    ("changed", "name", "namespace", "why"),
    [
        ({"hosts": ("eval.example",)}, "eval", "models", "are not for 127.0.0.1"),
        ({"namespaces": ("team-a",)}, "eval", "models", "no credentials 'eval' are configured for .* none for them"),
        ({}, "other", "models", "no credentials 'other' are configured for .* they may use eval"),
    ],
)
def test_credentials_go_nowhere_else(
    service: EvaluationService, tmp_path: Path, changed: dict[str, Any], name: str, namespace: str, why: str
) -> None:
    """To another host, for another namespace, under another name: nothing is asked at all."""
    with pytest.raises(MetricsRefused, match=why):
        with_credentials(credentials(tmp_path, **changed)).get(service.origin, 2.0, name, namespace)
    assert service.asked == []


def test_missing_secret_is_an_outage(service: EvaluationService, tmp_path: Path) -> None:
    """It may be mounted a moment later; nothing is asked without it."""
    client = with_credentials(credentials(tmp_path, token_file=str(tmp_path / "none")))
    with pytest.raises(MetricsUnreachable, match="a token cannot be read"):
        client.get(service.origin, 2.0, "eval", "models")
    assert service.asked == []
