"""What can happen to a request on its way, as values a test hands to the proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.testbed.servers.http_sink import ReceivedRequest

Matches = Callable[[ReceivedRequest], bool]
Action = Callable[[], object]


def nothing() -> None:
    """The action of a fault that does no more than its own harm."""


def any_request(received: ReceivedRequest) -> bool:
    """Every request."""
    return True


def writes(received: ReceivedRequest) -> bool:
    """The requests that change something on an API server."""
    return received.method in ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Forward:
    """No fault: the request reaches the server and the answer the client."""


@dataclass(frozen=True)
class Reset:
    """The server never sees the request; the client's connection is reset. `action` runs first."""

    action: Action = nothing


@dataclass(frozen=True)
class DropResponse:
    """The server does what was asked; the client's connection is reset instead of an answer.

    `action` runs between the two: there a test kills the service that has just written.
    """

    action: Action = nothing


@dataclass(frozen=True)
class Hang:
    """The request is taken and nothing is ever said."""


@dataclass(frozen=True)
class RespondInstead:
    """The proxy answers on its own and the server never sees the request."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CutBody:
    """The answer breaks off after so many bytes of its body; half of the first piece when not given."""

    after: int | None = None


@dataclass(frozen=True)
class Delay:
    """The request goes on after so many seconds."""

    seconds: float


Fault = Forward | Reset | DropResponse | Hang | RespondInstead | CutBody | Delay

LOGIN_PAGE = RespondInstead(
    200,
    b"<!doctype html><html><head><title>Sign in</title></head><body><form>Sign in</form></body></html>",
    {"Content-Type": "text/html; charset=utf-8"},
)
