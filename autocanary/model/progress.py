"""How far a rollout has come: everything that must survive a restart, as one immutable value.

``model.progress_json`` is its versioned JSON form; resuming from it equals never having stopped. Times are
seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement
from autocanary.model.reason import Reason

__all__ = [
    "FINAL",
    "AnalysisState",
    "HoldState",
    "MetricState",
    "Notification",
    "Outbox",
    "Phase",
    "Progress",
    "RollbackState",
    "StepState",
    "UserRequests",
    "failed_requests_of",
]


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
class StepState:
    """The step, the weight asked for, and what the traffic shows of it.

    ``index`` is that into the policy's steps, -1 before the first. ``weight`` is the weight this rollout last
    asked for and ``from_weight`` the one in the field before that, so that a crash between recording and writing
    differs from another client's change; None where the field was absent. ``started_at`` is when the step or its
    present weight was decided. ``verified_at`` is when the weight was seen in effect, None until then: a step's
    clock starts there. ``drifted_since`` is when the traffic stopped to show a weight that had been in effect.
    ``observed_weight`` is the candidate's share of the traffic, in percent, as last seen.
    """

    index: int = -1
    weight: int | None = 0
    from_weight: int | None = None
    started_at: float | None = None
    verified_at: float | None = None
    drifted_since: float | None = None
    observed_weight: int | None = None


@dataclass(frozen=True, slots=True)
class AnalysisState:
    """What the metrics have said, and since when they have said nothing.

    ``metrics`` are the states of the present step. ``evidence`` is what comparisons go on from, in the versioned
    form of ``analysis``; other than ``metrics`` it lasts over steps. ``failed_requests`` is what the candidate has
    failed, where the policy limits that, in the form of ``analysis``. ``inconclusive_since`` is when the evaluations
    of this step became inconclusive; an outage moves it on. ``from_step`` is the number of the step at which the
    present analysis was stated, 0: it is the policy's own.
    """

    metrics: Mapping[str, MetricState] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    failed_requests: Mapping[str, Any] = field(default_factory=dict)
    last_evaluation_at: float | None = None
    no_data_since: float | None = None
    outage_since: float | None = None
    inconclusive_since: float | None = None
    from_step: int = 0


@dataclass(frozen=True, slots=True)
class HoldState:
    """Since when the rollout does not move, and who paused it.

    ``since`` is where the progress deadline counts from, None where nothing holds. ``notified_at`` is when the hold
    was last notified. ``paused_by`` is "user", or what caused a pause that no user requested; "" without a pause.
    """

    since: float | None = None
    notified_at: float | None = None
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class RollbackState:
    """How far the way back to stable is.

    ``written_at`` is when the weight 0 of a rollback was first seen in the field: Knative's time to follow counts
    from there. ``weight_unshown``: the weight that the rollback took back had not been shown by any status then.
    ``repairing`` marks a rollback that restores the stable spec, whose traffic arrives on a revision
    with a new name; ``escalated_at`` is when that was decided. ``restored`` says that the stable spec was seen in
    the cluster after it was put back: another client that replaces it again is left alone. ``stable_is_bad`` says
    that the revision which KServe takes for stable was rolled back before: the way back is the stable spec.
    ``renumbered_revision`` is the revision that KServe made of the candidate's spec when it renumbered the revisions.
    """

    written_at: float | None = None
    repairing: bool = False
    escalated_at: float | None = None
    restored: bool = False
    stable_is_bad: bool = False
    weight_unshown: bool = False
    renumbered_revision: str = ""


@dataclass(frozen=True, slots=True)
class Outbox:
    """What must be notified, and what has been.

    ``pending`` are the notifications that a channel still lacks, ``delivered`` the ids of the latest that every
    channel has. ``warnings_sent`` holds the reasons of warnings already notified. ``channel_message_ids`` are what
    channels gave for what they have of this rollout, by channel: Slack's message that is updated.
    """

    pending: tuple[Notification, ...] = ()
    delivered: tuple[str, ...] = ()
    warnings_sent: tuple[str, ...] = ()
    channel_message_ids: Mapping[str, str] = field(default_factory=dict)

    def has_warned(self, reason: Reason) -> bool:
        return reason.value in self.warnings_sent

    def with_warning(self, reason: Reason) -> Outbox:
        return replace(self, warnings_sent=(*self.warnings_sent, reason.value))


@dataclass(frozen=True, slots=True)
class UserRequests:
    """What users asked for: ``promote_all`` to go to 100 %; the id of the newest answered request, and the answer."""

    promote_all: bool = False
    answered_id: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of one rollout.

    ``reason`` and ``message`` say what the phase is due to; ``decisions`` are the latest transitions with what they
    were made from. ``webhooks_passed`` are the policy's webhooks that have said yes. ``spec_changed_at`` is when the
    spec first differed from the candidate's: a newer revision is probably on its way. ``released_by`` is who
    released the candidate, as far as the service's object says. ``series`` is what plots are drawn from, see
    ``model.series``.
    """

    phase: Phase
    reason: Reason
    message: str
    started_at: float
    phase_since: float
    finished_at: float | None = None
    step: StepState = StepState()
    analysis: AnalysisState = field(default_factory=AnalysisState)
    hold: HoldState = HoldState()
    rollback: RollbackState = RollbackState()
    outbox: Outbox = field(default_factory=Outbox)
    requests: UserRequests = UserRequests()
    webhooks_passed: tuple[str, ...] = ()
    decisions: Sequence[Mapping[str, Any]] = ()
    spec_changed_at: float | None = None
    series: Mapping[str, str] = field(default_factory=dict)
    released_by: str = ""


def failed_requests_of(progress: Progress) -> tuple[int, int] | None:
    """The requests that the candidate has failed, and how many it may; None where the policy has no budget."""
    failed, most = progress.analysis.failed_requests.get("failed"), progress.analysis.failed_requests.get("max")
    return (failed, most) if isinstance(failed, int) and isinstance(most, int) else None
