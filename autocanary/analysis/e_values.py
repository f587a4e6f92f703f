"""The betting odds of the comparison: how many times likelier counts are if the candidate is worse.

Each function gives the logarithms of ratios L whose expectation is at most 1 as long as its null
hypothesis holds, whatever happened before. Products of such ratios are e-processes: by Ville (1939) one
reaches 1/alpha with a probability of at most alpha at any number of evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, log1p
from operator import mul

from autocanary.analysis.parameters import INFERIORITY_FACTORS, NON_INFERIORITY_FACTORS, Margin
from autocanary.model.rate_intervals import wilson_interval

__all__ = [
    "GROSS_LOG_CAP",
    "PATH_WEIGHTS",
    "BadCounts",
    "LogRatios",
    "above_limit_ratios",
    "below_share_ratios",
    "gross_failure_ratios",
    "inferiority_ratios",
    "log_add",
    "log_mean",
    "log_mix",
    "multiply",
    "non_inferiority_ratios",
    "wilson_interval",
]

LogRatios = tuple[float, ...]
BadCounts = Sequence[tuple[float, float]]
"""(e_c, e_s) for each way to be bad."""

PATH_WEIGHTS = (0.9, 0.1)
"""What the capped blocks and the fast path for gross failures weigh in the evidence of failed requests."""

_GROSS = tuple((log(rate / 0.2), log((1.0 - rate) / 0.8)) for rate in (0.4, 0.7, 0.95, 0.999))
GROSS_LOG_CAP = 4.5
"""The most that one evaluation adds to ``gross_failure_ratios``: two are enough for a rollback, one is not."""

_NO_EVIDENCE = (0.0,) * len(INFERIORITY_FACTORS)
_NO_NON_INFERIORITY = (0.0,) * len(NON_INFERIORITY_FACTORS)
_LOG_FACTORS = tuple(log(factor) for factor in INFERIORITY_FACTORS)
_LOG_NON_INFERIORITY_FACTORS = tuple(log(factor) for factor in NON_INFERIORITY_FACTORS)


def inferiority_ratios(n_c: float, n_s: float, bad: BadCounts, margin: Margin) -> list[LogRatios]:
    """For each outcome's (e_c, e_s) and each factor: log L against "the candidate is within the margin".

    The margin allows p_c <= r p_s + slack. L = a^e_c * b^e_s * exp(-slack * n_c * (a - 1)) with
    b = (r n_c + n_s) / (r g n_c + n_s), a = g b. Then E[L] <= exp(n_c (a-1) (p_c - slack) + n_s (b-1) p_s),
    because log(1 + x) <= x, and n_s (1 - b) = r n_c (a - 1): the exponent is at most 0. This holds for
    Bernoulli and for Poisson counts, for any stable rate and any split. Without a margin it is the
    conditional test of Lindon & Malek (NeurIPS 2022).
    """
    if n_c <= 0 or n_s <= 0:
        return [_NO_EVIDENCE] * len(bad)
    ratio, slack = margin
    weighted = ratio * n_c
    odds = []
    for factor in INFERIORITY_FACTORS:
        whole = factor * weighted + n_s
        # a - 1 and b - 1 without a cancellation: with one side almost empty both are tiny.
        up = (factor - 1.0) * n_s / whole
        odds.append((log1p(up), log1p((1.0 - factor) * weighted / whole), slack * n_c * up))
    return [tuple([e_c * log_a + e_s * log_b - paid for log_a, log_b, paid in odds]) for e_c, e_s in bad]


def non_inferiority_ratios(n_c: float, n_s: float, bad: BadCounts, margin: Margin) -> list[LogRatios]:
    """For each outcome and each of ``NON_INFERIORITY_FACTORS``: log L against "the candidate is beyond the margin".

    L = a^e_c * b^e_s * exp(slack * n_c * (1 - a)) with a < 1 and b = 1 + r (n_c / n_s) (1 - a); the bound
    is that of ``inferiority_ratios`` with the signs turned.
    """
    if n_c <= 0 or n_s <= 0:
        return [_NO_NON_INFERIORITY] * len(bad)
    ratio, slack = margin
    share = ratio * n_c / n_s
    odds = [
        (log_factor, log1p(share * (1.0 - factor)), slack * n_c * (1.0 - factor))
        for factor, log_factor in zip(NON_INFERIORITY_FACTORS, _LOG_NON_INFERIORITY_FACTORS, strict=True)
    ]
    return [tuple([e_c * log_a + e_s * log_b + paid for log_a, log_b, paid in odds]) for e_c, e_s in bad]


def above_limit_ratios(n: float, e: float, limit: float) -> LogRatios:
    """For each of FACTORS: log L against "at most this fraction fails", the odds being that many times up.

    The binomial likelihood ratio of q against p0 = limit, q / (1 - q) = g p0 / (1 - p0) (Wald 1945).
    """
    if n <= 0 or not 0.0 < limit < 1.0:
        return _NO_EVIDENCE
    return tuple(
        e * log_factor - n * log1p((factor - 1.0) * limit)
        for factor, log_factor in zip(INFERIORITY_FACTORS, _LOG_FACTORS, strict=True)
    )


def below_share_ratios(n_c: float, n_s: float, share: float, parts: Sequence[float]) -> LogRatios:
    """For each of ``parts``: log L against "at least this share of the requests is the candidate's"."""
    if n_c + n_s <= 0 or not 0.0 < share < 1.0:
        return (0.0,) * len(parts)
    return tuple(n_c * log(part) + n_s * (log1p(-part * share) - log1p(-share)) for part in parts)


def gross_failure_ratios(n: float, e: float) -> LogRatios:
    """For each of several rates: log L that most requests fail, against a failure rate of 20 %."""
    return tuple([e * up + (n - e) * down for up, down in _GROSS])


def log_mix(logs: Sequence[float], weights: Sequence[float], rest: float = 0.0) -> float:
    """log(sum of weight * exp(log) + rest), without overflow."""
    highest = max(*logs, 0.0) if rest > 0.0 else max(logs)
    total = sum(map(mul, weights, map(exp, [each - highest for each in logs])))
    return highest + log(total + rest * exp(-highest) if rest > 0.0 else total)


def log_mean(logs: Sequence[float]) -> float:
    """log(mean of exp(log))."""
    highest = max(logs)
    return highest + log(sum(map(exp, [each - highest for each in logs])) / len(logs))


def multiply(logs: LogRatios, more: LogRatios, log_cap: float = inf) -> LogRatios:
    """The product of e-processes and one more ratio each, of which no more than ``log_cap`` counts.

    min(L, cap) <= L, so the expectation stays at most 1.
    """
    return tuple([each + (grown if grown < log_cap else log_cap) for each, grown in zip(logs, more, strict=True)])


def log_add(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    high, low = (one, other) if one >= other else (other, one)
    return high if low == -inf else high + log1p(exp(low - high))
