"""Where Prometheus is and how to speak to it: checked once, and printable without its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from autocanary.errors import SettingsError
from autocanary.settings import PrometheusServer, Settings

__all__ = ["OWN_PARAMETERS", "PrometheusConfig", "config_from_settings", "config_of_server", "redacted_url"]

OWN_PARAMETERS = frozenset({"query", "time", "timeout"})
"""The parameters of a query that autocanary sets."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """Address, credentials and limits of one Prometheus (or Thanos, Mimir, VictoriaMetrics).

    ``timeout`` is the whole time (seconds) that one query may take, connecting included. ``connections``
    is how many queries run at once without opening new connections. ``max_revisions`` and
    ``max_query_bytes`` bound one grouped query; a refused one is halved. Lower ``max_query_bytes`` where a
    proxy or VictoriaMetrics' ``-search.maxQueryLen`` (16 KiB) is in the way, to spare it the refusals.
    ``params`` are sent with every query besides, such as ``partial_response=false`` (Thanos).
    Token and password are files, read again at every query, so that rotated ones are picked up.
    """

    url: str
    token_file: str = ""
    username: str = ""
    password_file: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str = ""
    timeout: float = 5.0
    connections: int = 8
    max_revisions: int = 1000
    max_query_bytes: int = 200_000

    def __post_init__(self) -> None:
        parts = _split_url(self.url)
        if parts is None or parts[0] not in ("http", "https") or not parts[1]:
            raise SettingsError(
                f"Prometheus URL {redacted_url(self.url)!r} is not an address: expected http:// or https:// and"
                " a host, for example http://prometheus.monitoring:9090"
            )
        if parts[2]:
            raise SettingsError(
                f"Prometheus URL {redacted_url(self.url)!r} has a query or fragment: give the address that"
                " /api/v1/query is appended to"
            )
        if self.token_file and (self.username or self.password_file):
            raise SettingsError("Prometheus has both a token file and a username or password: keep one of them")
        if bool(self.username) != bool(self.password_file):
            raise SettingsError("Prometheus basic authentication needs both a username and a password file")
        if self.timeout <= 0:
            raise SettingsError(f"Prometheus timeout {self.timeout:g}s must be longer than zero, for example 5s")
        if min(self.connections, self.max_revisions, self.max_query_bytes) < 1:
            raise SettingsError("Prometheus connections, max_revisions and max_query_bytes must be at least 1")
        for name, value in self.headers.items():
            _check_header(name, value)
        for name in self.params:
            if name in OWN_PARAMETERS:
                raise SettingsError(f"Prometheus query parameter {name!r} is set by autocanary: leave it out")

    @property
    def base_url(self) -> str:
        """The address without credentials and trailing slash: for requests, messages and logs alike."""
        return redacted_url(self.url).rstrip("/")

    @property
    def url_credentials(self) -> tuple[str, str] | None:
        """User and password written into the URL, if any."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return None
        return unquote(parts.username), unquote(parts.password or "")

    def __repr__(self) -> str:
        return f"PrometheusConfig({self.base_url!r})"


def config_from_settings(settings: Settings) -> PrometheusConfig:
    """What the service's settings say of Prometheus; SettingsError when they cannot be used."""
    return PrometheusConfig(
        url=settings.prometheus_url or "",
        token_file=str(settings.prometheus_token_file or ""),
        username=settings.prometheus_username,
        password_file=str(settings.prometheus_password_file or ""),
        headers=dict(settings.prometheus_headers),
        params=dict(settings.prometheus_params),
        ca_file=str(settings.prometheus_ca_file or ""),
        timeout=settings.prometheus_timeout,
    )


def config_of_server(server: PrometheusServer) -> PrometheusConfig:
    """What the service's settings say of one of the further servers; SettingsError when they cannot be used."""
    return PrometheusConfig(
        url=server.url,
        token_file=server.token_file,
        username=server.username,
        password_file=server.password_file,
        headers=dict(server.headers),
        params=dict(server.params),
        ca_file=server.ca_file,
        timeout=server.timeout,
    )


def redacted_url(url: str) -> str:
    """The URL without user, password, query and fragment, any of which may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _split_url(url: str) -> tuple[str, str, bool] | None:
    """Scheme, host, and whether a query or fragment follows; None when the text is no URL at all."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is not a number is only noticed here
    except ValueError:
        return None
    if url != url.strip() or re.search(r"\s", url):
        return None
    return parts.scheme, parts.hostname or "", bool(parts.query or parts.fragment)


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise SettingsError(f"Prometheus header name {name!r} is not one HTTP allows")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise SettingsError(
            f"the value of Prometheus header {name} has line breaks, outer blanks or characters outside ASCII"
        )
