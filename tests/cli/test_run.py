"""``autocanary run``: from flags to settings to the service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from autocanary.cli import backend
from autocanary.errors import Forbidden, Unreachable
from autocanary.settings import HostPort, Settings
from tests.cli.conftest import Invoke


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("AUTOCANARY_"):
            monkeypatch.delenv(name)
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, str | None, str | None]]:
    """What the service was started with."""
    calls: list[tuple[Settings, str | None, str | None]] = []

    def run_service(settings: Settings, kubeconfig: str | None, context: str | None) -> int:
        calls.append((settings, kubeconfig, context))
        return 0

    monkeypatch.setattr(backend, "run_service", run_service)
    return calls


Started = list[tuple[Settings, str | None, str | None]]


def test_every_documented_flag_is_a_setting(invoke: Invoke, started: Started, tmp_path: Path) -> None:
    """The names of the flags are the interface; so is how often each may be given."""
    config = tmp_path / "settings.yaml"
    config.write_text("cluster_name: from-file\n", "utf-8")
    (tmp_path / "a.yaml").touch()
    (tmp_path / "folder").mkdir()
    result = invoke(
        *(
            "run",
            "--policies",
            str(tmp_path / "a.yaml"),
            "--policies",
            str(tmp_path / "folder"),
            "--prometheus-url",
            "http://prometheus:9090",
        ),
        *("--namespace", "models", "-n", "team-a", "--listen", "127.0.0.1:0", "--tick", "500ms"),
        *("--no-leader-election", "--dry-run", "--log-format", "console", "--log-level", "debug"),
        *("--config", str(config), "--context", "prod", "--kubeconfig", "/kube"),
    )
    assert result.exit_code == 0
    ((settings, kubeconfig, context),) = started
    assert settings == Settings(
        config=config,
        policies=(tmp_path / "a.yaml", tmp_path / "folder"),
        prometheus_url="http://prometheus:9090",
        namespaces=("models", "team-a"),
        listen=HostPort("127.0.0.1", 0),
        tick="500ms",  # type: ignore[arg-type]
        leader_election=False,
        dry_run=True,
        log_format="console",
        log_level="debug",
    )
    assert settings.cluster_name == "from-file"
    assert (kubeconfig, context) == ("/kube", "prod")


def test_a_flag_that_is_not_given_leaves_the_environment(
    invoke: Invoke, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the two that are either on or off."""
    monkeypatch.setenv("AUTOCANARY_LEADER_ELECTION", "false")
    monkeypatch.setenv("AUTOCANARY_DRY_RUN", "true")
    monkeypatch.setenv("AUTOCANARY_NAMESPACES", "models")
    invoke("run")
    invoke("run", "--leader-election", "-n", "team-a")
    first, second = (settings for settings, *_ in started)
    assert (first.leader_election, first.dry_run, first.namespaces) == (False, True, ("models",))
    assert (second.leader_election, second.namespaces) == (True, ("team-a",))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tick", "1x"), "--tick: expected a duration such as 500ms, 5s, 10m or 1h30m"),
        (("--listen", "8080"), "--listen: expected HOST:PORT such as 0.0.0.0:8080"),
        (("--log-level", "loud"), "--log-level: expected 'debug', 'info', 'warning' or 'error'"),
        (("--policies", "nofile.yaml"), "--policies: there is no file or folder nofile.yaml; correct the path"),
        (("--log-format", "xml"), "--log-format: expected 'json' or 'console'"),
        (("--prometheus-url", "prometheus"), "--prometheus-url: expected a URL that begins with http://"),
        (("-n", "My Space"), "--namespace: 'My Space' cannot be the name of a namespace"),
        (("--config", "/none.yaml"), "/none.yaml: the settings file cannot be read: No such file"),
    ],
)
def test_a_wrong_value_is_wrong_usage(
    invoke: Invoke, started: Started, arguments: tuple[str, ...], sentence: str
) -> None:
    """The flag is named, and nothing is started."""
    result = invoke("run", *arguments)
    assert result.exit_code == 2
    logged, said = result.stderr.splitlines()
    assert said.startswith(f"autocanary run: {sentence}")
    assert json.loads(logged)["error"].startswith(sentence)
    assert started == []


def test_an_unknown_variable_is_a_line_in_the_log(
    invoke: Invoke, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log's own format, on stderr; the service starts all the same."""
    monkeypatch.setenv("AUTOCANARY_TIK", "2s")
    monkeypatch.setenv("AUTOCANARY_PORT", "tcp://10.0.0.1:8080")
    result = invoke("run")
    (line,) = result.stderr.splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"]) == ("unknown_setting", "warning")
    assert said["message"].endswith("did you mean AUTOCANARY_TICK?")
    assert (result.stdout, len(started)) == ("", 1)


def test_the_exit_code_is_the_service_s(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it returns, or that of the error it ends with."""
    monkeypatch.setattr(backend, "run_service", lambda *_: 1)
    assert invoke("run").exit_code == 1
    for error in (Unreachable("no answer"), Forbidden("no right", status=403)):

        def fail(*_: object, error: Exception = error) -> int:
            raise error

        monkeypatch.setattr(backend, "run_service", fail)
        result = invoke("run")
        logged, said = result.stderr.splitlines()
        assert (result.exit_code, said) == (3, f"autocanary run: {error}")
        event = json.loads(logged)
        assert (event["event"], event["level"], event["error"]) == ("not_started", "error", str(error))


def test_on_a_console_the_sentence_is_enough(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users need not read the reason twice."""

    def fail(*_: object) -> int:
        raise Unreachable("no answer")

    monkeypatch.setattr(backend, "run_service", fail)
    result = invoke("run", "--log-format", "console")
    assert (result.exit_code, result.stderr) == (3, "autocanary run: no answer\n")
