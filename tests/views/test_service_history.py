"""The history of a service: one entry per release, restores inside the rollout that caused them."""

from __future__ import annotations

from dataclasses import replace

from autocanary.model.progress import Phase
from autocanary.model.rollout import Request, Verb
from autocanary.views import service_history
from tests.controller.driver import V1, V2, V3, healthy_start, policy


def test_a_restore_is_inside_the_rollout_that_caused_it() -> None:
    """A crash at 25 %, and the restore that it needed: one entry, rolled back, and what was put back."""
    driver = healthy_start(policy())
    driver.until_weight(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask(Verb.ABORT)
    driver.finish()
    driver.run(300)
    (past,) = service_history(driver.world.store.rollouts(), driver.world.clock.now())
    assert past.outcome == Phase.ROLLED_BACK.value
    assert past.restore is not None
    assert past.restore.done
    assert past.restore.text == f"spec.predictor was set back to {V1}; your manifest still has {V2}"
    assert past.models.text == f"{V1} → {V2}"


def test_the_newest_rollout_is_first_and_numbers_stay() -> None:
    """``undo --to`` takes the number, so that a new release does not renumber the others."""
    driver = healthy_start(policy())
    driver.finish()
    before = service_history(driver.world.store.rollouts(), driver.world.clock.now())
    driver.release(V3)
    driver.until_phase(Phase.PROGRESSING, name="mnist-00003")
    newest, oldest = service_history(driver.world.store.rollouts(), driver.world.clock.now())
    assert (newest.number, newest.outcome, newest.finished_at) == (2, Phase.PROGRESSING.value, None)
    assert (oldest.number, oldest.rollout, oldest.outcome) == (1, before[0].rollout, Phase.PROMOTED.value)
    assert oldest.seconds == before[0].seconds > 0
    assert newest.restorable


def test_acts_name_the_user_and_the_reason() -> None:
    """Promote and abort, with what the users said."""
    driver = healthy_start(policy())
    driver.until_phase(Phase.PROGRESSING)
    for verb, by, reason in ((Verb.PROMOTE, "ada", "looks good to me"), (Verb.ABORT, "bob", "wrong labels")):
        driver.run(20)
        request = Request(f"r-{verb.value}", verb.value, by, reason=reason)
        driver.world.store.write_request("models", "mnist-00002", paused=None, request=request)
        driver.until(lambda id_=request.id: driver.rollout().progress.requests.answered_id == id_)  # type: ignore[misc]
    driver.finish()
    (past,) = service_history(driver.world.store.rollouts(), driver.world.clock.now())
    assert [(act.verb, act.by, act.reason) for act in past.acts] == [
        ("promote", "ada", "looks good to me"),
        ("abort", "bob", "wrong labels"),
    ]
    assert past.message.startswith("mnist-predictor-00002 rolled back: aborted by bob: wrong labels")


def test_a_record_with_broken_times_and_names_raises_nothing() -> None:
    """A client may write the status."""
    driver = healthy_start(policy())
    past = driver.finish()
    entry = {"time": "yesterday", "reason": "PromotedByUser", "requestedBy": 7, "requestReason": ["x"]}
    broken = replace(past, progress=replace(past.progress, decisions=(entry,)))
    (found,) = service_history([broken], driver.world.clock.now())
    assert [(act.at, act.verb, act.by, act.reason) for act in found.acts] == [(None, "promote", "", "")]
