"""A command line without a cluster: what runs a command, time that only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from autocanary.cli import backend, follow, root
from autocanary.errors import AutocanaryError
from tests.cli.fakes import FakeLedger


class Invoke(Protocol):
    def __call__(self, *arguments: str) -> Result: ...


@pytest.fixture
def invoke() -> Invoke:
    """Runs ``autocanary ARGUMENTS``; an exception that is no exit fails the test."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(root.app, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeLedger | AutocanaryError], None]:
    """Puts a ledger, or the error of a cluster that has none, behind the seam."""

    def put(ledger: FakeLedger | AutocanaryError) -> None:
        def open_ledger(kubeconfig: str | None, context: str | None) -> backend.OpenLedger:
            if isinstance(ledger, AutocanaryError):
                raise ledger
            return ledger

        monkeypatch.setattr(backend, "open_ledger", open_ledger)

    return put


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps, in order; nobody really sleeps, the clock just moves."""
    sleeps: list[float] = []
    monkeypatch.setattr(follow, "sleep", sleeps.append)
    monkeypatch.setattr(follow, "monotonic", lambda: sum(sleeps))
    return sleeps
