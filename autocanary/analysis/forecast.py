"""What a comparison can see at this traffic: how soon harm is caught, and how small it may be.

The evidence of an average block is added up until it is enough. That is a forecast of the middle of the
road: half of the rollouts take longer.

What a rollout's comparison can be expected to see at the traffic it has: said to people, never decided by.

Worked out when somebody looks; it takes a thousand times as long as a look of the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, lgamma, log, sqrt

from autocanary.analysis.e_values import PATHS, gross, log_mean, log_mix, not_worse, worse
from autocanary.analysis.parameters import FACTOR_WEIGHTS, FACTORS, Terms, idle_weight, step_weight, terms_of
from autocanary.model.comparison_summary import Standing
from autocanary.model.measurement import Unit
from autocanary.model.policy import Metric, Policy
from autocanary.model.progress import Progress
from autocanary.model.value_wording import duration, quantity

__all__ = ["caught_after", "outlook", "passes_after", "smallest_caught"]

_HALVINGS = 40
_MOST_BLOCKS = 1_000_000


def caught_after(
    terms: Terms,
    *,
    rps: float,
    weight: float,
    stable: float,
    candidate: float,
    steps: int = 1,
    part: float = 1.0,
) -> float | None:
    """Seconds until a candidate with this failure rate is rolled back; None if never.

    ``rps`` are the requests per second of both revisions, ``weight`` the candidate's percent, ``stable``
    and ``candidate`` fractions. ``part`` is what the metric weighs among all that are compared. The harm is
    there from the first step on.
    """
    growth = _growth(terms, rps, weight, stable, candidate)
    idle, stake = idle_weight(1, steps), log(step_weight(0, steps))
    slow_part, fast_part = PATHS

    def evidence(many: int, each: Sequence[float]) -> float:
        return log_mix([stake + many * one for one in each], FACTOR_WEIGHTS, idle)

    wanted = terms.bound - log(part * slow_part)
    blocks = _first(lambda many: evidence(many, growth) >= wanted)
    times = [] if blocks is None else [blocks * terms.block]
    if not terms.latency:
        look = terms.block / terms.looks
        n_c, n_s = _requests(look, rps, weight)
        sudden = worse(n_c, n_s, [(n_c * candidate, n_s * stable)], terms.fail)[0]
        believed = gross(n_c, n_c * candidate)
        wanted = terms.bound - log(part * fast_part)
        looks = _first(
            lambda many: min(evidence(many, sudden), log_mean([many * each for each in believed])) >= wanted
        )
        times += [] if looks is None else [looks * look]
    return min(times, default=None)


def passes_after(terms: Terms, *, rps: float, weight: float, rate: float) -> float | None:
    """Seconds until a candidate that fails as often as stable is shown to be not worse; None if never."""
    n_c, n_s = _requests(terms.block, rps, weight)
    most = inf if terms.cap is None else log(terms.cap)
    growth = [min(each, most) for each in not_worse(n_c, n_s, [(n_c * rate, n_s * rate)], terms.pass_)[0]]
    blocks = _first(lambda many: log_mean([many * each for each in growth]) >= -log(terms.beta))
    return None if blocks is None else blocks * terms.block


def smallest_caught(
    terms: Terms,
    *,
    rps: float,
    weight: float,
    stable: float,
    within: float,
    steps: int = 1,
    part: float = 1.0,
) -> float | None:
    """The smallest failure rate that is caught within so many seconds; None: not even 100 %."""

    def caught(rate: float) -> bool:
        after = caught_after(
            terms, rps=rps, weight=weight, stable=stable, candidate=rate, steps=steps, part=part
        )
        return after is not None and after <= within

    if not caught(1.0):
        return None
    low, high = stable, 1.0
    for _ in range(_HALVINGS):
        middle = sqrt(low * high) if low > 0.0 else high / 2.0
        if high - low <= 1e-3 * high:
            break
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def _requests(seconds: float, rps: float, weight: float) -> tuple[float, float]:
    """Of both revisions."""
    every = rps * seconds
    return every * weight / 100.0, every * (100.0 - weight) / 100.0


def _growth(terms: Terms, rps: float, weight: float, stable: float, candidate: float) -> list[float]:
    """By how much an average block moves the evidence of each factor, with its cap."""
    n_c, n_s = _requests(terms.block, rps, weight)
    expected = n_c * candidate
    # The cap bites on lucky blocks alone, so the spread of the candidate's failures matters.
    spread = 6.0 * sqrt(expected) + 6.0
    first, last = max(int(expected - spread), 0), int(expected + spread)
    stride = max((last - first) // 60, 1)
    chances = {e: _poisson(e, expected) for e in range(first, last + 1, stride)}
    total = sum(chances.values())
    most = inf if terms.cap is None else log(terms.cap)
    growth = [0.0] * len(FACTORS)
    ratios = worse(n_c, n_s, [(e, n_s * stable) for e in chances], terms.fail)
    for chance, logs in zip(chances.values(), ratios, strict=True):
        for index, each in enumerate(logs):
            growth[index] += chance / total * min(each, most)
    return growth


def _poisson(count: int, mean: float) -> float:
    return exp(count * log(mean) - mean - lgamma(count + 1)) if mean > 0.0 else float(count == 0)


def _first(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of blocks that is enough; more are never less."""
    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST_BLOCKS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


_LEAST_SECONDS, _LEAST_REQUESTS = 30.0, 50.0
_SHARE_OF_METRICS = 0.9  # the traffic share has the rest
_TIMES, _LEAST_TARGET, _MOST_TARGET = 10.0, 0.01, 0.5


def outlook(policy: Policy | None, progress: Progress) -> str:
    """ "at this traffic (3 requests/s, 10 %) 0.1 % → 1 % is caught in about 12m; …"; "" when unknown."""
    weight = progress.weight or 0
    if policy is None or progress.phase.is_final or not 0 < weight < 100:
        return ""
    found = _errors(policy, progress)
    if found is None:
        return ""
    metric, standing = found
    both = standing.candidate.requests + standing.stable.requests
    if standing.seconds < _LEAST_SECONDS or both < _LEAST_REQUESTS or standing.stable.requests <= 0:
        return ""
    assert metric.compare is not None  # noqa: S101 - it has a standing
    terms = terms_of(metric.compare)
    rps, stable = both / standing.seconds, standing.stable.bad / standing.stable.requests
    gating = [each for each in policy.analysis.gating if each.compare is not None]
    part = _SHARE_OF_METRICS / max(len(gating), 1)
    said = _caught(terms, rps, weight, stable, part, len(policy.steps))
    least = _least(terms, rps, weight, stable, part, policy)
    return f"at this traffic ({rps:.3g} requests/s, {weight} % of it) {said}; {least}"


def _errors(policy: Policy, progress: Progress) -> tuple[Metric, Standing] | None:
    for metric in policy.analysis.metrics:
        state = progress.metrics.get(metric.name)
        standing = state.standing if state is not None else None
        of_errors = metric.compare is not None and metric.unit is not Unit.SECONDS
        if of_errors and standing is not None and not standing.note:
            return metric, standing
    return None


def _caught(terms: Terms, rps: float, weight: int, stable: float, part: float, steps: int) -> str:
    target = min(max(_TIMES * stable, _LEAST_TARGET), max(_MOST_TARGET, min(2 * stable, 1.0)))
    after = caught_after(
        terms, rps=rps, weight=weight, stable=stable, candidate=target, steps=steps, part=part
    )
    what = f"{_percent(stable)} → {_percent(target)}"
    return f"{what} is caught in about {duration(after)}" if after is not None else f"{what} is not caught"


def _least(terms: Terms, rps: float, weight: int, stable: float, part: float, policy: Policy) -> str:
    within = sum(step.hold for step in policy.steps if step.weight < 100)
    least = smallest_caught(
        terms, rps=rps, weight=weight, stable=stable, within=within, steps=len(policy.steps), part=part
    )
    if least is None:
        return f"nothing can be caught within the {duration(within)} of the plan's steps"
    points = 100.0 * (least - stable)
    return (
        f"less than {points:.2g} points worse is not caught within the {duration(within)} of the plan's steps"
    )


def _percent(fraction: float) -> str:
    return quantity(round(100.0 * fraction, 2), Unit.PERCENT)
