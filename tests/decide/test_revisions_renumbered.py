"""Revisions that are numbered anew, because somebody deleted the Knative service or it was stopped."""

from __future__ import annotations

import pytest

from autocanary.decide.detection import Memory, Nothing, Start, discover, in_force
from autocanary.model.decision import Event, Move
from autocanary.model.observation import Beside, Observation, Trinary, is_earlier, number
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from tests.decide.build import CANDIDATE, NOW, STABLE, looks, observation, policy, progress, rollout

ANEW = observation(10, created=STABLE, ready=STABLE, traffic={STABLE: 100})
"""The Knative service was made again of the candidate's spec: under the name that stable had."""
EMPTY = observation(10, created=STABLE, ready="", traffic={}, route_ready=Trinary.UNKNOWN)
THIRD = "mnist-predictor-00003"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist-predictor-00002", 2),
        ("mnist-predictor-default-123456", 123456),
        ("mnist-predictor-default-7xk2p", None),
        ("mnist-00002-predictor", None),
        ("", None),
    ],
)
def test_the_number_of_a_revision(name: str, expected: int | None) -> None:
    """It is the end of the name; older Knatives have none."""
    assert number(name) == expected


def test_only_two_numbers_can_be_compared() -> None:
    """A name without a number is neither earlier nor later."""
    assert is_earlier(STABLE, CANDIDATE)
    assert not is_earlier(CANDIDATE, STABLE)
    assert not is_earlier(STABLE, STABLE)
    assert not is_earlier(STABLE, "mnist-predictor-default-7xk2p")
    assert not is_earlier("", CANDIDATE)


# --- under a running rollout ---------------------------------------------------------------------------------


def _back(number_: int, digest: str = "stable") -> Observation:
    name = f"mnist-predictor-{number_:05d}"
    return observation(
        None, created=name, ready=name, rolled_out=name, traffic={name: 100}, spec_digest=digest
    )


@pytest.mark.parametrize(
    "state",
    [
        progress(),
        progress(phase=Phase.STAGING, step=-1, weight=0, verified_at=None),
        progress(phase=Phase.ROLLING_BACK, reason=Reason.METRIC_BREACH, weight=0, verified_at=None),
        progress(phase=Phase.HOLDING, reason=Reason.NO_DATA),
    ],
    ids=["step", "staging", "rolling-back", "holding"],
)
def test_stables_spec_is_put_back_without_a_weight(state: Progress) -> None:
    """In every phase: once, after a quarter of a minute, and nothing is concluded from the names before."""
    seen = observation(state.weight, created=STABLE, ready=STABLE, traffic={STABLE: 100})
    made = looks([EMPTY, *[seen] * 9], state)
    assert [d.move for d, _ in made[:8]] == [Move.NONE] * 8
    assert [d.event for d, _ in made[:8]] == [None] * 8
    decision = made[8][0]
    assert (decision.move, decision.weight, decision.reason) == (Move.RESTORE, None, Reason.SERVICE_REPLACED)
    assert decision.event is Event.ROLLBACK
    assert decision.urgent
    assert made[9][0].move is Move.RESTORE  # repeated until it is seen to have arrived
    assert made[9][0].event is None


def test_it_is_over_when_another_revision_serves_stables_spec() -> None:
    """Not when the revision made of the candidate's spec has everything under stable's name, nor with its own."""
    arrived = observation(None, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest="stable")
    made = looks([*[ANEW] * 9, arrived, arrived, _back(2)])
    assert [it.progress.phase for _, it in made[8:]] == [Phase.ROLLING_BACK] * 3 + [Phase.ROLLED_BACK]
    assert made[-1][1].progress.reason is Reason.SERVICE_REPLACED
    assert CANDIDATE in made[-1][1].progress.message


def test_what_somebody_else_applies_meanwhile_is_not_fought() -> None:
    """Stable's spec had arrived, and another took its place: the rollout is over."""
    arrived = observation(None, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest="stable")
    made = looks([*[ANEW] * 9, arrived, _back(2, "another")])
    assert made[-1][1].progress.phase is Phase.ABANDONED
    assert made[-1][0].move is Move.NONE


def test_a_stable_spec_that_does_not_serve_is_told_once() -> None:
    """It was put back and its revision cannot start: a person is told at the progress deadline."""
    arrived = observation(None, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest="stable")
    made = looks([*[ANEW] * 9, *[arrived] * 1000])
    told = [d.reason for d, _ in made if d.event is Event.WARNING]
    assert told == [Reason.PROGRESS_DEADLINE_EXCEEDED]


@pytest.mark.parametrize("digest", ["stable", "candidate"])
def test_nothing_to_put_back_ends_it(digest: str) -> None:
    """The spec is stable's already, or stable's was never seen: said, and nothing is written."""
    seen = observation(10, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest=digest)
    changes: dict[str, object] = {} if digest == "stable" else {"stable_spec": None, "stable_digest": ""}
    made = looks([seen] * 9, None, **changes)
    decision, it = made[-1]
    assert (it.progress.phase, decision.reason) == (Phase.ABANDONED, Reason.SERVICE_REPLACED)
    assert decision.move is Move.NONE
    assert decision.event is Event.ENDED


def test_an_old_status_for_a_moment_is_no_new_numbering() -> None:
    """A status from before the candidate was made, for some seconds: everything goes on."""
    made = looks([*[ANEW] * 4, *[observation(10)] * 12, *[ANEW] * 4, observation(10)])
    assert [d.event for d, _ in made if d.event is not None] == []
    assert made[-1][1].progress.strayed_since is None


def test_the_way_through_a_restart_is_remembered() -> None:
    """What was made anew is in the record."""
    state = looks([ANEW] * 9)[-1][1].progress
    assert state.anew == STABLE
    assert Progress.from_dict(state.to_dict()) == state


# --- with no rollout running ---------------------------------------------------------------------------------


def _past(candidate: str, at: float, phase: Phase = Phase.PROMOTED, **changes: object) -> Rollout:
    state = progress(
        phase=phase, reason=Reason.METRIC_BREACH if phase is Phase.ROLLED_BACK else Reason.PROMOTED
    )
    state = state.but(started_at=at, finished_at=at + 60)
    return rollout(state, candidate=candidate, **{"candidate_digest": "candidate", **changes})


def test_older_rollouts_are_void_where_the_numbers_go_down() -> None:
    """By the names alone, whoever was watching when it happened."""
    history = [_past(THIRD, NOW - 900), _past(CANDIDATE, NOW - 800), _past(THIRD, NOW - 700)]
    later = observation(created=THIRD)
    assert in_force(history[:1], observation(created=CANDIDATE), 0) == []
    assert in_force(history[:2], later, 0) == history[1:2]
    assert in_force(history, later, 0) == history[1:]


def test_names_beside_each_other_are_not_counted() -> None:
    """Where stable stands beside the candidate, their revisions are numbered each on its own."""
    beside = Beside(spec={}, digest="s", ready=Trinary.TRUE, has_candidate=True)
    history = [_past(THIRD, NOW - 900)]
    assert in_force(history, observation(created=CANDIDATE, beside=beside), 0) == history


def test_a_release_after_the_numbers_began_anew_is_no_old_acquaintance() -> None:
    """Stopped and resumed while nobody looked: 00002 is another revision now, and caught at once."""
    history = [_past(CANDIDATE, NOW - 900), _past(THIRD, NOW - 800, candidate_digest="third")]
    seen = observation(None, traffic={STABLE: 100}, ready=STABLE)
    found = discover(seen, policy(), history, None, NOW)
    assert isinstance(found, Start)
    assert found.catch
    assert found.rollout.progress.reason is Reason.CAUGHT_UNSTAGED


def test_a_rolled_back_spec_that_comes_back_as_the_only_one_is_told() -> None:
    """The Knative service was deleted after a rollback: the bad spec has everything, under stable's name."""
    history = [_past(CANDIDATE, NOW - 900, Phase.ROLLED_BACK)]
    seen = observation(0, created=STABLE, ready=STABLE, traffic={STABLE: 100})
    for memory in (
        None,
        Memory("u1", STABLE, spec={}, digest="stable"),
        Memory("u1", "", void_before=NOW - 5),
    ):
        found = discover(seen, policy(), history, memory, NOW)
        assert isinstance(found, Start)
        assert found.rollout.progress.phase is Phase.MISSED
        assert "rolled back as mnist-predictor-00002" in found.rollout.progress.message
        again = discover(seen, policy(), [*history, found.rollout], memory, NOW + 1)
        assert isinstance(again, Nothing)


def test_a_promoted_spec_that_comes_back_is_no_news() -> None:
    """It was judged: numbered anew or not."""
    history = [_past(CANDIDATE, NOW - 900)]
    seen = observation(100, created=STABLE, ready=STABLE, traffic={STABLE: 100})
    assert isinstance(discover(seen, policy(), history, None, NOW), Nothing)
