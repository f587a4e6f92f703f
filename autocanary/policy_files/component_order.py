"""Orders of components (``after``) that cannot be kept: policies that wait for each other, or for no policy.

::

    the predictor's policy: after transformer  ──►  the transformer's: after explainer
                         ▲                                      │
                         └── the explainer's: after predictor ◄─┘      none of them can go first

Policies meet only at a service that each of them governs. Circles are searched for at services whose names and
namespaces are those in the selectors, with their wildcards filled in; ``select_policy`` says who governs
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from autocanary.decide.policy_selection import select_policy
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Component, Policy
from autocanary.policy_files.policy_errors import FieldPath, FieldProblem

__all__ = ["check_component_order"]

Cycle = tuple[Policy, ...]
_PATH: FieldPath = ("spec", "after")
_COMPONENT_INDEX = {component: at for at, component in enumerate(Component)}
_ANY = "any-other"
"""A word that a wildcard may match, and that is no exact name."""


def check_component_order(selector_policies: Sequence[Policy | None]) -> Mapping[int, Sequence[FieldProblem]]:
    """The problems of each document, by its index; every policy of a circle has one."""
    known = tuple(each for each in selector_policies if each is not None)
    cycles: dict[int, FieldProblem] = {}
    for members in _cycles(known):
        for at, policy in enumerate(members):
            cycles.setdefault(id(policy), _cycle_problem((*members[at:], *members[:at])))
    rolled_out = {each.component for each in known}
    field_problems: dict[int, Sequence[FieldProblem]] = {}
    for at, each in enumerate(selector_policies):
        if each is not None:
            cycle = [cycles[id(each)]] if id(each) in cycles else []
            field_problems[at] = [
                *cycle,
                *(_missing_component_problem(each, one) for one in each.after if one not in rolled_out),
            ]
    return field_problems


def _cycles(known: Cycle) -> Iterator[Cycle]:
    """Each once, beginning with its first component."""

    def extend(cycle: Cycle) -> Iterator[Cycle]:
        if len(cycle) > 1 and cycle[0].component in cycle[-1].after:
            yield cycle
        before = {each.component for each in cycle}
        for each in known:
            is_next = each.component in cycle[-1].after and each.component not in before
            if (
                is_next
                and _COMPONENT_INDEX[each.component] > _COMPONENT_INDEX[cycle[0].component]
                and _share_service((*cycle, each), known)
            ):
                yield from extend((*cycle, each))

    for policy in known:
        yield from extend((policy,))


def _share_service(cycle: Cycle, known: Cycle) -> bool:
    """Whether some service is governed by all of them."""
    labels = dict(label for each in cycle for label in each.selector.labels)
    names = _example_names([each.selector.names for each in cycle])
    spaces = _example_names([(each.namespace,) if each.namespace else each.selector.namespaces for each in cycle])
    return any(
        all(select_policy(known, ServiceKey(space, name, each.component), labels) is each for each in cycle)
        for space, name in product(spaces, names)
    )


def _example_names(selected: Iterable[Sequence[str]]) -> list[str]:
    """What the patterns of all match, of the words that those of each are examples of."""
    patterns = [each or ("*",) for each in selected]
    words = dict.fromkeys(word.replace("*", _ANY).replace("?", "x") for each in patterns for word in each)
    return [word for word in words if all(any(fnmatchcase(word, pattern) for pattern in each) for each in patterns)]


def _cycle_problem(cycle: Cycle) -> FieldProblem:
    """The problem of the first of them."""
    first, *others = cycle
    steps = [f"the {first.component.value} waits for the {others[0].component.value}"]
    for each, following in zip(others, [*others[1:], first], strict=True):
        steps.append(f"which waits for the {following.component.value} by {each.name} ({each.origin})")
    message = f"{', '.join(steps)}: none of them can go first"
    if _is_certain(cycle):
        return FieldProblem(_PATH, message, "leave after out of one of them")
    message = f"where a service has the labels of all of them, {message}"
    return FieldProblem(_PATH, message, "leave after out of one of them if there is one", severity="warning")


def _is_certain(cycle: Cycle) -> bool:
    """Whether one of them has the labels of all; else no service need have them."""
    labels = {label for each in cycle for label in each.selector.labels}
    return any(labels == set(each.selector.labels) for each in cycle)


def _missing_component_problem(policy: Policy, component: Component) -> FieldProblem:
    message = (
        f"none of these policies rolls out the {component.value}, so there is nothing that the "
        f"{policy.component.value} could wait for"
    )
    return FieldProblem(_PATH, message, "check both policies together", severity="warning")
