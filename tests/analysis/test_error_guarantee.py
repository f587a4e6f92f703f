"""The promise of the comparison, held by the real state machine: by adding up every outcome, and by force."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import product
from math import comb, exp

import pytest

from autocanary.analysis.count_blocks import Tally
from autocanary.analysis.parameters import Margin, Terms
from autocanary.analysis.sequential_test import Comparison, begin, looked
from autocanary.analysis.traffic_share import Share, watched
from autocanary.model.measurement import Counters, Totals

ALMOST = 1.0 + 1e-9


@dataclass(frozen=True)
class Look:
    """One look's truth: requests of both sides, stable's rate, and where the rollout is."""

    n_c: int
    n_s: int
    p_s: float
    step: int = 0
    weight: int = 20


def binomial(n: int, p: float) -> list[float]:
    return [comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(n + 1)]


class Walk:
    """A comparison fed with increments."""

    def __init__(self, terms: Terms, steps: int, slo: float | None = None) -> None:
        self.terms, self.steps, self.slo = terms, steps, slo
        self.start = looked(
            begin(), terms, Counters("one", 0.0, Totals(), Totals()), step=0, steps=steps, weight=20, slo=slo
        )

    def on(self, state: Comparison, look: Look, e_c: int, e_s: int) -> Comparison:
        n_c, o_c, n_s, o_s = state.intake.totals.lane(0)
        seen = Counters(
            "one",
            state.intake.at + 10.0,
            Totals(float(n_c + look.n_c), float(o_c + e_c)),
            Totals(float(n_s + look.n_s), float(o_s + e_s)),
        )
        after = looked(
            state, self.terms, seen, step=look.step, steps=self.steps, weight=look.weight, slo=self.slo
        )
        # What was counted before changes nothing that follows: without it, many paths are the same state.
        none = Tally(0, 0, ((0, 0),))
        return replace(after, intake=replace(after.intake, totals=none), total=none)


def expected_at_stop(walk: Walk, plan: list[Look], stop: float) -> tuple[float, float]:
    """E[E at the first look with E >= stop, or at the end], and the chance that it ever is."""
    alive: dict[Comparison, float] = {walk.start: 1.0}
    total = crossed = 0.0
    for look in plan:
        p_c = min(walk.terms.fail.ratio * look.p_s + walk.terms.fail.slack, 1.0)
        of_c, of_s = binomial(look.n_c, p_c), binomial(look.n_s, look.p_s)
        following: dict[Comparison, float] = {}
        for state, chance in alive.items():
            for e_c, e_s in product(range(look.n_c + 1), range(look.n_s + 1)):
                here = chance * of_c[e_c] * of_s[e_s]
                if here <= 0.0:
                    continue
                after = walk.on(state, look, e_c, e_s)
                if exp(after.evidence) >= stop:
                    total += here * exp(after.evidence)
                    crossed += here
                else:
                    following[after] = following.get(after, 0.0) + here
        alive = following
    return total + sum(chance * exp(state.evidence) for state, chance in alive.items()), crossed


PLANS = {
    "one step": [Look(2, 2, 0.3), Look(1, 3, 0.05), Look(2, 2, 0.6)],
    "stable's rate jumps": [Look(1, 2, 0.0), Look(2, 1, 0.9), Look(1, 3, 0.01), Look(1, 2, 0.5)],
    "load swings": [Look(1, 1, 0.5), Look(5, 6, 0.2), Look(0, 5, 0.5), Look(1, 1, 0.9)],
    "two steps": [Look(2, 2, 0.4), Look(2, 3, 0.4, 1, 50), Look(2, 2, 0.2, 1, 50), Look(2, 1, 0.7, 1, 50)],
    "three steps": [
        Look(2, 1, 0.4),
        Look(2, 2, 0.4, 1, 50),
        Look(1, 2, 0.4, 1, 50),
        Look(2, 1, 0.7, 1, 50),
        Look(1, 1, 0.4, 2, 80),
        Look(1, 1, 0.6, 2, 80),
    ],
    "a step is left out": [
        Look(1, 2, 0.4),
        Look(1, 1, 0.4, 2, 50),
        Look(1, 1, 0.2, 2, 50),
        Look(2, 2, 0.7, 2, 50),
    ],
    "split changes within a step": [Look(2, 2, 0.4), Look(1, 1, 0.4, 0, 60), Look(3, 1, 0.7, 0, 60)],
}
TERMS = {
    "capped": Terms(block=10.0, looks=1, cap=3.0, fail=Margin(1.25, 0.01)),
    "tight cap": Terms(block=10.0, looks=1, cap=1.2, fail=Margin(1.0, 0.0)),
    "uncapped": Terms(block=10.0, looks=1, cap=None, fail=Margin(1.25, 0.0005)),
    "uncapped, no margin": Terms(block=10.0, looks=1, cap=None, fail=Margin(1.0, 0.0)),
    "blocks of two": Terms(block=20.0, looks=2, cap=3.0, fail=Margin(1.0, 0.02)),
}


@pytest.mark.parametrize("stop", [1.5, 1e9])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS.keys())
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_evidence_expects_at_most_one_whenever_one_stops(
    plan: list[Look], terms: Terms, steps: int, stop: float
) -> None:
    """At the edge of the margin, through steps, caps, blocks and drops: E of the evidence is at most 1."""
    mean, crossed = expected_at_stop(Walk(terms, steps), plan, stop)
    assert mean <= ALMOST
    assert crossed <= 1.0 / stop


def test_the_enumeration_would_notice() -> None:
    """Beyond the margin the mean is far above 1, so the plans above are not too short to show anything."""
    walk = Walk(Terms(block=10.0, looks=1, cap=None, fail=Margin(1.0, 0.0)), 1)
    state = walk.start
    mean = 0.0
    of_c, of_s = binomial(6, 0.6), binomial(6, 0.1)
    for e_c, e_s in product(range(7), range(7)):
        mean += of_c[e_c] * of_s[e_s] * exp(walk.on(state, Look(6, 6, 0.1), e_c, e_s).evidence)
    assert mean > 2.0


def test_a_limit_only_takes_evidence_away() -> None:
    """With an absolute limit the evidence is at most what it is without."""
    terms = TERMS["capped"]
    with_limit, without = Walk(terms, 2, slo=0.2), Walk(terms, 2)
    one, other = with_limit.start, without.start
    rng = random.Random(3)
    for tick in range(60):
        look = Look(9, 20, 0.1, step=tick // 30)
        e_c, e_s = rng.randint(0, 9), rng.randint(0, 4)
        one, other = with_limit.on(one, look, e_c, e_s), without.on(other, look, e_c, e_s)
        assert one.evidence <= other.evidence
    assert one.beyond is not None
    assert one.beyond > 3.0
    assert other.beyond is None


def adversary(seed: int, terms: Terms) -> tuple[float, float]:
    """The highest evidence of a healthy rollout and its shares, in a world that changes against it."""
    rng = random.Random(seed)
    counts = [0.0] * 4
    p_s, load = 0.01, 20
    state, share, highest, least = begin(), Share(), 0.0, 0.0
    weight = step = 0
    for tick in range(160):
        if tick % 40 == 0:
            step, weight = tick // 40, rng.choice([5, 10, 30, 60])
        elif rng.random() < 0.01:
            weight = rng.choice([5, 10, 30, 60])
        if tick % rng.choice([5, 9, 20]) == 0:
            p_s = rng.choice([0.0, 0.001, 0.01, 0.05, 0.3, 0.9])
            load = rng.choice([2, 20, 200])
        # An opponent who knows the evidence changes the world when it stands high.
        if state.evidence > 1.0:
            p_s, load = rng.choice([(0.9, 2), (0.002, 200), (0.3, 20)])
        n = rng.randint(load // 2, load)
        n_c = sum(rng.random() < weight / 100.0 for _ in range(n))
        p_c = min(terms.fail.ratio * p_s + terms.fail.slack, 1.0)
        more = (
            n_c,
            sum(rng.random() < p_c for _ in range(n_c)),
            n - n_c,
            sum(rng.random() < p_s for _ in range(n - n_c)),
        )
        counts = [have + new for have, new in zip(counts, more, strict=True)]
        seen = Counters("one", tick * 10.0, Totals(counts[0], counts[1]), Totals(counts[2], counts[3]))
        at = {"step": step, "steps": 4, "weight": weight}
        state = looked(state, terms, seen, **at)  # type: ignore[arg-type]
        share = watched(share, terms, seen, **at)  # type: ignore[arg-type]
        highest, least = max(highest, state.evidence), max(least, share.evidence)
    return highest, least


def test_an_adversarial_world_stays_under_alpha() -> None:
    """Stable's rate jumps, the load swings a hundredfold and the split changes, at the edge of the margin."""
    terms = Terms(alpha=0.2, block=10.0, looks=1, cap=None, fail=Margin(1.25, 0.01))
    seen = [adversary(seed, terms) for seed in range(60)]
    # At alpha 0.2 more than 22 of 60 has a probability of 8e-4.
    assert sum(evidence >= terms.bound for evidence, _ in seen) <= 22
    assert sum(share >= terms.bound for _, share in seen) <= 22
    assert max(evidence for evidence, _ in seen) > 0.5
