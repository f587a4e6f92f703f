"""Further Prometheus servers, which policies name: each with an address, credentials and limits of its own.

Only the operator sets them. A policy gives a name and nothing else, so that no tenant's policy reaches another
host or reads a file.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator

from autocanary.settings import named_entries, value_types

__all__ = ["PrometheusServer", "PrometheusServers"]

_MAX_SERVERS = 50
_REQUIRED = ("name", "url")
_LONGEST_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """One server; ``timeout`` in seconds. Empty ``namespaces``: any service may be measured by it."""

    name: str
    url: str
    token_file: str = ""
    username: str = ""
    password_file: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    params: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_file: str = ""
    timeout: float = 5.0
    namespaces: tuple[str, ...] = ()

    def serves(self, namespace: str) -> bool:
        """Whether services of the namespace may be measured by it."""
        return not self.namespaces or any(fnmatch.fnmatchcase(namespace, each) for each in self.namespaces)


def _timeout(value: Any) -> float:
    seconds = value_types.parse_seconds(value)
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise value_types.invalid_value(f"expected a duration of at most {_LONGEST_TIMEOUT:g}s")
    return seconds


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": named_entries.read_name,
    "url": value_types.parse_url,
    "token_file": named_entries.read_text,
    "username": named_entries.read_text,
    "password_file": named_entries.read_text,
    "headers": value_types.parse_headers,
    "params": value_types.parse_query_params,
    "ca_file": named_entries.read_text,
    "timeout": _timeout,
    "namespaces": named_entries.read_namespaces,
}


def _parse_server(given: Any, number: int) -> PrometheusServer:
    where, read = named_entries.read_entry(given, number, "server", _READERS, required=_REQUIRED)
    server = PrometheusServer(**read)
    named_entries.check_credentials(where, server.token_file, server.username, server.password_file)
    return server


def _parse_servers(value: Any) -> tuple[PrometheusServer, ...]:
    return named_entries.read_entries(value, PrometheusServer, _parse_server, "server", _MAX_SERVERS, _REQUIRED)


PrometheusServers = Annotated[tuple[PrometheusServer, ...], BeforeValidator(_parse_servers)]
