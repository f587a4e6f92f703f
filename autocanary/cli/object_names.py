"""The names that commands take, as kubectl does: ``mnist``, ``isvc/mnist``, ``crl/mnist-00002``, ``models/mnist``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import typer

from autocanary.cli import follow
from autocanary.model.rollout import Rollout

__all__ = ["ObjectName", "parse_name", "parse_names"]

_SERVICE = frozenset({"isvc", "inferenceservice", "inferenceservices"})
_ROLLOUT = frozenset({"crl", "canaryrollout", "canaryrollouts"})


@dataclass(frozen=True, slots=True)
class ObjectName:
    """``kind`` is ``service``, ``rollout``, or "" for either; ``namespace`` None is the command's own."""

    name: str
    kind: str = ""
    namespace: str | None = None

    def matching(self, rollouts: Iterable[Rollout]) -> list[Rollout]:
        """The rollouts that it names, the oldest first."""
        found = follow.matching(rollouts, self.name)
        if self.kind == "rollout":
            return [each for each in found if each.name == self.name]
        if self.kind == "service":
            return [each for each in found if each.service == self.name]
        return found


def parse_name(text: str, namespace: str | None) -> ObjectName:
    """The object that an argument names; ``namespace`` is that of ``-n``.

    A prefix that is a kind is one, with or without its group (``isvc/mnist``); any other prefix is a namespace.
    BadParameter for what cannot be a name, and for a namespace that contradicts ``-n``.
    """
    prefix, slash, name = text.strip().rpartition("/")
    if not name or (slash and not prefix):
        raise typer.BadParameter(f"{text!r} is not a name; write mnist, isvc/mnist or models/mnist", param_hint="NAME")
    place: str | None = None
    kind = ""
    parts = prefix.split("/") if prefix else []
    for part in parts:
        short = part.partition(".")[0].lower()
        if short in _SERVICE | _ROLLOUT and not kind:
            kind = "service" if short in _SERVICE else "rollout"
        elif place is None:
            place = part
        else:
            raise typer.BadParameter(f"{text!r} has too many parts; write models/isvc/mnist", param_hint="NAME")
    if place is not None and namespace is not None and place != namespace:
        raise typer.BadParameter(f"{text!r} is in namespace {place}, and -n says {namespace}", param_hint="NAME")
    return ObjectName(name, kind, place)


def parse_names(texts: Sequence[str], namespace: str | None) -> list[ObjectName]:
    """Each once, in the given order; kubectl's ``isvc mnist iris`` names a kind first, which is understood, too."""
    texts = list(texts)
    kind = ""
    if len(texts) > 1 and texts[0].partition(".")[0].lower() in _SERVICE | _ROLLOUT:
        kind = "service" if texts[0].partition(".")[0].lower() in _SERVICE else "rollout"
        texts = texts[1:]
    names = []
    for each in texts:
        found = parse_name(each, namespace)
        names.append(ObjectName(found.name, found.kind or kind, found.namespace))
    return list(dict.fromkeys(names))
