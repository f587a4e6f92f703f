"""What is being released at the other components of a rollout's service, from the books and the cluster."""

from __future__ import annotations

from autocanary.controller.context import Surroundings
from autocanary.controller.running_rollout import Live
from autocanary.controller.state import Books
from autocanary.decide.components import Companion, companion_of, matters
from autocanary.decide.detection import in_force
from autocanary.decide.policy_selection import select
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Component, OnUnstaged, Policy
from autocanary.model.rollout import Rollout

__all__ = ["companions"]


def companions(around: Surroundings, books: Books, live: Live, now: float) -> tuple[Companion, ...]:
    """The other components in which something happens; none where they share one weight anyway."""
    rollout = live.rollout
    if not matters(rollout, now):
        return ()
    own = around.cluster.observe(live.key)
    if own is None or own.beside is not None:
        return ()
    found = (
        _companion(around, books, rollout, live.key._replace(component=component))
        for component in Component
        if component is not rollout.component
    )
    return tuple(each for each in found if each is not None)


def _companion(around: Surroundings, books: Books, rollout: Rollout, key: ServiceKey) -> Companion | None:
    seen = around.cluster.observe(key)
    if seen is None or seen.uid != rollout.service_uid:
        return None
    memory = books.memory.get(key)
    mine = memory is not None and memory.uid == seen.uid
    history = in_force(books.history(key), seen, memory.void_before if mine and memory is not None else 0.0)
    known = mine and memory is not None and memory.stable == seen.rolled_out
    policy = select(around.policies.current(), key, seen.labels)
    return companion_of(
        rollout,
        seen,
        history,
        memory.digest if known and memory is not None else "",
        governed=isinstance(policy, Policy) and _stages(policy, seen),
        follows=rollout.component in _after(books, key, policy if isinstance(policy, Policy) else None),
    )


def _stages(policy: Policy, seen: Observation) -> bool:
    unstaged = seen.weight is None or seen.weight >= 100
    return policy.on_unstaged is OnUnstaged.CATCH or not unstaged


def _after(books: Books, key: ServiceKey, selected: Policy | None) -> tuple[Component, ...]:
    """For which components that one waits: a rollout that runs keeps its own policy."""
    active = books.active.get(key)
    live = books.lives.get(active) if active is not None else None
    policy = live.policy if live is not None and live.policy is not None else selected
    return policy.after if policy is not None else ()
