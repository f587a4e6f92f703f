"""What a comparison can see at this traffic: how soon harm is found, and how small it may be.

The evidence of an average block is added up until it is enough. That is a forecast of the middle of the
road: half of the rollouts take longer.

What a rollout's comparison can be expected to see at the traffic it has. Users read it; no decision uses it.

Worked out on request: it takes a thousand times as long as an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, lgamma, log, sqrt

from autocanary.analysis.e_values import (
    PATH_WEIGHTS,
    gross_failure_ratios,
    inferiority_ratios,
    log_mean,
    log_mix,
)
from autocanary.analysis.parameters import (
    FACTOR_WEIGHTS,
    INFERIORITY_FACTORS,
    ComparisonParameters,
    parameters_of,
)
from autocanary.analysis.start_weights import step_weight
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.measurement import Unit
from autocanary.model.policy import Metric, Policy
from autocanary.model.progress import Progress
from autocanary.model.value_wording import format_duration, format_value

__all__ = ["forecast_text", "seconds_to_rollback", "smallest_detectable_rate"]

_BISECTIONS = 40
_MAX_BLOCKS = 1_000_000


def seconds_to_rollback(
    parameters: ComparisonParameters,
    *,
    rps: float,
    weight: float,
    stable: float,
    candidate: float,
    steps: int = 1,
    metric_weight: float = 1.0,
) -> float | None:
    """Seconds until a candidate with this failure rate is rolled back; None if never.

    ``rps`` are the requests per second of both revisions, ``weight`` the candidate's percent, ``stable``
    and ``candidate`` fractions. ``metric_weight`` is what the metric weighs among all that are compared. The
    harm is there from the first step on.
    """
    growth = _growth_per_block(parameters, rps, weight, stable, candidate)
    first_weight = step_weight(0, steps)
    unused_weight, mixture_weight = 1.0 - first_weight, log(first_weight)
    slow_part, fast_part = PATH_WEIGHTS

    def evidence(many: int, each: Sequence[float]) -> float:
        return log_mix([mixture_weight + many * one for one in each], FACTOR_WEIGHTS, unused_weight)

    wanted = parameters.bound - log(metric_weight * slow_part)
    blocks = _smallest_sufficient(lambda many: evidence(many, growth) >= wanted)
    times = [] if blocks is None else [blocks * parameters.block]
    if not parameters.latency:
        sample_seconds = parameters.block / parameters.samples
        n_c, n_s = _requests(sample_seconds, rps, weight)
        uncapped_ratios = inferiority_ratios(n_c, n_s, [(n_c * candidate, n_s * stable)], parameters.fail_margin)[0]
        believed = gross_failure_ratios(n_c, n_c * candidate)
        wanted = parameters.bound - log(metric_weight * fast_part)
        samples = _smallest_sufficient(
            lambda many: min(evidence(many, uncapped_ratios), log_mean([many * each for each in believed])) >= wanted
        )
        # One more: the fast path waits until the candidate's counts, an evaluation late, say the same.
        times += [] if samples is None else [(samples + 1) * sample_seconds]
    return min(times, default=None)


def smallest_detectable_rate(
    parameters: ComparisonParameters,
    *,
    rps: float,
    weight: float,
    stable: float,
    within: float,
    steps: int = 1,
    metric_weight: float = 1.0,
) -> float | None:
    """The smallest failure rate that is found within so many seconds; None: not even 100 %."""

    def is_detected(rate: float) -> bool:
        after = seconds_to_rollback(
            parameters,
            rps=rps,
            weight=weight,
            stable=stable,
            candidate=rate,
            steps=steps,
            metric_weight=metric_weight,
        )
        return after is not None and after <= within

    if not is_detected(1.0):
        return None
    low, high = stable, 1.0
    for _ in range(_BISECTIONS):
        middle = sqrt(low * high) if low > 0.0 else high / 2.0
        if high - low <= 1e-3 * high:
            break
        low, high = (low, middle) if is_detected(middle) else (middle, high)
    return high


def _requests(seconds: float, rps: float, weight: float) -> tuple[float, float]:
    """Of both revisions."""
    every = rps * seconds
    return every * weight / 100.0, every * (100.0 - weight) / 100.0


def _growth_per_block(
    parameters: ComparisonParameters, rps: float, weight: float, stable: float, candidate: float
) -> list[float]:
    """By how much an average block moves the evidence of each factor, with its cap."""
    n_c, n_s = _requests(parameters.block, rps, weight)
    expected = n_c * candidate
    # The cap bites on lucky blocks alone, so the spread of the candidate's failures matters.
    spread = 6.0 * sqrt(expected) + 6.0
    first, last = max(int(expected - spread), 0), int(expected + spread)
    stride = max((last - first) // 60, 1)
    chances = {e: _poisson(e, expected) for e in range(first, last + 1, stride)}
    total = sum(chances.values())
    log_cap = inf if parameters.cap is None else log(parameters.cap)
    growth = [0.0] * len(INFERIORITY_FACTORS)
    ratios = inferiority_ratios(n_c, n_s, [(e, n_s * stable) for e in chances], parameters.fail_margin)
    for chance, logs in zip(chances.values(), ratios, strict=True):
        for index, each in enumerate(logs):
            growth[index] += chance / total * min(each, log_cap)
    return growth


def _poisson(count: int, mean: float) -> float:
    return exp(count * log(mean) - mean - lgamma(count + 1)) if mean > 0.0 else float(count == 0)


def _smallest_sufficient(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of blocks that is enough; more are never less."""
    high = 1
    while not enough(high):
        high *= 2
        if high > _MAX_BLOCKS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


_MIN_SECONDS, _MIN_REQUESTS = 30.0, 50.0
_SHARE_OF_METRICS = 0.9  # the traffic share has the rest
_TARGET_FACTOR, _MIN_TARGET, _MAX_TARGET = 10.0, 0.01, 0.5


def forecast_text(policy: Policy | None, progress: Progress) -> str:
    """ "at this traffic (3 requests/s, 10 %) 0.1 % → 1 % is detected in about 12m; …"; "" when unknown."""
    weight = progress.step.weight or 0
    if policy is None or progress.phase.is_final or not 0 < weight < 100:
        return ""
    found = _first_error_comparison(policy, progress)
    if found is None:
        return ""
    metric, comparison_summary = found
    both = comparison_summary.candidate.requests + comparison_summary.stable.requests
    if comparison_summary.seconds < _MIN_SECONDS or both < _MIN_REQUESTS or comparison_summary.stable.requests <= 0:
        return ""
    assert metric.compare is not None  # noqa: S101 - it has a summary
    parameters = parameters_of(metric.compare)
    rps, stable = (
        both / comparison_summary.seconds,
        comparison_summary.stable.bad / comparison_summary.stable.requests,
    )
    gating = [each for each in policy.analysis.gating if each.compare is not None]
    metric_weight = _SHARE_OF_METRICS / max(len(gating), 1)
    said = _detection_time_text(parameters, rps, weight, stable, metric_weight, len(policy.steps))
    least = _smallest_detectable_text(parameters, rps, weight, stable, metric_weight, policy)
    return f"at this traffic ({rps:.3g} requests/s, {weight} % of it) {said}; {least}"


def _first_error_comparison(policy: Policy, progress: Progress) -> tuple[Metric, ComparisonSummary] | None:
    for metric in policy.analysis.metrics:
        state = progress.analysis.metrics.get(metric.name)
        comparison_summary = state.comparison_summary if state is not None else None
        of_errors = metric.compare is not None and metric.unit is not Unit.SECONDS
        if of_errors and comparison_summary is not None and not comparison_summary.not_compared_reason:
            return metric, comparison_summary
    return None


def _detection_time_text(
    parameters: ComparisonParameters, rps: float, weight: int, stable: float, metric_weight: float, steps: int
) -> str:
    target = min(max(_TARGET_FACTOR * stable, _MIN_TARGET), max(_MAX_TARGET, min(2 * stable, 1.0)))
    after = seconds_to_rollback(
        parameters,
        rps=rps,
        weight=weight,
        stable=stable,
        candidate=target,
        steps=steps,
        metric_weight=metric_weight,
    )
    what = f"{_percent(stable)} → {_percent(target)}"
    return f"{what} is detected in about {format_duration(after)}" if after is not None else f"{what} is not detected"


def _smallest_detectable_text(
    parameters: ComparisonParameters,
    rps: float,
    weight: int,
    stable: float,
    metric_weight: float,
    policy: Policy,
) -> str:
    within = sum(step.hold for step in policy.steps if step.weight < 100)
    least = smallest_detectable_rate(
        parameters,
        rps=rps,
        weight=weight,
        stable=stable,
        within=within,
        steps=len(policy.steps),
        metric_weight=metric_weight,
    )
    if least is None:
        return f"nothing can be detected within the {format_duration(within)} of the plan's steps"
    points = 100.0 * (least - stable)
    return (
        f"less than {points:.2g} points worse is not detected within the {format_duration(within)} of the plan's steps"
    )


def _percent(fraction: float) -> str:
    return format_value(round(100.0 * fraction, 2), Unit.PERCENT)
