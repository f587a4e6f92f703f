"""Every kind of message as every channel shows it, from rollouts in the simulated cluster.

``python -m tests.notifications.golden_messages`` writes the files of ``golden/`` again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import time, timezone
from pathlib import Path

from autocanary.model.decision import Event
from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import (
    OnUnstaged,
    Policy,
    Step,
    Webhook,
    WebhookType,
)
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.rollout_windows import Window
from autocanary.notifications import apprise_channel, slack_bot, slack_webhook
from autocanary.notifications.audit_log import AuditLog
from autocanary.notifications.message_text import title
from autocanary.notifications.webhook import payload
from autocanary.ports import Message, WebhookResult
from autocanary.simulator.pod_behaviour import CRASHES, NEVER_READY, ready_after_seconds
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from tests.controller.driver import COMPARED, LATENCY, STEPS, SUCCESS, V1, V2, V3, Driver, healthy_start, policy
from tests.notifications.slack_texts import texts_of

FOLDER = Path(__file__).parent / "golden"
CLUSTER = "prod-1"

_USUAL = frozenset({Event.STARTED.value, Event.STEP.value})
"""Messages that are the same in most cases: shown in one."""

CASES: dict[str, Callable[[], tuple[Driver, Policy]]] = {}


def case(function: Callable[[], tuple[Driver, Policy]]) -> Callable[[], tuple[Driver, Policy]]:
    CASES[function.__name__] = function
    return function


@case
def promoted() -> tuple[Driver, Policy]:
    plan = policy(metrics=(SUCCESS, LATENCY))
    driver = healthy_start(plan)
    driver.finish()
    return driver, plan


@case
def rolled_back_by_errors() -> tuple[Driver, Policy]:
    plan = policy(metrics=(LATENCY, SUCCESS))
    driver = healthy_start(plan, qualities={V2: Quality(error_percent=5.0)})
    driver.finish()
    return driver, plan


@case
def rolled_back_by_latency() -> tuple[Driver, Policy]:
    plan = policy(metrics=(SUCCESS, LATENCY))
    driver = healthy_start(plan, qualities={V2: Quality(error_percent=0.0, latency_seconds=2.0)})
    driver.finish()
    return driver, plan


@case
def rolled_back_by_the_worse_of_two() -> tuple[Driver, Policy]:
    plan = policy(metrics=(SUCCESS, LATENCY))
    driver = healthy_start(plan, qualities={V2: Quality(error_percent=2.0, latency_seconds=8.0)})
    driver.finish()
    return driver, plan


@case
def rolled_back_by_comparison() -> tuple[Driver, Policy]:
    plan = policy(metrics=(COMPARED,))
    driver = healthy_start(plan, qualities={V1: Quality(error_percent=1.0), V2: Quality(error_percent=8.0)})
    driver.finish()
    return driver, plan


@case
def rolled_back_without_data() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(10)
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.NO_SERIES, driver.world.now()))
    driver.finish()
    return driver, plan


@case
def rolled_back_by_a_crash_before_ready() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan, behaviours={V2: CRASHES})
    driver.finish()
    return driver, plan


@case
def rolled_back_at_the_deadline() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan, behaviours={V2: NEVER_READY})
    driver.finish()
    return driver, plan


@case
def rolled_back_by_abort() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.ask(Verb.ABORT)
    driver.finish()
    return driver, plan


@case
def rollback_blocked_and_stable_restored() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask(Verb.ABORT)
    driver.finish()
    driver.run(300)
    return driver, plan


@case
def rollback_blocked_and_stable_unknown() -> tuple[Driver, Policy]:
    plan = policy()
    driver = Driver(plan)
    driver.world.deploy("mnist", V1)
    driver.world.advance(10.0)
    driver.release(V2, 0)
    driver.world.kserve.objects.compact()  # the API server no longer has the version of stable
    driver.until_weight(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask(Verb.ABORT)
    driver.run(120)
    return driver, plan


@case
def held_in_an_outage() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(10)
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, driver.world.now()))
    driver.run(300)
    return driver, plan


@case
def held_inconclusive() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan, load=RequestLoad(0.5))
    driver.run(200)
    return driver, plan


@case
def held_suspicious() -> tuple[Driver, Policy]:
    plan = policy(metrics=(COMPARED,), steps=(Step(10, 120.0), Step(50, 120.0), Step(100, 60.0)))
    bad = {V1: Quality(error_percent=1.0), V2: Quality(error_percent=4.0)}
    driver = healthy_start(plan, qualities=bad, load=RequestLoad(100.0))
    driver.until_reason(Reason.SUSPICIOUS)
    driver.run(5)
    return driver, plan


@case
def held_outside_the_window() -> tuple[Driver, Policy]:
    plan = policy(windows=(Window((0, 1, 2, 3, 4, 5, 6), time(1), time(9), timezone.utc),))
    driver = healthy_start(plan)
    driver.until_reason(Reason.WINDOW_CLOSED)
    return driver, plan


@case
def held_by_a_webhook() -> tuple[Driver, Policy]:
    plan = policy(webhooks=(Webhook("gate", WebhookType.PRE_ROLLOUT, "http://gate.example"),))
    driver = healthy_start(plan)
    driver.world.policy_webhooks.answers["gate"] = WebhookResult(False, "http://gate.example answered 403")
    driver.until_reason(Reason.WEBHOOK_PENDING)
    return driver, plan


@case
def approval_required() -> tuple[Driver, Policy]:
    plan = policy(steps=(STEPS[0], Step(25, 60.0, approval=True), *STEPS[2:]))
    driver = healthy_start(plan)
    driver.until_reason(Reason.AWAITING_APPROVAL)
    driver.run(5)
    driver.ask(Verb.PROMOTE)
    driver.run(5)
    return driver, plan


@case
def paused_and_resumed_by_a_user() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.pause()
    driver.pause(False)
    driver.run(5)
    return driver, plan


@case
def external_change() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.patch_weight(33, "kubectl-patch")
    driver.run(5)
    return driver, plan


@case
def weight_removed_and_put_back() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.patch_weight(None, "kubectl-apply")
    driver.run(5)
    return driver, plan


@case
def superseded() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.release(V3, 0)
    driver.run(10)
    return driver, plan


@case
def reverted() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.release(V1, 0)
    driver.run(5)
    return driver, plan


@case
def missed() -> tuple[Driver, Policy]:
    plan = policy()
    driver = Driver(plan, behaviours={V2: ready_after_seconds(0.2)}, lag=0.1)
    driver.deploy_stable()
    driver.world.cluster.set_watch_down()
    driver.release(V2, None)
    driver.run(5)
    driver.world.cluster.set_watch_down(False)
    driver.run(5)
    return driver, plan


@case
def intercepted_without_a_weight() -> tuple[Driver, Policy]:
    plan = policy(on_unstaged=OnUnstaged.INTERCEPT)
    driver = Driver(plan, behaviours={V2: ready_after_seconds(20.0)})
    driver.deploy_stable()
    driver.release(V2, None)
    driver.until_phase(Phase.PROGRESSING)
    driver.run(3)
    return driver, plan


@case
def traffic_drifted() -> tuple[Driver, Policy]:
    plan = policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.run(3)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00001")
    driver.run(200)
    return driver, plan


_WHOLE = (promoted, intercepted_without_a_weight)


def render(function: Callable[[], tuple[Driver, Policy]]) -> str:
    """All messages of a case, each once, in every channel's form."""
    driver, plan = function()
    seen: set[str] = set()
    pages = []
    for message in driver.world.notifier.messages:
        if message.notification.id in seen or (message.notification.event in _USUAL and function not in _WHOLE):
            continue
        seen.add(message.notification.id)
        pages.append(render_message(message, plan))
    return "\n\n".join(pages) + "\n"


def render_message(message: Message, plan: Policy) -> str:
    def policy_of(_: object) -> Policy:
        return plan

    head = f"===== {message.rollout.name} {message.notification.event} ({message.notification.reason}) ====="
    log = AuditLog(policy_of).fields(message)
    data = payload(message, CLUSTER, policy_of)
    parts = (
        ("event and log", f"{message.notification.reason}: {message.notification.message}"),
        ("log: metric", json.dumps({key: log.get(key) for key in ("metric", "value", "threshold", "requests")})),
        ("webhook: metrics", ", ".join(f"{each['name']} {each['verdict']}" for each in data["metrics"]) or "none"),
        ("slack message", "\n".join(texts_of(slack_bot.rollout_message_content(message, CLUSTER, plan)))),
        ("slack thread, incoming webhook", "\n".join(texts_of(slack_webhook.body(message, CLUSTER, policy_of)))),
        ("apprise", f"{title(message)}\n{apprise_channel.text(message, CLUSTER, policy_of)}"),
    )
    return "\n".join([head, *(f"--- {name}\n{text}" for name, text in parts)])


def write_all() -> None:
    """Write every file again and remove the files of cases that are gone."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, function in CASES.items():
        (FOLDER / f"{name}.txt").write_text(render(function), "utf-8")


if __name__ == "__main__":
    write_all()
