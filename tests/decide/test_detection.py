"""What starts a rollout, what does not, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.decide.detection import Memory, Mend, Nothing, Refusal, Start, discover, remember, retried
from autocanary.model.decision import Event
from autocanary.model.observation import Mode, Observation, Trinary
from autocanary.model.policy import OnUnstaged
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from tests.decide.build import CANDIDATE, NOW, STABLE, observation, policy, progress, rollout

UNREADY: dict[str, Any] = {"ready": STABLE, "traffic": {STABLE: 100}}
MEMORY = Memory("u1", STABLE, {"model": {"storageUri": "gs://b/v1"}}, "stable")


def at_rest(revision: str = STABLE, **changes: Any) -> Observation:
    return observation(
        None,
        **{
            "created": revision,
            "ready": revision,
            "rolled_out": revision,
            "traffic": {revision: 100},
            **changes,
        },
    )


def found(
    seen: Observation, history: tuple[Rollout, ...] = (), memory: Memory | None = MEMORY, **of_policy: Any
) -> Any:
    return discover(seen, policy(**of_policy), history, memory, NOW)


def test_a_service_at_rest_starts_nothing() -> None:
    """The newest revision has been rolled out."""
    assert found(at_rest()) == Nothing()


def test_a_new_revision_with_a_weight_is_adopted_at_it() -> None:
    """Applied with canaryTrafficPercent: 10; its owner chose the first weight."""
    start = found(observation(10, **UNREADY))
    assert isinstance(start, Start)
    assert not start.catch
    assert (start.rollout.stable, start.rollout.candidate) == (STABLE, CANDIDATE)
    state = start.rollout.progress
    assert (state.phase, state.weight, state.reason) == (Phase.STAGING, 10, Reason.ROLLOUT_STARTED)
    assert [entry.event for entry in state.untold] == [Event.STARTED.value]


@pytest.mark.parametrize("weight", [None, 100])
def test_a_new_revision_without_a_weight_is_caught(weight: int | None) -> None:
    """Measured, item 3: absent, or the 100 of the last promotion, would cut over when ready."""
    start = found(observation(weight, share=0, **UNREADY))
    assert isinstance(start, Start)
    assert start.catch
    assert (start.rollout.progress.weight, start.rollout.progress.from_weight) == (0, weight)
    assert start.rollout.progress.reason is Reason.CAUGHT_UNSTAGED


def test_ignore_leaves_an_unstaged_revision_alone() -> None:
    """onUnstaged: ignore."""
    assert found(observation(None, share=0, **UNREADY), on_unstaged=OnUnstaged.IGNORE) == Nothing()


def test_the_stable_spec_is_taken_from_memory() -> None:
    """What stable was made of is needed to repair it, and the object shows only the candidate's spec."""
    start = found(observation(10, **UNREADY))
    assert (start.rollout.stable_spec, start.rollout.stable_digest) == (MEMORY.spec, "stable")
    other = Memory("u1", "mnist-predictor-00000", {"x": 1}, "other")
    assert found(observation(10, **UNREADY), memory=other).rollout.stable_spec is None


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.PROGRESSING, Phase.PROMOTED])
def test_a_candidate_that_was_tried_is_not_tried_again(phase: Phase) -> None:
    """After a rollback the bad revision stays out, whoever lowers or raises the field."""
    history = (rollout(progress(phase=phase)),)
    assert found(observation(0, **UNREADY), history) == Nothing()


def test_a_service_of_the_same_name_created_anew_has_a_history_of_its_own() -> None:
    """s12b: revisions restart at 00001 with a new uid; the record's name must not collide."""
    history = (rollout(progress(phase=Phase.ROLLED_BACK)),)
    start = found(observation(10, uid="u2", **UNREADY), history)
    assert isinstance(start, Start)
    assert (start.rollout.attempt, start.rollout.name) == (2, "mnist-00002-r2")


@pytest.mark.parametrize("mode", [Mode.STANDARD, Mode.MODELMESH])
def test_other_deployment_modes_are_refused_with_what_would_work(mode: Mode) -> None:
    """Section 2: the field is silently ignored there."""
    refusal = found(observation(10, mode=mode))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNSUPPORTED_DEPLOYMENT_MODE
    assert "deploymentMode: Knative" in refusal.message
    assert mode.value in refusal.message


def test_a_ready_service_without_a_revision_is_in_another_mode() -> None:
    """An old KServe does not write down the mode that an installation has by default."""
    raw = observation(10, mode=Mode.UNKNOWN, created="", ready="", rolled_out="", traffic={})
    refusal = found(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNSUPPORTED_DEPLOYMENT_MODE
    assert "RawDeployment" in refusal.message


def test_a_service_that_still_starts_is_not_refused() -> None:
    """Nothing is known of its mode yet."""
    starting = observation(10, mode=Mode.UNKNOWN, created="", service_ready=Trinary.UNKNOWN, traffic={})
    assert found(starting) == Nothing()


def test_disable_auto_update_is_refused() -> None:
    """s17: KServe ignores every weight."""
    refusal = found(observation(10, auto_update_disabled=True, **UNREADY))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.AUTO_UPDATE_DISABLED


@pytest.mark.parametrize(
    "changes", [{"deleting": True}, {"stopped": True}, {"rolled_out": ""}, {"created": ""}]
)
def test_a_service_that_is_going_or_not_there_yet_starts_nothing(changes: dict[str, Any]) -> None:
    """Deleted, stopped, or never rolled out (the first revision has nothing to be compared with)."""
    assert found(observation(10, **changes)) == Nothing()


def test_a_revision_that_took_all_traffic_between_two_looks_is_said_not_undone() -> None:
    """Missed: lowering the weight now would move traffic onto pods that are gone."""
    start = found(at_rest(CANDIDATE, spec_digest="candidate"))
    assert isinstance(start, Start)
    state = start.rollout.progress
    assert (state.phase, state.reason, state.weight) == (Phase.MISSED, Reason.MISSED_UNSTAGED, None)
    assert start.rollout.stable == STABLE


@pytest.mark.parametrize(
    ("memory", "digest", "history"),
    [
        (None, "candidate", ()),  # the first look ever: nothing is known of before
        (Memory("u0", STABLE), "candidate", ()),  # a service created anew
        (MEMORY, "stable", ()),  # stable's own content under a new name: a repair
        (MEMORY, "candidate", (rollout(progress(phase=Phase.PROMOTED)),)),  # promoted by us
    ],
)
def test_what_looks_like_missed_and_is_not(
    memory: Memory | None, digest: str, history: tuple[Rollout, ...]
) -> None:
    """No false alarm at a start, after a re-creation, a repair or a promotion."""
    assert found(at_rest(CANDIDATE, spec_digest=digest), history, memory) == Nothing()


def test_a_retry_is_a_new_attempt_that_knows_the_stable_spec() -> None:
    """The old record stays as it ended."""
    past = rollout(progress(phase=Phase.ROLLED_BACK))
    start = retried(past, observation(0), policy(), [past], NOW)
    assert (start.rollout.name, start.rollout.attempt) == ("mnist-00002-r2", 2)
    assert start.rollout.stable_spec == past.stable_spec
    assert start.rollout.progress.reason is Reason.RETRIED_BY_USER


def test_memory_learns_from_a_service_that_stays_at_rest() -> None:
    """After an edit the status is the old one for seconds: the new spec must not be taken for stable's."""
    first = at_rest(spec={"v": 1}, spec_digest="v1")
    guessed = remember(None, first, (), NOW)
    assert guessed is not None
    assert not guessed.is_certain
    edited = at_rest(spec={"v": 2}, spec_digest="v2")  # the spec is new, the status still the old one
    again = remember(guessed, edited, (), NOW + 5)
    assert again is not None
    assert not again.is_certain
    assert remember(again, edited, (), NOW + 11) == again, "the edit's own ten seconds are not over"
    assert remember(guessed, first, (), NOW + 10) == Memory("u1", STABLE, {"v": 1}, "v1")


def test_what_is_known_of_a_revision_is_never_learned_anew() -> None:
    """However long the status lags, a certain memory stays."""
    known = Memory("u1", STABLE, {"v": 1}, "v1")
    edited = at_rest(spec={"v": 2}, spec_digest="v2")
    for at in (NOW, NOW + 3600):
        taught = remember(known, edited, (), at)
        assert taught is not None
        assert (taught.spec, taught.digest) == (known.spec, known.digest)
    assert remember(known, observation(10), (), NOW) == known
    assert remember(None, observation(10), (), NOW) == Memory("u1", STABLE)


def test_a_spec_that_is_the_candidates_is_no_stable_spec() -> None:
    """The last line of defence: restoring it would promote the candidate."""
    start = found(observation(10, **UNREADY), memory=Memory("u1", STABLE, {"v": 2}, "candidate"))
    assert (start.rollout.stable_spec, start.rollout.stable_digest) == (None, "")


def test_a_rolled_back_candidate_that_is_promoted_elsewhere_is_told() -> None:
    """GitOps drops the field after a rollback: the bad revision has all the traffic."""
    past = rollout(progress(phase=Phase.ROLLED_BACK, reason=Reason.METRIC_BREACH))
    seen = at_rest(CANDIDATE, writer="argocd")
    start = found(seen, (past,))
    assert isinstance(start, Start)
    assert start.rollout.progress.phase is Phase.MISSED
    assert "was rolled back (MetricBreach)" in start.rollout.progress.message
    assert "argocd" in start.rollout.progress.message
    assert found(seen, (past, start.rollout)) == Nothing(), "told once"


def test_memory_is_refilled_from_the_ledger_after_a_restart() -> None:
    """The candidate that was promoted last is today's stable."""
    past = rollout(
        progress(phase=Phase.PROMOTED),
        candidate=STABLE,
        candidate_spec={"v": 1},
        candidate_digest="d",
        stable="x",
    )
    assert remember(None, observation(10), [past], NOW) == Memory("u1", STABLE, {"v": 1}, "d")


def known_bad(candidate: str, phase: Phase, reason: Reason, at: float, attempt: int = 1) -> Rollout:
    state = progress(phase=phase, reason=reason, started_at=at, finished_at=at + 5)
    return rollout(
        state,
        name=f"mnist-{candidate[-5:]}-{attempt}",
        candidate=candidate,
        candidate_digest="bad",
        attempt=attempt,
    )


def test_a_spec_known_to_be_bad_stays_so_when_its_last_revision_was_replaced() -> None:
    """The third revision of it came before the second was kept out for good: that acquits nobody."""
    history = (
        known_bad("mnist-predictor-00002", Phase.ROLLED_BACK, Reason.METRIC_BREACH, NOW - 900),
        known_bad("mnist-predictor-00003", Phase.SUPERSEDED, Reason.NEW_REVISION, NOW - 20),
    )
    start = found(observation(0, created="mnist-predictor-00004", spec_digest="bad", **UNREADY), history)
    assert isinstance(start, Start)
    assert start.rollout.progress.reason is Reason.KNOWN_BAD


def test_a_spec_that_a_person_tries_again_is_tried_under_its_next_revision() -> None:
    """The retry was replaced by another revision of the same spec: the wish is not lost with it."""
    history = (
        known_bad("mnist-predictor-00002", Phase.ROLLED_BACK, Reason.METRIC_BREACH, NOW - 900),
        known_bad("mnist-predictor-00002", Phase.SUPERSEDED, Reason.NEW_REVISION, NOW - 20, attempt=2),
    )
    start = found(observation(0, created="mnist-predictor-00003", spec_digest="bad", **UNREADY), history)
    assert isinstance(start, Start)
    assert start.rollout.progress.reason is Reason.ROLLOUT_STARTED


def moved_back(digest: str) -> Observation:
    """Stable's share went to the revision before it, while the spec is another."""
    return observation(10, **{**UNREADY, "rolled_out": STABLE, "spec_digest": digest})


def promoted(**changes: Any) -> Rollout:
    done = progress(phase=Phase.PROMOTED, reason=Reason.PROMOTED, finished_at=NOW - 60, **changes)
    return rollout(done).but(
        candidate_spec={"model": {"storageUri": "gs://b/v2"}}, candidate_digest="candidate"
    )


def test_a_mend_that_was_begun_is_gone_on_with_by_a_new_process() -> None:
    """It knows no stable but the wrong one; the record says what was found and is to be put back."""
    past = promoted(warned=("WrongStable/odd",))
    mend = found(moved_back("odd"), (past,), Memory("u1", STABLE))
    assert mend == Mend(past, {"model": {"storageUri": "gs://b/v2"}})


def test_a_stable_that_moved_back_unseen_is_said() -> None:
    """Nothing was recorded, and it could be what a person wants: told, not undone."""
    said = found(moved_back("odd"), (promoted(),), Memory("u1", STABLE))
    assert isinstance(said, Mend)
    assert said.spec is None
    (entry,) = said.rollout.progress.untold
    assert (entry.event, entry.reason) == ("rollout_warning", "WrongStable")
    assert "unless that is meant" in entry.message
    assert said.rollout.progress.reason is Reason.PROMOTED
    refusal = found(moved_back("odd"), (said.rollout,), Memory("u1", STABLE))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.WRONG_STABLE


def test_a_stable_that_moved_back_with_no_rollout_known_is_said_in_the_log() -> None:
    """There is no rollout that people could be told of it with."""
    memory = Memory("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    refusal = found(moved_back("odd"), (), memory)
    assert isinstance(refusal, Refusal)
    assert "put stable's spec back" in refusal.message


def test_a_spec_that_comes_again_and_again_is_mended_each_time_and_told_each_ten_minutes() -> None:
    """A GitOps tool applies it every three minutes: the traffic is put right at once, people are not flooded."""
    memory = Memory("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    past, told = promoted(), []
    for minute in range(0, 31, 3):
        mend = discover(moved_back("odd"), policy(), (past,), memory, NOW + 60 * minute)
        assert isinstance(mend, Mend)
        assert mend.spec == memory.spec
        past = mend.rollout
        told.append(len(past.progress.untold))
    assert told == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]
    assert past.progress.warned == ("WrongStable/odd",)


def test_a_release_over_a_rolled_back_candidate_that_kserve_rolled_out_is_told() -> None:
    """Applied without a weight: until it is ready KServe gives everything to what had been rolled back."""
    third = "mnist-predictor-00003"
    bad = known_bad(CANDIDATE, Phase.ROLLED_BACK, Reason.METRIC_BREACH, NOW - 900)
    seen = observation(None, **{**UNREADY, "rolled_out": CANDIDATE, "created": third, "spec_digest": "fix"})
    start = found(seen, (bad,))
    assert isinstance(start, Start)
    assert start.catch
    assert start.rollout.progress.reason is Reason.CAUGHT_UNSTAGED
    assert [entry.event for entry in start.rollout.progress.untold] == ["rollout_started", "rollout_warning"]
    assert f"{CANDIDATE} was rolled back (MetricBreach)" in start.rollout.progress.untold[1].message


def test_a_person_who_goes_back_after_a_promotion_is_not_disturbed() -> None:
    """A weight below 100 with the promoted spec unchanged."""
    assert found(moved_back("candidate"), (promoted(),), Memory("u1", STABLE)) == Nothing()


def test_a_person_goes_back_after_a_promotion_although_the_spec_was_edited_since() -> None:
    """An edit that makes no revision (protocolVersion, a default that a webhook adds), an hour at rest, then 0:

    that is no trap of KServe, and putting the promoted spec back would overrule the person.
    """
    second = at_rest(CANDIDATE, spec_digest="candidate")
    memory = Memory("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    edited = at_rest(CANDIDATE, spec_digest="edited")
    for seen, at in ((second, NOW - 4000), (edited, NOW - 3600), (edited, NOW - 60)):
        taught = remember(memory, seen, [promoted()], at)
        assert taught is not None
        memory = taught
    assert (memory.stable, memory.digest) == (CANDIDATE, "candidate")
    said = found(moved_back("edited"), (promoted(),), memory)
    assert isinstance(said, Mend)
    assert said.spec is None
    assert "unless that is meant" in said.rollout.progress.untold[-1].message


def test_a_spec_and_a_weight_in_one_patch_that_move_stable_back_are_mended() -> None:
    """Between the patch and the move lie a few seconds of the old status."""
    memory = Memory("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    taught = remember(
        memory, replace(at_rest(CANDIDATE, spec_digest="refused"), weight=10), [promoted()], NOW - 6
    )
    mend = found(moved_back("refused"), (promoted(),), taught)
    assert isinstance(mend, Mend)
    assert mend.spec == {"model": {"storageUri": "gs://b/v2"}}
