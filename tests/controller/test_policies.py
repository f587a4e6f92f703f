"""What policies ask of a rollout: windows, webhooks, dry-run metrics, components, history, and their own changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timezone
from typing import Any

import pytest

from autocanary.model.measurement import Unit
from autocanary.model.policy import Component, Metric, OnFailure, Range, Selector, Step, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.rollout_windows import Window
from autocanary.ports import WebhookResult
from autocanary.simulator.pod_behaviour import ready_after_seconds
from autocanary.simulator.world import manifest
from tests.controller.driver import BROKEN, SUCCESS, V1, V2, V3, Driver, healthy_start, policy

NOT_CALLED = WebhookResult(None, "http://gate was not called: too many calls", called=False)
NO, YES, AWAY = (
    WebhookResult(False, "not today"),
    WebhookResult(True),
    WebhookResult(None, "connection refused"),
)
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


def window(start: str, end: str, days: tuple[int, ...] = EVERY_DAY) -> Window:
    return Window(days, time.fromisoformat(start), time.fromisoformat(end), timezone.utc)


def hook(kind: WebhookType, name: str = "gate") -> Webhook:
    return Webhook(name, kind, f"http://{name}.example")


# --- windows --------------------------------------------------------------------------------------------


def test_a_closed_window_holds_the_first_step() -> None:
    """The world begins on a Thursday at midnight; the window opens at 01:00, and no second before it."""
    driver = healthy_start(policy(windows=(window("01:00", "09:00"),)))
    start = driver.world.now()
    driver.until_reason(Reason.WINDOW_CLOSED)
    assert driver.phase() is Phase.STAGING
    driver.run(1800)
    assert driver.weights() == []
    driver.finish(limit=7200)
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.world.cluster.writes[0].at - (start - start % 86400) >= 3600
    assert driver.events().count("rollout_held") == 1


def test_a_window_that_closes_in_the_middle_holds_and_goes_on() -> None:
    """It closes after the second step; the third is taken when it opens again an hour later."""
    driver = healthy_start(policy(windows=(window("00:00", "00:02"), window("01:00", "02:00"))))
    driver.until_reason(Reason.WINDOW_CLOSED)
    before = driver.weights()
    assert before in ([10], [10, 25])
    driver.run(1800)
    assert driver.weights() == before
    assert driver.phase() is Phase.HOLDING
    driver.finish(limit=7200)
    assert driver.weights() == [10, 25, 50, 100]


def test_rollback_ignores_window() -> None:
    """Closed for ever: a candidate that turns bad is rolled back all the same."""
    driver = healthy_start(policy(windows=(window("00:00", "00:01"),)))
    driver.until_reason(Reason.WINDOW_CLOSED)
    series = driver.world.traffic.series("models", "mnist", Component.PREDICTOR)
    series["mnist-predictor-00002"].quality = BROKEN
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights()[-1] == 0


def test_user_can_promote_outside_window() -> None:
    """`promote` is a decision, not a schedule."""
    driver = healthy_start(policy(windows=(window("00:00", "00:01"),)))
    driver.until_reason(Reason.WINDOW_CLOSED)
    before = driver.weights()
    driver.ask(Verb.PROMOTE_FULL)
    driver.finish()
    assert driver.weights() == [*before, 100]


def test_intercept_ignores_window() -> None:
    """An unstaged release is set to 0 at any time; its steps wait."""
    driver = Driver(policy(windows=(window("01:00", "09:00"),)))
    driver.deploy_stable()
    driver.release(V2, None)
    driver.until_reason(Reason.WINDOW_CLOSED)
    assert driver.weights() == [0]
    assert max(driver.share("00002")) == 0


# --- webhooks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [NO, AWAY])
def test_a_pre_rollout_webhook_holds_the_first_step_until_it_approves(first: WebhookResult) -> None:
    """A no and no answer are the same for the traffic: none of it moves. One yes is enough for the rollout."""
    driver = Driver(policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)))
    driver.world.policy_webhooks.answers["gate"] = first
    driver.deploy_stable()
    driver.release()
    driver.until_reason(Reason.WEBHOOK_PENDING)
    driver.run(120)
    assert driver.weights() == []
    assert driver.phase() is Phase.STAGING
    driver.world.policy_webhooks.answers["gate"] = YES
    driver.until(lambda: driver.weights() == [10], 30)
    asked = len(driver.world.policy_webhooks.calls)
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    assert len(driver.world.policy_webhooks.calls) == asked


def test_a_pre_rollout_webhook_that_never_approves_gives_up_at_the_deadline() -> None:
    """progressDeadline: five minutes of no."""
    driver = Driver(policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)))
    driver.world.policy_webhooks.answers["gate"] = NO
    driver.deploy_stable()
    driver.release()
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert driver.weights() == []
    assert "not today" in driver.messages_of("rollback_started")[0]


@pytest.mark.parametrize("kind", [WebhookType.PRE_ROLLOUT, WebhookType.CONFIRM_PROMOTION])
def test_a_call_that_is_not_made_is_not_a_no(kind: WebhookType) -> None:
    """The rollout is held beyond its deadline, and goes on with the first yes."""
    driver = Driver(policy(webhooks=(hook(kind),)))
    driver.world.policy_webhooks.answers["gate"] = NOT_CALLED
    driver.deploy_stable()
    driver.release()
    driver.until_reason(Reason.WEBHOOK_PENDING)
    driver.run(1200)
    assert driver.phase_and_reason()[1] is Reason.WEBHOOK_PENDING
    assert "gate waits: http://gate was not called" in driver.rollout().progress.message
    driver.world.policy_webhooks.answers["gate"] = YES
    driver.finish()
    assert driver.phase() is Phase.PROMOTED


def test_the_deadline_of_a_webhook_runs_only_while_it_is_called() -> None:
    """Nine minutes without a call of the webhook and one no are not ten minutes of no."""
    driver = Driver(policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)))
    driver.world.policy_webhooks.answers["gate"] = NOT_CALLED
    driver.deploy_stable()
    driver.release()
    driver.until_reason(Reason.WEBHOOK_PENDING)
    driver.run(1200)
    driver.world.policy_webhooks.answers["gate"] = NO
    driver.run(60)
    assert driver.phase() is Phase.STAGING
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.PROGRESS_DEADLINE_EXCEEDED)


def test_confirm_promotion_webhook_blocks_100_percent() -> None:
    """The lower steps are taken without it; 100 is not."""
    driver = Driver(policy(webhooks=(hook(WebhookType.CONFIRM_PROMOTION),)))
    driver.world.policy_webhooks.answers["gate"] = NO
    driver.deploy_stable()
    driver.release()
    driver.until_reason(Reason.WEBHOOK_PENDING)
    assert driver.phase() is Phase.HOLDING
    driver.run(150)
    assert driver.weights() == [10, 25, 50]
    driver.world.policy_webhooks.answers["gate"] = YES
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("rollout_held") == 1


def test_a_confirm_promotion_webhook_that_approves_costs_no_time() -> None:
    """It is asked when the step's time is over, and the step is taken in the same look or the next."""
    without = healthy_start()
    without.finish()
    driver = healthy_start(policy(webhooks=(hook(WebhookType.CONFIRM_PROMOTION),)))
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.world.now() - without.world.now() <= 30


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.BAKING])
def test_a_rollback_webhook_that_says_yes_rolls_back(phase: Phase) -> None:
    """Its yes means: take it back. It is asked at every evaluation, also during the bake."""
    driver = Driver(policy(webhooks=(hook(WebhookType.ROLLBACK),)))
    driver.world.policy_webhooks.answers["gate"] = NO
    driver.deploy_stable()
    driver.release()
    driver.until_phase(phase)
    driver.run(20)
    before = driver.weights()
    driver.world.policy_webhooks.answers["gate"] = WebhookResult(True, "halt file")
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.ROLLBACK_WEBHOOK)
    assert driver.weights() == [*before, 0]
    assert "halt file" in driver.messages_of("rollback_started")[0]


@pytest.mark.parametrize("answer", [NO, AWAY])
def test_a_rollback_webhook_without_a_yes_changes_nothing(answer: WebhookResult) -> None:
    """One that cannot be reached is no reason to roll back."""
    driver = Driver(policy(webhooks=(hook(WebhookType.ROLLBACK),)))
    driver.world.policy_webhooks.answers["gate"] = answer
    driver.deploy_stable()
    driver.release()
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_a_rollout_webhook_that_fails_three_times_in_a_row_rolls_back() -> None:
    """Its no counts like a violation: once is nothing, three times in a row is a failure."""
    driver = Driver(policy(webhooks=(hook(WebhookType.ROLLOUT),)))
    driver.deploy_stable()
    driver.release()
    driver.until_weight(25)
    driver.world.policy_webhooks.answers["gate"] = NO
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 25, 0]
    assert driver.rollout().progress.analysis.metrics["webhook/gate"].violations == 3


def test_rollout_webhook_below_failure_limit_is_tolerated() -> None:
    """Two in a row, then yes: the count starts again, and the rollout goes on."""
    driver = Driver(policy(webhooks=(hook(WebhookType.ROLLOUT),)))
    driver.deploy_stable()
    driver.release()
    driver.until_weight(25)

    def violations() -> int:
        state = driver.rollout().progress.analysis.metrics.get("webhook/gate")
        return state.violations if state is not None else 0

    driver.world.policy_webhooks.answers["gate"] = NO
    driver.until(lambda: violations() == 2)
    driver.world.policy_webhooks.answers["gate"] = YES
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_a_rollout_webhook_that_cannot_be_reached_holds_as_an_outage() -> None:
    """Its answer is unknown: no step, no rollback."""
    driver = Driver(policy(webhooks=(hook(WebhookType.ROLLOUT),)))
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.world.policy_webhooks.answers["gate"] = AWAY
    driver.run(400)
    assert driver.weights() == [10]
    assert driver.phase() is Phase.HOLDING
    driver.world.policy_webhooks.answers["gate"] = YES
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_post_rollout_webhooks_are_called_once() -> None:
    """Of a promotion, with the phase that it ended in; not before."""
    driver = healthy_start(policy(webhooks=(hook(WebhookType.POST_ROLLOUT),)))
    driver.until_phase(Phase.BAKING)
    assert driver.world.policy_webhooks.calls == []
    driver.finish()
    driver.run(60)
    (call,) = driver.world.policy_webhooks.calls
    assert (call.name, call.phase) == ("mnist", "Promoted")


def test_promote_overrules_a_webhook() -> None:
    """A user's request overrules a webhook's no."""
    driver = Driver(policy(webhooks=(hook(WebhookType.CONFIRM_PROMOTION),)))
    driver.world.policy_webhooks.answers["gate"] = NO
    driver.deploy_stable()
    driver.release()
    driver.until_reason(Reason.WEBHOOK_PENDING)
    driver.ask(Verb.PROMOTE)
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_webhook_approval_survives_restart() -> None:
    """The record says which webhooks have approved."""
    driver = healthy_start(
        policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)), behaviours={V2: ready_after_seconds(10.0)}
    )
    driver.until_weight(10)
    asked = len(driver.world.policy_webhooks.calls)
    assert asked
    driver.restart()
    driver.finish()
    assert len(driver.world.policy_webhooks.calls) == asked


# --- metrics --------------------------------------------------------------------------------------------


def test_a_dry_run_metric_is_judged_shown_and_never_acted_on() -> None:
    """All of its measurements are violations, and the release is promoted; the status shows them."""
    dry = replace(SUCCESS, name="error-rate", range=Range(max=-1.0), dry_run=True, failure_limit=1)
    driver = healthy_start(policy(metrics=(SUCCESS, dry)))
    driver.until_weight(50)
    driver.run(40)
    rows = driver.world.store.document("models", "mnist-00002")["status"]["metrics"]
    assert {row["name"]: row["verdict"] for row in rows} == {
        "request-success-rate": "pass",
        "error-rate": "violation",
    }
    driver.finish()
    assert driver.phase() is Phase.PROMOTED


def test_a_dry_run_metric_without_data_holds_nothing() -> None:
    """Its silence is shown, and no more."""
    dry = Metric("drift", Range(max=0.0), Unit.NUMBER, query="drift{}", dry_run=True)
    driver = healthy_start(policy(metrics=(SUCCESS, dry)))
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.events().count("rollout_held") == 0


def test_a_query_of_the_users_own_decides() -> None:
    """PromQL with placeholders: filled with the candidate's name, and its violation rolls back."""
    drift = Metric("drift", Range(max=0.0), Unit.NUMBER, query='sum(drift{revision="{{ revision }}"})', failure_limit=2)
    driver = Driver(policy(metrics=(SUCCESS, drift)))
    driver.world.metrics.custom["mnist-predictor-00002"] = lambda _, now: 0.0 if now < bad_from else 3.0
    driver.deploy_stable()
    bad_from = driver.world.now() + 100
    driver.release()
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert "drift 3 (limit 0)" in driver.messages_of("rollback_started")[0]


def test_one_violation_below_the_limit_is_no_failure() -> None:
    """failureLimit 3: two violations in a step are shown; every step starts at zero."""
    calls: dict[str, int] = {}

    def now_and_then(_: Any, now: float) -> float:
        calls["n"] = calls.get("n", 0) + 1
        return 3.0 if calls["n"] % 4 in (1, 2) else 0.0

    drift = Metric("drift", Range(max=0.0), Unit.NUMBER, query="drift", failure_limit=5)
    driver = Driver(policy(metrics=(SUCCESS, drift)))
    driver.world.metrics.custom["drift"] = now_and_then
    driver.deploy_stable()
    driver.release()
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_too_few_requests_hold_until_the_deadline() -> None:
    """A trickle: neither passed nor failed, held, and given up at progressDeadline."""
    driver = healthy_start(policy(min_requests=100000.0))
    driver.until_phase(Phase.HOLDING)
    assert driver.rollout().progress.reason is Reason.TOO_FEW_REQUESTS
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert driver.weights() == [10, 0]


# --- components -----------------------------------------------------------------------------------------


def with_transformer(name: str, predictor: str, transformer: str, weight: int | None = None) -> dict[str, Any]:
    document = manifest(name, predictor)
    part: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": transformer}]}
    if weight is not None:
        part["canaryTrafficPercent"] = weight
    document["spec"]["transformer"] = part
    return document


def transformer_driver(**more: Any) -> Driver:
    driver = Driver(policy(component=Component.TRANSFORMER), **more)
    driver.world.kserve.apply(with_transformer("mnist", V1, "pre:1"), server_side=False)
    driver.run(20)
    return driver


def test_a_transformer_is_rolled_out_by_its_own_weight() -> None:
    """Its revisions, its traffic; the predictor's spec and traffic are not touched."""
    driver = transformer_driver()
    driver.world.kserve.apply(with_transformer("mnist", V1, "pre:2", 0), server_side=False)
    (name,) = wait_for_one(driver)
    driver.finish(name)
    assert driver.phase_and_reason(name) == (Phase.PROMOTED, Reason.PROMOTED)
    assert [(each.key.component, each.weight) for each in driver.world.cluster.writes] == [
        (Component.TRANSFORMER, weight) for weight in (10, 25, 50, 100)
    ]
    spec = driver.world.kserve.document("models", "mnist")["spec"]
    assert "canaryTrafficPercent" not in spec["predictor"]
    assert spec["transformer"]["canaryTrafficPercent"] == 100


def test_a_bad_transformer_is_rolled_back() -> None:
    """And the predictor is not."""
    driver = transformer_driver(qualities={"pre:2": BROKEN})
    driver.world.kserve.apply(with_transformer("mnist", V1, "pre:2", 0), server_side=False)
    (name,) = wait_for_one(driver)
    driver.finish(name)
    assert driver.phase_and_reason(name) == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 0]


def wait_for_one(driver: Driver) -> list[str]:
    driver.until(lambda: len(driver.rollout_names()) == 1, 30)
    return driver.rollout_names()


# --- the policies themselves ----------------------------------------------------------------------------


def test_a_policy_changed_in_the_middle_leaves_the_rollout_its_snapshot() -> None:
    """The next rollout is held to the new one."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.world.policies.put(policy(steps=(Step(80, 60.0), Step(100, 60.0))))
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    driver.release(V3, 0)
    driver.finish("mnist-00003")
    assert driver.weights() == [10, 25, 50, 100, 80, 100]


def test_a_policy_deleted_in_the_middle_does_not_end_the_rollout() -> None:
    """Its snapshot governs to the end, over a restart too; a new release is not rolled out any more."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.world.policies.put()
    driver.run(20)
    driver.restart()
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    driver.release(V3, 0)
    driver.run(60)
    assert driver.rollout_names() == ["mnist-00002"]


def test_a_policy_that_no_longer_selects_the_service_changes_nothing_for_what_runs() -> None:
    """As if it had been deleted."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.world.policies.put(policy(selector=Selector(names=("other",))))
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_two_equally_specific_policies_start_nothing() -> None:
    """A tie is an error that a user must solve; when it is solved, the candidate is started."""
    driver = Driver(policy("one"), policy("two"))
    driver.deploy_stable()
    driver.release()
    driver.run(30)
    assert driver.rollout_names() == []
    driver.world.policies.put(policy("one"))
    driver.finish()
    assert driver.phase() is Phase.PROMOTED


def test_resume_leaves_pause_on_failure() -> None:
    """onFailure: pause, then a user resumes: it is analysed again from zero."""
    driver = healthy_start(policy(on_failure=OnFailure.PAUSE), qualities={V2: BROKEN})
    driver.until_reason(Reason.FAILURE_PAUSED)
    series = driver.world.traffic.series("models", "mnist", Component.PREDICTOR)
    series["mnist-predictor-00002"].quality = driver.world.traffic.quality_of({"model": {"storageUri": V3}})
    driver.run(60)
    driver.ask(Verb.RESUME)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_a_snapshot_that_cannot_be_read_leaves_the_service_alone() -> None:
    """A record of another version: nothing is written, and others are not disturbed."""
    driver = healthy_start()
    driver.until_weight(10)

    def spoil(document: dict[str, Any]) -> None:
        document["spec"]["policy"]["snapshot"] = {"from": "the future"}

    driver.world.store.edit("models", "mnist-00002", spoil)
    driver.restart()
    driver.run(300)
    assert driver.weights() == [10]


# --- history --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_history_is_pruned_to_its_limit(limit: int) -> None:
    """The newest finished rollouts of a service are kept; nothing of another service is touched."""
    steps = (Step(50, 15.0), Step(100, 0.0))
    driver = Driver(policy(steps=steps, bake=0.0), history_limit=limit)
    driver.deploy_stable("fraud")
    driver.release(V2, 0, name="fraud")
    driver.until(lambda: driver.world.split("fraud").get("00002") == 100, 600)
    driver.run(30)
    driver.deploy_stable("mnist")
    models = [f"gs://models/mnist/{number}" for number in range(10, 15)]
    for number, uri in enumerate(models, start=2):
        driver.release(uri, 0)
        share = f"{number:05d}"
        driver.until(lambda share=share: driver.world.split("mnist").get(share) == 100, 600)  # type: ignore[misc]
        driver.run(30)
    kept = [name for name in driver.rollout_names() if name.startswith("mnist")]
    assert kept == [f"mnist-{number:05d}" for number in range(2, 7)][5 - limit :]
    assert [name for name in driver.rollout_names() if name.startswith("fraud")] == ["fraud-00002"]


def test_rollout_with_pending_notifications_is_not_pruned() -> None:
    """With users unreachable, no final message is lost to the limit."""
    steps = (Step(50, 15.0), Step(100, 0.0))
    driver = Driver(policy(steps=steps, bake=0.0), history_limit=1)
    driver.deploy_stable()
    driver.world.notifier.down = True
    for number, uri in enumerate([V2, V3], start=2):
        driver.release(uri, 0)
        share = f"{number:05d}"
        driver.until(lambda share=share: driver.world.split("mnist").get(share) == 100, 600)  # type: ignore[misc]
        driver.run(30)
    assert driver.rollout_names() == ["mnist-00002", "mnist-00003"]
    assert all(driver.rollout(name).progress.outbox.pending for name in driver.rollout_names())
    driver.world.notifier.down = False
    driver.run(30)
    assert not any(driver.rollout(name).progress.outbox.pending for name in driver.rollout_names())
