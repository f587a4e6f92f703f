"""Orders of components (``after``) that cannot be kept: policies that wait for each other, or for nobody.

::

    the predictor's policy: after transformer  ──►  the transformer's: after explainer
                         ▲                                      │
                         └── the explainer's: after predictor ◄─┘      none of them can go first

Policies meet only at a service that each of them governs. Rings are looked for at services whose names and
namespaces are those in the selectors, with their wildcards filled in; ``select`` says who governs there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from autocanary.decide.policy_selection import select
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Component, Policy
from autocanary.policy_files.policy_errors import Fault, Path

__all__ = ["waiting"]

Ring = tuple[Policy, ...]
_PATH: Path = ("spec", "after")
_PLACE = {component: at for at, component in enumerate(Component)}
_ANY = "any-other"
"""A word that a wildcard may stand for, and that nobody's exact name is."""


def waiting(reaches: Sequence[Policy | None]) -> Mapping[int, Sequence[Fault]]:
    """The faults of each document, by its index; every policy of a ring has one."""
    known = tuple(each for each in reaches if each is not None)
    rings: dict[int, Fault] = {}
    for members in _rings(known):
        for at, policy in enumerate(members):
            rings.setdefault(id(policy), _circular((*members[at:], *members[:at])))
    staged = {each.component for each in known}
    faults: dict[int, Sequence[Fault]] = {}
    for at, each in enumerate(reaches):
        if each is not None:
            ring = [rings[id(each)]] if id(each) in rings else []
            faults[at] = [*ring, *(_pointless(each, one) for one in each.after if one not in staged)]
    return faults


def _rings(known: Ring) -> Iterator[Ring]:
    """Each once, beginning with its first component."""

    def grown(ring: Ring) -> Iterator[Ring]:
        if len(ring) > 1 and ring[0].component in ring[-1].after:
            yield ring
        before = {each.component for each in ring}
        for each in known:
            is_next = each.component in ring[-1].after and each.component not in before
            if is_next and _PLACE[each.component] > _PLACE[ring[0].component] and _meet((*ring, each), known):
                yield from grown((*ring, each))

    for policy in known:
        yield from grown((policy,))


def _meet(ring: Ring, known: Ring) -> bool:
    """Whether some service is governed by all of them."""
    labels = dict(label for each in ring for label in each.selector.labels)
    names = _words([each.selector.names for each in ring])
    spaces = _words([(each.namespace,) if each.namespace else each.selector.namespaces for each in ring])
    return any(
        all(select(known, ServiceKey(space, name, each.component), labels) is each for each in ring)
        for space, name in product(spaces, names)
    )


def _words(selected: Iterable[Sequence[str]]) -> list[str]:
    """What the patterns of all match, of the words that those of each are examples of."""
    patterns = [each or ("*",) for each in selected]
    words = dict.fromkeys(word.replace("*", _ANY).replace("?", "x") for each in patterns for word in each)
    return [
        word
        for word in words
        if all(any(fnmatchcase(word, pattern) for pattern in each) for each in patterns)
    ]


def _circular(ring: Ring) -> Fault:
    """As it is told to the first of them."""
    first, *others = ring
    steps = [f"the {first.component.value} waits for the {others[0].component.value}"]
    for each, following in zip(others, [*others[1:], first], strict=True):
        steps.append(f"which waits for the {following.component.value} by {each.name} ({each.origin})")
    message = f"{', '.join(steps)}: none of them can go first"
    if _is_certain(ring):
        return Fault(_PATH, message, "leave after out of one of them")
    message = f"where a service has the labels of all of them, {message}"
    return Fault(_PATH, message, "leave after out of one of them if there is one", severity="warning")


def _is_certain(ring: Ring) -> bool:
    """Whether one of them has the labels of all; else no service need have them."""
    labels = {label for each in ring for label in each.selector.labels}
    return any(labels == set(each.selector.labels) for each in ring)


def _pointless(policy: Policy, component: Component) -> Fault:
    message = (
        f"none of these policies rolls out the {component.value}, so there is nothing that the "
        f"{policy.component.value} could wait for"
    )
    return Fault(_PATH, message, "check both policies together", severity="warning")
