"""Credentials for Prometheus: read from their files at each request, never kept, never printed."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import requests
from requests.auth import AuthBase

from autocanary.errors import MetricsUnreachable
from autocanary.prometheus.connection_settings import PrometheusConfig

__all__ = ["Credentials"]


class Credentials(AuthBase):
    """Puts the Authorization header on a request; MetricsUnreachable when its file cannot be used.

    Without any configured, requests go out bare (and no .netrc is read).
    """

    def __init__(self, config: PrometheusConfig) -> None:
        self._config = config

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        config = self._config
        if config.token_file:
            request.headers["Authorization"] = f"Bearer {_secret(config.token_file, 'token')}"
            return request
        pair: tuple[str, str] | None = config.url_credentials
        if config.username:
            pair = (config.username, _secret(config.password_file, "password"))
        if pair is None:
            return request
        coded = b64encode(":".join(pair).encode()).decode()  # as UTF-8, where requests would take Latin-1
        request.headers["Authorization"] = f"Basic {coded}"
        return request


def _secret(path: str, what: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as why:
        reason = os.strerror(why.errno) if why.errno else "it cannot be read"
        raise MetricsUnreachable(f"the Prometheus {what} file {path} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise MetricsUnreachable(f"the Prometheus {what} file {path} is not UTF-8 text") from None
    if not text:
        raise MetricsUnreachable(f"the Prometheus {what} file {path} is empty")
    if what == "token" and not (text.isascii() and text.isprintable()):
        # requests' own error for such a header would quote the token
        raise MetricsUnreachable(
            f"the Prometheus token file {path} holds more than one line or odd characters"
        )
    return text
