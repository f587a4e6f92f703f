"""Where Prometheus is: what is refused, and what is never printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from autocanary.errors import SettingsError
from autocanary.prometheus.connection_settings import PrometheusConfig, redacted_url


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": ""}, "expected http"),
        ({"url": "prometheus:9090"}, "expected http"),
        ({"url": "ftp://prometheus"}, "expected http"),
        ({"url": "http://"}, "expected http"),
        ({"url": "http://host:port"}, "expected http"),
        ({"url": "http://[::1"}, "expected http"),
        ({"url": "http://a b"}, "expected http"),
        ({"url": "http://host/graph?g0.expr=up"}, "query or fragment"),
        ({"token_file": "t", "username": "u", "password_file": "p"}, "keep one of them"),
        ({"username": "u"}, "both a username and a password file"),
        ({"password_file": "p"}, "both a username and a password file"),
        ({"timeout": 0}, "longer than zero"),
        ({"connections": 0}, "at least 1"),
        ({"headers": {"X Tenant": "a"}}, "header name"),
        ({"headers": {"X-Tenant": "a\nb"}}, "X-Tenant"),
        ({"headers": {"X-Tenant": " a"}}, "X-Tenant"),
    ],
)
def test_bad_settings_are_refused_with_a_message(settings: Mapping[str, Any], said: str) -> None:
    """Each says what was expected."""
    with pytest.raises(SettingsError, match=said):
        PrometheusConfig(**{"url": "http://prometheus:9090", **settings})


def test_secrets_are_not_in_messages_or_repr() -> None:
    """Neither a password in the URL nor the value of a header is ever printed."""
    config = PrometheusConfig("https://me:hush@host/prom/", headers={"X-Key": "s3cret"})
    assert config.base_url == "https://host/prom"
    assert config.url_credentials == ("me", "hush")
    assert "hush" not in repr(config)
    assert "s3cret" not in repr(config)
    with pytest.raises(SettingsError) as refused:
        PrometheusConfig("https://me:hush@host/?token=hush")
    assert "hush" not in str(refused.value)
    with pytest.raises(SettingsError) as refused:
        PrometheusConfig("http://host", headers={"X-Key": "s3cret\n"})
    assert "s3cret" not in str(refused.value)


def test_credentials_of_a_url_are_decoded() -> None:
    """A password with an @ is written %40 in a URL."""
    assert PrometheusConfig("http://u:p%40ss@host").url_credentials == ("u", "p@ss")
    assert PrometheusConfig("http://host").url_credentials is None


@pytest.mark.parametrize(
    ("url", "text"),
    [("http://u:p@h:1/a?b#c", "http://h:1/a"), ("http://[::1", "(not a URL)"), ("http://h", "http://h")],
)
def test_redacted_url_has_no_secrets(url: str, text: str) -> None:
    """Scheme, host and path, nothing that may be a secret."""
    assert redacted_url(url) == text


def test_own_query_parameters_are_refused() -> None:
    """The query and its deadline are autocanary's; anything else may be added."""
    assert PrometheusConfig("http://host", params={"dedup": "true"}).params == {"dedup": "true"}
    with pytest.raises(SettingsError, match="'timeout' is set by autocanary"):
        PrometheusConfig("http://host", params={"timeout": "1s"})
