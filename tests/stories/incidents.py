"""Staged incidents as the one on call sees them: what Slack says, then what the terminal says when asked.

``python -m tests.stories.incidents`` writes the files of ``golden/`` again; read each as if woken by it.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType

from autocanary.cli.explain import render_explanation
from autocanary.cli.history import render_history
from autocanary.cli.printing import Output
from autocanary.cli.rollout_view import RolloutView, rollout_panel
from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Policy, Step
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.notifications.message_text import calls_for_action
from autocanary.notifications.slack_webhook import body
from autocanary.ports import Message
from autocanary.simulator.pod_behaviour import CRASHES
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from autocanary.views import explain_rollout, service_history
from tests.controller.driver import COMPARED, LATENCY, STEPS, SUCCESS, V1, V2, Driver, healthy_start, policy
from tests.notifications.slack_texts import texts_of

FOLDER = Path(__file__).parent / "golden"
_WIDTH = 80

Story = Iterator[str]
INCIDENTS: dict[str, Callable[[], str]] = {}


class Night:
    """An incident as it happens: ``slack`` shows the new messages, ``ask`` what a command prints."""

    def __init__(self, driver: Driver, plan: Policy, name: str = "mnist-00002") -> None:
        self.driver, self.plan, self._name = driver, plan, name
        self._shown: set[str] = set()
        self.lines: list[str] = []

    def slack(self) -> None:
        for message in self.driver.world.notifier.messages:
            if message.notification.id not in self._shown:
                self._shown.add(message.notification.id)
                self.lines += ["", f"----- Slack{' (mentions you)' if calls_for_action(message) else ''}"]
                self.lines += _slack_lines(message, self.plan)

    def ask_status(self) -> None:
        view = RolloutView(self.driver.rollout(self._name), self.plan)
        self._print("autocanary status mnist", rollout_panel(view, self.driver.world.clock.now()))

    def ask_explain(self) -> None:
        now = self.driver.world.clock.now()
        found = explain_rollout(self.driver.rollout(self._name), self.plan, now)
        self._print("autocanary explain mnist", render_explanation(found, now, wide=False))

    def ask_history(self) -> None:
        past = service_history(self.driver.world.store.rollouts(), self.driver.world.clock.now())
        self._print("autocanary history mnist", render_history("models/mnist", past, Output.TABLE))

    def _print(self, command: str, shown: RenderableType) -> None:
        screen = io.StringIO()
        Console(file=screen, width=_WIDTH, highlight=False).print(shown)
        self.lines += ["", f"$ {command}", *(line.rstrip() for line in screen.getvalue().splitlines())]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).lstrip("\n") + "\n"


def incident(function: Callable[[], Night]) -> Callable[[], Night]:
    INCIDENTS[function.__name__] = lambda: function().text
    return function


@incident
def errors_roll_it_back() -> Night:
    plan = policy(metrics=(LATENCY, SUCCESS))
    night = Night(healthy_start(plan, qualities={V2: Quality(error_percent=5.0)}), plan)
    night.driver.finish()
    night.slack()
    night.ask_status()
    night.ask_explain()
    return night


@incident
def worse_than_stable() -> Night:
    plan = policy(metrics=(COMPARED,))
    bad = {V1: Quality(error_percent=1.0), V2: Quality(error_percent=8.0)}
    night = Night(healthy_start(plan, qualities=bad), plan)
    night.driver.until_reason(Reason.SUSPICIOUS)
    night.slack()
    night.ask_explain()
    night.driver.finish()
    night.slack()
    night.ask_history()
    return night


@incident
def a_crash_that_needs_a_restore() -> Night:
    plan = policy()
    night = Night(healthy_start(plan), plan)
    night.driver.until_weight(25)
    night.driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    night.driver.ask(Verb.ABORT)
    night.driver.finish()
    night.driver.run(300)
    night.slack()
    night.ask_status()
    night.ask_history()
    return night


@incident
def a_candidate_that_cannot_start() -> Night:
    plan = policy()
    night = Night(healthy_start(plan, behaviours={V2: CRASHES}), plan)
    night.driver.until_reason(Reason.REVISION_FAILED)
    night.slack()
    night.ask_explain()
    night.driver.finish()
    night.slack()
    return night


@incident
def prometheus_is_down() -> Night:
    plan = policy()
    night = Night(healthy_start(plan), plan)
    night.driver.until_weight(10)
    night.driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, night.driver.world.now()))
    night.driver.run(300)
    night.slack()
    night.ask_status()
    night.ask_explain()
    return night


@incident
def no_requests_are_measured() -> Night:
    plan = policy()
    night = Night(healthy_start(plan), plan)
    night.driver.until_weight(10)
    night.driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.NO_SERIES, night.driver.world.now()))
    night.driver.run(120)
    night.slack()
    night.ask_explain()
    night.driver.finish()
    night.slack()
    return night


@incident
def an_approval_is_required() -> Night:
    plan = policy(steps=(STEPS[0], Step(25, 60.0, approval=True), *STEPS[2:]))
    night = Night(healthy_start(plan), plan)
    night.driver.until_reason(Reason.AWAITING_APPROVAL)
    night.driver.run(600)
    night.slack()
    night.ask_status()
    night.ask_explain()
    return night


@incident
def another_client_changes_the_weight() -> Night:
    plan = policy()
    night = Night(healthy_start(plan), plan)
    night.driver.until_weight(25)
    night.driver.patch_weight(33, "kubectl-patch")
    night.driver.run(30)
    night.slack()
    night.ask_status()
    night.ask_explain()
    return night


@incident
def stable_itself_fails() -> Night:
    plan = policy()
    night = Night(healthy_start(plan), plan)
    night.driver.until_weight(25)
    night.driver.run(3)
    night.driver.world.kserve.crash("models", "mnist", "mnist-predictor-00001")
    night.driver.run(200)
    night.slack()
    night.ask_status()
    night.ask_explain()
    return night


@incident
def too_little_traffic() -> Night:
    plan = policy()
    night = Night(healthy_start(plan, load=RequestLoad(0.5)), plan)
    night.driver.run(200)
    night.slack()
    night.ask_explain()
    return night


def _slack_lines(message: Message, plan: Policy) -> Iterator[str]:
    for text in texts_of(body(message, "prod-1", lambda _: plan)):
        yield from re.sub(r":[a-z_]+: ", "", text).splitlines()


def write_all() -> None:
    """Write every file again and remove the files of incidents that are gone."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, tell in INCIDENTS.items():
        (FOLDER / f"{name}.txt").write_text(tell(), "utf-8")


if __name__ == "__main__":
    write_all()
