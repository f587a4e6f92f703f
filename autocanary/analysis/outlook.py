"""What a rollout's comparison can be expected to see at the traffic it has: said to people, never decided by.

Worked out when somebody looks; it takes a thousand times as long as a look of the judge.
"""

from __future__ import annotations

from autocanary.analysis.forecast import caught_after, smallest_caught
from autocanary.analysis.parameters import Terms, terms_of
from autocanary.model.comparison_summary import Standing
from autocanary.model.measurement import Unit
from autocanary.model.policy import Metric, Policy
from autocanary.model.progress import Progress
from autocanary.model.value_wording import duration, quantity

__all__ = ["outlook"]

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
