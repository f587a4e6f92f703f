"""What earlier looks at a service taught, for there is no document that says what stable was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocanary.model.observation import Beside, Observation, Trinary, is_earlier
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["SETTLED_AFTER", "Memory", "in_force", "is_renumbered", "remember"]

_NUMBERED_ANEW = (Reason.SERVICE_STOPPED, Reason.SERVICE_REPLACED)

SETTLED_AFTER = 10.0
"""Seconds for which a service must be seen unchanged and at rest before its spec is taken for stable's.

After a spec was edited the status is the complete old one for up to 6 s (measured), so that the new spec
looks like the one that the old revision was made from.
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier looks at a service taught: its stable revision, and the spec that stable was made from.

    ``spec`` is None until it is certain; ``maybe`` is the digest that has been seen at rest since
    ``maybe_since``: not always that of ``spec``, for a spec can be changed without a new revision.
    ``void_before`` is when KServe last knew no revision at all (stopped, created anew): revisions are
    numbered from 00001 again, so older rollouts of the same names were about others.
    """

    uid: str
    stable: str
    spec: Mapping[str, Any] | None = None
    digest: str = ""
    maybe: str = ""
    maybe_since: float = 0.0
    void_before: float = 0.0

    @property
    def is_certain(self) -> bool:
        return self.spec is not None

    def is_unsure(self, now: float) -> bool:
        """Whether another look, a little later, will teach more although nothing changes."""
        return bool(self.maybe) and (not self.is_certain or now - self.maybe_since < SETTLED_AFTER)


def remember(
    memory: Memory | None, seen: Observation, history: Sequence[Rollout], now: float
) -> Memory | None:
    """What to remember after this look. A spec that is known for a revision is never learned anew."""
    if not seen.rolled_out:
        return Memory(seen.uid, "", void_before=now)
    if seen.beside is not None:
        return _plainly(memory, seen, seen.beside, now)
    void = memory.void_before if memory is not None and memory.uid == seen.uid else 0.0
    history = in_force(history, seen, void)
    same = memory is not None and memory.uid == seen.uid and memory.stable == seen.rolled_out
    if memory is not None and same and memory.is_certain:
        other = seen.spec_digest if seen.spec_digest != memory.digest else ""
        if not seen.created == seen.rolled_out == seen.ready or memory.maybe == other:
            return memory
        return replace(memory, maybe=other, maybe_since=now)
    known = Memory(seen.uid, seen.rolled_out, void_before=void)
    for past in history:
        if past.candidate == seen.rolled_out and past.candidate_spec is not None:
            return replace(known, spec=past.candidate_spec, digest=past.candidate_digest)
        if past.stable == seen.rolled_out and past.stable_spec is not None:
            return replace(known, spec=past.stable_spec, digest=past.stable_digest)
    if not seen.created == seen.rolled_out == seen.ready:
        return memory if same else known
    if memory is None or not same or memory.maybe != seen.spec_digest:
        return replace(known, maybe=seen.spec_digest, maybe_since=now)
    if now - memory.maybe_since < SETTLED_AFTER:
        return memory
    return replace(known, spec=seen.spec, digest=seen.spec_digest)


def _plainly(memory: Memory | None, seen: Observation, beside: Beside, now: float) -> Memory:
    """Stable's spec stands beside the candidate's; kept until a new stable serves, so that it can be told.

    ``maybe`` is what the newest revision seems to be made of.
    """
    mine = memory if memory is not None and memory.uid == seen.uid else None
    void = mine.void_before if mine is not None else 0.0
    same = mine is not None and mine.maybe == seen.spec_digest
    since = mine.maybe_since if mine is not None and same else now
    if mine is not None and mine.is_certain:
        waiting = mine.stable != seen.rolled_out and beside.ready is not Trinary.TRUE
        if waiting or mine.stable == seen.rolled_out:
            return replace(mine, maybe=seen.spec_digest, maybe_since=since)
    return Memory(
        seen.uid,
        seen.rolled_out,
        spec=beside.spec,
        digest=beside.digest,
        maybe=seen.spec_digest,
        maybe_since=since,
        void_before=void,
    )


def in_force(history: Sequence[Rollout], seen: Observation, void_before: float) -> list[Rollout]:
    """The rollouts of this very service whose revision names still mean what they meant, oldest first."""
    mine = [past for past in history if past.service_uid == seen.uid]
    stops = [past.progress.finished_at or 0.0 for past in mine if past.progress.reason in _NUMBERED_ANEW]
    since = max([void_before, *stops])
    kept: list[Rollout] = []
    for past in sorted(mine, key=lambda each: each.progress.started_at):
        if past.progress.started_at <= since:
            continue
        if seen.beside is None and kept and is_earlier(past.candidate, kept[-1].candidate):
            kept.clear()
        kept.append(past)
    return [] if is_renumbered(seen, kept) else kept


def is_renumbered(seen: Observation, history: Sequence[Rollout]) -> bool:
    """Whether the newest revision has an older number than the last that is known of this service."""
    mine = [past for past in history if past.service_uid == seen.uid]
    last = max(mine, key=lambda past: past.progress.started_at, default=None)
    return last is not None and seen.beside is None and is_earlier(seen.created, last.candidate)
