"""The `analysis` part of a policy document: how the candidate is measured and held against limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from autocanary.core.policy import Then
from autocanary.core.reading import Source
from autocanary.policyfile.fields import Bound, HoldTime, LookTime, MetricName, Quantile, Strict
from autocanary.policyfile.presets import PRESETS

__all__ = ["Analysis", "Metric", "OnNoData", "OnOutage", "ThresholdRange"]

_PRESET_OR_QUERY: JsonDict = {
    "anyOf": [{"required": ["query"]}, {"properties": {"name": {"enum": [*PRESETS]}}}],
}


class ThresholdRange(Strict):
    """Inclusive limits, in the metric's unit; at least one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    min: Bound | None = Field(default=None, description="Below this is a breach.", examples=[99, "99.5%"])
    max: Bound | None = Field(
        default=None, description="Above this is a breach.", examples=["500ms", "0.5%", 0]
    )


class Metric(Strict):
    """One thing that is measured on the candidate."""

    model_config = ConfigDict(json_schema_extra=_PRESET_OR_QUERY)

    name: MetricName = Field(
        description="A preset's name, or any other name together with `query`. Each name once.",
        examples=["request-success-rate", "prediction-drift"],
    )
    threshold_range: ThresholdRange = Field(
        description="Inclusive limits: percent for rates (`99` is 99 %), durations with their unit for times "
        "(`500ms`), plain numbers for queries of your own.",
        examples=[{"min": 99}, {"max": "500ms"}],
    )
    query: str | None = Field(
        default=None,
        description="PromQL of your own that answers one number. Placeholders in double braces are filled "
        "in: `{{ namespace }}`, `{{ service }}`, `{{ component }}`, `{{ revision }}` (the candidate), "
        "`{{ stableRevision }}` and `{{ window }}`; as in Flagger, `{{ name }}` is the service and "
        "`{{ interval }}` the window. Names stand in quotes, the window does not.",
        examples=['sum(increase(drift_alerts_total{revision="{{ revision }}"}[{{ window }}]))'],
    )
    quantile: Quantile | None = Field(
        default=None,
        description="Which quantile of a duration is held against the limits; 0.99 when left out. Only for "
        "the presets that are durations.",
        examples=[0.99],
    )
    failure_limit: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="The rollout fails at this many breaches within one step (reached, not exceeded).",
        examples=[3],
    )
    consecutive: bool = Field(
        default=False,
        description="Whether a look within the limits erases earlier breaches; without it they add up within "
        "a step.",
    )
    dry_run: bool = Field(default=False, description="Judged and shown, never acted on.")
    min_requests: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="Like `analysis.minRequests`, for this metric alone.",
        examples=[200],
    )
    window: LookTime | None = Field(
        default=None, description="Like `analysis.window`, for this metric alone.", examples=["5m"]
    )


class OnNoData(Strict):
    """What happens while no traffic reaches the candidate, or nothing measures it."""

    hold: HoldTime = Field(default=600.0, description="How long the weight is held.", examples=["10m"])
    then: Annotated[Then, Field(strict=False)] = Field(
        default=Then.ROLLBACK, description="What follows: keep holding, roll back, or pause for a person."
    )


class OnOutage(Strict):
    """What happens while Prometheus cannot answer; that says nothing about the candidate."""

    hold: HoldTime = Field(default=1800.0, description="How long the weight is held.", examples=["30m"])
    then: Annotated[Then, Field(strict=False)] = Field(
        default=Then.HOLD, description="What follows: keep holding, roll back, or pause for a person."
    )


class Analysis(Strict):
    """What is measured on the candidate, how often, and what happens when nothing can be."""

    interval: LookTime = Field(
        default=15.0, description="How often the candidate is judged.", examples=["15s"]
    )
    warmup: HoldTime = Field(
        default=30.0, description="How long after each change of weight nothing is judged.", examples=["30s"]
    )
    source: Annotated[Source, Field(strict=False)] = Field(
        default=Source.AUTO,
        description="Who measures the requests; `auto` finds out which source has data for the service.",
    )
    window: LookTime = Field(
        default=60.0,
        description="The range over which rates and quantiles are computed. At least two scrapes of "
        "Prometheus.",
        examples=["1m"],
    )
    min_requests: int = Field(
        default=50,
        ge=0,
        le=1_000_000_000,
        description="With fewer requests than this in the window a metric is inconclusive: neither passed "
        "nor breached, and the rollout does not go on.",
    )
    metrics: list[Metric] = Field(
        description="What is measured; at least one metric that is not `dryRun`.",
        min_length=1,
        max_length=50,
        examples=[[{"name": "request-success-rate", "thresholdRange": {"min": 99}}]],
    )
    on_no_data: OnNoData = Field(
        default_factory=OnNoData,
        description="No traffic reached the candidate, or nothing measures it.",
    )
    on_outage: OnOutage = Field(default_factory=OnOutage, description="Prometheus cannot answer.")
