"""Further Prometheus servers, which policies name: each with an address, credentials and limits of its own.

Only the operator sets them. A policy gives a name and nothing else, so that no tenant's policy reaches another
host or reads a file.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from autocanary.settings import value_types

__all__ = ["PrometheusServer", "PrometheusServers"]

_NAMESPACE = re.compile(r"[a-z0-9*?]([-a-z0-9*?]{0,61}[a-z0-9*?])?", re.ASCII)
_MAX_SERVERS = 50
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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise value_types.invalid_value("expected a text")
    return value.strip()


def _name(value: Any) -> str:
    name = _text(value)
    if not value_types.DNS_LABEL.fullmatch(name):
        raise value_types.invalid_value("expected a name of lower-case letters, digits and '-'")
    return name


def _timeout(value: Any) -> float:
    seconds = value_types.parse_seconds(value)
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise value_types.invalid_value(f"expected a duration of at most {_LONGEST_TIMEOUT:g}s")
    return seconds


def _namespaces(value: Any) -> tuple[str, ...]:
    names = value_types.split_list(value)
    if not names:  # not "all": who writes an empty list means none
        raise value_types.invalid_value("the list is empty: leave it out where every namespace may use the server")
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            raise value_types.invalid_value(f"{name!r} is neither a namespace nor a pattern such as team-*")
    return names


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "url": value_types.parse_url,
    "token_file": _text,
    "username": _text,
    "password_file": _text,
    "headers": value_types.parse_headers,
    "params": value_types.parse_query_params,
    "ca_file": _text,
    "timeout": _timeout,
    "namespaces": _namespaces,
}


def _parse_server(given: Any, number: int) -> PrometheusServer:
    if not isinstance(given, Mapping):
        raise value_types.invalid_value(f"server {number}: expected name, url and what else it needs")
    where = f"server {given['name']}" if isinstance(given.get("name"), str) else f"server {number}"
    known = [each.name for each in fields(PrometheusServer)]
    read: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise value_types.invalid_value(f"{where}: {key!r} is unknown{value_types.did_you_mean(str(key), known)}")
        try:
            read[key] = _READERS[key](value)
        except PydanticCustomError as error:
            raise value_types.invalid_value(f"{where}: {key}: {error.message()}") from None
    for key in ("name", "url"):
        if key not in read:
            raise value_types.invalid_value(f"{where}: {key} is missing")
    server = PrometheusServer(**read)
    if bool(server.username) != bool(server.password_file):
        raise value_types.invalid_value(f"{where}: username and password_file belong together: set both or neither")
    if server.token_file and server.password_file:
        raise value_types.invalid_value(f"{where}: token_file and password_file exclude each other: set one")
    return server


def _parse_servers(value: Any) -> tuple[PrometheusServer, ...]:
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise value_types.invalid_value("expected a list of servers as YAML or JSON") from None
    if not isinstance(value, list | tuple):
        raise value_types.invalid_value("expected a list of servers, each with name and url")
    if len(value) > _MAX_SERVERS:
        raise value_types.invalid_value(f"{len(value)} servers, and at most {_MAX_SERVERS} are used")
    servers = tuple(
        each if isinstance(each, PrometheusServer) else _parse_server(each, number)
        for number, each in enumerate(value, start=1)
    )
    names = [server.name for server in servers]
    for name in names:
        if names.count(name) > 1:
            raise value_types.invalid_value(f"two servers have the name {name}")
    return servers


PrometheusServers = Annotated[tuple[PrometheusServer, ...], BeforeValidator(_parse_servers)]
