"""``autocanary demo``: what drives the view, on a stage made of made-up values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from autocanary.cli import backend, printing
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from tests.cli.conftest import Invoke
from tests.cli.fake_client import POLICY, START, decision, rollout

KNOWN = {"healthy": "a good release is promoted", "errors": "a bad release is rolled back"}


class FakeDemoRun:
    """Ends its one rollout after ``takes`` virtual seconds."""

    horizon = 1200.0

    def __init__(self, name: str, ends: Phase | None, takes: float, address: str) -> None:
        self.title, self.address = KNOWN[name], address
        self.expected: tuple[Phase, ...] = (Phase.PROMOTED if name == "healthy" else Phase.ROLLED_BACK,)
        self.ends, self.takes = ends or self.expected[0], takes
        self.strides: list[float] = []
        self.closed = False

    def now(self) -> float:
        return START + sum(self.strides)

    def advance(self, seconds: float) -> None:
        self.strides.append(seconds)

    def shown(self) -> Sequence[tuple[Rollout, Policy | None, Observation | None]]:
        if sum(self.strides) < 30:
            return ()
        over = sum(self.strides) >= self.takes
        step = decision(30, "step_taken", 10, "StepPassed", "on its way")
        return ((rollout(self.ends if over else Phase.PROGRESSING, decisions=(step,)), POLICY, None),)

    def listing(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        self.closed = True


class FakeDemoRuns:
    """Makes the stages and keeps them."""

    def __init__(self) -> None:
        self.stages: list[FakeDemoRun] = []
        self.ends: Phase | None = None
        self.takes = 600.0
        self.served: list[bool] = []

    def demo_run(self, scenario: str, *, serve: bool, page: object = None) -> FakeDemoRun:
        assert serve is (page is not None)
        self.served.append(serve)
        made = FakeDemoRun(scenario, self.ends, self.takes, "http://127.0.0.1:9090/metrics" if serve else "")
        self.stages.append(made)
        return made


class FakeDemoPage:
    """The page, which stays until it is closed."""

    address = "http://127.0.0.1:9091/"

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def demo_runs(monkeypatch: pytest.MonkeyPatch) -> FakeDemoRuns:
    made = FakeDemoRuns()
    monkeypatch.setattr(backend, "scenarios", lambda: KNOWN)
    monkeypatch.setattr(backend, "default_scenarios", lambda: ("healthy", "errors"))
    monkeypatch.setattr(backend, "demo_run", made.demo_run)
    monkeypatch.setattr(backend, "demo_page", FakeDemoPage)
    return made


def test_runs_both_default_scenarios_and_exits_0(invoke: Invoke, demo_runs: FakeDemoRuns, slept: list[float]) -> None:
    """Without a terminal it does not wait."""
    result = invoke("demo")
    assert result.exit_code == 0
    assert [demo_run.title for demo_run in demo_runs.stages] == list(KNOWN.values())
    assert all(demo_run.closed for demo_run in demo_runs.stages)
    assert slept == []
    assert result.stdout.count("step_taken") == 2
    for each in ("a good release is promoted", "Promoted", "RolledBack", "What happened"):
        assert each in result.stdout


def test_unexpected_end_exits_1(invoke: Invoke, demo_runs: FakeDemoRuns) -> None:
    """The demo is also a smoke test of the whole."""
    demo_runs.ends = Phase.PROMOTED
    assert invoke("demo", "--scenario", "errors").exit_code == 1
    assert invoke("demo", "--scenario", "healthy").exit_code == 0


def test_unfinished_rollout_exits_1(invoke: Invoke, demo_runs: FakeDemoRuns) -> None:
    """At the scenario's horizon."""
    demo_runs.takes = float("inf")
    result = invoke("demo", "--scenario", "healthy")
    assert result.exit_code == 1
    assert demo_runs.stages[0].now() == START + 1200


def test_list_names_them(invoke: Invoke, demo_runs: FakeDemoRuns) -> None:
    """And runs none."""
    result = invoke("demo", "--list")
    assert result.stdout.splitlines() == [
        "healthy  a good release is promoted",
        "errors   a bad release is rolled back",
    ]
    assert demo_runs.stages == []


def test_an_unknown_scenario_is_wrong_usage(invoke: Invoke, demo_runs: FakeDemoRuns) -> None:
    """With the known ones."""
    result = invoke("demo", "--scenario", "chaos")
    assert result.exit_code == 2
    assert "'chaos' is not one of healthy, errors" in result.stderr


@pytest.mark.parametrize(("arguments", "pace"), [((), 30.0), (("--speed", "300"), 300.0)])
def test_paces_itself_on_a_terminal(
    invoke: Invoke,
    demo_runs: FakeDemoRuns,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    pace: float,
) -> None:
    """So many virtual seconds a second, ten pictures a second, and a last evaluation at the end."""
    console = printing.console
    monkeypatch.setattr(printing, "console", lambda *_: console(force_terminal=True, width=120, color_system=None))
    assert invoke("demo", "--scenario", "healthy", *arguments).exit_code == 0
    (demo_run,) = demo_runs.stages
    assert set(demo_run.strides) == {pace / 10}
    assert sum(slept) == pytest.approx(600 / pace + 1.0)


def test_a_speed_paces_it_without_a_terminal_too(invoke: Invoke, demo_runs: FakeDemoRuns, slept: list[float]) -> None:
    """Who asks for it gets it."""
    assert invoke("demo", "--scenario", "healthy", "--speed", "60").exit_code == 0
    assert sum(slept) == pytest.approx(10.0)


def test_a_speed_below_one_is_wrong_usage(invoke: Invoke, demo_runs: FakeDemoRuns) -> None:
    """It would not end today; nor would what is no number."""
    for speed in ("0", "0.5", "nan", "inf", "fast"):
        result = invoke("demo", "--speed", speed)
        assert result.exit_code == 2
        assert f"'{speed}' is not a number of virtual seconds, 1 or more" in result.stderr


def test_serve_prints_the_address(invoke: Invoke, demo_runs: FakeDemoRuns) -> None:
    """On stderr, while it runs."""
    result = invoke("demo", "--scenario", "healthy", "--serve")
    assert (result.exit_code, demo_runs.served) == (0, [True])
    assert result.stderr == "the web page: http://127.0.0.1:9091/\nserving http://127.0.0.1:9090/metrics\n"


def test_svg_option_writes_the_file(invoke: Invoke, demo_runs: FakeDemoRuns, tmp_path: Path) -> None:
    """The hidden flag behind the README's picture."""
    assert invoke("demo", "--svg", str(tmp_path / "demo.svg")).exit_code == 0
    assert (tmp_path / "demo.svg").read_text("utf-8").startswith("<svg ")
    assert "--svg" not in invoke("demo", "--help").stdout


def test_ctrl_c_ends_it_quietly(invoke: Invoke, demo_runs: FakeDemoRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage is closed, and the terminal is left in order."""

    def interrupt(self: FakeDemoRun, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeDemoRun, "advance", interrupt)
    assert invoke("demo").exit_code == 130
    assert demo_runs.stages[0].closed
