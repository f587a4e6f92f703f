"""The versioned JSON form of a rollout's progress, kept in ``CanaryRollout.status.progress``.

It is one flat document whatever values the progress is made of, so that a record of before is read and written
the same: ``_FORM`` says the name, the place and the kind of each field, in the order of the document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple

from autocanary.model.frozen_copy import replace
from autocanary.model.progress import (
    AnalysisState,
    HoldState,
    MetricState,
    Notification,
    Outbox,
    Phase,
    Progress,
    RollbackState,
    StepState,
    UserRequests,
)
from autocanary.model.reason import Reason

__all__ = [
    "FIELD_PLACES",
    "VERSION",
    "UnknownVersionError",
    "progress_from_json",
    "progress_to_json",
    "with_stored_fields",
]

VERSION = 1
"""Raised when a stored field changes its meaning; a reader refuses versions it does not know."""


class UnknownVersionError(ValueError):
    """The stored progress was written by a newer autocanary."""


class _Kind(NamedTuple):
    """The types a field may have in JSON, and for a list those of its members."""

    types: tuple[type, ...]
    members: tuple[type, ...] = ()


_INSTANT = _Kind((int, float))
_OPTIONAL_INSTANT = _Kind((int, float, type(None)))
_WHOLE = _Kind((int,))
_OPTIONAL_WHOLE = _Kind((int, type(None)))
_FLAG = _Kind((bool,))
_TEXT = _Kind((str,))
_MAPPING = _Kind((Mapping,))
_TEXTS = _Kind((list, tuple), (str,))
_MAPPINGS = _Kind((list, tuple), (Mapping,))

_FORM: Mapping[str, tuple[str, _Kind]] = {
    "phase": ("phase", _TEXT),
    "reason": ("reason", _TEXT),
    "message": ("message", _TEXT),
    "started_at": ("started_at", _INSTANT),
    "phase_since": ("phase_since", _INSTANT),
    "step": ("step.index", _WHOLE),
    "weight": ("step.weight", _OPTIONAL_WHOLE),
    "from_weight": ("step.from_weight", _OPTIONAL_WHOLE),
    "step_started_at": ("step.started_at", _OPTIONAL_INSTANT),
    "verified_at": ("step.verified_at", _OPTIONAL_INSTANT),
    "metrics": ("analysis.metrics", _MAPPING),
    "no_data_since": ("analysis.no_data_since", _OPTIONAL_INSTANT),
    "outage_since": ("analysis.outage_since", _OPTIONAL_INSTANT),
    "held_since": ("hold.since", _OPTIONAL_INSTANT),
    "hold_notified_at": ("hold.notified_at", _OPTIONAL_INSTANT),
    "last_evaluation_at": ("analysis.last_evaluation_at", _OPTIONAL_INSTANT),
    "promote_all": ("requests.promote_all", _FLAG),
    "paused_by": ("hold.paused_by", _TEXT),
    "answered_request_id": ("requests.answered_id", _TEXT),
    "request_answer": ("requests.answer", _TEXT),
    "webhooks_passed": ("webhooks_passed", _TEXTS),
    "decisions": ("decisions", _MAPPINGS),
    "pending_notifications": ("outbox.pending", _MAPPINGS),
    "delivered_notifications": ("outbox.delivered", _TEXTS),
    "observed_weight": ("step.observed_weight", _OPTIONAL_WHOLE),
    "finished_at": ("finished_at", _OPTIONAL_INSTANT),
    "repairing": ("rollback.repairing", _FLAG),
    "escalated_at": ("rollback.escalated_at", _OPTIONAL_INSTANT),
    "warnings_sent": ("outbox.warnings_sent", _TEXTS),
    "spec_changed_at": ("spec_changed_at", _OPTIONAL_INSTANT),
    "restored": ("rollback.restored", _FLAG),
    "channel_message_ids": ("outbox.channel_message_ids", _MAPPING),
    "evidence": ("analysis.evidence", _MAPPING),
    "inconclusive_since": ("analysis.inconclusive_since", _OPTIONAL_INSTANT),
    "drifted_since": ("step.drifted_since", _OPTIONAL_INSTANT),
    "renumbered_revision": ("rollback.renumbered_revision", _TEXT),
    "analysis_step": ("analysis.from_step", _WHOLE),
    "failed_requests": ("analysis.failed_requests", _MAPPING),
    "series": ("series", _MAPPING),
    "rollback_written_at": ("rollback.written_at", _OPTIONAL_INSTANT),
    "weight_unshown": ("rollback.weight_unshown", _FLAG),
    "stable_is_bad": ("rollback.stable_is_bad", _FLAG),
    "released_by": ("released_by", _TEXT),
}
_GROUPS: Mapping[str, type[Any]] = {
    "step": StepState,
    "analysis": AnalysisState,
    "hold": HoldState,
    "rollback": RollbackState,
    "outbox": Outbox,
    "requests": UserRequests,
}


def _default(place: str) -> Any:
    """What is left out of the document; MISSING for a field that always stands there."""
    group, _, attribute = place.rpartition(".")
    return next(each.default for each in fields(_GROUPS.get(group, Progress)) if each.name == attribute)


FIELD_PLACES: Mapping[str, str] = {name: place for name, (place, _) in _FORM.items()}
"""Where each stored field is in a progress: ``step_started_at`` is ``step.started_at``."""

_NAMES_AND_DEFAULTS = tuple((name, _default(place)) for name, (place, _) in _FORM.items())
_values = attrgetter(*FIELD_PLACES.values())


def progress_to_json(progress: Progress) -> dict[str, Any]:
    """JSON-safe; ``progress_from_json`` of it is equal to this value."""
    raw = {
        name: _plain(value)
        for (name, default), value in zip(_NAMES_AND_DEFAULTS, _values(progress), strict=True)
        if default is MISSING or value != default
    }
    raw["version"] = VERSION
    return raw


def progress_from_json(raw: Mapping[str, Any]) -> Progress:
    """Raises UnknownVersionError, and KeyError or ValueError for a document that is not a progress."""
    version = raw["version"]
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError(f"progress.version cannot be {version!r}")
    if version > VERSION:
        raise UnknownVersionError(
            f"this rollout was recorded in format {version}, and this autocanary reads up to {VERSION}"
        )
    _check(raw)
    values = {name: tuple(raw[name]) if kind.members else raw[name] for name, (_, kind) in _FORM.items() if name in raw}
    values["phase"] = Phase(raw["phase"])
    values["reason"] = Reason(raw["reason"])
    values["metrics"] = {name: MetricState.from_dict(each) for name, each in raw.get("metrics", {}).items()}
    values["pending_notifications"] = tuple(
        Notification.from_dict(each) for each in raw.get("pending_notifications", ())
    )
    own, of_group = _by_place(values)
    return Progress(**own, **{group: _GROUPS[group](**members) for group, members in of_group.items()})


def with_stored_fields(progress: Progress, values: Mapping[str, Any]) -> Progress:
    """``progress`` with fields replaced that are named as in the document; KeyError for another name."""
    own, of_group = _by_place(values)
    groups = {group: replace(getattr(progress, group), **members) for group, members in of_group.items()}
    return replace(progress, **own, **groups)


def _by_place(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The progress' own fields among these, and those of its parts by part."""
    own: dict[str, Any] = {}
    of_group: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, attribute = FIELD_PLACES[name].rpartition(".")
        (of_group.setdefault(group, {}) if group else own)[attribute] = value
    return own, of_group


def _check(raw: Mapping[str, Any]) -> None:
    """A status that a client has edited is refused here, with the field's name, and not in a rule."""
    for name, value in raw.items():
        if name not in _FORM:
            continue
        types, members = _FORM[name][1]
        wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"progress.{name} cannot be {value!r}")
        if members and not all(isinstance(each, members) for each in value):
            raise ValueError(f"progress.{name} has a member of another kind: {value!r}")
    for name, state in raw.get("metrics", {}).items():
        if not isinstance(state, Mapping):
            raise ValueError(f"progress.metrics.{name} cannot be {state!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, MetricState | Notification):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
