"""The `analysis` part of a policy document: how the candidate is measured and compared.

Over 300 lines because every field carries the description from which the CRD, the JSON Schema and the reference are
made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from autocanary.limits import POLICY_METRICS, QUERY_BYTES, WEB_ANSWER_BYTES
from autocanary.model import policy
from autocanary.model.measurement import CancelledCalls, Source, WebAnswerForm
from autocanary.model.policy import OnInconclusive, TimeoutAction
from autocanary.policy_files.field_types import (
    Confidence,
    Duration,
    Margin,
    MetricName,
    PositiveDuration,
    Quantile,
    SettingName,
    StrictModel,
    ThresholdValue,
    UrlTemplate,
    WebTimeout,
)
from autocanary.policy_files.metric_presets import COMPARABLE, PRESETS

__all__ = [
    "AnalysisFields",
    "Compare",
    "MetricFields",
    "OnNoData",
    "OnOutage",
    "StepAnalysisFields",
    "ThresholdRange",
    "WebFields",
]

_ONE_OF_THE_PRESETS: JsonDict = {"properties": {"name": {"enum": [*PRESETS]}}}
_COMPARABLE_PRESET: JsonDict = {
    "properties": {"name": {"enum": [*COMPARABLE]}},
    "not": {"anyOf": [{"required": ["query"]}, {"required": ["web"]}]},
}
_COUNTS: JsonDict = {
    "properties": {"web": {"properties": {"answer": {"enum": ["counts"]}}, "required": ["answer"]}},
    "required": ["web"],
}
_KINDS_OF_METRIC: JsonDict = {
    "allOf": [
        {"anyOf": [{"required": ["query"]}, {"required": ["web"]}, _ONE_OF_THE_PRESETS]},
        {"not": {"required": ["query", "web"]}},
        {"anyOf": [{"required": ["thresholdRange"]}, {"required": ["compare"]}]},
        {"anyOf": [{"not": {"required": ["compare"]}}, _COMPARABLE_PRESET, _COUNTS]},
    ]
}


class ThresholdRange(StrictModel):
    """Inclusive limits, in the metric's unit; at least one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    min: ThresholdValue | None = Field(
        default=None, description="A value below this is a violation.", examples=[99, "99.5%"]
    )
    max: ThresholdValue | None = Field(
        default=None, description="A value above this is a violation.", examples=["500ms", "0.5%", 0]
    )


class Compare(StrictModel):
    """Compared with the stable revision, at the same time and under the same load, by a sequential test."""

    to: Literal["stable"] = Field(default="stable", description="The revision that the candidate is compared with.")
    margin: Margin | None = Field(
        default=None,
        description="How much worse the candidate may be: `ratio` times stable's share of failed (for "
        "a duration: of slow) requests, plus this many percentage points. With `0.5%` it may fail 1.75 % "
        "where stable fails 1 %. Left out, 0.05 points for errors and 0.5 for durations.",
        examples=["0.5%"],
    )
    ratio: float | None = Field(
        default=None,
        ge=1,
        le=10,
        description="How many times stable's share of failed (for a duration: of slow) requests the candidate "
        "may have, before `margin` is added. `1` allows nothing but the margin. Left out, 1.25.",
        examples=[1.1],
    )
    confidence: Confidence | None = Field(
        default=None,
        description="The chance that a rollout whose candidate is not worse is never rolled back by a "
        "comparison, however long and often it is evaluated. It covers the rollout as a whole: where metrics "
        "have different ones, the highest counts for all. Left out, the preset's own (95 %, `strict` 99 "
        "%).",
        examples=["99%"],
    )
    preset: Annotated[policy.ComparisonPreset, Field(strict=False)] | None = Field(
        default=None, description="Like `analysis.preset`, for this metric alone.", examples=["robust"]
    )


class CredentialsRef(StrictModel):
    """Credentials that the operator has configured for this autocanary."""

    name: SettingName = Field(
        description="Their name in the setting [`web_credentials`](settings.md#credentials-of-web-metrics).",
        examples=["eval"],
    )


class WebFields(StrictModel):
    """A metric that another service answers by HTTP: an evaluation, a monitor, a label pipeline."""

    url: UrlTemplate = Field(
        description="Where it is asked, by GET. Placeholders of path and query in double braces are filled in: "
        "`{{ namespace }}`, `{{ service }}`, `{{ component }}`, `{{ revision }}` (which the answer is about), "
        "`{{ candidateRevision }}`, `{{ stableRevision }}` and `{{ window }}` (as `60s`). It must name "
        "`{{ revision }}`. [Private addresses](notifications.md#which-hosts-policies-webhooks-may-reach) need the "
        "operator's leave.",
        examples=["https://eval.example.com/score?service={{ service }}&revision={{ revision }}"],
    )
    answer: Annotated[WebAnswerForm, Field(strict=False)] = Field(
        default=WebAnswerForm.VALUE,
        description='What a 200 answers, as JSON. `value`: `{"value": 0.97}`, a number over the window; beside it '
        '`"samples": 240`, of how many it is made, which `minRequests` is held against. `counts`: `{"bad": 3, "total": '
        "240}`, whole numbers since the revision began, which only grow; the metric is the share of bad ones in the "
        'window in percent, and it can be compared. Either may have `"at"`, the time of the newest sample in Unix '
        'seconds. `{"unknown": "why"}` is no data. '
        f"At most {WEB_ANSWER_BYTES // 1024} KiB. [More](metrics-recipes.md#a-metric-that-another-service-answers).",
        examples=["counts"],
    )
    timeout: WebTimeout = Field(
        default=5.0, description="How long autocanary waits for one answer; none in time is an outage.", examples=["5s"]
    )
    credentials_ref: CredentialsRef | None = Field(
        default=None,
        description="Credentials that the operator has configured, for the hosts that they are for. Left out, none "
        "are sent.",
        examples=[{"name": "eval"}],
    )


class MetricFields(StrictModel):
    """One thing that is measured on the candidate."""

    model_config = ConfigDict(json_schema_extra=_KINDS_OF_METRIC)

    name: MetricName = Field(
        description="A preset's name, or any other name together with `query` or `web`. Each name once.",
        examples=["request-success-rate", "prediction-drift"],
    )
    threshold_range: ThresholdRange | None = Field(
        default=None,
        description="Inclusive limits: percent for rates (`99` is 99 %), durations with their unit for times "
        "(`500ms`), plain numbers for queries of your own. Each metric has this, or `compare`, or both.",
        examples=[{"min": 99}, {"max": "500ms"}],
    )
    compare: Compare | None = Field(
        default=None,
        description=f"Compared with stable; for {', '.join(f'`{name}`' for name in COMPARABLE)} and `web` metrics "
        "that answer `counts`. "
        "Beside a `thresholdRange` see [Comparisons](#comparisons).",
        examples=[{"to": "stable", "margin": "0.5%", "confidence": "99%"}],
    )
    query: str | None = Field(
        default=None,
        description="PromQL of your own that answers one number. Placeholders in double braces are filled "
        "in: `{{ namespace }}`, `{{ service }}`, `{{ component }}`, `{{ revision }}` (the candidate), "
        "`{{ stableRevision }}` and `{{ window }}`; as in Flagger, `{{ name }}` is the service and "
        "`{{ interval }}` the window. Write names in quotes, the window without.",
        json_schema_extra={"maxLength": QUERY_BYTES},
        examples=['sum(increase(drift_alerts_total{revision="{{ revision }}"}[{{ window }}]))'],
    )
    web: WebFields | None = Field(
        default=None,
        description="Another service that answers the metric by HTTP, in place of Prometheus.",
        examples=[{"url": "https://eval.example.com/score?revision={{ revision }}", "answer": "counts"}],
    )
    quantile: Quantile | None = Field(
        default=None,
        description="Which quantile of a duration is shown and checked against the limits; 0.99 when left out. "
        "Only for the presets that are durations. A comparison covers the whole distribution.",
        examples=[0.99],
    )
    failure_limit: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="The rollout fails at this many violations within one step (reached, not exceeded). A sample is "
        "one violation at most, and the next one is counted about an `interval` later.",
        examples=[3],
    )
    consecutive: bool = Field(
        default=False,
        description="Whether an evaluation within the limits erases earlier violations; else they add up in a step.",
    )
    consecutive_failure_limit: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="The rollout also fails at this many violations in a row, whatever `failureLimit` says. Without "
        "`failureLimit` it is the only limit. An evaluation without a number does not count.",
        examples=[3],
    )
    consecutive_success_limit: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="A step passes only after this many evaluations in a row within the limits, about an `interval` "
        "apart.",
        examples=[5],
    )
    dry_run: bool = Field(default=False, description="Evaluated and shown, never acted on.")
    min_requests: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="Like `analysis.minRequests`, for this metric alone.",
        examples=[200],
    )
    window: PositiveDuration | None = Field(
        default=None, description="Like `analysis.window`, for this metric alone.", examples=["5m"]
    )


class OnNoData(StrictModel):
    """What happens while no traffic reaches the candidate, or nothing measures it."""

    hold: Duration = Field(default=600.0, description="How long the weight is held.", examples=["10m"])
    then: Annotated[TimeoutAction, Field(strict=False)] = Field(
        default=TimeoutAction.ROLLBACK,
        description="What follows: keep holding, roll back, or pause until you resume or abort the rollout.",
    )


class OnOutage(StrictModel):
    """What happens while Prometheus, or a `web` metric's service, cannot answer; that says nothing of the candidate."""

    hold: Duration = Field(default=1800.0, description="How long the weight is held.", examples=["30m"])
    then: Annotated[TimeoutAction, Field(strict=False)] = Field(
        default=TimeoutAction.HOLD,
        description="What follows: keep holding, roll back, or pause until you resume or abort the rollout.",
    )


class PrometheusRef(StrictModel):
    """One of the Prometheus servers that the operator has configured for this autocanary."""

    name: SettingName = Field(
        description="Its name in the setting [`prometheus_servers`](settings.md#several-prometheus-servers).",
        examples=["team-a"],
    )


class AnalysisFields(StrictModel):
    """What is measured on the candidate, how often, and what happens when nothing can be."""

    interval: PositiveDuration = Field(
        default=15.0,
        description="The longest time between two evaluations. A new sample that shows a violation, or has counts for "
        "a comparison, is evaluated when it is there ([when](how-it-decides.md#when-a-candidate-is-evaluated)).",
        examples=["15s"],
    )
    warmup: Duration = Field(
        default=30.0, description="How long after each change of weight nothing is evaluated.", examples=["30s"]
    )
    first_warmup: Duration | None = Field(
        default=None,
        description="Like `warmup`, for the first step: a candidate with cold caches is slow, or fails, for its first "
        "minutes. Left out, `warmup`.",
        examples=["5m"],
    )
    source: Annotated[Source, Field(strict=False)] = Field(
        default=Source.AUTO,
        description="The exporter that measures the requests; `auto` detects which one has data for the service.",
    )
    prometheus_ref: PrometheusRef | None = Field(
        default=None,
        description="The Prometheus that measures the service, where the operator has configured several. Left out, "
        "the main one.",
        examples=[{"name": "team-a"}],
    )
    cancelled_calls: Annotated[CancelledCalls, Field(strict=False)] = Field(
        default=CancelledCalls.IGNORE,
        description="What a call is whose client went away before the answer, in every source that can tell it "
        "([which can](metrics-recipes.md#what-counts-as-a-request)): `ignore`, neither a request nor a failure; or "
        "`failure`, a request that failed.",
        examples=["failure"],
    )
    window: PositiveDuration | None = Field(
        default=None,
        description="The range over which rates and quantiles are computed. Left out, it follows the scrape interval "
        "that is seen: three scrapes, and at least `1m` and the `interval`. A window of less than two scrapes is held "
        "like an outage.",
        examples=["1m"],
    )
    min_requests: int = Field(
        default=50,
        ge=0,
        le=1_000_000_000,
        description="With fewer requests than this in the window a metric is inconclusive: neither a pass nor a "
        "violation, and the rollout does not go on. It applies to queries of your own, too, where the source counts "
        "the service's requests, and to `web` metrics by what their answers count. A comparison passes no step in "
        "which the candidate has completed fewer.",
    )
    preset: Annotated[policy.ComparisonPreset, Field(strict=False)] = Field(
        default=policy.ComparisonPreset.DEFAULT,
        description="How comparisons trade speed for robustness to bursts of errors: `fast` decides soonest, and a "
        "burst on one side may mislead it. `robust` is slower and withstands bursts. `strict` needs 99 % confidence.",
    )
    metrics: list[MetricFields] = Field(
        default_factory=list,
        description="What is measured; at least one metric that is not `dryRun`. Left out, `error-rate` and "
        "`request-duration` are compared with stable.",
        min_length=1,
        max_length=POLICY_METRICS,
        examples=[[{"name": "request-success-rate", "thresholdRange": {"min": 99}}]],
    )
    max_failed_requests: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="The budget of harm: when the candidate has failed this many requests in the whole rollout, it is "
        "rolled back, whatever the metrics say. It is counted during warm-ups and pauses too. Left out, there is no "
        "budget.",
        examples=[1000],
    )
    on_no_data: OnNoData = Field(
        default_factory=OnNoData,
        description="No traffic reached the candidate, or nothing measures it.",
    )
    on_outage: OnOutage = Field(
        default_factory=OnOutage, description="Prometheus, or the service of a `web` metric, cannot answer."
    )
    on_inconclusive: Annotated[OnInconclusive, Field(strict=False)] | None = Field(
        default=None,
        description="What happens at `stepTimeout` when the evaluations neither passed nor failed: keep holding, "
        "take the next step all the same (`promote`), or roll back. A candidate that seems worse than stable "
        "is held, never promoted. Left out: `hold` where metrics are compared; without comparisons a hold "
        "counts towards `progressDeadline`.",
        examples=["hold"],
    )


class StepAnalysisFields(StrictModel):
    """What changes in the analysis from a step on; what is left out stays as it was."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    warmup: Duration | None = Field(
        default=None, description="Like `analysis.warmup`, from this step on.", examples=["2m"]
    )
    window: PositiveDuration | None = Field(
        default=None, description="Like `analysis.window`, from this step on.", examples=["5m"]
    )
    min_requests: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="Like `analysis.minRequests`, from this step on.",
        examples=[500],
    )
    preset: Annotated[policy.ComparisonPreset, Field(strict=False)] | None = Field(
        default=None,
        description="Like `analysis.preset`, from this step on.",
        examples=["robust"],
    )
    metrics: list[MetricFields] | None = Field(
        default=None,
        description="What is measured from this step on, in place of all metrics before; at least one that is not "
        "`dryRun`.",
        min_length=1,
        max_length=POLICY_METRICS,
        examples=[[{"name": "request-success-rate", "thresholdRange": {"min": 99.5}}]],
    )
    on_no_data: OnNoData | None = Field(
        default=None, description="Like `analysis.onNoData`, from this step on.", examples=[{"hold": "5m"}]
    )
    on_outage: OnOutage | None = Field(
        default=None, description="Like `analysis.onOutage`, from this step on.", examples=[{"hold": "1h"}]
    )
    on_inconclusive: Annotated[OnInconclusive, Field(strict=False)] | None = Field(
        default=None, description="Like `analysis.onInconclusive`, from this step on.", examples=["rollback"]
    )
