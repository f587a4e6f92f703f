"""Which addresses a tenant's webhook may reach, and which receivers' words are shown.

An author of policies chooses URLs that autocanary calls from inside the cluster's network. So private
addresses are refused, at the moment of the connection and by the address that is connected to, unless the
operator's list of hosts allows them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import requests
import requests.adapters
import urllib3
from urllib3.util.connection import create_connection

from autocanary.outbound.deadline import DeadlineResponse

__all__ = ["AddressRefusedError", "GuardedAdapter", "WebhookHosts", "is_private"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CLUSTER_SUFFIXES = (".svc", ".cluster.local", ".local", ".internal", ".localhost")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefusedError(ValueError):
    """The host is, or resolves to, an address that policies' webhooks may not reach."""


@dataclass(frozen=True, slots=True)
class WebhookHosts:
    """The hosts that the operator allows: names, globs (``*.example.com``), addresses, networks (``10.0.0.0/8``)."""

    allowed: tuple[str, ...] = ()

    def allows_name(self, host: str) -> bool:
        """Whether the list has this name or literal address; then its address is not checked."""
        name = host.rstrip(".").lower().strip("[]")
        return any(fnmatchcase(name, each.lower()) for each in self.allowed) or self._in_networks(name)

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of ``host`` that may be connected to.

        Raises AddressRefusedError when one of them may not, and OSError when the name does not resolve.
        """
        name = host.strip("[]")
        allowed = self.allows_name(name)
        if not allowed and _is_cluster_name(name):
            raise AddressRefusedError(f"{name} is a name inside the cluster")
        found = [str(each[4][0]) for each in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
        for address in () if allowed else found:
            if is_private(address) and not self._in_networks(address):
                raise AddressRefusedError(f"{name} resolves to a private address")
        return list(dict.fromkeys(found))

    def _in_networks(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in map(_network, self.allowed) if network)


def is_private(address: str) -> bool:
    """Whether an address is not one of the public internet: private, loopback, link-local, reserved, multicast."""
    parsed = _parse(address)
    if parsed is None:
        return True
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            parsed = inner
    return not parsed.is_global or parsed.is_multicast or str(parsed) == os.environ.get("KUBERNETES_SERVICE_HOST")


class GuardedAdapter(requests.adapters.HTTPAdapter):
    """Connects to addresses that ``hosts`` lets pass (None: to any), and obeys ``deadline``.

    Behind a proxy the name is checked as far as it resolves.
    """

    def __init__(self, hosts: WebhookHosts | None) -> None:
        self._hosts = hosts
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: urllib3.PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _pool_classes(self._hosts)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _pool_classes(None)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if (
            self._hosts is not None
            and kwargs.get("proxies")
            and requests.utils.select_proxy(str(request.url), kwargs["proxies"])
        ):
            parts = urllib3.util.parse_url(str(request.url))
            with suppress(OSError):  # a name that only the proxy can resolve
                self._hosts.addresses(parts.host or "", parts.port or 443)
        return super().send(request, *args, **kwargs)


@lru_cache(maxsize=8)
def _pool_classes(hosts: WebhookHosts | None) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Connection(urllib3.connection.HTTPConnection):
        response_class = DeadlineResponse

        def _new_conn(self) -> socket.socket:
            return super()._new_conn() if hosts is None else _connect(hosts, self)

    class TlsConnection(urllib3.connection.HTTPSConnection):
        response_class = DeadlineResponse

        def _new_conn(self) -> socket.socket:
            return super()._new_conn() if hosts is None else _connect(hosts, self)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _connect(hosts: WebhookHosts, connection: Any) -> socket.socket:
    """Connected to the first address that accepts, of those that ``hosts`` lets pass."""
    try:
        addresses = hosts.addresses(connection.host, connection.port)
    except OSError as error:
        raise urllib3.exceptions.NameResolutionError(connection.host, connection, error) from error  # type: ignore[arg-type]
    failure: OSError | None = None
    for address in addresses:
        try:
            return create_connection(
                (address, connection.port), connection.timeout, socket_options=connection.socket_options
            )
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(connection, "the connection timed out") from error
        except OSError as error:
            failure = error
    raise urllib3.exceptions.NewConnectionError(connection, f"{failure}") from failure


def _is_cluster_name(name: str) -> bool:
    plain = name.rstrip(".").lower()
    return _parse(plain) is None and ("." not in plain or plain.endswith(_CLUSTER_SUFFIXES))


def _parse(address: str) -> _Address | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
