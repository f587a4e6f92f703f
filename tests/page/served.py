"""The page over values of a test, behind a real server."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from autocanary.errors import AutocanaryError
from autocanary.http_server.server import Server
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.rollout import Request, Rollout
from autocanary.page import AccessDenied, PageOptions, Visitor, WebPage
from autocanary.views import UndoTarget

NOW = 1_767_226_000.0


@dataclass
class FakeSource:
    """``PageSource`` of lists."""

    kept: list[Rollout] = field(default_factory=list)
    policy: Policy | None = None
    seen: list[Observation] = field(default_factory=list)
    active: list[Policy] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    at: float = NOW
    unread: list[str] = field(default_factory=list)
    cluster_name: str = "test"

    def now(self) -> float:
        return self.at

    def rollouts(self) -> Sequence[Rollout]:
        return list(self.kept)

    def policy_of(self, rollout: Rollout) -> Policy | None:
        return self.policy

    def services(self) -> Sequence[Observation]:
        return self.seen

    def policies(self) -> Sequence[Policy]:
        return self.active

    def problems(self) -> Mapping[str, Sequence[str]]:
        return self.faults

    def query_text(self, rollout: Rollout, metric: str) -> str:
        return f"sum(rate({metric}[1m]))"

    def missing(self) -> Sequence[str]:
        return self.unread


@dataclass
class FakeAccess:
    """``PageAccess``: who may read which namespaces (None: all), and act in which."""

    may_read: set[str] | None = None
    may_write: set[str] | None = None
    acts: list[tuple[str, str, bool | None, Request | None]] = field(default_factory=list)
    may_release: bool = False
    undone: list[tuple[str, UndoTarget, str]] = field(default_factory=list)
    error: AutocanaryError | None = None
    signed_in: bool = True

    def identify(self, headers: Mapping[str, str]) -> Visitor:
        if not self.signed_in:
            raise AccessDenied(401, "sign in first")
        return Visitor("ada", headers.get("x-visitor", "ada"))

    def readable(self, visitor: Visitor, namespaces: AbstractSet[str]) -> AbstractSet[str]:
        return namespaces if self.may_read is None else namespaces & self.may_read

    def may_act(self, visitor: Visitor, namespace: str) -> bool:
        return self.may_write is None or namespace in self.may_write

    def refusal(self, namespace: str) -> str:
        return f"that takes the right to patch canaryrollouts in namespace {namespace}"

    def act(self, visitor: Visitor, rollout: Rollout, *, paused: bool | None, request: Request | None) -> None:
        if self.error is not None:
            raise self.error
        self.acts.append((visitor.name, rollout.name, paused, request))

    def may_undo(self, visitor: Visitor, rollout: Rollout) -> bool:
        return self.may_release

    def undo(self, visitor: Visitor, target: UndoTarget, reason: str) -> None:
        if self.error is not None:
            raise self.error
        self.undone.append((visitor.name, target, reason))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


class ServedPage:
    """Start with ``with``; closed in the order in which a service closes it."""

    def __init__(self, source: Any, access: Any, options: PageOptions | None = None) -> None:
        self.page = WebPage(source, access, options or PageOptions(shortest_round=0.05))
        self.server = Server("127.0.0.1", 0, self.page.application)

    def __enter__(self) -> ServedPage:
        self.server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.page.close()
        self.server.stop()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def request(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read().decode("utf-8"),
            )
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: str, **headers: str) -> Answer:
        given = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.url}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, {name: value for name, value in given.items() if value})

    def stream(self, path: str) -> OpenStream:
        """An open stream of events; close it."""
        return OpenStream(self.server.port, path)


class OpenStream:
    """The client's side of a stream."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._connection.request("GET", path)
        self._answer = self._connection.getresponse()
        self.status, self.headers = self._answer.status, self._answer.headers

    def readline(self) -> bytes:
        return self._answer.readline()

    def read(self) -> bytes:
        return self._answer.read()

    def close(self) -> None:
        self._answer.close()
        self._connection.close()
