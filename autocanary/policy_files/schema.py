"""The fields of a RolloutPolicy document: types, defaults and what each means.

One schema serves files, custom resources, docs/policy.schema.json and docs/policy-reference.md; the
descriptions here are the documentation. Durations are seconds and times are ``datetime.time`` once read.
What one field says about another is in ``cross_field_checks``. Over 300 lines, because it is a table of fields.

Over 300 lines because every field carries the description from which the CRD, the JSON Schema and the reference are
made.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.config import JsonDict, JsonValue

from autocanary.limits import (
    POLICY_LABELS,
    POLICY_NOTIFICATIONS,
    POLICY_SELECTORS,
    POLICY_STEPS,
    POLICY_WEBHOOKS,
    POLICY_WINDOWS,
    WEBHOOK_METADATA,
    WEBHOOK_RETRIES,
    WEBHOOK_SECONDS,
)
from autocanary.model.policy import (
    CandidateCleanup,
    Component,
    OnFailure,
    OnUnstaged,
    OnWeightRemoved,
    WebhookType,
)
from autocanary.policy_files.analysis_schema import AnalysisFields, StepAnalysisFields
from autocanary.policy_files.field_types import (
    Channel,
    Duration,
    Glob,
    LabelValue,
    Mention,
    Name,
    Namespace,
    PositiveDuration,
    StrictModel,
    TimeZone,
    Url,
    Weight,
    WindowEnd,
    WindowStart,
)
from autocanary.policy_files.units import format_duration

__all__ = ["KIND", "Day", "Document", "EventName", "Spec", "parse_document"]

KIND = "RolloutPolicy"


class Day(str, Enum):
    """Days of the week; the order is that of ``datetime.weekday``."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class EventName(str, Enum):
    """The transitions that a notification can be about; each is the ``model.decision.Event`` of that name."""

    STARTED = "started"
    STEP = "step"
    HELD = "held"
    PAUSED = "paused"
    RESUMED = "resumed"
    PROMOTED = "promoted"
    ROLLBACK = "rollback"
    ROLLED_BACK = "rolled-back"
    EXTERNAL_CHANGE = "external-change"
    ENDED = "ended"
    WARNING = "warning"


class Metadata(StrictModel):
    name: Name = Field(description="The policy's name.", examples=["prod-models"])
    namespace: Namespace | None = Field(
        default=None,
        description="The namespace whose services the policy may govern. In files it may be left out: all "
        "watched namespaces.",
        examples=["models"],
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Yours; autocanary does not read them.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Yours; autocanary does not read them.")


class SelectorFields(StrictModel):
    """Which InferenceServices; every part must match. Empty: all services of the policy's namespaces."""

    names: list[Glob] = Field(
        default_factory=list,
        max_length=POLICY_SELECTORS,
        description="Names of InferenceServices, with the wildcards `*` and `?`; one of them must match.",
        examples=[["mnist", "fraud-*"]],
    )
    namespaces: list[Glob] = Field(
        default_factory=list,
        max_length=POLICY_SELECTORS,
        description="Namespaces, with the wildcards `*` and `?`; only in a policy without `metadata.namespace`.",
        examples=[["models", "team-*"]],
    )
    match_labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=POLICY_LABELS,
        description="Labels that the InferenceService must have, all of them.",
        examples=[{"tier": "prod"}],
    )


class Pause(StrictModel):
    duration: PositiveDuration | None = Field(
        default=None,
        description="How long the weight is held. Left out (`pause: {}`), the rollout waits for `autocanary promote`.",
        examples=["5m"],
    )


class StepFields(StrictModel):
    """Either `setWeight`, and with it what changes in the analysis, or `pause`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["setWeight"]}, {"required": ["pause"], "not": {"required": ["analysis"]}}]
        }
    )

    set_weight: Weight | None = Field(
        default=None,
        description="Percent of the traffic for the candidate; each more than the one before.",
        examples=[10],
    )
    pause: Pause | None = Field(
        default=None,
        description="How long the weight above is held and the candidate analysed; several add up. `pause: {}` waits "
        "for `autocanary promote`.",
        examples=[{"duration": "5m"}, {}],
    )
    analysis: StepAnalysisFields | None = Field(
        default=None,
        description="What changes in the analysis from this weight on: the metrics, their limits and the delays. It "
        "holds for later steps too, until one of them changes it again.",
        examples=[{"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99.5}}]}],
    )


class Failure(StrictModel):
    action: Annotated[OnFailure, Field(strict=False)] = Field(
        default=OnFailure.ROLLBACK,
        description="`rollback`, or `pause` at the present weight until you resume or abort the rollout.",
    )
    candidate: Annotated[CandidateCleanup, Field(strict=False)] = Field(
        default=CandidateCleanup.KEEP,
        description="What happens to a rolled-back candidate of KFServing's v1alpha2, which has a field of its own "
        "in the spec: `keep` it there at 0 %, or `remove` it.",
    )


class WindowSpec(StrictModel):
    """In local time, daylight saving included."""

    days: list[Annotated[Day, Field(strict=False)]] = Field(
        default_factory=lambda: list(Day),
        min_length=1,
        description="Days on which the window opens; every day when left out.",
        examples=[["mon", "tue", "wed", "thu"]],
    )
    from_: WindowStart = Field(alias="from", description="When it opens, in quotes.", examples=["09:00"])
    to: WindowEnd = Field(
        description="When it closes, in quotes; not later than `from` means on the next day, and "
        '`"24:00"` is midnight.',
        examples=["17:00"],
    )
    timezone: TimeZone = Field(description="The IANA name of the time zone.", examples=["Asia/Seoul", "UTC"])


class WebhookSpec(StrictModel):
    """An HTTP POST to a service of your own, with Flagger's payload."""

    name: Name = Field(description="The webhook's name in messages. Each name once.", examples=["smoke"])
    type: Annotated[WebhookType, Field(strict=False)] = Field(
        description="When it is called. `pre-rollout` must answer yes before the first step. `rollout` is called at "
        "each evaluation, and a repeated no fails the rollout. `confirm-promotion` must answer yes before 100 %. "
        "`post-rollout` is called when the rollout has ended. A yes of `rollback` rolls back. 2xx is yes."
    )
    url: Url = Field(description="http or https.", examples=["http://smoke.models.svc/run"])
    timeout: PositiveDuration = Field(
        default=10.0, description="How long autocanary waits for the answer to one call.", examples=["10s"]
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=WEBHOOK_RETRIES,
        description="How often a call without an answer is repeated at once. "
        f"`timeout` × (1 + `retries`) is at most {format_duration(WEBHOOK_SECONDS)}.",
    )
    metadata: dict[str, str] = Field(
        default_factory=dict,
        max_length=WEBHOOK_METADATA,
        description="Sent in the payload; names and values are text.",
        examples=[{"suite": "smoke"}],
    )


class SlackTarget(StrictModel):
    channel: Channel = Field(
        description="The channel, in quotes because of the #. It needs a bot token: an incoming webhook posts to its "
        "own channel.",
        examples=["#ml-ops"],
    )
    mention: list[Mention] = Field(
        default_factory=list,
        max_length=10,
        description="Who is mentioned when a rollout is rolled back or needs a user: IDs of members and user groups, "
        "`here` or `channel`. It needs a bot token.",
        examples=[["S012AB3CD"]],
    )


class WebhookTarget(StrictModel):
    url: Url = Field(description="Where the message is posted as JSON.", examples=["https://hooks.example.com/ml"])


class NotificationSpec(StrictModel):
    """One receiver; with neither `slack` nor `webhook` it limits the events of the service's own channels."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "not": {"required": ["slack", "webhook"]}})

    slack: SlackTarget | None = Field(default=None, description="A Slack channel.", examples=[{"channel": "#ml-ops"}])
    webhook: WebhookTarget | None = Field(
        default=None, description="Any HTTP receiver.", examples=[{"url": "https://hooks.example.com/ml"}]
    )
    events: list[Annotated[EventName, Field(strict=False)]] = Field(
        default_factory=list,
        max_length=50,
        description="The transitions that are sent; all when left out.",
        examples=[["started", "promoted", "rolled-back", "held"]],
    )


_COMPARED: JsonDict = {"properties": {"metrics": {"contains": {"required": ["compare"]}}}}
_STEP_DURATION_OR_COMPARISON: list[JsonValue] = [
    {"required": ["stepDuration"]},
    {"not": {"required": ["analysis"]}},
    {"properties": {"analysis": {"anyOf": [{"not": {"required": ["metrics"]}}, _COMPARED]}}},
]
"""What ends a step of ``stepWeights``: its duration, or the evidence of a comparison."""


class Spec(StrictModel):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["stepWeights"],
                    "not": {"required": ["steps"]},
                    "anyOf": _STEP_DURATION_OR_COMPARISON,
                },
                {
                    "required": ["steps"],
                    "not": {"anyOf": [{"required": ["stepDuration"]}, {"required": ["stepWeights"]}]},
                },
            ]
        }
    )

    selector: SelectorFields = Field(
        default_factory=SelectorFields,
        description="The InferenceServices that the policy governs. Of several policies the most specific one wins; "
        "a tie is an error that names both.",
    )
    component: Annotated[Component, Field(strict=False)] = Field(
        default=Component.PREDICTOR, description="The component of the InferenceService that is rolled out."
    )
    after: list[Annotated[Component, Field(strict=False)]] = Field(
        default_factory=list,
        max_length=2,
        description="Components of the same service that are rolled out first when they have changed too: this one "
        "stays at 0 % until they are promoted. Left out: of components that change together none gets traffic until "
        "you choose one with `autocanary resume`.",
        examples=[["transformer"]],
    )
    step_weights: list[Weight] | None = Field(
        default=None,
        min_length=1,
        description="Short form of the steps: percent of traffic, strictly increasing. A list that ends "
        "below 100 goes to 100 after the last hold.",
        examples=[[10, 25, 50, 100]],
    )
    step_duration: PositiveDuration | None = Field(
        default=None,
        description="How long each of `stepWeights` is held at least. `stepWeights` needs it, and there is no default. "
        "Where metrics are compared you may leave it out: a step then lasts until the comparison has its evidence, "
        "at least 2m.",
        examples=["5m"],
    )
    step_timeout: PositiveDuration | None = Field(
        default=None,
        description="How long a step may stay inconclusive before `analysis.onInconclusive` applies. Outages and "
        "closed windows do not count. Left out: the step's duration and `progressDeadline`.",
        examples=["1h"],
    )
    steps: list[StepFields] | None = Field(
        default=None,
        min_length=1,
        max_length=POLICY_STEPS,
        description="Long form of the steps, in Argo Rollouts' words; instead of `stepWeights`. A list that "
        "ends below 100 goes to 100 after the last hold.",
        examples=[[{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"setWeight": 50}, {"pause": {}}]],
    )
    bake: Duration = Field(
        default=0.0,
        description="How long the candidate is analysed at 100 %; a failure rolls back to the revision before. Where "
        "the step of 100 % has a duration of its own, the longer of the two counts.",
        examples=["10m"],
    )
    progress_deadline: PositiveDuration = Field(
        default=1800.0,
        description="How long the candidate may take to become ready, and a held rollout to move.",
        examples=["30m"],
    )
    analysis: AnalysisFields = Field(
        default_factory=AnalysisFields,
        description="How the candidate is analysed. Left out, its errors and its latency are compared with stable's.",
    )
    on_failure: Failure = Field(default_factory=Failure, description="What happens when the analysis fails.")
    on_unstaged: Annotated[OnUnstaged, Field(strict=False)] = Field(
        default=OnUnstaged.INTERCEPT,
        description="What happens to a new revision that is applied without canaryTrafficPercent, which would take "
        "100 % once ready. `intercept` sets it to 0 before that and starts a rollout; `ignore` leaves it alone.",
    )
    on_weight_removed: Annotated[OnWeightRemoved, Field(strict=False)] = Field(
        default=OnWeightRemoved.RESTORE,
        description="What happens when a client removes canaryTrafficPercent during a rollout, which sends 100 % to "
        "the candidate. `restore` writes the last weight again at once. `pause` waits: `autocanary resume` goes on "
        "with the candidate at 100 %, `autocanary abort` rolls it back.",
    )
    windows: list[WindowSpec] = Field(
        default_factory=list,
        max_length=POLICY_WINDOWS,
        description="When steps may be taken; at any time when left out. A rollback is always allowed.",
    )
    webhooks: list[WebhookSpec] = Field(
        default_factory=list, max_length=POLICY_WEBHOOKS, description="Calls to services of your own."
    )
    notifications: list[NotificationSpec] = Field(
        default_factory=list,
        max_length=POLICY_NOTIFICATIONS,
        description="Receivers of notifications, besides the service's own channels.",
    )


class Document(StrictModel):
    """A rollout policy of autocanary."""

    api_version: Literal["autocanary.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["RolloutPolicy"] = Field(description="What this document is.")
    metadata: Metadata = Field(description="The policy's name and where it applies.")
    spec: Spec = Field(description="The policy itself.")


def parse_document(raw: Any) -> tuple[Document | None, list[dict[str, Any]]]:
    """The document when its shape is right, else pydantic's error for each field."""
    try:
        return Document.model_validate(raw), []
    except ValidationError as error:
        return None, [dict(each) for each in error.errors(include_url=False)]
