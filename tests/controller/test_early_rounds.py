"""How often each Prometheus is asked between regular evaluations, and for how many rollouts at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from autocanary.controller.early_rounds import EarlyEvaluations
from autocanary.controller.running_rollout import RunningRollout
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Unit
from autocanary.model.policy import Metric, Range
from autocanary.model.rollout import RolloutId
from tests.decide.builders import NOW, policy, progress, rollout

_METRIC = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT)


class Rounds:
    """Rollouts that are scraped every second, by the server that their policies name."""

    def __init__(self, **servers: int) -> None:
        self.sent: Counter[str] = Counter()
        self._running: dict[RolloutId, RunningRollout] = {}
        self.early = EarlyEvaluations(self._running.get, lambda server: self.sent[server])
        for server, count in servers.items():
            for number in range(count):
                self._add(server, f"{server}-{number}")

    def _add(self, server: str, name: str) -> None:
        kept = policy()
        kept = replace(kept, analysis=replace(kept.analysis, server=server, metrics=(_METRIC,), interval=3600.0))
        state = progress(verified_at=NOW - 1000.0, weight=10, step=0)
        running = RunningRollout(replace(rollout(state), name=name, service=name), kept)
        self._running[running.id] = running
        self.answer(running, NOW)

    def answer(self, running: RunningRollout, now: float) -> None:
        measurement = Measurement(
            MeasurementKind.VALUE, 100.0, Unit.PERCENT, 100.0, 0.0, scrape_interval=1.0, sample_at=now
        )
        measurements: dict[MetricQuery, Measurement] = {query: measurement for _, query in running.queries}
        running.add_samples(measurements, now)
        self.early.schedule(running, now)

    def run(self, seconds: int, took: dict[str, float], queries: int = 2) -> Counter[str]:
        """How many rollouts of each server were queried; an answer takes as long as ``took`` says."""
        found: Counter[str] = Counter()
        under_way = []
        for second in range(seconds):
            now = NOW + second
            for each in self.early.take_due(now):
                found[each.server] += len(each.rollouts)
                self.sent[each.server] += queries
                under_way.append(each)
            for each in [each for each in under_way if now >= each.began_at + took[each.server]]:
                under_way.remove(each)
                self.early.finish(each, now)
                for running in each.rollouts:
                    self.answer(running, now)
        return found


def test_samples_of_every_second_are_evaluated_every_second_or_two() -> None:
    """Two queries a round are within what a server is asked."""
    assert 25 <= Rounds(main=1).run(60, {"main": 0.0})["main"] <= 60


def test_slow_server_delays_no_other() -> None:
    """Answers that take 10 s: one round in 30 s for that server, and as many as before for the other."""
    found = Rounds(slow=3, fast=3).run(60, {"slow": 10.0, "fast": 0.0})
    assert found["slow"] <= 3 * 3
    assert found["fast"] >= 3 * 25


def test_rounds_that_need_many_queries_come_less_often() -> None:
    """Twenty queries take ten seconds of what a server is asked."""
    assert Rounds(main=1).run(60, {"main": 0.0}, queries=20)["main"] <= 7


def test_thousands_of_rollouts_take_turns() -> None:
    """500 in one round, and 250 in a second: each gets its turn."""
    rounds = Rounds(main=1200)
    first = rounds.early.take_due(NOW + 3)
    assert [len(each.rollouts) for each in first] == [500]
    rounds.early.finish(first[0], NOW + 3)
    assert rounds.early.take_due(NOW + 4) == []
    second = rounds.early.take_due(NOW + 5)
    assert [len(each.rollouts) for each in second] == [500]
    assert not {each.id for each in first[0].rollouts} & {each.id for each in second[0].rollouts}


def test_answer_that_never_comes_stops_rounds_for_a_minute_at_most() -> None:
    """A worker that hangs; what it says later is of a round that is over."""
    rounds = Rounds(main=1)
    (hanging,) = rounds.early.take_due(NOW + 3)
    rounds.answer(hanging.rollouts[0], NOW + 3)
    at = next(NOW + second for second in range(4, 120) if rounds.early.take_due(NOW + second))
    assert 60 <= at - NOW <= 70
    rounds.early.finish(hanging, at)
    assert rounds.early.take_due(at + 1) == []
