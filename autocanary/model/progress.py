"""How far a rollout has come: everything that must survive a restart, as one immutable value.

``to_dict``/``from_dict`` are the versioned JSON form kept in ``CanaryRollout.status.progress``; resuming
from it equals never having stopped. Times are seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.measurement import Measurement
from autocanary.model.reason import Reason

__all__ = [
    "FINAL",
    "VERSION",
    "MetricState",
    "Notification",
    "Phase",
    "Progress",
    "UnknownVersionError",
    "failed_requests_of",
]

VERSION = 1
"""Raised when a stored field changes its meaning; a reader refuses versions it does not know."""


class Phase(str, Enum):
    """The state of a rollout; docs/concepts.md draws the state diagram."""

    STAGING = "Staging"
    PROGRESSING = "Progressing"
    HOLDING = "Holding"
    PAUSED = "Paused"
    BAKING = "Baking"
    FINALIZING = "Finalizing"
    ROLLING_BACK = "RollingBack"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABANDONED = "Abandoned"
    MISSED = "Missed"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.ABANDONED, Phase.MISSED})


class UnknownVersionError(ValueError):
    """The stored progress was written by a newer autocanary."""


@dataclass(frozen=True, slots=True)
class MetricState:
    """What one metric has said in the present step.

    ``violations`` counts towards the failure limit; ``passes`` counts evaluations in range; ``last`` is the newest
    reading and ``ok`` what it meant: True in range, False out of range, None no answer to that.
    ``violations_in_row`` and ``passes_in_row`` are those since the last evaluation of the other kind.
    ``comparison_summary`` is how it compares with stable's, where the policy asks for that.
    """

    violations: int = 0
    passes: int = 0
    ok: bool | None = None
    last: Measurement | None = None
    comparison_summary: ComparisonSummary | None = None
    violations_in_row: int = 0
    passes_in_row: int = 0

    def to_dict(self) -> dict[str, Any]:
        raw: dict[str, Any] = {"violations": self.violations, "passes": self.passes}
        if self.violations_in_row:
            raw["violations_in_row"] = self.violations_in_row
        if self.passes_in_row:
            raw["passes_in_row"] = self.passes_in_row
        if self.ok is not None:
            raw["ok"] = self.ok
        if self.last is not None:
            raw["last"] = self.last.to_dict()
        if self.comparison_summary is not None:
            raw["comparison_summary"] = self.comparison_summary.to_dict()
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> MetricState:
        last, comparison_summary = raw.get("last"), raw.get("comparison_summary")
        return cls(
            violations=raw.get("violations", 0),
            passes=raw.get("passes", 0),
            ok=raw.get("ok"),
            last=Measurement.from_dict(last) if last else None,
            comparison_summary=ComparisonSummary.from_dict(comparison_summary) if comparison_summary else None,
            violations_in_row=raw.get("violations_in_row", 0),
            passes_in_row=raw.get("passes_in_row", 0),
        )


@dataclass(frozen=True, slots=True)
class Notification:
    """One transition to notify once: the outbox entry, until every channel has it.

    ``id`` is the same after a restart, so a receiver can drop a repetition. ``event`` is the audit event's
    name (``step_taken``); ``delivered_channels`` names the channels that have it.
    """

    id: str
    event: str
    at: float
    phase: str
    step: int
    weight: int
    reason: str
    message: str
    delivered_channels: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "event": self.event,
            "at": self.at,
            "phase": self.phase,
            "step": self.step,
            "weight": self.weight,
            "reason": self.reason,
            "message": self.message,
            "delivered_channels": list(self.delivered_channels),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Notification:
        return cls(
            **{
                **{f.name: raw[f.name] for f in fields(cls) if f.name != "delivered_channels"},
                "delivered_channels": tuple(raw["delivered_channels"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of one rollout.

    ``step`` is the index into the policy's steps, -1 before the first. ``weight`` is the weight this
    rollout last asked for and ``from_weight`` the one in the field before that, so that a crash between
    recording and writing differs from another client's change; None where the field was absent.
    ``verified_at`` is when the weight was seen in effect, None until then: a step's clock starts there.
    ``paused_by`` is "user", or what caused a pause that no user requested. ``repairing`` marks a rollback
    that restores the stable spec, whose traffic arrives on a revision with a new name. ``warnings_sent``
    holds the reasons of warnings already notified. ``spec_changed_at`` is when the spec first differed
    from the candidate's: a newer revision is probably on its way. ``restored`` says that the stable
    spec was seen in the cluster after it was put back: another client that replaces it again is left alone.
    ``channel_message_ids`` are what channels gave for what they have of this rollout, by channel: Slack's
    message that is updated. ``evidence`` is what comparisons go on from, in the versioned form of ``analysis``;
    other than ``metrics`` it lasts over steps. ``inconclusive_since`` is when the evaluations of this step became
    inconclusive; an outage moves it on. ``drifted_since`` is when the traffic stopped to show a weight that
    had been in effect. ``rollback_written_at`` is when the weight 0
    of a rollback was first seen in the field: Knative's time to follow counts from there. ``stable_is_bad``
    says that the revision which KServe takes for stable was rolled back before: the way back is the stable spec.
    ``analysis_step`` is the number of the step at which the present analysis was stated, 0: it is the policy's own.
    ``failed_requests`` is what the candidate has failed, where the policy limits that, in the form of ``analysis``.
    ``renumbered_revision`` is the revision that KServe made of the candidate's spec when
    it renumbered the revisions. ``released_by`` is who released the candidate, as far as the service's object says.
    ``series`` is what plots are drawn from, see ``model.series``.
    """

    phase: Phase
    reason: Reason
    message: str
    started_at: float
    phase_since: float
    step: int = -1
    weight: int | None = 0
    from_weight: int | None = None
    step_started_at: float | None = None
    verified_at: float | None = None
    metrics: Mapping[str, MetricState] = field(default_factory=dict)
    no_data_since: float | None = None
    outage_since: float | None = None
    held_since: float | None = None
    hold_notified_at: float | None = None
    last_evaluation_at: float | None = None
    promote_all: bool = False
    paused_by: str = ""
    answered_request_id: str = ""
    request_answer: str = ""
    webhooks_passed: tuple[str, ...] = ()
    decisions: tuple[Mapping[str, Any], ...] = ()
    pending_notifications: tuple[Notification, ...] = ()
    delivered_notifications: tuple[str, ...] = ()
    observed_weight: int | None = None
    finished_at: float | None = None
    repairing: bool = False
    escalated_at: float | None = None
    warnings_sent: tuple[str, ...] = ()
    spec_changed_at: float | None = None
    restored: bool = False
    channel_message_ids: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    inconclusive_since: float | None = None
    drifted_since: float | None = None
    renumbered_revision: str = ""
    analysis_step: int = 0
    failed_requests: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)
    rollback_written_at: float | None = None
    stable_is_bad: bool = False
    released_by: str = ""
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default and each.name != "version":
                continue
            raw[each.name] = _plain(value)
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Progress:
        """Raises UnknownVersionError, and KeyError or ValueError for a document that is not a progress."""
        version = raw["version"]
        if version > VERSION:
            raise UnknownVersionError(
                f"this rollout was recorded in format {version}, and this autocanary reads up to {VERSION}"
            )
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in raw.items() if name in known}
        _check(values)
        values["phase"] = Phase(raw["phase"])
        values["reason"] = Reason(raw["reason"])
        values["metrics"] = {k: MetricState.from_dict(v) for k, v in raw.get("metrics", {}).items()}
        values["pending_notifications"] = tuple(
            Notification.from_dict(each) for each in raw.get("pending_notifications", ())
        )
        for name in ("delivered_notifications", "decisions", "webhooks_passed", "warnings_sent"):
            values[name] = tuple(raw.get(name, ()))
        return cls(**values)


def failed_requests_of(progress: Progress) -> tuple[int, int] | None:
    """The requests that the candidate has failed, and how many it may; None where the policy has no budget."""
    failed, most = progress.failed_requests.get("failed"), progress.failed_requests.get("max")
    return (failed, most) if isinstance(failed, int) and isinstance(most, int) else None


_NUMBER, _TEXT, _MAPPING, _LIST = (int, float), (str,), (Mapping,), (list, tuple)
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(
        (
            "phase",
            "reason",
            "message",
            "paused_by",
            "answered_request_id",
            "request_answer",
            "renumbered_revision",
            "released_by",
        ),
        _TEXT,
    ),
    **dict.fromkeys(("started_at", "phase_since"), _NUMBER),
    **dict.fromkeys(("step", "version", "analysis_step"), (int,)),
    **dict.fromkeys(("promote_all", "repairing", "restored", "stable_is_bad"), (bool,)),
    **dict.fromkeys(("metrics", "channel_message_ids", "evidence", "failed_requests", "series"), _MAPPING),
    **dict.fromkeys(
        ("webhooks_passed", "decisions", "pending_notifications", "delivered_notifications", "warnings_sent"),
        _LIST,
    ),
    **dict.fromkeys(("weight", "from_weight", "observed_weight"), (int, type(None))),
}
_ITEMS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("webhooks_passed", "delivered_notifications", "warnings_sent"), _TEXT),
    **dict.fromkeys(("decisions", "pending_notifications"), _MAPPING),
}


def _check(values: Mapping[str, Any]) -> None:
    """A status that a client has edited is refused here, with the field's name, and not in a rule."""
    for name, value in values.items():
        kinds = _KINDS.get(name, (int, float, type(None)))  # whatever is not named there is an instant
        wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"progress.{name} cannot be {value!r}")
        if kinds is _LIST and not all(isinstance(each, _ITEMS[name]) for each in value):
            raise ValueError(f"progress.{name} has a member of another kind: {value!r}")
    for name, state in values.get("metrics", {}).items():
        if not isinstance(state, Mapping):
            raise ValueError(f"progress.metrics.{name} cannot be {state!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, MetricState | Notification):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
