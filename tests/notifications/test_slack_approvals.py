"""Approve and abort from Slack: the real library, over the real WebSocket protocol, to a rollout that answers."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocanary import logs
from autocanary.errors import Unreachable
from autocanary.model.decision import Event
from autocanary.model.policy import Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from autocanary.notifications.slack_api import SlackApi
from autocanary.notifications.slack_approvals import ABORT, PROMOTE, SlackApprovals, button_value
from autocanary.notifications.slack_bot import rollout_message_content
from autocanary.outbound.http_client import HttpClient
from tests.controller.driver import STEPS, Driver, healthy_start, policy
from tests.notifications.example_messages import message, rollout
from tests.notifications.slack_server import TOKEN
from tests.notifications.slack_socket import APP_TOKEN, SlackSocket

pytest.importorskip("slack_sdk", reason="the optional Slack library: make venv installs it")

ADA, EVE = "U0ADA0000", "U0EVE0000"
WAITING = policy(steps=(STEPS[0], Step(25, 60.0, approval=True), *STEPS[2:]))


@pytest.fixture
def slack() -> Iterator[SlackSocket]:
    with SlackSocket() as made:
        yield made


class Approvals:
    """The listener with what it reads and writes in the hands of a test."""

    def __init__(self, slack: SlackSocket, folder: Path, driver: Driver | None = None) -> None:
        self.app_token, bot_token = folder / "app", folder / "bot"
        self.app_token.write_text(APP_TOKEN, "utf-8")
        bot_token.write_text(TOKEN, "utf-8")
        self.driver = driver
        self.written: queue.Queue[Request] = queue.Queue()
        self.fail: list[Exception] = []
        self.found: Rollout | None = rollout()
        self.listener = SlackApprovals(
            self.app_token,
            SlackApi(bot_token, HttpClient(), slack.url),
            url=slack.url,
            approvers=(ADA,),
            read=self.read,
            write=self.write,
        )

    def read(self, namespace: str, name: str) -> Rollout | None:
        if self.fail:
            raise self.fail.pop(0)
        return self.driver.world.store.read(namespace, name) if self.driver is not None else self.found

    def write(self, namespace: str, name: str, request: Request) -> None:
        if self.driver is not None:
            self.driver.world.store.write_request(namespace, name, paused=None, request=request)
        self.written.put(request)


@pytest.fixture
def start(slack: SlackSocket, tmp_path: Path) -> Iterator[Callable[..., Approvals]]:
    made: list[Approvals] = []

    def begin(driver: Driver | None = None) -> Approvals:
        approvals = Approvals(slack, tmp_path, driver)
        approvals.listener.start()
        made.append(approvals)
        return approvals

    yield begin
    for each in made:
        each.listener.stop()


def waiting_driver() -> Driver:
    driver = healthy_start(WAITING)
    driver.until_reason(Reason.AWAITING_APPROVAL)
    return driver


def button(of: Rollout, weight: int = 25) -> str:
    return button_value(of, weight)


def test_an_approver_approves_a_step(slack: SlackSocket, start: Callable[..., Approvals]) -> None:
    """The click is acknowledged, written, answered by the controller, and recorded with the member's name."""
    driver = waiting_driver()
    approvals = start(driver)
    slack.wait_connected()
    envelope = slack.click(PROMOTE, button(driver.rollout()))
    assert slack.acknowledged.get(timeout=10) == envelope
    request = approvals.written.get(timeout=10)
    assert (request.verb, request.weight, request.by) == ("promote", 25, f"u0ada0000 (Slack {ADA})")
    driver.until_weight(50)
    assert f"approved by u0ada0000 (Slack {ADA}); 50 % of the traffic goes to mnist-predictor-00002" in (
        driver.messages_of("step_taken")
    )
    recorded = [each for each in driver.rollout().progress.decisions if each.get("requestedBy")]
    assert [each["requestedBy"] for each in recorded] == [f"u0ada0000 (Slack {ADA})"]


def test_an_approver_aborts(slack: SlackSocket, start: Callable[..., Approvals]) -> None:
    """From any step."""
    driver = waiting_driver()
    start(driver)
    slack.wait_connected()
    slack.acknowledged.queue.clear()
    slack.click(ABORT, button(driver.rollout()))
    slack.acknowledged.get(timeout=10)
    deadline = time.monotonic() + 10
    while driver.rollout().request is None and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = driver.finish()
    assert (ended.progress.phase, ended.progress.reason) == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)


def test_another_member_changes_nothing(
    slack: SlackSocket, start: Callable[..., Approvals], logged: logs.CapturedLogs
) -> None:
    """They alone see why; the log has who tried."""
    approvals = start()
    slack.wait_connected()
    slack.click(PROMOTE, button(rollout()), member=EVE)
    reply = slack.ephemeral.get(timeout=10)
    assert (reply["channel"], reply["user"]) == ("C0ML00000", EVE)
    assert reply["text"].startswith("You are not among the approvers of autocanary, so nothing was changed.")
    assert approvals.written.empty()
    assert [each["user"] for each in logged.named("slack_click_refused")] == [f"u0eve0000 (Slack {EVE})"]


def test_an_old_button_passes_no_later_step(slack: SlackSocket, start: Callable[..., Approvals]) -> None:
    """The request names the weight that the button showed."""
    driver = waiting_driver()
    approvals = start(driver)
    slack.wait_connected()
    slack.click(PROMOTE, button(driver.rollout(), 10))
    approvals.written.get(timeout=10)
    driver.run(3)
    assert "the step at 10 % has passed meanwhile" in driver.rollout().progress.requests.answer
    assert driver.phase() is Phase.PAUSED


def test_the_same_click_twice_is_one_request(slack: SlackSocket, start: Callable[..., Approvals]) -> None:
    """Slack sends it again when its acknowledgement was lost."""
    driver = waiting_driver()
    approvals = start(driver)
    slack.wait_connected()
    for _ in range(2):
        slack.click(PROMOTE, button(driver.rollout()))
        slack.acknowledged.get(timeout=10)
    first = approvals.written.get(timeout=10)
    driver.until_weight(50)
    slack.click(PROMOTE, button(driver.rollout()))
    slack.acknowledged.get(timeout=10)
    time.sleep(0.2)
    assert approvals.written.empty()
    assert driver.rollout().progress.requests.answered_id == first.id


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (None, "is gone; nothing was changed"),
        (replace(rollout(), uid="another"), "is for an earlier rollout of the name"),
        (rollout(), "has ended: RolledBack. Nothing was changed."),
    ],
)
def test_a_button_of_the_past_changes_nothing(
    slack: SlackSocket, tmp_path: Path, of: Rollout | None, said: str
) -> None:
    """Deleted, replaced by a namesake, or ended."""
    approvals = Approvals(slack, tmp_path)
    approvals.found = of
    value = button_value(replace(rollout(), uid="u7"), 25) if of is None or of.uid else button_value(rollout(), 25)
    approvals.listener.on_click(click(value))
    assert said in slack.ephemeral.get(timeout=10)["text"]
    assert approvals.written.empty()


def click(value: Any, action_id: str = PROMOTE, **user: Any) -> dict[str, Any]:
    return {
        "type": "block_actions",
        "user": {"id": ADA, "username": "ada", **user},
        "channel": {"id": "C0ML00000"},
        "actions": [{"action_id": action_id, "value": value, "action_ts": "1.5"}],
    }


@pytest.mark.parametrize(
    "value",
    [None, 7, "", "{", "[]", '{"namespace": 1}', '{"namespace":"","rollout":"","uid":""}', "x" * 3000, "[" * 1999],
)
def test_a_value_that_is_not_ours_is_refused(slack: SlackSocket, tmp_path: Path, value: Any) -> None:
    """Of another version, or of another app."""
    approvals = Approvals(slack, tmp_path)
    approvals.listener.on_click(click(value))
    assert "not one that this version of autocanary made" in slack.ephemeral.get(timeout=10)["text"]
    assert approvals.written.empty()


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"type": "view_submission"},
        {"type": "block_actions"},
        {"type": "block_actions", "user": "ada", "actions": [1, {}, None]},
        click("{}", "another_action"),
        click("{}", PROMOTE, id="<!channel>"),
    ],
)
def test_other_payloads_are_ignored(slack: SlackSocket, tmp_path: Path, payload: dict[str, Any]) -> None:
    """Nothing is written, said or raised."""
    approvals = Approvals(slack, tmp_path)
    approvals.listener.on_click(payload)
    assert approvals.written.empty()
    assert slack.ephemeral.empty()


def test_an_api_server_that_is_down_is_said(slack: SlackSocket, tmp_path: Path) -> None:
    """With the command that does the same."""
    approvals = Approvals(slack, tmp_path)
    approvals.fail = [Unreachable("no answer from https://10.0.0.1")]
    approvals.listener.on_click(click(button(rollout())))
    text = slack.ephemeral.get(timeout=10)["text"]
    assert "could not be written (no answer from https://10.0.0.1)" in text
    assert "`kubectl autocanary promote mnist-00002 -n models`" in text


def test_the_connection_is_made_again(slack: SlackSocket, start: Callable[..., Approvals]) -> None:
    """Slack asks for it every few hours; a rotated token is read from the file."""
    driver = waiting_driver()
    approvals = start(driver)
    slack.wait_connected()
    slack.app_token = "xapp-2-rotated"
    approvals.app_token.write_text("xapp-2-rotated\n", "utf-8")
    slack.ask_to_reconnect()
    slack.wait_connected(2)
    slack.click(PROMOTE, button(driver.rollout()))
    assert approvals.written.get(timeout=10).verb == "promote"


def test_a_refused_connection_is_tried_again(
    slack: SlackSocket, start: Callable[..., Approvals], logged: logs.CapturedLogs
) -> None:
    """The log says why, and never the token."""
    slack.refuse = ["internal_error"]
    approvals = start()
    slack.wait_connected()
    deadline = time.monotonic() + 10
    while not approvals.listener.is_connected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert approvals.listener.is_connected
    (failed,) = logged.named("slack_not_connected")
    assert "internal_error" in failed["error"]
    assert APP_TOKEN not in json.dumps([dict(each) for each in logged.events], default=str)


def test_messages_have_buttons_where_a_user_may_act() -> None:
    """Approve and Abort while it waits, Abort while it runs, none when it has ended or without approvals."""

    def shown(phase: Phase, reason: Reason, event: Event, *, approvals: bool = True) -> list[tuple[str, str]]:
        about = message(event, reason=reason.value, phase=phase.value)
        content = rollout_message_content(about, "", None, approvals=approvals)
        blocks = content["attachments"][0]["blocks"]
        return [
            (each["action_id"], each["text"]["text"])
            for block in blocks
            if block["type"] == "actions"
            for each in block["elements"]
        ]

    waiting = (Phase.PAUSED, Reason.AWAITING_APPROVAL, Event.PAUSED)
    assert shown(*waiting) == [(PROMOTE, "Approve"), (ABORT, "Abort")]
    assert shown(*waiting, approvals=False) == []
    assert shown(Phase.PROGRESSING, Reason.STEP_PASSED, Event.STEP) == [(ABORT, "Abort")]
    assert shown(Phase.ROLLING_BACK, Reason.ABORTED_BY_USER, Event.ROLLBACK) == []
    assert shown(Phase.PROMOTED, Reason.PROMOTED, Event.PROMOTED) == []
