"""One look at all metrics of a candidate: thresholds and comparisons in, one verdict out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autocanary.analysis.combined_evidence import SHARE
from autocanary.analysis.comparisons import Weighed, weighed
from autocanary.analysis.parameters import terms_of
from autocanary.analysis.thresholds import UNBOUNDED, breach, value_of, weigh
from autocanary.analysis.verdict import Basis, Outcome, Verdict
from autocanary.model.comparison_summary import Standing
from autocanary.model.measurement import ReadingKind
from autocanary.model.policy import Analysis, Metric
from autocanary.model.progress import MetricState
from autocanary.model.reason import Reason
from autocanary.model.value_wording import spoken

__all__ = ["judge"]

_OUTAGES: Mapping[ReadingKind, Reason] = {
    ReadingKind.OUTAGE: Reason.METRICS_OUTAGE,
    ReadingKind.REFUSED: Reason.METRICS_OUTAGE,
    ReadingKind.UNSUPPORTED: Reason.METRICS_OUTAGE,
    ReadingKind.AMBIGUOUS: Reason.METRICS_OUTAGE,
    ReadingKind.STALE: Reason.METRICS_STALE,
    ReadingKind.PARTIAL: Reason.METRICS_PARTIAL,
}
_NO_DATA: Mapping[ReadingKind, Reason] = {
    ReadingKind.NO_SERIES: Reason.NO_DATA,
    ReadingKind.NOT_A_NUMBER: Reason.METRICS_NOT_A_NUMBER,
}
_ALL = 100


def judge(analysis: Analysis, metrics: Sequence[Metric], basis: Basis) -> Verdict:
    """One look. ``basis.readings`` holds one reading per metric name.

    The order of the checks is the order of certainty: a failure limit that was reached, or evidence that
    sufficed, cannot be taken back by another metric's silence, and no number passes while another is missing.
    """
    after = {
        metric.name: weigh(
            metric,
            basis.readings[metric.name],
            basis.states.get(metric.name, MetricState()),
            analysis.min_requests,
        )
        for metric in metrics
        if metric.name in basis.readings
    }
    weights = weighed(metrics, basis.readings, basis.evidence, basis.look)
    if basis.look.warming:
        evidence = weights.evidence if weights is not None else None
        said = "the counts belong to the split before"
        return Verdict(Outcome.INCONCLUSIVE, Reason.WARMING_UP, said, {}, evidence=evidence, basis=basis)
    case = _Case(analysis, tuple(metrics), after, weights, basis)
    found = next(case.findings())
    states = {name: case.state(name) for name in after}
    evidence = weights.evidence if weights is not None else None
    return Verdict(found.outcome, found.reason, found.message, states, found.metric, evidence, basis)


@dataclass(frozen=True, slots=True)
class _Finding:
    outcome: Outcome
    reason: Reason
    message: str
    metric: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything that is known at one look; ``findings`` are in the order of certainty, the first counts."""

    analysis: Analysis
    metrics: tuple[Metric, ...]
    after: Mapping[str, MetricState]
    weights: Weighed | None
    basis: Basis

    @property
    def gating(self) -> list[tuple[Metric, MetricState]]:
        return [
            (metric, self.after[metric.name])
            for metric in self.metrics
            if metric.name in self.after and not metric.dry_run
        ]

    def state(self, name: str) -> MetricState:
        """The metric's state with its standing; a comparison alone has only that to be in range by."""
        state = self.after[name]
        if self.weights is None or name not in self.weights.standings:
            return state
        standing = self.weights.standings[name]
        state = MetricState(state.breaches, state.passes, state.ok, state.last, standing)
        metric = next(each for each in self.metrics if each.name == name)
        if metric.range != UNBOUNDED or state.ok is None:
            return state
        worse = self.weights.failed or self.weights.doubtful
        if worse and self.weights.found.culprit == name:
            return replace(state, ok=False, passes=state.passes - 1)
        return state if self._is_cleared(metric) else replace(state, ok=None, passes=state.passes - 1)

    def findings(self) -> Iterator[_Finding]:
        yield from self._limits_reached()
        yield from self._proven()
        yield from self._silent()
        yield from self._doubtful()
        yield from self._thresholds_open()
        yield from self._comparisons_open()
        gating = self.gating
        if gating and all(state.ok or self._rests_on_evidence(metric, state) for metric, state in gating):
            between = ", " if self.weights is None else "; "
            message = between.join(self._passed(metric, state) for metric, state in gating)
            yield _Finding(Outcome.PASS, Reason.ANALYSING, message)
        yield _Finding(Outcome.NO_DATA, Reason.NO_DATA, "nothing was measured")

    def _limits_reached(self) -> Iterator[_Finding]:
        for metric, state in self.gating:
            if state.ok is False and not metric.objective and state.breaches >= metric.failure_limit:
                message = f"{breach(metric, state)}, breach {state.breaches} of {metric.failure_limit}"
                yield _Finding(Outcome.FAIL, Reason.METRIC_BREACH, message, metric.name)

    def _proven(self) -> Iterator[_Finding]:
        weights = self.weights
        if weights is None:
            return
        if weights.missing:
            message = f"{self._too_little()}, beyond doubt"
            yield _Finding(Outcome.FAIL, Reason.TRAFFIC_MISSING, message)
        if weights.failed:
            message = f"{self._blamed('is')} ({self._confidence()})"
            yield _Finding(Outcome.FAIL, Reason.WORSE_THAN_STABLE, message, self._culprit())

    def _silent(self) -> Iterator[_Finding]:
        for outcome, kinds in ((Outcome.OUTAGE, _OUTAGES), (Outcome.NO_DATA, _NO_DATA)):
            for metric, state in self.gating:
                if state.last is None or state.last.kind not in kinds:
                    continue
                if outcome is Outcome.NO_DATA and metric.range == UNBOUNDED and self._has_counted():
                    continue
                message = f"{metric.name}: {spoken(state.last)}"
                yield _Finding(outcome, kinds[state.last.kind], message, metric.name)

    def _doubtful(self) -> Iterator[_Finding]:
        weights = self.weights
        if weights is None:
            return
        if weights.doubtful:
            meter = f"evidence {weights.found.meter:.0f} % of what rolls back"
            if weights.found.culprit == SHARE:
                message = f"{self._too_little()}: {meter}"
                yield _Finding(Outcome.SUSPICIOUS, Reason.TRAFFIC_MISSING, message)
            message = f"{self._blamed('looks')}; {meter}"
            yield _Finding(Outcome.SUSPICIOUS, Reason.SUSPICIOUS, message, self._culprit())
        for name in weights.found.beyond:
            metric = next(each for each in self.metrics if each.name == name)
            message = f"{breach(metric, self.after[name])}; it is not shown to be worse than stable"
            yield _Finding(Outcome.SUSPICIOUS, Reason.BEYOND_OBJECTIVE, message, name)

    def _thresholds_open(self) -> Iterator[_Finding]:
        for metric, state in self.gating:
            if state.ok is False and metric.objective:
                message = f"{breach(metric, state)}, which is an objective"
                yield _Finding(Outcome.INCONCLUSIVE, Reason.BREACH_SEEN, message, metric.name)
            elif state.ok is False:
                message = f"{breach(metric, state)}, breach {state.breaches} of {metric.failure_limit}"
                yield _Finding(Outcome.INCONCLUSIVE, Reason.BREACH_SEEN, message, metric.name)
        for metric, state in self.gating:
            if state.last is not None and state.last.kind is ReadingKind.TOO_FEW:
                message = f"{metric.name}: {spoken(state.last)}"
                yield _Finding(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message, metric.name)

    def _comparisons_open(self) -> Iterator[_Finding]:
        for metric, standing in self._compared():
            wanted = self._wanted(metric)
            if standing.note:
                message = f"{metric.name}: {standing.note}"
                yield _Finding(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, message, metric.name)
            elif standing.in_step < wanted:
                message = f"{metric.name}: {standing.in_step:.0f} of {wanted:g} requests in this step"
                yield _Finding(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message, metric.name)
            elif not self._is_cleared(metric):
                message = f"{metric.name}: {standing}; shown to be no worse: {standing.cleared:.0f} %"
                yield _Finding(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, message, metric.name)

    def _compared(self) -> list[tuple[Metric, Standing]]:
        weights = self.weights
        if weights is None:
            return []
        return [
            (metric, weights.standings[metric.name])
            for metric, _ in self.gating
            if metric.name in weights.standings
        ]

    def _wanted(self, metric: Metric) -> float:
        return metric.min_requests if metric.min_requests is not None else self.analysis.min_requests

    def _is_cleared(self, metric: Metric) -> bool:
        weights = self.weights
        if weights is None or metric.name not in weights.standings:
            return True
        enough = weights.standings[metric.name].in_step >= self._wanted(metric)
        return enough and metric.name in weights.cleared

    def _has_counted(self) -> bool:
        """A quiet window is no want of data where the requests of the whole step are counted."""
        return any(standing.in_step > 0 for _, standing in self._compared())

    def _rests_on_evidence(self, metric: Metric, state: MetricState) -> bool:
        """A quiet window takes nothing from a comparison that has shown the candidate to be fine."""
        quiet = state.last is not None and state.last.kind in _NO_DATA
        compared = self.weights is not None and metric.name in self.weights.standings
        return quiet and compared and metric.range == UNBOUNDED and self._is_cleared(metric)

    def _culprit(self) -> str:
        culprit = self.weights.found.culprit if self.weights is not None else ""
        return "" if culprit == SHARE else culprit

    def _blamed(self, verb: str) -> str:
        """The metric that carries most of the evidence, in words."""
        name = self._culprit()
        if self.weights is None or name not in self.weights.standings:
            return self._too_little()
        standing = self.weights.standings[name]
        part = f", {100 * standing.blame:.0f} % of the evidence" if standing.blame < 0.95 else ""
        return f"{name} {verb} worse than stable's: {standing}{part}"

    def _too_little(self) -> str:
        weight = self.basis.look.weight
        return f"the candidate completes less than half of the requests that {weight} % of the traffic are"

    def _confidence(self) -> str:
        alphas = [terms_of(metric.compare).alpha for metric, _ in self.gating if metric.compare is not None]
        return f"confidence {100 * (1 - min(alphas, default=0.05)):g} %"

    def _passed(self, metric: Metric, state: MetricState) -> str:
        standing = self.weights.standings.get(metric.name) if self.weights is not None else None
        if standing is None:
            return f"{metric.name} {value_of(metric, state)}"
        value = f"{value_of(metric, state)}, " if metric.range != UNBOUNDED else ""
        return f"{metric.name} {value}{standing}"
