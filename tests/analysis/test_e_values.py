"""The odds of the comparison: expectations enumerated exactly, and numbers that stay numbers."""

from __future__ import annotations

from itertools import product
from math import comb, exp, inf, isfinite, lgamma, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.analysis.e_values import (
    above_limit_ratios,
    below_share_ratios,
    inferiority_ratios,
    log_add,
    log_mean,
    log_mix,
    multiply,
    non_inferiority_ratios,
)
from autocanary.analysis.parameters import (
    FACTOR_WEIGHTS,
    INFERIORITY_FACTORS,
    NON_INFERIORITY_FACTORS,
    Margin,
)

MARGINS = (Margin(1.0, 0.0), Margin(1.25, 0.0005), Margin(1.25, 0.005), Margin(1.5, 0.005), Margin(1.0, 0.1))
SPLITS = ((1, 9), (9, 1), (6, 6), (1, 1), (2, 14), (0, 5), (5, 0), (12, 3))
RATES = (0.0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.9, 1.0)
ALMOST = 1.0 + 1e-12


def binomial(n: int, p: float) -> list[float]:
    return [comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(n + 1)]


def poisson(mean: float, most: int = 400) -> list[float]:
    return [exp(-mean + k * log(mean) - lgamma(k + 1)) if mean > 0 else float(k == 0) for k in range(most)]


def expectations(odds: object, n_c: int, n_s: int, margin: Margin, of_c: list[float], of_s: list[float]) -> list[float]:
    """E[L] for each factor, by adding up all outcomes."""
    outcomes = [(c, s) for c, s in product(range(len(of_c)), range(len(of_s))) if of_c[c] * of_s[s] > 0.0]
    logs = odds(n_c, n_s, outcomes, margin)  # type: ignore[operator]
    sums = [0.0] * len(logs[0])
    for (c, s), each in zip(outcomes, logs, strict=True):
        chance = of_c[c] * of_s[s]
        for index, value in enumerate(each):
            sums[index] += chance * exp(value)
    return sums


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize(("n_c", "n_s"), SPLITS)
def test_worse_expects_at_most_one_at_the_edge_of_the_margin(n_c: int, n_s: int, margin: Margin) -> None:
    """Bernoulli counts: with the largest tolerable rate no factor's L exceeds 1 on average; nor below it."""
    for p_s in RATES:
        edge = min(margin.ratio * p_s + margin.slack, 1.0)
        for p_c in (edge, edge / 2.0, 0.0):
            found = expectations(inferiority_ratios, n_c, n_s, margin, binomial(n_c, p_c), binomial(n_s, p_s))
            assert max(found) <= ALMOST, (p_s, p_c, found)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize(("n_c", "n_s"), SPLITS)
def test_not_worse_expects_at_most_one_from_the_edge_of_the_margin(n_c: int, n_s: int, margin: Margin) -> None:
    """Bernoulli counts: a candidate at the margin or beyond it is not shown to be fine, on average."""
    for p_s in RATES:
        edge = margin.ratio * p_s + margin.slack
        for p_c in (edge, (edge + 1.0) / 2.0, 1.0):
            if edge > 1.0:
                continue
            found = expectations(non_inferiority_ratios, n_c, n_s, margin, binomial(n_c, p_c), binomial(n_s, p_s))
            assert max(found) <= ALMOST, (p_s, p_c, found)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize(("n_c", "n_s"), [(1, 9), (9, 1), (4, 4)])
def test_both_hold_for_poisson_counts(n_c: int, n_s: int, margin: Margin) -> None:
    """Failures may also be counts without an upper end, as when one request fails several times."""
    for p_s in (0.0, 0.01, 0.3):
        edge = margin.ratio * p_s + margin.slack
        of_c, of_s = poisson(n_c * edge, 60), poisson(n_s * p_s, 60)
        assert max(expectations(inferiority_ratios, n_c, n_s, margin, of_c, of_s)) <= ALMOST
        assert max(expectations(non_inferiority_ratios, n_c, n_s, margin, of_c, of_s)) <= ALMOST


def test_expectation_exceeds_one_without_the_margin() -> None:
    """A candidate just beyond the margin does make some L grow, so the bound above is not an empty one."""
    margin = Margin(1.0, 0.0)
    found = expectations(inferiority_ratios, 10, 10, margin, poisson(10 * 0.2, 80), poisson(10 * 0.1, 80))
    assert max(found) > 1.05
    found = expectations(non_inferiority_ratios, 10, 10, margin, poisson(10 * 0.05, 80), poisson(10 * 0.1, 80))
    assert max(found) > 1.05


def test_without_a_margin_it_is_the_conditional_binomial_test() -> None:
    """Lindon & Malek: given all failures, the candidate's are binomial with its share of the requests."""
    n_c, n_s, e_c, e_s = 20, 180, 7, 9
    for factor, found in zip(
        INFERIORITY_FACTORS, inferiority_ratios(n_c, n_s, [(e_c, e_s)], Margin(1.0, 0.0))[0], strict=True
    ):
        null = n_c / (n_c + n_s)
        other = factor * n_c / (factor * n_c + n_s)
        wanted = e_c * log(other / null) + e_s * log((1 - other) / (1 - null))
        assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.2, 0.8])
def test_above_expects_at_most_one_up_to_the_limit(limit: float) -> None:
    """Bernoulli counts at the limit: exactly 1; below it: less."""
    for n in (1, 5, 30):
        for rate, most in ((limit, 1.0 + 1e-9), (limit / 2, 1.0)):
            sums = [0.0] * len(INFERIORITY_FACTORS)
            for e, chance in enumerate(binomial(n, rate)):
                for index, each in enumerate(above_limit_ratios(n, e, limit)):
                    sums[index] += chance * exp(each)
            assert max(sums) <= most
            if rate == limit:
                assert min(sums) == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.005, 0.05, 0.25])
def test_below_share_expects_at_most_one_from_the_share_on(share: float) -> None:
    """A candidate that completes its share, or more, makes no L grow on average."""
    parts = (0.001, 0.1, 0.3, 0.6)
    for rate in (share, 2 * share, 0.9):
        sums = [0.0] * len(parts)
        for n_c, chance in enumerate(binomial(20, rate)):
            for index, each in enumerate(below_share_ratios(n_c, 20 - n_c, share, parts)):
                sums[index] += chance * exp(each)
        assert max(sums) <= ALMOST


counts = st.integers(0, 10**9)


@given(n_c=counts, n_s=counts, e_c=st.floats(0, 1), e_s=st.floats(0, 1), margin=st.sampled_from(MARGINS))
def test_more_failures_of_the_candidate_are_more_evidence(
    n_c: int, n_s: int, e_c: float, e_s: float, margin: Margin
) -> None:
    """Monotone in both failure counts, in opposite directions, for both tests; always finite."""
    c, s = int(e_c * n_c), int(e_s * n_s)
    for odds, sign in ((inferiority_ratios, 1.0), (non_inferiority_ratios, -1.0)):
        here, more_c, more_s = odds(n_c, n_s, [(c, s), (c + 1, s), (c, s + 1)], margin)
        for a, b, d in zip(here, more_c, more_s, strict=True):
            assert isfinite(a)
            assert sign * b >= sign * a
            assert sign * d <= sign * a


@given(n=counts, part=st.floats(0, 1), limit=st.floats(0, 1))
def test_limit_and_share_ratios_are_finite(n: int, part: float, limit: float) -> None:
    """No rate, share or count makes a logarithm blow up; limits that bound nothing say nothing."""
    assert all(map(isfinite, above_limit_ratios(n, int(part * n), limit)))
    assert all(map(isfinite, below_share_ratios(int(part * n), n, limit, (0.001, 0.6))))
    assert set(above_limit_ratios(n, n, 1.0)) == set(above_limit_ratios(n, n, 0.0)) == {0.0}


def test_no_evidence_when_one_revision_has_no_requests() -> None:
    """n = 0 on either side is no evidence, in either direction."""
    for n_c, n_s in ((0, 50), (50, 0), (0, 0)):
        assert inferiority_ratios(n_c, n_s, [(n_c, n_s)], MARGINS[1]) == [(0.0,) * len(INFERIORITY_FACTORS)]
        assert non_inferiority_ratios(n_c, n_s, [(n_c, n_s)], MARGINS[1]) == [(0.0,) * len(NON_INFERIORITY_FACTORS)]


def test_log_mixtures_do_not_overflow() -> None:
    """Logarithms far beyond the range of a float are added without overflow or a log of zero."""
    assert log_mix([5000.0] * 8, FACTOR_WEIGHTS, 0.3) == pytest.approx(5000.0)
    assert log_mix([-5000.0] * 8, FACTOR_WEIGHTS) == pytest.approx(-5000.0)
    assert log_mix([-5000.0] * 8, FACTOR_WEIGHTS, 0.3) == pytest.approx(log(0.3))
    assert log_mean([-5000.0, -5001.0]) == pytest.approx(-5000.0 + log((1 + exp(-1.0)) / 2))
    assert log_add(1000.0, -1000.0) == log_add(-1000.0, 1000.0) == 1000.0
    assert log_add(-inf, 3.0) == 3.0
    assert log_add(0.0, 0.0) == pytest.approx(log(2.0))


def test_cap_never_adds_evidence() -> None:
    """A product grows by the ratio or by the cap, whichever is less; a loss is never softened."""
    assert multiply((1.0, 1.0, 1.0), (0.5, 9.0, -9.0), 2.0) == (1.5, 3.0, -8.0)
    assert multiply((1.0,), (9.0,)) == (10.0,)
