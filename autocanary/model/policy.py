"""What should happen: a rollout policy, after every unit and default has been resolved.

``autocanary.policy_files`` builds these from the YAML that users write and refuses what is wrong; nothing
here validates again. Durations are seconds, rates are percent (0..100), weights whole percent (1..100).

Over 300 lines because each part of a policy is one value with its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from autocanary.model.measurement import CancelledCalls, Source, Unit, WebAnswerForm
from autocanary.model.rollout_windows import Window

__all__ = [
    "DEFAULT_QUANTILE",
    "FULL_WEIGHT",
    "LEAST_WINDOW",
    "Analysis",
    "CandidateCleanup",
    "ComparisonPolicy",
    "ComparisonPreset",
    "Component",
    "Metric",
    "NotificationRoute",
    "OnFailure",
    "OnInconclusive",
    "OnUnstaged",
    "OnWeightRemoved",
    "Policy",
    "Range",
    "Selector",
    "Step",
    "Timeout",
    "TimeoutAction",
    "WebMetric",
    "Webhook",
    "WebhookType",
]


DEFAULT_QUANTILE = 0.99
"""Of a latency without one, as in Flagger."""

FULL_WEIGHT = 100
"""Percent: the weight at which the candidate has all the traffic."""

LEAST_WINDOW = 60.0
"""Seconds: the window where the policy gives none and the scrapes are close enough."""


class Component(str, Enum):
    """The part of an InferenceService whose revisions are rolled out."""

    PREDICTOR = "predictor"
    TRANSFORMER = "transformer"
    EXPLAINER = "explainer"


class TimeoutAction(str, Enum):
    """What follows when a grace period is over."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    PAUSE = "pause"


class OnFailure(str, Enum):
    ROLLBACK = "rollback"
    PAUSE = "pause"


class OnInconclusive(str, Enum):
    """What follows when a step's time is over and nothing can be said about the candidate."""

    HOLD = "hold"
    PROMOTE = "promote"  # take the next step
    ROLLBACK = "rollback"


class CandidateCleanup(str, Enum):
    """What becomes of a rolled-back candidate that has a place of its own in the spec."""

    KEEP = "keep"  # at 0 %, for inspection
    REMOVE = "remove"


class OnUnstaged(str, Enum):
    INTERCEPT = "intercept"
    IGNORE = "ignore"


class OnWeightRemoved(str, Enum):
    """Without the field KServe gives the candidate everything."""

    RESTORE = "restore"
    PAUSE = "pause"


class WebhookType(str, Enum):
    """Flagger's types, so that its load tester and confirmation webhooks work unchanged."""

    PRE_ROLLOUT = "pre-rollout"  # must pass before the first step
    ROLLOUT = "rollout"  # called at each evaluation; a "no" counts like a violation
    CONFIRM_PROMOTION = "confirm-promotion"  # must pass before 100 %
    POST_ROLLOUT = "post-rollout"  # called when the rollout has ended
    ROLLBACK = "rollback"  # a "yes" rolls back


@dataclass(frozen=True, slots=True)
class Selector:
    """Which InferenceServices: names and namespaces are shell globs, an empty tuple matches all."""

    names: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A weight, how long it is held and analysed at least (seconds), and whether a user must let it pass.

    With comparisons the step lasts on until they have their evidence. ``analysis`` is what holds at this step where
    the policy changes it here or at an earlier one, None: the policy's own. ``analysis_from`` is the step's number,
    from 1, at which that was stated; 0: the policy's own.
    """

    weight: int
    hold: float
    approval: bool = False
    analysis: Analysis | None = None
    analysis_from: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive bounds in the metric's unit (percent or seconds for presets); None is unbounded."""

    min: float | None = None
    max: float | None = None

    def contains(self, value: float) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class ComparisonPreset(str, Enum):
    """How a comparison weighs speed against bursts; see docs/how-it-decides.md."""

    FAST = "fast"  # 10 s blocks, uncapped: quickest, and fooled by bursts that strike one side
    DEFAULT = "default"
    ROBUST = "robust"  # 60 s blocks
    STRICT = "strict"  # alpha 0.01


@dataclass(frozen=True, slots=True)
class ComparisonPolicy:
    """A metric held against the stable revision's, at the same time, by a sequential test.

    ``margin`` is how much worse the candidate may be, in percentage points (0.5 means 0.5 points), None for
    the preset's own; ``confidence`` is the chance in percent that a healthy rollout is *not* rolled back,
    None for the preset's own (95, or 99 for strict).
    ``ratio`` is how many times stable's rate it may have before the margin is added, None for the preset's own.
    """

    margin: float | None = None
    confidence: float | None = None
    preset: ComparisonPreset = ComparisonPreset.DEFAULT
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class WebMetric:
    """Where a metric is asked for that is not Prometheus'; ``url`` has placeholders, ``timeout`` is in seconds.

    ``credentials`` names some that the operator has configured; empty: none are sent.
    """

    url: str
    form: WebAnswerForm = WebAnswerForm.VALUE
    timeout: float = 5.0
    credentials: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured on the candidate and held against a range, or against stable.

    ``query`` is empty for presets and for ``web``, and PromQL with ``{{ placeholders }}`` otherwise;
    ``query_type`` is vector, scalar, matrix or string, empty where the parser does not know the query. The rollout
    fails at the ``failure_limit``-th violation within one step (reached, not exceeded; None: however many); a pass
    erases earlier violations only when ``consecutive``. It also fails at ``consecutive_failure_limit`` violations in a
    row, and passes no step before ``consecutive_success_limit`` evaluations in a row are in range; None: no such
    limit. ``dry_run`` metrics are evaluated and shown, never acted on.

    ``compare`` is given beside the range or, where the range is unbounded, instead of it. ``objective``: the
    range beside a comparison is a service level objective and counts no violations: the rollout is rolled back
    when the candidate is worse than stable *and* beyond the range, and beyond the range alone it is held.
    """

    name: str
    range: Range
    unit: Unit
    query: str = ""
    quantile: float | None = None
    failure_limit: int | None = 1
    consecutive: bool = False
    dry_run: bool = False
    min_requests: float | None = None  # None: the analysis' own
    window: float | None = None  # None: the analysis' own
    query_type: str = field(default="", compare=False)
    compare: ComparisonPolicy | None = None  # beside or instead of a range
    objective: bool = False
    consecutive_failure_limit: int | None = None
    consecutive_success_limit: int | None = None
    web: WebMetric | None = None

    @property
    def counts_requests(self) -> bool:
        """Whether what is counted are the revision's requests, so that they say something of its share of traffic."""
        return self.web is None


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long (seconds) to hold while something is missing, and what then."""

    hold: float
    action: TimeoutAction


@dataclass(frozen=True, slots=True)
class Analysis:
    """How the candidate is measured. All times in seconds.

    ``first_warmup`` is the warm-up of the first step, None: ``warmup``. ``max_failed_requests`` is how many requests
    the candidate may fail in the whole rollout, None: any number.
    ``window_follows``: the window is the least, and is longer where the scrape interval needs it. ``server`` names
    one of the Prometheus servers that the operator has configured; empty is the main one.
    """

    metrics: tuple[Metric, ...]
    interval: float = 15.0
    warmup: float = 30.0
    window: float = LEAST_WINDOW
    min_requests: float = 50.0
    source: Source = Source.AUTO
    on_no_data: Timeout = Timeout(600.0, TimeoutAction.ROLLBACK)
    on_outage: Timeout = Timeout(1800.0, TimeoutAction.HOLD)
    on_inconclusive: OnInconclusive | None = None  # None: a hold counts towards the progress deadline
    first_warmup: float | None = None
    max_failed_requests: int | None = None
    window_follows: bool = True
    server: str = ""
    cancelled_calls: CancelledCalls = CancelledCalls.IGNORE

    @property
    def compared(self) -> tuple[Metric, ...]:
        """The metrics that are held against stable, dry runs included."""
        return tuple(metric for metric in self.metrics if metric.compare is not None)

    @property
    def gating(self) -> tuple[Metric, ...]:
        """The metrics that decide."""
        return tuple(metric for metric in self.metrics if not metric.dry_run)


@dataclass(frozen=True, slots=True)
class Webhook:
    """An HTTP call to a user's own service (Flagger's payload). ``timeout`` in seconds."""

    name: str
    type: WebhookType
    url: str
    timeout: float = 10.0
    retries: int = 0
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NotificationRoute:
    """Where the transitions named in ``events`` (empty: all) are sent; ``slack_channel`` or ``webhook``.

    ``slack_mention`` is mentioned there when a rollout is rolled back or needs a user: members' and
    user groups' IDs, ``here`` or ``channel``.
    """

    events: tuple[str, ...] = ()
    slack_channel: str = ""
    slack_mention: tuple[str, ...] = ()
    webhook: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy.

    ``namespace`` empty means every watched namespace. ``after`` names the components of the same service
    whose rollouts this one's waits for. ``steps`` always ends at weight 100. ``step_timeout`` is how long a
    step may be inconclusive (seconds); None: its hold and the progress deadline. ``document`` is the JSON
    form of what the user wrote (``spec``), kept as the snapshot of running rollouts; ``digest`` identifies
    its meaning; ``origin`` says where it came from, for messages.
    """

    name: str
    namespace: str
    selector: Selector
    steps: tuple[Step, ...]
    analysis: Analysis
    component: Component = Component.PREDICTOR
    after: tuple[Component, ...] = ()
    bake: float = 0.0
    progress_deadline: float = 1800.0
    step_timeout: float | None = None
    on_failure: OnFailure = OnFailure.ROLLBACK
    on_unstaged: OnUnstaged = OnUnstaged.INTERCEPT
    on_weight_removed: OnWeightRemoved = OnWeightRemoved.RESTORE
    candidate_cleanup: CandidateCleanup = CandidateCleanup.KEEP
    windows: tuple[Window, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    notifications: tuple[NotificationRoute, ...] = ()
    digest: str = ""
    origin: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    def analysis_at(self, step: int) -> Analysis:
        """What holds at a step, by its index; before the first, and of a step that is not there, the policy's own."""
        own = self.steps[step].analysis if 0 <= step < len(self.steps) else None
        return own if own is not None else self.analysis

    def warmup_at(self, step: int) -> float:
        """Seconds after a change to this step's weight in which nothing is analysed."""
        analysis = self.analysis_at(step)
        first = analysis.first_warmup
        return first if step <= 0 and first is not None else analysis.warmup

    @property
    def has_step_analyses(self) -> bool:
        """Whether some step changes the analysis."""
        return any(step.analysis is not None for step in self.steps)

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        """The policy's own, and those of the steps that change it."""
        return tuple(dict.fromkeys((self.analysis, *(step.analysis for step in self.steps if step.analysis))))

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """The metrics of every step, each once; one that a step changes is there as often as it has forms."""
        return tuple(dict.fromkeys(metric for analysis in self.analyses for metric in analysis.metrics))

    @property
    def web_metrics(self) -> tuple[Metric, ...]:
        """The metrics that are not Prometheus', of every step."""
        return tuple(metric for metric in self.all_metrics if metric.web is not None)

    def metrics_at(self, step: int) -> Mapping[str, Metric]:
        """The metrics of a step by name, and those of other steps whose name it does not have."""
        return {metric.name: metric for metric in (*reversed(self.all_metrics), *self.analysis_at(step).metrics)}

    def webhooks_of_type(self, kind: WebhookType) -> tuple[Webhook, ...]:
        return tuple(webhook for webhook in self.webhooks if webhook.type is kind)
