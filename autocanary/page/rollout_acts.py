"""What a user can do with a rollout on the page, each with its consequence in words."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request, Rollout, Verb
from autocanary.views import UndoTarget, find_undo_target

__all__ = ["MAX_REASON_LENGTH", "Act", "ActRefused", "acts_of", "request_of", "undo_of"]

MAX_REASON_LENGTH = 300


class ActRefused(Exception):
    """The act makes no sense for the rollout as it is now; the text says why."""


@dataclass(frozen=True, slots=True)
class Act:
    """``verb`` is the command line's; ``danger`` marks what moves traffic at once."""

    verb: str
    label: str
    consequence: str
    danger: bool = False


def acts_of(rollout: Rollout, policy: Policy | None) -> tuple[Act, ...]:
    """The acts that the rollout can be asked for now."""
    progress, stable = rollout.progress, rollout.stable
    if progress.phase is Phase.ROLLED_BACK:
        return (
            Act("retry", "Retry", f"A new attempt with {rollout.candidate} starts at the first step of the policy."),
        )
    if progress.phase.is_final or progress.phase in (Phase.ROLLING_BACK, Phase.FINALIZING):
        return ()
    acts: list[Act] = []
    if progress.phase is Phase.PAUSED or rollout.paused:
        acts.append(Act("resume", "Resume", "The rollout goes on from where it was paused, and is analysed again."))
    weight = _next_weight(rollout, policy)
    if weight is not None:
        acts.append(
            Act(
                "promote",
                "Promote one step",
                f"{rollout.candidate} gets {weight} % of the traffic now, whatever the analysis says of this step.",
            )
        )
        if weight < 100:
            acts.append(
                Act(
                    "promote-full",
                    "Promote fully",
                    f"{rollout.candidate} gets 100 % of the traffic now; the steps between are not analysed.",
                    danger=True,
                )
            )
    if progress.phase is not Phase.PAUSED and not rollout.paused:
        share = "no traffic" if not progress.step.weight else f"{progress.step.weight} % of the traffic"
        acts.append(Act("pause", "Pause", f"{rollout.candidate} keeps {share}; a failed metric still rolls it back."))
    acts.append(Act("abort", "Abort", f"All traffic goes back to {stable} now.", danger=True))
    return tuple(acts)


def undo_of(rollout: Rollout, rollouts: Sequence[Rollout], present_digest: str) -> tuple[Act, UndoTarget] | None:
    """The undo of a release that is in force; None where another rollout came after it, or there is no former model.

    ``rollouts`` are all that are known of its component; ``present_digest`` identifies the spec as it is applied.
    """
    target = find_undo_target(rollouts, present_digest, None)
    if isinstance(target, str) or target.undone.name != rollout.name:
        return None
    model = target.model or f"the spec of {target.revision}"
    manifest = f" Your manifest still has {target.present_model}: change it, too." if target.present_model else ""
    text = f"{model} is released again, from 0 % in the steps of the policy like any release.{manifest}"
    return Act("undo", "Undo", text, danger=True), target


def _next_weight(rollout: Rollout, policy: Policy | None) -> int | None:
    at = rollout.progress.step.index + 1
    if policy is None:
        return 100
    return policy.steps[at].weight if 0 <= at < len(policy.steps) else None


def request_of(
    rollout: Rollout, policy: Policy | None, verb: str, *, by: str, reason: str, seen_weight: int | None
) -> tuple[bool | None, Request]:
    """What to write: ``spec.paused`` (None: leave it) and the request. ActRefused when the rollout has moved on.

    ``seen_weight`` is the weight that the page showed: a promotion passes no other step.
    """
    offered = {act.verb for act in acts_of(rollout, policy)}
    if verb not in {"promote", "promote-full", "pause", "resume", "abort", "retry"}:
        raise ActRefused(f"{clean_text(verb, 40)} is nothing that can be asked of a rollout")
    if verb not in offered:
        raise ActRefused(
            f"{rollout.name} is {rollout.progress.phase.value} now, so {verb} is not possible; nothing was changed"
        )
    weight = seen_weight if verb == "promote" else None
    if verb == "promote" and weight is not None and weight != rollout.progress.step.weight:
        raise ActRefused(
            f"the page showed the step at {weight} %, and {rollout.name} is at {rollout.progress.step.weight} % now; "
            "nothing was changed"
        )
    paused = {"pause": True, "resume": False if rollout.paused else None}.get(verb)
    request = Request(uuid.uuid4().hex, Verb(verb).value, by, weight, clean_text(reason, MAX_REASON_LENGTH))
    return paused, request
