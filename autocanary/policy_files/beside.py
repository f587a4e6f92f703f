"""What is wrong with a policy beside those before it: the same name, or the same services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autocanary.decide.policy_selection import overlaps
from autocanary.model.policy import Policy
from autocanary.policy_files.loader import Loaded
from autocanary.policy_files.policy_errors import Fault
from autocanary.policy_files.raw_document import mapping
from autocanary.policy_files.spots import Path
from autocanary.policy_files.validate_document import identity

__all__ = ["beside"]


def beside(at: int, documents: Sequence[Loaded], reaches: Sequence[Policy | None]) -> Iterator[Fault]:
    """Of the document at this index; each error once, with the first of the others."""
    told: set[Path] = set()
    mine, reach = documents[at], reaches[at]
    for earlier, theirs in zip(documents[:at], reaches, strict=False):
        for fault in _same_name(earlier, mine) or _same_services(theirs, reach, mine):
            if fault.severity != "error" or fault.path not in told:
                yield fault
            if fault.severity == "error":
                told.add(fault.path)


def _same_name(earlier: Loaded, later: Loaded) -> list[Fault]:
    mine = identity(later.draft.value)
    if not mine[1] or mine != identity(earlier.draft.value):
        return []
    message = f"the name {mine[1]} is already used at {earlier.place}, and only that policy is in force"
    return [Fault(("metadata", "name"), message, "give each policy a name of its own")]


def _same_services(earlier: Policy | None, later: Policy | None, written: Loaded) -> list[Fault]:
    if earlier is None or later is None or not overlaps(earlier, later):
        return []
    has_selector = "selector" in (mapping(written.draft.value, "spec") or {})
    path: Path = ("spec", "selector") if has_selector else ("spec",)
    both = f"{later.name} ({later.origin}) and {earlier.name} ({earlier.origin})"
    if _always(earlier, later):
        message = f"{both} select the same services equally specifically, so neither would be applied to them"
        hint = "make one selector more specific, for example by naming the service"
        return [Fault(path, message, hint, at_key=True)]
    message = f"{both} may select one service equally specifically; neither would be applied to it"
    hint = "make one selector more specific if such a service exists"
    return [Fault(path, message, hint, at_key=True, severity="warning")]


def _always(one: Policy, other: Policy) -> bool:
    """Whether whatever one of them selects by some pattern, the other selects by the same."""

    def shared(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
        return bool(set(ours) & set(theirs)) or not (ours or theirs)

    return (
        shared(one.selector.names, other.selector.names)
        and one.selector.labels == other.selector.labels
        and (bool(one.namespace) or shared(one.selector.namespaces, other.selector.namespaces))
    )
