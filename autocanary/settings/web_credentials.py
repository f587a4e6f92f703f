"""Credentials for web metrics, which policies name: files, the hosts that they are for, and the namespaces.

Only the operator sets them. A policy gives a name and nothing else; its URL must be of one of the hosts, so that no
tenant's policy sends them elsewhere.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from autocanary.settings import named_entries, value_types

__all__ = ["WebCredentials", "WebCredentialsList"]

_HOST = re.compile(r"[a-z0-9*?]([-a-z0-9.*?]*[a-z0-9*?])?", re.ASCII)
_MAX_CREDENTIALS = 50
_REQUIRED = ("name", "hosts")


@dataclass(frozen=True, slots=True)
class WebCredentials:
    """A token, or a user name and password, for ``hosts`` (names and globs). Empty ``namespaces``: any service's."""

    name: str
    hosts: tuple[str, ...]
    token_file: str = ""
    username: str = ""
    password_file: str = ""
    namespaces: tuple[str, ...] = ()

    def serves(self, namespace: str) -> bool:
        """Whether metrics of services of the namespace may use them."""
        return not self.namespaces or any(fnmatch.fnmatchcase(namespace, each) for each in self.namespaces)


def _hosts(value: Any) -> tuple[str, ...]:
    hosts = tuple(each.lower() for each in value_types.split_list(value))
    if not hosts:
        raise value_types.invalid_value("the list is empty: name the hosts that may get them")
    for host in hosts:
        if not _HOST.fullmatch(host) or not re.search("[a-z0-9]", host):
            raise value_types.invalid_value(f"{host!r} is neither a host nor a pattern such as *.example.com")
    return hosts


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": named_entries.read_name,
    "hosts": _hosts,
    "token_file": named_entries.read_text,
    "username": named_entries.read_text,
    "password_file": named_entries.read_text,
    "namespaces": named_entries.read_namespaces,
}


def _parse_one(given: Any, number: int) -> WebCredentials:
    where, read = named_entries.read_entry(given, number, "credentials", _READERS, required=_REQUIRED)
    found = WebCredentials(**read)
    named_entries.check_credentials(where, found.token_file, found.username, found.password_file)
    if not found.token_file and not found.password_file:
        raise value_types.invalid_value(f"{where}: token_file, or username and password_file, is missing")
    return found


def _parse(value: Any) -> tuple[WebCredentials, ...]:
    return named_entries.read_entries(value, WebCredentials, _parse_one, "credentials", _MAX_CREDENTIALS, _REQUIRED)


WebCredentialsList = Annotated[tuple[WebCredentials, ...], BeforeValidator(_parse)]
