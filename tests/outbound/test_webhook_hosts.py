"""Tests of autocanary.outbound.webhook_hosts: the addresses that tenants' URLs reach, and whose words are shown."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from autocanary.errors import DeliveryError
from autocanary.outbound.http_client import NO_RETRY, HttpClient
from autocanary.outbound.webhook_hosts import AddressRefusedError, WebhookHosts, is_private
from tests.notifications.http_receiver import Receiver, Reply

LOOPBACK = WebhookHosts(("127.0.0.1",))


def resolve_as(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name resolves to these addresses."""

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "ff02::1",
        "not an address",
    ],
)
def test_private_addresses(address: str) -> None:
    """Private, loopback, link-local, shared, multicast, and IPv4 addresses inside IPv6 ones."""
    assert is_private(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses(address: str) -> None:
    """The internet needs no permission."""
    assert not is_private(address)


def test_api_server_is_private_whatever_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster may have public service addresses."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "93.184.216.34")
    assert is_private("93.184.216.34")


@pytest.mark.parametrize(
    "host", ["gate.models.svc", "gate.models.svc.cluster.local.", "gate", "localhost", "metadata.google.internal"]
)
def test_cluster_names_are_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where service addresses are public ones."""
    resolve_as(monkeypatch, "93.184.216.34")
    with pytest.raises(AddressRefusedError):
        WebhookHosts().addresses(host, 80)
    assert WebhookHosts((host.rstrip("."),)).addresses(host, 80) == ["93.184.216.34"]


def test_one_private_address_of_several_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a public and a private address reaches neither."""
    resolve_as(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(AddressRefusedError, match=r"evil\.example resolves to a private address"):
        WebhookHosts().addresses("evil.example", 80)


@pytest.mark.parametrize("allowed", ["evil.example", "EVIL.example", "*.example", "10.0.0.0/8", "10.0.0.1"])
def test_operator_allows_names_globs_addresses_and_networks(allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form lets the same host pass."""
    resolve_as(monkeypatch, "10.0.0.1")
    assert WebhookHosts((allowed,)).addresses("evil.example", 80) == ["10.0.0.1"]


def test_private_receiver_gets_nothing_by_default(receiver: Receiver) -> None:
    """The refusal is final, names the setting, and no byte is sent."""
    with pytest.raises(DeliveryError, match="AUTOCANARY_WEBHOOK_HOSTS does not allow it") as refused:
        HttpClient(hosts=WebhookHosts()).post(receiver.url(), {})
    assert refused.value.retry_after == NO_RETRY
    assert receiver.received == []


def test_name_that_changes_its_address_is_checked_when_it_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the address that is checked is the one that is connected to."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert WebhookHosts().addresses("rebinds.example", receiver.port) == ["93.184.216.34"]
    with pytest.raises(DeliveryError, match="private address"):
        HttpClient(hosts=WebhookHosts()).post(f"http://rebinds.example:{receiver.port}/", {})
    assert receiver.received == []


def test_allowed_receiver_is_reached(receiver: Receiver) -> None:
    """What the operator lists works as before."""
    assert HttpClient(hosts=LOOPBACK).post(receiver.url(), {}).ok
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("hosts", "kind", "text"),
    [
        (LOOPBACK, "text/plain; charset=utf-8", "tests failed"),
        (LOOPBACK, "application/json", ""),
        (LOOPBACK, "text/html", ""),
        (WebhookHosts(("127.0.0.0/8",)), "text/plain", "tests failed"),
    ],
)
def test_text_of_allowed_hosts_only_if_plain(receiver: Receiver, hosts: WebhookHosts, kind: str, text: str) -> None:
    """An internal service's JSON or HTML never becomes a message."""
    receiver.replies(Reply(500, b"tests\x1b[2J failed", {"Content-Type": kind}))
    assert HttpClient(hosts=hosts).post(receiver.url(), {}).text == text


def test_text_of_public_hosts_is_not_shown(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that the operator did not list says nothing in messages but its status code."""
    monkeypatch.setattr("autocanary.outbound.webhook_hosts.is_private", lambda _: False)
    receiver.replies(Reply(403, b"secret=hunter2", {"Content-Type": "text/plain"}))
    answer = HttpClient(hosts=WebhookHosts()).post(receiver.url(), {})
    assert (answer.status, answer.text) == (403, "")


def test_reason_is_short(receiver: Receiver) -> None:
    """One line of 120 characters."""
    receiver.replies(Reply(403, b"no " * 1000, {"Content-Type": "text/plain"}))
    assert len(HttpClient(hosts=LOOPBACK).post(receiver.url(), {}).text) <= 120


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    """Neither to another port of the same host, nor named in the message."""
    with Receiver().running() as other:
        receiver.replies(Reply(status, headers={"Location": other.url("/admin")}))
        answer = HttpClient(hosts=LOOPBACK).post(receiver.url(), {})
        assert other.received == []
    assert (answer.status, answer.text) == (status, "redirects of a policy's webhook are not followed")


def test_proxy_does_not_hide_a_private_address(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy itself may be private; the name behind it is checked as far as it resolves."""
    monkeypatch.setenv("HTTP_PROXY", receiver.url())
    with pytest.raises(DeliveryError, match="does not allow it"):
        HttpClient(hosts=WebhookHosts()).post("http://10.0.0.1/", {})
    assert receiver.received == []
    assert HttpClient(hosts=WebhookHosts()).post("http://93.184.216.34/", {}).ok
    assert len(receiver.received) == 1
