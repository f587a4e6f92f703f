"""All comparisons of one rollout: what must survive a restart, and what they say together.

One mean of evidence (Vovk & Wang, AoS 2021) covers all metrics, all steps and all evaluations, so the chance
that a healthy candidate is rolled back need not be shared out among them. It is latched: evidence that
was once sufficient stays so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

from autocanary.analysis.count_blocks import BlockUpdate
from autocanary.analysis.e_values import log_mix
from autocanary.analysis.parameters import (
    STEP_GATE,
    SUSPICIOUS_E_VALUE,
    ComparisonParameters,
    gate,
    is_last_gate,
)
from autocanary.analysis.sequential_test import (
    Comparison,
    evidence_within_block,
    new_comparison,
    update_comparison,
)
from autocanary.analysis.service_health import ServiceHealth
from autocanary.analysis.traffic_share import TrafficShare, update_share
from autocanary.model.measurement import RequestCounters

__all__ = ["TRAFFIC_SHARE", "CombinedEvidence", "Comparisons", "combine_evidence", "update_comparisons"]

TRAFFIC_SHARE = "traffic-share"
"""The name of the traffic-share test among the metrics of ``CombinedEvidence.contribution``."""

_SHARE_WEIGHT = 0.1
_ROUNDING = 1e-12
_NEW_SHARE = TrafficShare()
_NEW_HEALTH = ServiceHealth()
_NEW_COMPARISON = new_comparison()
_NONE_ELSEWHERE: Mapping[str, ComparisonParameters] = {}
_P99 = 0.99


@dataclass(frozen=True, slots=True)
class CombinedEvidence:
    """What all comparisons of a rollout say now.

    ``log_e`` is the logarithm of the evidence against the candidate and ``bound`` the one that fails it.
    ``inferiority`` is each metric's own evidence that it is worse, and ``non_inferiority`` the evidence that it
    is not, as a part (0 to 1) of what this step needs to pass. ``contribution`` is each metric's part of the
    evidence against the candidate (they sum to 1). ``latched`` says that it has been enough at this or an
    earlier evaluation. ``passed`` are the metrics that were shown to be not worse. ``beyond_limit`` are those
    whose candidate alone is beyond its absolute limit: a reason to pause, not to roll back.
    """

    log_e: float
    bound: float
    inferiority: Mapping[str, float]
    non_inferiority: Mapping[str, float]
    contribution: Mapping[str, float]
    latched: bool
    passed: tuple[str, ...] = ()
    beyond_limit: tuple[str, ...] = ()

    @property
    def evidence_percent(self) -> float:
        """Percent of the way to a rollback, 0..100, on a logarithmic scale."""
        return 100.0 * min(max(self.log_e / self.bound, 0.0), 1.0)

    @property
    def suspicious(self) -> bool:
        """Not enough to roll back, too much to go on."""
        return self.log_e >= log(SUSPICIOUS_E_VALUE)

    @property
    def largest_contributor(self) -> str:
        """The metric that carries most of the evidence; "" when there is none."""
        return max(self.contribution, key=lambda name: self.contribution[name], default="")


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The state of all comparisons of a rollout; ``Comparisons()`` at its beginning."""

    metrics: Mapping[str, Comparison] = field(default_factory=dict)
    share: TrafficShare = _NEW_SHARE
    latched: bool = False
    health: ServiceHealth = _NEW_HEALTH

    def frozen(self, names: Collection[str]) -> dict[str, Comparison]:
        """The states of metrics that are not compared now; a new one where it never was."""
        return {name: self.metrics.get(name, _NEW_COMPARISON) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "metrics": {name: each.to_dict() for name, each in self.metrics.items()},
            "share": self.share.to_dict(),
            "health": self.health.to_list(),
        }
        if self.latched:
            raw["latched"] = True
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Comparisons:
        return cls(
            metrics={name: Comparison.from_dict(each) for name, each in raw["metrics"].items()},
            share=TrafficShare.from_dict(raw["share"]),
            latched=raw.get("latched", False),
            health=ServiceHealth.from_list(raw["health"]),
        )


def update_comparisons(
    comparisons: Comparisons,
    parameters: Mapping[str, ComparisonParameters],
    counters: Mapping[str, RequestCounters | None],
    *,
    step: int,
    steps: int,
    weight: int,
    limits: Mapping[str, float] | None = None,
    warming: bool = False,
    gating: Collection[str] | None = None,
    elsewhere: Mapping[str, ComparisonParameters] = _NONE_ELSEWHERE,
    not_of_requests: Collection[str] = (),
) -> tuple[Comparisons, CombinedEvidence]:
    """One evaluation of all metrics that have ``parameters``; the arguments are those of ``update_comparison``.

    ``limits`` holds the absolute limit of the metrics that have one. Only ``gating`` metrics (None: all)
    count; the others are kept and shown. The traffic share and the service's health are taken from the first
    gating metric that counts requests: those ``not_of_requests`` count something else, such as judged answers.
    ``elsewhere`` are the parameters of metrics that decide at other steps alone: their states are kept as they are,
    and they count in the mean, or its weights would depend on what was counted.
    """
    dropped_seconds = max([_stable_p99(each) for each in counters.values() if each is not None], default=0.0)
    decisive = {name: each for name, each in parameters.items() if gating is None or name in gating}
    share, health = comparisons.share, comparisons.health
    for name in [each for each in decisive if each not in not_of_requests][:1]:
        share, block_update = update_share(
            share,
            decisive[name],
            counters.get(name),
            step=step,
            steps=steps,
            weight=weight,
            warming=warming,
            dropped_seconds=dropped_seconds,
        )
        health = _with_blocks(health, block_update, weight)
    metrics = {
        name: update_comparison(
            comparisons.metrics.get(name, new_comparison()),
            each,
            counters.get(name),
            slo=(limits or {}).get(name),
            step=step,
            steps=steps,
            weight=weight,
            warming=warming,
            outage=health.stable_in_outage,
            dropped_seconds=dropped_seconds,
        )
        for name, each in parameters.items()
    }
    frozen = comparisons.frozen(elsewhere)
    conclusion = combine_evidence(
        {name: metrics[name] for name in decisive} | frozen,
        {**decisive, **elsewhere},
        share,
        latched=comparisons.latched,
        step=step,
        steps=steps,
        frozen=frozen,
        limits=limits,
    )
    kept = {name: each for name, each in comparisons.metrics.items() if name in elsewhere}
    metrics = kept | metrics if kept else metrics
    return Comparisons(metrics, share, conclusion.latched, health), conclusion


def _with_blocks(health: ServiceHealth, block_update: BlockUpdate, weight: int) -> ServiceHealth:
    if block_update.before is not None:
        health = health.add(block_update.before, block_update.before_weight)
    return health.add(block_update.block, weight) if block_update.block is not None else health


def _stable_p99(counters: RequestCounters) -> float:
    """Seconds within which stable completes 99 % of what succeeds; 0 where no histogram says."""
    stable = counters.stable
    wanted = _P99 * (stable.requests - stable.errors)
    if wanted <= 0.0 or not counters.bounds:
        return 0.0
    reached = zip(counters.bounds, stable.bucket_counts, strict=False)
    return next((bound for bound, within in reached if within >= wanted), counters.bounds[-1])


def combine_evidence(
    states: Mapping[str, Comparison],
    parameters: Mapping[str, ComparisonParameters],
    share: TrafficShare | None = None,
    *,
    latched: bool = False,
    step: int = 0,
    steps: int = 1,
    frozen: Collection[str] = (),
    limits: Mapping[str, float] | None = None,
) -> CombinedEvidence:
    """Several metrics and the traffic share as one evidence; ``latched`` is what the last evaluation found.

    The strictest metric's alpha holds for the rollout. ``frozen`` metrics count against the candidate, and no step
    waits for them. Evidence that would not be enough with the counts that it waits for (``evidence_within_block``)
    is not enough.
    """
    if not states:
        return CombinedEvidence(0.0, ComparisonParameters().bound, {}, {}, {}, latched)
    inferiority = {name: each.evidence for name, each in states.items()}
    non_inferiority = {}
    for name, each in states.items():
        of_rollout, of_step = each.passing_evidence(last_gate=is_last_gate(step, steps))
        non_inferiority[name] = min(of_rollout / log(gate(parameters[name], step, steps)), of_step / log(STEP_GATE))
    of_share = 0.0 if share is None else _SHARE_WEIGHT
    parts = {name: ((1.0 - of_share) / len(states), each) for name, each in inferiority.items()}
    if share is not None:
        parts[TRAFFIC_SHARE] = (of_share, share.evidence)
    weights = [weight for weight, _ in parts.values()]
    log_e = log_mix([each for _, each in parts.values()], weights)
    bound = max(parameters[name].bound for name in states)
    enough = bound - _ROUNDING
    if not latched and log_e >= enough:
        early = [
            evidence_within_block(each, parameters[name], (limits or {}).get(name)) for name, each in states.items()
        ]
        latched = log_mix(early if share is None else [*early, share.evidence_within_block()], weights) >= enough
    passed = tuple([name for name, each in non_inferiority.items() if each >= 1.0 - _ROUNDING and name not in frozen])
    return CombinedEvidence(
        log_e=log_e,
        bound=bound,
        inferiority=inferiority,
        non_inferiority=non_inferiority,
        contribution={name: weight * exp(each - log_e) for name, (weight, each) in parts.items()},
        latched=latched,
        passed=passed,
        beyond_limit=tuple(
            name
            for name, each in states.items()
            if name not in frozen and each.beyond_limit is not None and each.beyond_limit >= parameters[name].bound
        ),
    )
