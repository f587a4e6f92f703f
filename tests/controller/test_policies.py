"""What policies ask of a rollout: windows, gates, dry-run metrics, components, history, and their own changes."""

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
from autocanary.ports import CallResult
from autocanary.simulator.pod_behaviour import starts_in
from autocanary.simulator.world import manifest
from tests.controller.driver import BROKEN, SUCCESS, V1, V2, V3, Play, healthy_start, policy

NO, YES, AWAY = CallResult(False, "not today"), CallResult(True), CallResult(None, "connection refused")
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


def window(start: str, end: str, days: tuple[int, ...] = EVERY_DAY) -> Window:
    return Window(days, time.fromisoformat(start), time.fromisoformat(end), timezone.utc)


def hook(kind: WebhookType, name: str = "gate") -> Webhook:
    return Webhook(name, kind, f"http://{name}.example")


# --- windows --------------------------------------------------------------------------------------------


def test_a_closed_window_holds_the_first_step() -> None:
    """The world begins on a Thursday at midnight; the window opens at 01:00, and no second before it."""
    play = healthy_start(policy(windows=(window("01:00", "09:00"),)))
    start = play.world.now()
    play.until_reason(Reason.WINDOW_CLOSED)
    assert play.phase() is Phase.STAGING
    play.run(1800)
    assert play.weights() == []
    play.finish(limit=7200)
    assert play.weights() == [10, 25, 50, 100]
    assert play.world.cluster.writes[0].at - (start - start % 86400) >= 3600
    assert play.events().count("rollout_held") == 1


def test_a_window_that_closes_in_the_middle_holds_and_goes_on() -> None:
    """It closes after the second step; the third is taken when it opens again an hour later."""
    play = healthy_start(policy(windows=(window("00:00", "00:02"), window("01:00", "02:00"))))
    play.until_reason(Reason.WINDOW_CLOSED)
    before = play.weights()
    assert before in ([10], [10, 25])
    play.run(1800)
    assert play.weights() == before
    assert play.phase() is Phase.HOLDING
    play.finish(limit=7200)
    assert play.weights() == [10, 25, 50, 100]


def test_a_rollback_needs_no_window() -> None:
    """Closed for ever: a candidate that turns bad is rolled back all the same."""
    play = healthy_start(policy(windows=(window("00:00", "00:01"),)))
    play.until_reason(Reason.WINDOW_CLOSED)
    series = play.world.traffic.series("models", "mnist", Component.PREDICTOR)
    series["mnist-predictor-00002"].quality = BROKEN
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights()[-1] == 0


def test_a_person_may_step_outside_the_window() -> None:
    """`promote` is a decision, not a schedule."""
    play = healthy_start(policy(windows=(window("00:00", "00:01"),)))
    play.until_reason(Reason.WINDOW_CLOSED)
    before = play.weights()
    play.ask(Verb.PROMOTE_FULL)
    play.finish()
    assert play.weights() == [*before, 100]


def test_a_catch_needs_no_window() -> None:
    """An unstaged release is set to 0 at any time; its steps wait."""
    play = Play(policy(windows=(window("01:00", "09:00"),)))
    play.serve()
    play.release(V2, None)
    play.until_reason(Reason.WINDOW_CLOSED)
    assert play.weights() == [0]
    assert max(play.share("00002")) == 0


# --- gates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [NO, AWAY])
def test_a_pre_rollout_gate_holds_the_first_step_until_it_says_yes(first: CallResult) -> None:
    """A no and no answer are the same for the traffic: none of it moves. One yes is enough for the rollout."""
    play = Play(policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)))
    play.world.gates.answers["gate"] = first
    play.serve()
    play.release()
    play.until_reason(Reason.WEBHOOK_PENDING)
    play.run(120)
    assert play.weights() == []
    assert play.phase() is Phase.STAGING
    play.world.gates.answers["gate"] = YES
    play.until(lambda: play.weights() == [10], 30)
    asked = len(play.world.gates.calls)
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    assert len(play.world.gates.calls) == asked


def test_a_pre_rollout_gate_that_never_opens_gives_up_at_the_deadline() -> None:
    """progressDeadline: five minutes of no."""
    play = Play(policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)))
    play.world.gates.answers["gate"] = NO
    play.serve()
    play.release()
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert play.weights() == []
    assert "not today" in play.said("rollback_started")[0]


def test_a_confirm_promotion_gate_stands_before_100() -> None:
    """The lower steps are taken without it; 100 is not."""
    play = Play(policy(webhooks=(hook(WebhookType.CONFIRM_PROMOTION),)))
    play.world.gates.answers["gate"] = NO
    play.serve()
    play.release()
    play.until_reason(Reason.WEBHOOK_PENDING)
    assert play.phase() is Phase.HOLDING
    play.run(150)
    assert play.weights() == [10, 25, 50]
    play.world.gates.answers["gate"] = YES
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("rollout_held") == 1


def test_a_confirm_promotion_gate_that_says_yes_costs_no_time() -> None:
    """It is asked when the step's time is over, and the step is taken in the same look or the next."""
    without = healthy_start()
    without.finish()
    play = healthy_start(policy(webhooks=(hook(WebhookType.CONFIRM_PROMOTION),)))
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    assert play.world.now() - without.world.now() <= 30


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.BAKING])
def test_a_rollback_webhook_that_says_yes_rolls_back(phase: Phase) -> None:
    """Its yes means: take it back. It is asked at every look, also during the bake."""
    play = Play(policy(webhooks=(hook(WebhookType.ROLLBACK),)))
    play.world.gates.answers["gate"] = NO
    play.serve()
    play.release()
    play.until_phase(phase)
    play.run(20)
    before = play.weights()
    play.world.gates.answers["gate"] = CallResult(True, "halt file")
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.ROLLBACK_WEBHOOK)
    assert play.weights() == [*before, 0]
    assert "halt file" in play.said("rollback_started")[0]


@pytest.mark.parametrize("answer", [NO, AWAY])
def test_a_rollback_webhook_without_a_yes_changes_nothing(answer: CallResult) -> None:
    """One that cannot be reached is no reason to roll back."""
    play = Play(policy(webhooks=(hook(WebhookType.ROLLBACK),)))
    play.world.gates.answers["gate"] = answer
    play.serve()
    play.release()
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_a_rollout_webhook_that_fails_three_times_in_a_row_rolls_back() -> None:
    """Its no counts like a breach: once is nothing, three times in a row is a failure."""
    play = Play(policy(webhooks=(hook(WebhookType.ROLLOUT),)))
    play.serve()
    play.release()
    play.until_weight(25)
    play.world.gates.answers["gate"] = NO
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 25, 0]
    assert play.rollout().progress.metrics["webhook/gate"].breaches == 3


def test_a_rollout_webhook_that_says_no_twice_is_forgiven() -> None:
    """Two in a row, then yes: the count starts anew, and the rollout goes on."""
    play = Play(policy(webhooks=(hook(WebhookType.ROLLOUT),)))
    play.serve()
    play.release()
    play.until_weight(25)

    def breaches() -> int:
        state = play.rollout().progress.metrics.get("webhook/gate")
        return state.breaches if state is not None else 0

    play.world.gates.answers["gate"] = NO
    play.until(lambda: breaches() == 2)
    play.world.gates.answers["gate"] = YES
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_a_rollout_webhook_that_cannot_be_reached_holds_as_an_outage() -> None:
    """Nobody knows what it would say: no step, no rollback."""
    play = Play(policy(webhooks=(hook(WebhookType.ROLLOUT),)))
    play.serve()
    play.release()
    play.until_weight(10)
    play.world.gates.answers["gate"] = AWAY
    play.run(400)
    assert play.weights() == [10]
    assert play.phase() is Phase.HOLDING
    play.world.gates.answers["gate"] = YES
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_post_rollout_webhooks_are_told_once_at_the_end() -> None:
    """Of a promotion, with the phase that it ended in; not before."""
    play = healthy_start(policy(webhooks=(hook(WebhookType.POST_ROLLOUT),)))
    play.until_phase(Phase.BAKING)
    assert play.world.gates.calls == []
    play.finish()
    play.run(60)
    (call,) = play.world.gates.calls
    assert (call.name, call.phase) == ("mnist", "Promoted")


def test_promote_passes_a_gate() -> None:
    """A person's word is worth more than a gate's no."""
    play = Play(policy(webhooks=(hook(WebhookType.CONFIRM_PROMOTION),)))
    play.world.gates.answers["gate"] = NO
    play.serve()
    play.release()
    play.until_reason(Reason.WEBHOOK_PENDING)
    play.ask(Verb.PROMOTE)
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_a_gates_yes_is_remembered_over_a_restart() -> None:
    """The record says which gates have opened."""
    play = healthy_start(policy(webhooks=(hook(WebhookType.PRE_ROLLOUT),)), behaviours={V2: starts_in(10.0)})
    play.until_weight(10)
    asked = len(play.world.gates.calls)
    assert asked
    play.restart()
    play.finish()
    assert len(play.world.gates.calls) == asked


# --- metrics --------------------------------------------------------------------------------------------


def test_a_dry_run_metric_is_judged_shown_and_never_acted_on() -> None:
    """All of its looks are breaches, and the release is promoted; the status shows them."""
    dry = replace(SUCCESS, name="error-rate", range=Range(max=-1.0), dry_run=True, failure_limit=1)
    play = healthy_start(policy(metrics=(SUCCESS, dry)))
    play.until_weight(50)
    play.run(40)
    rows = play.world.ledger.document("models", "mnist-00002")["status"]["metrics"]
    assert {row["name"]: row["verdict"] for row in rows} == {
        "request-success-rate": "pass",
        "error-rate": "breach",
    }
    play.finish()
    assert play.phase() is Phase.PROMOTED


def test_a_dry_run_metric_without_data_holds_nothing() -> None:
    """Its silence is shown, and no more."""
    dry = Metric("drift", Range(max=0.0), Unit.NUMBER, query="drift{}", dry_run=True)
    play = healthy_start(policy(metrics=(SUCCESS, dry)))
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.events().count("rollout_held") == 0


def test_a_query_of_the_users_own_decides() -> None:
    """PromQL with placeholders: filled with the candidate's name, and its breach rolls back."""
    drift = Metric(
        "drift", Range(max=0.0), Unit.NUMBER, query='sum(drift{revision="{{ revision }}"})', failure_limit=2
    )
    play = Play(policy(metrics=(SUCCESS, drift)))
    play.world.metrics.custom["mnist-predictor-00002"] = lambda _, now: 0.0 if now < bad_from else 3.0
    play.serve()
    bad_from = play.world.now() + 100
    play.release()
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert "drift is 3" in play.said("rollback_started")[0]


def test_one_breach_below_the_limit_is_no_failure() -> None:
    """failureLimit 3: two breaches in a step are shown; every step starts at zero."""
    calls: dict[str, int] = {}

    def now_and_then(_: Any, now: float) -> float:
        calls["n"] = calls.get("n", 0) + 1
        return 3.0 if calls["n"] % 4 in (1, 2) else 0.0

    drift = Metric("drift", Range(max=0.0), Unit.NUMBER, query="drift", failure_limit=5)
    play = Play(policy(metrics=(SUCCESS, drift)))
    play.world.metrics.custom["drift"] = now_and_then
    play.serve()
    play.release()
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_too_few_requests_hold_until_the_deadline() -> None:
    """A trickle: neither passed nor blamed, held, and given up at progressDeadline."""
    play = healthy_start(policy(min_requests=100000.0))
    play.until_phase(Phase.HOLDING)
    assert play.rollout().progress.reason is Reason.TOO_FEW_REQUESTS
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert play.weights() == [10, 0]


# --- components -----------------------------------------------------------------------------------------


def with_transformer(
    name: str, predictor: str, transformer: str, weight: int | None = None
) -> dict[str, Any]:
    document = manifest(name, predictor)
    part: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": transformer}]}
    if weight is not None:
        part["canaryTrafficPercent"] = weight
    document["spec"]["transformer"] = part
    return document


def transformer_play(**more: Any) -> Play:
    play = Play(policy(component=Component.TRANSFORMER), **more)
    play.world.kserve.apply(with_transformer("mnist", V1, "pre:1"), server_side=False)
    play.run(20)
    return play


def test_a_transformer_is_rolled_out_by_its_own_weight() -> None:
    """Its revisions, its traffic; the predictor's spec and traffic are not touched."""
    play = transformer_play()
    play.world.kserve.apply(with_transformer("mnist", V1, "pre:2", 0), server_side=False)
    (name,) = wait_for_one(play)
    play.finish(name)
    assert play.ending(name) == (Phase.PROMOTED, Reason.PROMOTED)
    assert [(each.key.component, each.weight) for each in play.world.cluster.writes] == [
        (Component.TRANSFORMER, weight) for weight in (10, 25, 50, 100)
    ]
    spec = play.world.kserve.document("models", "mnist")["spec"]
    assert "canaryTrafficPercent" not in spec["predictor"]
    assert spec["transformer"]["canaryTrafficPercent"] == 100


def test_a_bad_transformer_is_rolled_back() -> None:
    """And the predictor is not."""
    play = transformer_play(qualities={"pre:2": BROKEN})
    play.world.kserve.apply(with_transformer("mnist", V1, "pre:2", 0), server_side=False)
    (name,) = wait_for_one(play)
    play.finish(name)
    assert play.ending(name) == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 0]


def wait_for_one(play: Play) -> list[str]:
    play.until(lambda: len(play.names()) == 1, 30)
    return play.names()


# --- the policies themselves ----------------------------------------------------------------------------


def test_a_policy_changed_in_the_middle_leaves_the_rollout_its_snapshot() -> None:
    """The next rollout is held to the new one."""
    play = healthy_start()
    play.until_weight(25)
    play.world.policies.put(policy(steps=(Step(80, 60.0), Step(100, 60.0))))
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    play.release(V3, 0)
    play.finish("mnist-00003")
    assert play.weights() == [10, 25, 50, 100, 80, 100]


def test_a_policy_deleted_in_the_middle_does_not_end_the_rollout() -> None:
    """Its snapshot governs to the end, over a restart too; a new release is not rolled out any more."""
    play = healthy_start()
    play.until_weight(25)
    play.world.policies.put()
    play.run(20)
    play.restart()
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    play.release(V3, 0)
    play.run(60)
    assert play.names() == ["mnist-00002"]


def test_a_policy_that_no_longer_selects_the_service_changes_nothing_for_what_runs() -> None:
    """As if it had been deleted."""
    play = healthy_start()
    play.until_weight(10)
    play.world.policies.put(policy(selector=Selector(names=("other",))))
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_two_equally_specific_policies_start_nothing() -> None:
    """A tie is an error that a person must solve; when it is solved, the candidate is taken up."""
    play = Play(policy("one"), policy("two"))
    play.serve()
    play.release()
    play.run(30)
    assert play.names() == []
    play.world.policies.put(policy("one"))
    play.finish()
    assert play.phase() is Phase.PROMOTED


def test_a_pausing_policy_is_left_by_resume() -> None:
    """onFailure: pause, then a person says go on: it is judged anew from zero."""
    play = healthy_start(policy(on_failure=OnFailure.PAUSE), qualities={V2: BROKEN})
    play.until_reason(Reason.FAILURE_PAUSED)
    series = play.world.traffic.series("models", "mnist", Component.PREDICTOR)
    series["mnist-predictor-00002"].quality = play.world.traffic.quality_of({"model": {"storageUri": V3}})
    play.run(60)
    play.ask(Verb.RESUME)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_a_snapshot_that_cannot_be_read_leaves_the_service_alone() -> None:
    """A record of another version: nothing is written, and others are not disturbed."""
    play = healthy_start()
    play.until_weight(10)

    def spoil(document: dict[str, Any]) -> None:
        document["spec"]["policy"]["snapshot"] = {"from": "the future"}

    play.world.ledger.edit("models", "mnist-00002", spoil)
    play.restart()
    play.run(300)
    assert play.weights() == [10]


# --- history --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_history_is_pruned_to_its_limit(limit: int) -> None:
    """The newest finished rollouts of a service are kept; nothing of another service is touched."""
    steps = (Step(50, 15.0), Step(100, 0.0))
    play = Play(policy(steps=steps, bake=0.0), history_limit=limit)
    play.serve("fraud")
    play.release(V2, 0, name="fraud")
    play.until(lambda: play.world.split("fraud").get("00002") == 100, 600)
    play.run(30)
    play.serve("mnist")
    models = [f"gs://models/mnist/{number}" for number in range(10, 15)]
    for number, uri in enumerate(models, start=2):
        play.release(uri, 0)
        share = f"{number:05d}"
        play.until(lambda share=share: play.world.split("mnist").get(share) == 100, 600)  # type: ignore[misc]
        play.run(30)
    kept = [name for name in play.names() if name.startswith("mnist")]
    assert kept == [f"mnist-{number:05d}" for number in range(2, 7)][5 - limit :]
    assert [name for name in play.names() if name.startswith("fraud")] == ["fraud-00002"]


def test_a_record_that_is_not_told_yet_is_not_pruned() -> None:
    """With people unreachable, no final message is lost to the limit."""
    steps = (Step(50, 15.0), Step(100, 0.0))
    play = Play(policy(steps=steps, bake=0.0), history_limit=1)
    play.serve()
    play.world.notifier.down = True
    for number, uri in enumerate([V2, V3], start=2):
        play.release(uri, 0)
        share = f"{number:05d}"
        play.until(lambda share=share: play.world.split("mnist").get(share) == 100, 600)  # type: ignore[misc]
        play.run(30)
    assert play.names() == ["mnist-00002", "mnist-00003"]
    assert all(play.rollout(name).progress.untold for name in play.names())
    play.world.notifier.down = False
    play.run(30)
    assert not any(play.rollout(name).progress.untold for name in play.names())
