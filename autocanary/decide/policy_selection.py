"""Which policy governs a service: the most specific of those that match it.

A policy matches when its component is the rollout's, its namespace is the service's (or it has none),
and every part of its selector that is given matches. Of several, the most specific wins::

    1. an exact name  >  a name with wildcards  >  no name
    2. more labels    >  fewer labels           >  no label
    3. a policy that lives in the namespace  >  an exact namespace in the selector
                                             >  a namespace with wildcards  >  any namespace

compared in this order. Two policies that are equal in all three are a tie: neither is applied, because
guessing which one was meant could roll a model out by the wrong rules. For the same reason neither applies
of two that govern components which share one weight (KFServing's v1alpha2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Component, Policy

__all__ = ["PolicyIndex", "Tie", "is_glob", "select_policy", "select_policy_for", "selectors_overlap"]

Rank = tuple[int, int, int]
_EXACT, _GLOB, _NONE = 2, 1, 0
_OWN_NAMESPACE = 3
_NAMED = 4


@dataclass(frozen=True, slots=True)
class Tie:
    """Several policies match a service equally well, or components that share a weight, so none applies."""

    policies: tuple[Policy, ...]
    shares_weight: bool = False

    def __str__(self) -> str:
        names = " and ".join(f"{each.name} ({each.origin})" for each in self.policies[:_NAMED])
        if len(self.policies) > _NAMED:
            names += f" and {len(self.policies) - _NAMED} more"
        if self.shares_weight:
            return (
                f"the policies {names} select components of this service that share one weight: "
                "let only one of them select it"
            )
        return (
            f"the policies {names} select this service equally specifically: "
            "make one selector more specific, for example by naming the service"
        )


class PolicyIndex:
    """A set of policies prepared for many look-ups; each costs little even for many policies.

    Policies that name their services or their namespaces exactly are found by those names; only the others
    are tried in turn.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._by_name: dict[tuple[Component, str], list[_CompiledPolicy]] = {}
        self._by_namespace: dict[tuple[Component, str], list[_CompiledPolicy]] = {}
        self._wildcards: dict[Component, list[_CompiledPolicy]] = {}
        for policy in policies:
            candidate = _CompiledPolicy(policy)
            for name in candidate.exact_names:
                self._by_name.setdefault((policy.component, name), []).append(candidate)
            if candidate.name_glob is None and policy.selector.names:
                continue
            for namespace in candidate.only_in:
                self._by_namespace.setdefault((policy.component, namespace), []).append(candidate)
            if not candidate.only_in:
                self._wildcards.setdefault(policy.component, []).append(candidate)

    def select(self, key: ServiceKey, labels: Mapping[str, str]) -> Policy | Tie | None:
        """The policy that governs the service; None when none does."""
        # An exact name outranks everything else, so the others are only tried when no such policy matches.
        named = self._by_name.get((key.component, key.name), ())
        if named and (found := _best(named, key, labels)):
            return found
        placed = self._by_namespace.get((key.component, key.namespace), ())
        others = self._wildcards.get(key.component, ())
        return _best((*placed, *others), key, labels)


_latest: tuple[tuple[Policy, ...], PolicyIndex] | None = None


def select_policy(policies: Sequence[Policy], key: ServiceKey, labels: Mapping[str, str]) -> Policy | Tie | None:
    """The policy that governs the service, a Tie, or None.

    The preparation for a *tuple* of policies is kept until another one is asked about, so that asking for
    each of thousands of services in turn is cheap.
    """
    global _latest
    if not isinstance(policies, tuple):
        return PolicyIndex(policies).select(key, labels)
    kept = _latest
    if kept is None or kept[0] is not policies:
        kept = _latest = (policies, PolicyIndex(policies))
    return kept[1].select(key, labels)


def select_policy_for(policies: Sequence[Policy], seen: Observation) -> Policy | Tie | None:
    """``select_policy`` for a service that is seen: where its components share one weight, one policy decides."""
    found = select_policy(policies, seen.key, seen.labels)
    if seen.default_endpoint is None or not isinstance(found, Policy):
        return found
    keys = (
        seen.key._replace(component=each) for each in seen.default_endpoint.components if each is not found.component
    )
    others = [other for key in keys if isinstance(other := select_policy(policies, key, seen.labels), Policy)]
    return Tie((found, *others), shares_weight=True) if others else found


def is_glob(pattern: str) -> bool:
    return any(letter in pattern for letter in "*?[")


class _CompiledPolicy:
    """A policy with its selector compiled."""

    __slots__ = ("exact_names", "labels", "name_glob", "namespace_glob", "namespaces", "only_in", "policy")

    def __init__(self, policy: Policy) -> None:
        selector = policy.selector
        self.policy = policy
        self.exact_names = frozenset(name for name in selector.names if not is_glob(name))
        self.name_glob = _any_of(name for name in selector.names if is_glob(name))
        self.namespaces = frozenset(name for name in selector.namespaces if not is_glob(name))
        self.namespace_glob = _any_of(name for name in selector.namespaces if is_glob(name))
        self.labels = selector.labels
        self.only_in = frozenset((policy.namespace,)) if policy.namespace else self.namespaces
        if self.namespace_glob is not None:
            self.only_in = frozenset()

    def rank(self, key: ServiceKey, labels: Mapping[str, str]) -> Rank | None:
        """How specifically the policy matches; None when it does not."""
        if self.policy.namespace and self.policy.namespace != key.namespace:
            return None
        for label, value in self.labels:
            if labels.get(label) != value:
                return None
        space = self._namespace_rank(key.namespace)
        if space is None:
            return None
        name = self._name_rank(key.name)
        return None if name is None else (name, len(self.labels), space)

    def _name_rank(self, name: str) -> int | None:
        if name in self.exact_names:
            return _EXACT
        if self.name_glob is not None:
            return _GLOB if self.name_glob.match(name) else None
        return None if self.exact_names else _NONE

    def _namespace_rank(self, namespace: str) -> int | None:
        if namespace in self.namespaces:
            matched: int | None = _EXACT
        elif self.namespace_glob is not None and self.namespace_glob.match(namespace):
            matched = _GLOB
        else:
            matched = None if self.namespaces or self.namespace_glob is not None else _NONE
        return matched if matched is None or not self.policy.namespace else _OWN_NAMESPACE


def _any_of(globs: Iterable[str]) -> re.Pattern[str] | None:
    found = tuple(globs)
    return _compiled(found) if found else None


@lru_cache(maxsize=4096)
def _compiled(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Kept, because all policies are prepared again whenever one of them changes."""
    return re.compile("|".join(translate(each) for each in globs))


def _best(candidates: Sequence[_CompiledPolicy], key: ServiceKey, labels: Mapping[str, str]) -> Policy | Tie | None:
    best: Rank | None = None
    winners: list[Policy] = []
    for candidate in candidates:
        rank = candidate.rank(key, labels)
        if rank is None or (best is not None and rank < best):
            continue
        if rank == best:
            winners.append(candidate.policy)
        else:
            best, winners = rank, [candidate.policy]
    if len(winners) > 1:
        return Tie(tuple(winners))
    return winners[0] if winners else None


def selectors_overlap(one: Policy, other: Policy) -> bool:
    """Whether some service could match both equally specifically (what ``validate`` warns about).

    Labels of different keys count as overlapping: a service may carry both.
    """
    if one.component is not other.component or len(one.selector.labels) != len(other.selector.labels):
        return False
    theirs = dict(other.selector.labels)
    if any(theirs.get(label, value) != value for label, value in one.selector.labels):
        return False
    return _share_a_match(one.selector.names, other.selector.names) and _share_namespaces(one, other)


def _share_namespaces(one: Policy, other: Policy) -> bool:
    if one.namespace or other.namespace:
        # A policy at home outranks one that comes from outside, so only two at home can be equal.
        return one.namespace == other.namespace
    return _share_a_match(one.selector.namespaces, other.selector.namespaces)


def _share_a_match(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether a word exists that both lists match with patterns of the same kind."""
    if not ours or not theirs:
        return not ours and not theirs
    return any(is_glob(a) == is_glob(b) and _intersect(a, b) for a in ours for b in theirs)


def _intersect(a: str, b: str) -> bool:
    """Whether some word matches both globs; ``[...]`` is taken as any one letter."""
    a, b = (re.sub(r"\[[^\]]*\]", "?", each) for each in (a, b))
    reach = {(0, 0)}
    seen: set[tuple[int, int]] = set()
    while reach:
        i, j = reach.pop()
        if (i, j) in seen:
            continue
        seen.add((i, j))
        if i == len(a) and j == len(b):
            return True
        x, y = a[i : i + 1], b[j : j + 1]
        if x == "*":
            reach.add((i + 1, j))
            if y:
                reach.add((i, j + 1))
        if y == "*":
            reach.add((i, j + 1))
            if x:
                reach.add((i + 1, j))
        if x and y and x != "*" and y != "*" and (x == y or "?" in (x, y)):
            reach.add((i + 1, j + 1))
    return False
