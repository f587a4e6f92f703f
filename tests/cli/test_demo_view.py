"""The demo's picture, from made-up values."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from autocanary.cli.demo_view import DemoView, ScenarioResult
from autocanary.cli.rollout_view import RolloutView
from autocanary.errors import InputError
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from tests.cli.fake_client import POLICY, START, decision, observation, rollout

STEPS = (
    decision(12, "rollout_started", 0, "RolloutStarted", "00002 will replace 00001"),
    decision(75, "step_taken", 10, "StepPassed", "10 % of the traffic goes to 00002"),
    decision(375, "step_taken", 25, "StepPassed", "25 % of the traffic goes to 00002"),
)
RUNNING = RolloutView(rollout(decisions=STEPS), POLICY)
PROMOTED = RolloutView(
    rollout(Phase.PROMOTED, reason=Reason.PROMOTED, message="all steps passed", step=3, weight=100), POLICY
)
ROLLED_BACK = RolloutView(
    rollout(
        Phase.ROLLED_BACK,
        number=3,
        reason=Reason.METRIC_VIOLATION,
        message="error-rate is 7.1 %, allowed at most 1 %",
        weight=0,
        decisions=(decision(400, "rollback_started", 0, "MetricViolation", "error-rate is 7.1 %"),),
    ),
    POLICY,
)


def file_console(**options: object) -> Console:
    return Console(file=io.StringIO(), width=130, color_system=None, **options)  # type: ignore[arg-type]


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_each_transition_is_a_line() -> None:
    """In virtual time since the beginning, once each."""
    console = file_console()
    with DemoView(console) as view:
        view.begin("a healthy release", START)
        view.show([RolloutView(rollout(decisions=STEPS[:2]), POLICY)], START + 80)
        view.show([RUNNING], START + 380)
    assert text_of(console).splitlines() == [
        "a healthy release",
        "+00:12  models/mnist  rollout_started  0 %  RolloutStarted: 00002 will replace 00001",
        "+01:15  models/mnist  step_taken  10 %  StepPassed: 10 % of the traffic goes to 00002",
        "+06:15  models/mnist  step_taken  25 %  StepPassed: 25 % of the traffic goes to 00002",
    ]


def test_a_listing_is_printed_when_more_than_the_age_changed() -> None:
    """An empty cell that becomes another's number is a change too, whatever the words are."""
    out = io.StringIO()
    with DemoView(Console(file=out, width=100), live=False) as view:
        view.begin("sides", START)
        for row in ("a   100         1s", "a   100         2s", "a         100   3s", "a         100   10s"):
            view.show([], START, ["N   D     C     AGE", row])
    assert out.getvalue().splitlines() == [
        "sides",
        "N   D     C     AGE",
        "a   100         1s",
        "N   D     C     AGE",
        "a         100   3s",
    ]


def test_updates_live_on_a_terminal() -> None:
    """Weights, steps and metrics of the present, the transitions below, and no plain lines between."""
    console = file_console(force_terminal=True)
    with DemoView(console) as view:
        view.begin("a healthy release", START)
        view.show([RolloutView(RUNNING.rollout, POLICY, observation(RUNNING.rollout, 25))], START + 380)
        view.begin("a bad release", START)
    picture = text_of(console)
    for each in ("a healthy release", "+06:20 of virtual time", "25 % candidate", "Transitions", "+01:15"):
        assert each in picture
    assert "  step_taken  " not in picture


def test_a_small_terminal_still_shows_the_newest_transitions() -> None:
    """One line each, the oldest left out, until the scenario is over: then all of them."""
    console = file_console(force_terminal=True, height=24)
    many = tuple(decision(at, "rollout_held", 10, "NoData", f"look {at} " + "x" * 200) for at in range(30))
    with DemoView(console) as view:
        view.begin("no traffic", START)
        view.show([RolloutView(rollout(decisions=many), POLICY)], START + 60)
        picture = view._render((), START + 60, log_lines=3)
        with console.capture() as captured:
            console.print(picture)
        assert [f"look {at}" in captured.get() for at in (26, 27, 28, 29)] == [False, True, True, True]
        assert len(captured.get().splitlines()) == 6
        view.begin("the next", START)
    assert "look 0 " in text_of(console)


def test_second_scenario_resets_the_view() -> None:
    """Its transitions are its own, and so is its time."""
    console = file_console()
    with DemoView(console) as view:
        view.begin("one", START)
        view.show([RUNNING], START + 380)
        view.begin("two", START + 300)
        view.show([ROLLED_BACK], START + 400)
    assert text_of(console).splitlines()[-2:] == [
        "two",
        "+01:40  models/mnist  rollback_started  0 %  MetricViolation: error-rate is 7.1 %",
    ]


def test_the_summary_says_how_each_scenario_ended() -> None:
    """And that all ended as they should."""
    console = file_console()
    with DemoView(console) as view:
        right = view.summary(
            [
                ScenarioResult("a healthy release", (Phase.PROMOTED,), (PROMOTED,)),
                ScenarioResult("a bad release", (Phase.ROLLED_BACK,), (ROLLED_BACK,)),
            ]
        )
    assert right is True
    table = text_of(console)
    for each in ("a healthy release", "Promoted", "12m", "RolledBack", "error-rate is 7.1 %"):
        assert each in table


@pytest.mark.parametrize(
    ("expected", "shown", "word"),
    [
        ((Phase.PROMOTED,), (ROLLED_BACK,), "RolledBack"),
        ((Phase.PROMOTED,), (), "no rollout"),
        ((), (PROMOTED,), "no rollout"),
        ((Phase.PROMOTED, Phase.ROLLED_BACK), (ROLLED_BACK, PROMOTED), "Promoted"),
        ((Phase.PROMOTED,), (RUNNING,), "Progressing"),
    ],
)
def test_marks_an_unexpected_end(expected: tuple[Phase, ...], shown: tuple[RolloutView, ...], word: str) -> None:
    """Another phase, another order, too few, too many, or no end at all."""
    console = file_console()
    with DemoView(console) as view:
        assert view.summary([ScenarioResult("it", expected, shown)]) is False
    assert word in text_of(console)


def test_the_view_can_be_saved_as_svg(tmp_path: Path) -> None:
    """The end of every scenario and the summary: what a README shows. Twice the same is the same file."""
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        with DemoView(file_console()) as view:
            view.begin("a healthy release", START)
            view.show([RUNNING], START + 380)
            view.begin("a bad release", START)
            view.show([ROLLED_BACK], START + 400)
            view.summary([ScenarioResult("a bad release", (Phase.ROLLED_BACK,), (ROLLED_BACK,))])
            view.export_svg(file)
    svg = files[0].read_text("utf-8")
    assert svg.startswith("<svg ")
    plain = svg.replace("&#160;", " ")
    for each in ("a healthy release", "a bad release", "What happened", "MetricViolation"):
        assert each in plain
    assert files[1].read_text("utf-8") == svg


def test_an_svg_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """With the path and the reason."""
    with (
        DemoView(file_console()) as view,
        pytest.raises(InputError, match=r"none/demo\.svg: the image cannot be written"),
    ):
        view.export_svg(tmp_path / "none" / "demo.svg")
