"""``autocanary dashboard``."""

from __future__ import annotations

import pytest

from autocanary.cli import backend, follow
from autocanary.errors import Unreachable
from tests.cli.conftest import Invoke


class _Opened:
    address, scope = "http://127.0.0.1:5/s3cret/", "all namespaces"
    closed = 0

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []

    def open_dashboard(*arguments: object) -> _Opened:
        calls.append(arguments)
        return _Opened()

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "open_dashboard", open_dashboard)
    monkeypatch.setattr(follow, "sleep", interrupted)
    _Opened.closed = 0
    return calls


def test_it_prints_the_address_and_serves_until_it_is_interrupted(
    invoke: Invoke, asked: list[tuple[object, ...]]
) -> None:
    """The address alone on stdout; Ctrl-C is the end that was announced, not an error."""
    result = invoke("dashboard")
    assert result.exit_code == 0
    assert result.stdout == "http://127.0.0.1:5/s3cret/\n"
    assert "all namespaces" in result.stderr
    assert "s3cret" not in result.stderr
    assert asked == [(None, None, None, 0)]
    assert _Opened.closed == 1


@pytest.mark.parametrize(("flags", "scope"), [(("-A",), ""), (("-n", "ml"), "ml"), ((), None)])
def test_the_namespaces(invoke: Invoke, asked: list[tuple[object, ...]], flags: tuple[str, ...], scope: object) -> None:
    """All, one, or what may be read."""
    invoke("dashboard", *flags, "--port", "8080")
    assert asked == [(None, None, scope, 8080)]


def test_wrong_usage(invoke: Invoke, asked: list[tuple[object, ...]]) -> None:
    """Two scopes, or no port."""
    assert invoke("dashboard", "-A", "-n", "ml").exit_code == 2
    assert invoke("dashboard", "--port", "70000").exit_code == 2
    assert asked == []


def test_no_cluster(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """3, as for every command."""

    def unreachable(*_: object) -> None:
        raise Unreachable("the API server is away")

    monkeypatch.setattr(backend, "open_dashboard", unreachable)
    assert invoke("dashboard").exit_code == 3
