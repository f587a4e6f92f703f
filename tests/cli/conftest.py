"""A command line without a cluster: a runner of commands, and a clock that only a sleep moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from autocanary.cli import backend, follow, root
from autocanary.errors import AutocanaryError
from tests.cli.fake_client import FakeRolloutClient


class Invoke(Protocol):
    def __call__(self, *arguments: str) -> Result: ...


@pytest.fixture
def invoke() -> Invoke:
    """Runs ``autocanary ARGUMENTS``; an exception that is no exit fails the test."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(root.app, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeRolloutClient | AutocanaryError], None]:
    """Replaces the cluster of ``backend`` by a fake client, or by the error of an unusable cluster."""

    def put(client: FakeRolloutClient | AutocanaryError) -> None:
        def open_client(kubeconfig: str | None, context: str | None) -> backend.RolloutClient:
            if isinstance(client, AutocanaryError):
                raise client
            return client

        monkeypatch.setattr(backend, "open_client", open_client)

    return put


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps, in order; no test waits, only the clock moves."""
    sleeps: list[float] = []
    monkeypatch.setattr(follow, "sleep", sleeps.append)
    monkeypatch.setattr(follow, "monotonic", lambda: sum(sleeps))
    return sleeps
