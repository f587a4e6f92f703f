"""Which policy governs which service: ties, invalid policies, services without a policy, and the next windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autocanary.decide.policy_selection import Tie, select_policy_for
from autocanary.model.foreign_text import clean_text
from autocanary.model.observation import Observation, unsupported_mode_reason
from autocanary.model.policy import Policy
from autocanary.model.rollout_windows import is_open, next_opening

__all__ = ["Governance", "GovernedService", "PolicyRow", "govern_services"]


@dataclass(frozen=True, slots=True)
class GovernedService:
    """A component of a service. ``policy`` is the one that governs it, "" when none does; ``problem`` says why not,
    or why the service cannot be rolled out. ``tied`` are the policies that match equally well."""

    namespace: str
    service: str
    component: str
    policy: str
    policy_namespace: str
    origin: str
    tied: tuple[str, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy. ``valid`` False: its newest version is not, and ``in_force`` says whether an earlier one governs.

    ``services`` is how many components it governs now. ``window_open`` is None without windows; ``next_window`` is
    the next opening of a closed one in epoch seconds, None within a week or while it is open.
    """

    namespace: str
    name: str
    component: str
    origin: str
    valid: bool
    in_force: bool
    problems: tuple[str, ...]
    services: int
    steps: str
    window_open: bool | None
    next_window: float | None


@dataclass(frozen=True, slots=True)
class Governance:
    """``services`` by namespace and name; ``policies`` likewise, those without services included."""

    services: tuple[GovernedService, ...]
    policies: tuple[PolicyRow, ...]


def govern_services(
    observations: Sequence[Observation],
    policies: Sequence[Policy],
    problems: Mapping[str, Sequence[str]],
    now: float,
) -> Governance:
    """``policies`` are those in force, from files and custom resources. ``problems`` are in words, by a policy's id
    (``namespace/name``, or ``name`` of a policy without a namespace, or a file that cannot be read)."""
    in_force = tuple(policies)
    services = []
    counts: dict[tuple[str, str], int] = {}
    for seen in sorted(observations, key=lambda each: each.key):
        found = select_policy_for(in_force, seen)
        policy = found if isinstance(found, Policy) else None
        tied = tuple(f"{each.name}" for each in found.policies) if isinstance(found, Tie) else ()
        problem = str(found) if isinstance(found, Tie) else ""
        if policy is not None:
            counts[policy.namespace, policy.name] = counts.get((policy.namespace, policy.name), 0) + 1
            problem = unsupported_mode_reason(seen)
        elif not tied:
            problem = "no policy selects it: autocanary does not touch it"
        services.append(
            GovernedService(
                namespace=seen.key.namespace,
                service=seen.key.name,
                component=seen.key.component.value,
                policy=policy.name if policy is not None else "",
                policy_namespace=policy.namespace if policy is not None else "",
                origin=policy.origin if policy is not None else "",
                tied=tied,
                problem=clean_text(problem, 400),
            )
        )
    return Governance(tuple(services), tuple(_policy_rows(in_force, problems, counts, now)))


def _policy_rows(
    policies: Sequence[Policy],
    problems: Mapping[str, Sequence[str]],
    counts: Mapping[tuple[str, str], int],
    now: float,
) -> list[PolicyRow]:
    rows = []
    for each in policies:
        said = problems.get(_policy_id(each.namespace, each.name), ())
        open_now = is_open(each.windows, now) if each.windows else None
        rows.append(
            PolicyRow(
                namespace=each.namespace,
                name=each.name,
                component=each.component.value,
                origin=each.origin,
                valid=not said,
                in_force=True,
                problems=tuple(said),
                services=counts.get((each.namespace, each.name), 0),
                steps=" → ".join(f"{step.weight}" for step in each.steps),
                window_open=open_now,
                next_window=next_opening(each.windows, now) if open_now is False else None,
            )
        )
    active = {_policy_id(each.namespace, each.name) for each in policies}
    for policy_id, said in problems.items():
        if policy_id not in active:
            namespace, _, name = policy_id.partition("/") if policy_id.count("/") == 1 else ("", "", policy_id)
            rows.append(PolicyRow(namespace, name, "", "", False, False, tuple(said), 0, "", None, None))
    return sorted(rows, key=lambda row: (row.namespace, row.name, row.origin))


def _policy_id(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
