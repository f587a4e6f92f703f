"""Which former model an undo applies: the one before the last promotion, or that of a numbered rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import format_time
from autocanary.views.model_change import model_of

__all__ = ["UndoTarget", "find_undo_target"]

_RELEASED = frozenset({Phase.PROMOTED, Phase.MISSED})


@dataclass(frozen=True, slots=True)
class UndoTarget:
    """``spec`` is the component's spec to release again, ``digest`` identifies it; ``revision`` was made of it.

    ``undone`` is the rollout that is undone, ``model`` and ``present_model`` what the specs are known by.
    """

    undone: Rollout
    revision: str
    model: str
    present_model: str
    spec: Mapping[str, Any]
    digest: str


def find_undo_target(rollouts: Sequence[Rollout], present_digest: str, number: int | None) -> UndoTarget | str:
    """What to release again; a sentence where there is nothing.

    ``rollouts`` are those of one component of one service; ``present_digest`` identifies the applied spec, "" when it
    is not known. ``number`` is that of ``service_history``, None for the model before the last promotion.
    """
    ordered = sorted(rollouts, key=lambda each: each.start_order)
    running = next((each for each in reversed(ordered) if not each.is_final), None)
    if running is not None:
        return (
            f"{running.name} is {running.progress.phase.value}: `autocanary abort {running.service} -n "
            f"{running.namespace}` rolls it back"
        )
    if not ordered:
        return "no rollout of it is recorded, so no former model is known"
    found = _before_last_promotion(ordered) if number is None else _of_number(ordered, number)
    if isinstance(found, UndoTarget) and present_digest and found.digest == present_digest:
        return f"the applied spec is that of {found.revision} ({found.model or 'the same'}) already"
    return found


def _before_last_promotion(ordered: Sequence[Rollout]) -> UndoTarget | str:
    last = next(
        (each for each in reversed(ordered) if each.progress.phase in {*_RELEASED, Phase.ROLLED_BACK}), ordered[-1]
    )
    progress = last.progress
    if progress.phase not in _RELEASED:
        serves = model_of(last.stable_spec, last.component)
        return (
            f"{last.name} was not promoted ({progress.phase.value}): {last.stable}"
            f"{f' ({serves})' if serves else ''} serves already; --to N applies the model of an earlier rollout"
        )
    if last.stable_spec is None:
        return f"the spec of {last.stable} is not recorded; --to N applies the model of an earlier rollout"
    return UndoTarget(
        undone=last,
        revision=last.stable,
        model=model_of(last.stable_spec, last.component),
        present_model=model_of(last.candidate_spec, last.component),
        spec=last.stable_spec,
        digest=last.stable_digest,
    )


def _of_number(ordered: Sequence[Rollout], number: int) -> UndoTarget | str:
    if not 1 <= number <= len(ordered):
        return f"there is no rollout {number}; `autocanary history` numbers them from 1 to {len(ordered)}"
    wanted, last = ordered[number - 1], ordered[-1]
    if wanted.progress.phase is Phase.ROLLED_BACK:
        when = format_time(wanted.progress.finished_at) or "before"
        return (
            f"{wanted.name} was rolled back ({wanted.progress.reason.value}, {when}), so its spec gets no traffic: "
            f"`autocanary retry {wanted.name} -n {wanted.namespace}` tries it again while it is applied"
        )
    if wanted.candidate_spec is None:
        return f"the spec of {wanted.candidate} is not recorded"
    return UndoTarget(
        undone=last,
        revision=wanted.candidate,
        model=model_of(wanted.candidate_spec, wanted.component),
        present_model=model_of(last.candidate_spec, last.component),
        spec=wanted.candidate_spec,
        digest=wanted.candidate_digest,
    )
