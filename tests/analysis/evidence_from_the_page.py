"""The evidence of docs/how-it-decides.md, written from that page alone: plain, slow, and without the package's code.

Nothing here imports autocanary. What the page does not say cannot be written here, so a difference between this module and
the package is an error of the code or a gap of the page. Logarithms only where a number would overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

HARM = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
_RAW = [math.exp(-0.5 * (math.log(g / 5) / 1.5) ** 2) + 0.1 for g in HARM]
HARM_WEIGHTS = [each / sum(_RAW) for each in _RAW]
HEALTH = (0.9, 0.75, 0.5, 0.25, 0.1, 0.02)
HEALTH_WEIGHTS = (0.05, 0.25, 0.35, 0.25, 0.05, 0.05)
FAST_RATES = (0.4, 0.7, 0.95, 0.999)
SHARE_RATES = (0.001, 0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Side:
    """Requests of one revision, and how many of them were bad, in each of the ways that are compared."""

    n: int
    bad: tuple[int, ...]

    def plus(self, other: Side) -> Side:
        return Side(self.n + other.n, tuple(a + b for a, b in zip(self.bad, other.bad, strict=True)))

    def minus(self, other: Side) -> Side:
        return Side(self.n - other.n, tuple(a - b for a, b in zip(self.bad, other.bad, strict=True)))


@dataclass(frozen=True)
class Setting:
    """A preset, and the margins: (r, delta)."""

    block: float = 30.0
    evaluations: int = 2
    cap: float = 3.0
    fail: tuple[float, float] = (1.25, 0.0005)
    passing: tuple[float, float] = (1.5, 0.005)


def log_sum(logs: list[float]) -> float:
    top = max(logs)
    return top if math.isinf(top) else top + math.log(math.fsum(math.exp(each - top) for each in logs))


def log_of(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def weighted(logs: list[float], weights: list[float] | tuple[float, ...]) -> list[float]:
    return [math.log(weight) + each for each, weight in zip(logs, weights, strict=True)]


def log_harm(g: float, n_c: int, e_c: int, n_s: int, e_s: int, margin: tuple[float, float]) -> float:
    """log L_g."""
    if n_c == 0 or n_s == 0:
        return 0.0
    r, delta = margin
    b = (r * n_c + n_s) / (r * g * n_c + n_s)
    a = g * b
    return e_c * math.log(a) + e_s * math.log(b) - delta * n_c * (a - 1)


def log_health(a: float, n_c: int, e_c: int, n_s: int, e_s: int, margin: tuple[float, float]) -> float:
    """log L_a."""
    if n_c == 0 or n_s == 0:
        return 0.0
    r, delta = margin
    b = 1 + r * (n_c / n_s) * (1 - a)
    return e_c * math.log(a) + e_s * math.log(b) + delta * n_c * (1 - a)


def log_beyond(g: float, n: int, e: int, limit: float) -> float:
    """log L of the canary alone, against "at most this fraction fails"."""
    return e * math.log(g) - n * math.log(1 + (g - 1) * limit) if n and 0 < limit < 1 else 0.0


def wilson(bad: float, requests: float, z: float) -> tuple[float, float]:
    if requests <= 0:
        return 0.0, 1.0
    p = bad / requests
    middle = (p + z * z / (2 * requests)) / (1 + z * z / requests)
    half = z / (1 + z * z / requests) * math.sqrt(p * (1 - p) / requests + z * z / (4 * requests * requests))
    return max(middle - half, 0.0), min(middle + half, 1.0)


Z_90, Z_95 = 1.6448536269514722, 1.959963984540054


@dataclass
class Bets:
    """A mean of bets of which a new one begins at every block (or evaluation), with the stakes of the page."""

    weights: list[float]
    k: int = 0
    placed: float = 0.0
    pending: float = 0.0
    logs: list[float] = field(default_factory=list)

    def run(self, ratios: list[float], steps: int) -> None:
        """One more block; the stake of the bet that begins with it is placed first."""
        self.k += 1
        stake = self.pending
        if self.k > 1:
            stake += (0.15 if steps > 1 else 0.3) / (self.k * (self.k - 1))
        self.pending, self.placed = 0.0, self.placed + stake
        before = self.logs or [-math.inf] * len(self.weights)
        self.logs = [log_sum([each, log_of(stake)]) + ratio for each, ratio in zip(before, ratios, strict=True)]

    def evidence(self) -> float:
        rest = math.log(1 - self.placed)
        return log_sum([rest, *weighted(self.logs, self.weights)]) if self.logs else rest

    def without_gains(self, ratios: list[float], steps: int) -> float:
        """As if the open block ended now, with min(L, 1)."""
        as_if = Bets(self.weights, self.k, self.placed, self.pending, list(self.logs))
        as_if.run([min(each, 0.0) for each in ratios], steps)
        return as_if.evidence()


@dataclass
class Counting:
    """Which requests are compared, and when a block ends."""

    setting: Setting
    drops_after_silence: bool = False
    step: int = -1
    weight: int = -1
    last: tuple[float, Side, Side] | None = None
    counted_from: float | None = 0.0
    silent: bool = False
    open: tuple[Side, Side] | None = None
    seconds: float = 0.0
    evaluations: int = 0

    def change(self, step: int, weight: int) -> tuple[Side, Side] | None:
        """A new step or split ends the open block, whatever is in it."""
        if (step, weight) == (self.step, self.weight):
            return None
        ended, self.open, self.seconds, self.evaluations = self.open, None, 0.0, 0
        if self.last is not None:
            self.counted_from = None
        self.step, self.weight = step, weight
        return ended

    def sample(
        self, at: float, canary: Side, stable: Side, current: tuple[bool, bool], dropped: float
    ) -> tuple[Side, Side, bool] | None:
        """What is counted between the last evaluation and this one, and whether a side was silent in between."""
        if not current[0] or (self.weight < 100 and not current[1]):
            self.silent = True
            return None
        if self.last is not None and at <= self.last[0]:
            return None
        before, was_silent = self.last, self.silent
        self.last, self.silent = (at, canary, stable), False
        is_counted = self.step >= 0 and self.counted_from is not None and (before or (0.0,))[0] >= self.counted_from
        if self.counted_from is None:
            self.counted_from = at + max(self.setting.block, dropped)
        if before is None or not is_counted or (was_silent and self.drops_after_silence):
            return None
        more = canary.minus(before[1]), stable.minus(before[2])
        self.open = more if self.open is None else (self.open[0].plus(more[0]), self.open[1].plus(more[1]))
        self.seconds += at - before[0]
        self.evaluations += 1
        return *more, was_silent

    def full_block(self) -> tuple[Side, Side] | None:
        if self.evaluations < self.setting.evaluations or self.seconds < 0.9 * self.setting.block:
            return None
        ended, self.open, self.seconds, self.evaluations = self.open, None, 0.0, 0
        return ended


@dataclass
class Usual:
    """What stable did lately, as the bake's limit needs it: sums in which a block weighs half after half an hour."""

    blocks: float = 0.0
    requests: float = 0.0
    squares: float = 0.0
    bad: float = 0.0
    bad_squares: float = 0.0

    def add(self, n: int, e: int, seconds: float) -> None:
        if n == 0:
            return
        kept = 0.5 ** (seconds / 1800)
        self.blocks = kept * self.blocks + 1
        self.requests = kept * self.requests + n
        self.squares = kept * self.squares + n * n
        self.bad = kept * self.bad + e
        self.bad_squares = kept * self.bad_squares + e * e / n

    def upper(self) -> float:
        if self.requests == 0:
            return 1.0
        p = self.bad / self.requests
        high = wilson(self.bad, self.requests, Z_90)[1] if self.bad < self.requests else 1.0
        chance, weight = p * (1 - p), self.requests - self.squares / self.requests
        if self.blocks < 2 or chance == 0 or weight <= 0:
            return high
        spread = self.bad_squares - self.bad**2 / self.requests
        excess = spread - chance * (self.blocks - 1 + math.sqrt(2 * (self.blocks - 1)))
        return min(high + 1.6449 * math.sqrt(max(excess, 0.0) / weight), 1.0)


class Metric:
    """One metric: its evidence against the canary, and for it."""

    def __init__(self, setting: Setting, steps: int, outcomes: int = 1, *, fast: bool = True, slo: float | None = None):
        self.setting, self.steps, self.slo = setting, steps, slo
        self.counting = Counting(setting)
        self.slow = [Bets(HARM_WEIGHTS) for _ in range(outcomes)]
        self.fast = Bets(HARM_WEIGHTS) if fast else None
        self.limit = Bets(HARM_WEIGHTS) if slo is not None else None
        self.gross: list[float] = [0.0] * len(FAST_RATES)
        self.waiting: tuple[Side, Side] | None = None  # the evaluation before this one
        self.before: Side | None = None  # stable's of the one before that
        self.health = [[0.0] * len(HEALTH) for _ in range(outcomes)]
        self.step_health = [[0.0] * len(HEALTH) for _ in range(outcomes)]
        self.usual = [Usual() for _ in range(outcomes)]
        self.outcomes = outcomes

    def evaluate(
        self,
        at: float,
        step: int,
        weight: int,
        canary: Side,
        stable: Side,
        *,
        current: tuple[bool, bool] = (True, True),
        dropped: float = 0.0,
        stable_outage: bool = False,
    ) -> None:
        counting, old_step, old_weight = self.counting, self.counting.step, self.counting.weight
        ended = counting.change(step, weight)
        if ended is not None:
            self._block(ended, old_weight, stable_outage)
        if (step, weight) != (old_step, old_weight):
            self.step_health = [[0.0] * len(HEALTH) for _ in range(self.outcomes)]
            self.waiting = self.before = None
            for begun in range(old_step + 1, step + 1):
                first = 0.7 if begun == 0 else 0.15 / (self.steps - 1)
                for bets in self._bets():
                    bets.pending += first
        sample = counting.sample(at, canary, stable, current, dropped)
        if sample is not None:
            self._sample(*sample, weight)
        full = counting.full_block()
        if full is not None:
            self._block(full, weight, stable_outage)

    def _bets(self) -> list[Bets]:
        return [*self.slow, *(each for each in (self.fast, self.limit) if each is not None)]

    def _against_past(self, n: int, e: int, outcome: int) -> list[float]:
        r, delta = self.setting.fail
        limit = max(r * self.usual[outcome].upper() + delta, self.slo or 0.0)
        return [log_beyond(g, n, e, limit) for g in HARM]

    def _harm(self, canary: Side, stable: Side, weight: int, outcome: int) -> list[float]:
        if weight == 100:
            return self._against_past(canary.n, canary.bad[outcome], outcome)
        return [
            log_harm(g, canary.n, canary.bad[outcome], stable.n, stable.bad[outcome], self.setting.fail) for g in HARM
        ]

    def _sample(self, canary: Side, stable: Side, was_silent: bool, weight: int) -> None:
        if self.fast is None:
            return
        if was_silent:
            self.waiting = self.before = None
            return
        ratios = [0.0] * len(HARM)
        if weight == 100:
            ratios = self._harm(canary, stable, weight, 0)
        elif self.waiting is not None:
            late = self.waiting[0]
            ratios = self._harm(late, self.waiting[1], weight, 0)
            for other in (self.before, stable):
                if other is not None and other.n > 0:
                    ratios = [min(a, b) for a, b in zip(ratios, self._harm(late, other, weight, 0), strict=True)]
        self.fast.run(ratios, self.steps)
        self.before = None if self.waiting is None else self.waiting[1]
        self.waiting = (canary, stable)
        n, e = canary.n, canary.bad[0]
        more = [e * math.log(q / 0.2) + (n - e) * math.log((1 - q) / 0.8) for q in FAST_RATES]
        self.gross = [min(max(old, 0.0) + min(new, 4.5), 9.0) for old, new in zip(self.gross, more, strict=True)]
        if self.limit is not None:
            self.limit.run([log_beyond(g, n, e, self.slo or 0.0) for g in HARM], self.steps)

    def _block(self, block: tuple[Side, Side], weight: int, stable_outage: bool) -> None:
        canary, stable = block
        for outcome, bets in enumerate(self.slow):
            log_cap = math.log(self.setting.cap)
            bets.run([min(each, log_cap) for each in self._harm(canary, stable, weight, outcome)], self.steps)
            if weight == 100 or stable_outage:
                continue
            counts = (canary.n, canary.bad[outcome], stable.n, stable.bad[outcome])
            more = [min(log_health(a, *counts, self.setting.passing), log_cap) for a in HEALTH]
            for kept in (self.health, self.step_health):
                kept[outcome] = [old + new for old, new in zip(kept[outcome], more, strict=True)]
            self.usual[outcome].add(stable.n, stable.bad[outcome], self.setting.block)

    def evidence(self, *, within_block: bool = False) -> float:
        open_block, weight = self.counting.open if within_block else None, self.counting.weight
        each = [bets.evidence() for bets in self.slow]
        if open_block is not None:
            each = [
                bets.without_gains(self._harm(*open_block, weight, outcome), self.steps)
                for outcome, bets in enumerate(self.slow)
            ]
        slow = log_sum(each) - math.log(len(self.slow))
        if self.fast is None:
            return slow
        fast = self.fast.evidence()
        if within_block and self.waiting is not None and weight < 100:
            fast = min(fast, self.fast.without_gains(self._harm(*self.waiting, weight, 0), self.steps))
        fast = min(fast, log_sum(self.gross) - math.log(len(FAST_RATES)) if self.fast.logs else 0.0)
        both = log_sum([math.log(0.9) + slow, math.log(0.1) + fast])
        return both if self.limit is None else min(both, self.limit.evidence())

    def shown_fine(self, *, in_step: bool = False, mean: bool = False) -> float:
        each = [log_sum(weighted(logs, HEALTH_WEIGHTS)) for logs in (self.step_health if in_step else self.health)]
        return log_sum(each) - math.log(len(each)) if mean else min(each)


class Share:
    """The traffic share: that the canary completes less than half of what its weight promises."""

    def __init__(self, setting: Setting, steps: int) -> None:
        self.setting, self.steps = setting, steps
        self.counting = Counting(setting, drops_after_silence=True)
        self.bets = Bets([0.25] * 4)
        self.blocks: list[tuple[Side, Side, int]] = []

    def evaluate(
        self, at: float, step: int, weight: int, canary: Side, stable: Side, current: tuple[bool, bool], dropped: float
    ) -> None:
        old_step, old_weight = self.counting.step, self.counting.weight
        self.blocks = []
        ended = self.counting.change(step, weight)
        if ended is not None:
            self._block(ended, old_weight)
        for begun in range(old_step + 1, step + 1):
            self.bets.pending += 0.7 if begun == 0 else 0.15 / (self.steps - 1)
        self.counting.sample(at, canary, stable, current, dropped)
        full = self.counting.full_block()
        if full is not None:
            self._block(full, weight)

    def _block(self, block: tuple[Side, Side], weight: int) -> None:
        self.blocks.append((*block, weight))
        if not 0 < weight < 100:
            return
        self.bets.run([min(each, math.log(self.setting.cap)) for each in self._ratios(block, weight)], self.steps)

    def _ratios(self, block: tuple[Side, Side], weight: int) -> list[float]:
        half = weight / 200
        canary, stable = block
        return [canary.n * math.log(q) + stable.n * math.log((1 - q * half) / (1 - half)) for q in SHARE_RATES]

    def evidence(self, *, within_block: bool = False) -> float:
        block, weight = self.counting.open, self.counting.weight
        if within_block and block is not None and 0 < weight < 100:
            return self.bets.without_gains(self._ratios(block, weight), self.steps)
        return self.bets.evidence() if self.bets.logs else 0.0


class Outages:
    """Whether both revisions fail, by blocks of failed requests."""

    def __init__(self) -> None:
        self.usual = (0, 0)
        self.recent = (0.0, 0.0)
        self.stable_outage = False

    def bar(self) -> float:
        return min(max(10 * wilson(self.usual[1], self.usual[0], Z_95)[1], 0.05), 0.20)

    def block(self, canary: Side, stable: Side, weight: int) -> None:
        if canary.n:
            self.recent = 0.5 * self.recent[0] + canary.n, 0.5 * self.recent[1] + canary.bad[0]
        self.stable_outage = False
        if weight == 100 or stable.n == 0:
            return
        low = wilson(stable.bad[0], stable.n, Z_95)[0] if stable.bad[0] else 0.0
        self.stable_outage = low > self.bar()
        if not self.stable_outage:
            self.usual = self.usual[0] + stable.n, self.usual[1] + stable.bad[0]

    def canary_outage(self) -> bool:
        requests, failed = self.recent
        return requests > 0 and failed > 0 and wilson(failed, requests, Z_95)[0] > self.bar()


class Rollout:
    """All metrics of a rollout: failed requests, and slow ones where bounds are given."""

    def __init__(self, steps: int, settings: dict[str, Setting], bounds: int = 0, slo: float | None = None) -> None:
        self.steps = steps
        self.metrics = {
            name: Metric(each, steps, bounds, fast=False) if name == "latency" else Metric(each, steps, slo=slo)
            for name, each in settings.items()
        }
        self.share = Share(settings["errors"], steps)
        self.outages = Outages()

    def evaluate(
        self,
        at: float,
        step: int,
        weight: int,
        sides: dict[str, tuple[Side, Side]],
        current: tuple[bool, bool] = (True, True),
        p99: float = 0.0,
    ) -> None:
        self.share.evaluate(at, step, weight, *sides["errors"], current, p99)
        for block in self.share.blocks:
            self.outages.block(*block)
        for name, metric in self.metrics.items():
            metric.evaluate(
                at,
                step,
                weight,
                *sides[name],
                current=current,
                dropped=p99,
                stable_outage=self.outages.stable_outage,
            )

    def evidence(self, *, within_block: bool = False) -> float:
        each = math.log(0.9 / len(self.metrics))
        parts = [each + metric.evidence(within_block=within_block) for metric in self.metrics.values()]
        return log_sum([*parts, math.log(0.1) + self.share.evidence(within_block=within_block)])

    def is_enough(self, alpha: float) -> bool:
        """Whether it rolls back now: with the open block, and without it."""
        enough = math.log(1 / alpha) - 1e-9
        return self.evidence() >= enough and self.evidence(within_block=True) >= enough

    def gates(self, step: int) -> dict[str, bool]:
        """Which metrics have shown what this step needs."""
        last = step >= self.steps - 2
        of_rollout = 20.0 if last else 3.0 if step == 0 else 6.0
        return {
            name: metric.shown_fine(mean=not last) >= math.log(of_rollout) - 1e-9
            and metric.shown_fine(in_step=True, mean=not last) >= math.log(3.0) - 1e-9
            for name, metric in self.metrics.items()
        }
