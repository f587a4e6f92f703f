"""The comparisons of a policy at one look: from readings to what the trial says, and how it is shown.

The state is a versioned mapping that the rollout's progress carries along (``Progress.evidence``). One that
cannot be read, because another version wrote it or somebody edited it, is begun anew: that can delay a
decision, not make a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

from autocanary.analysis.combined_evidence import SHARE, Evidence, Trial, combined, look
from autocanary.analysis.e_values import wilson
from autocanary.analysis.parameters import Terms, terms_of
from autocanary.analysis.sequential_test import Comparison
from autocanary.analysis.verdict import Look
from autocanary.model.comparison_summary import Side, Standing
from autocanary.model.measurement import Counters, Reading, ReadingKind, Unit
from autocanary.model.policy import Metric

__all__ = ["SHARE_GRACE", "VERSION", "Weighed", "meter_of", "terms_by_name", "weighed"]

VERSION = 1
SHARE_GRACE = 60.0
"""Seconds for which missing traffic must last beyond doubt: pods that start late complete it at once."""

_COUNTED = frozenset(
    {ReadingKind.VALUE, ReadingKind.TOO_FEW, ReadingKind.NO_SERIES, ReadingKind.NOT_A_NUMBER}
)
"""Readings whose counts are whole; a window without requests is no reason to doubt the totals."""

_ALL = 100
_ERRORS_END = {"error-rate": "max", "request-success-rate": "min"}


@dataclass(frozen=True, slots=True)
class Weighed:
    """``evidence`` is the state after the look, ``found`` what all comparisons say together.

    ``standings`` are for people, by metric. ``failed`` and ``missing`` say that the candidate is worse than
    stable, or completes too little, beyond doubt; ``doubtful`` that it seems so. ``cleared`` are the metrics
    that may pass.
    """

    evidence: Mapping[str, Any]
    found: Evidence
    standings: Mapping[str, Standing]
    failed: bool
    missing: bool
    doubtful: bool
    cleared: frozenset[str]


class _Kept(Mapping[str, Any]):
    """What is recorded of a trial. The form that JSON has is made when it is read, once in many looks."""

    __slots__ = ("_beside", "trial")

    def __init__(self, trial: Trial, beside: Mapping[str, Any]) -> None:
        self.trial, self._beside = trial, beside

    def __getitem__(self, name: str) -> Any:
        return self.trial.to_dict() if name == "trial" else self._beside[name]

    def __iter__(self) -> Iterator[str]:
        yield "trial"
        yield from self._beside

    def __len__(self) -> int:
        return len(self._beside) + 1


def terms_by_name(metrics: Sequence[Metric]) -> dict[str, Terms]:
    """The terms of the metrics that are compared."""
    return {
        metric.name: terms_of(metric.compare, latency=metric.unit is Unit.SECONDS)
        for metric in metrics
        if metric.compare is not None
    }


def weighed(
    metrics: Sequence[Metric], readings: Mapping[str, Reading], evidence: Mapping[str, Any], at: Look
) -> Weighed | None:
    """One look; None when the policy compares nothing."""
    terms = terms_by_name(metrics)
    if not terms:
        return None
    compared = {metric.name: metric for metric in metrics if metric.name in terms}
    trial, missing_since = _restored(evidence)
    counters = {name: _counters(readings.get(name)) for name in terms}
    gating = [name for name, metric in compared.items() if not metric.dry_run]
    after, found = look(
        trial,
        terms,
        counters,
        step=at.step,
        steps=at.steps,
        weight=at.weight,
        limits=_limits(compared.values()),
        warming=at.warming,
        gating=gating,
    )
    hung = _is_share_alone(after, terms, gating, found) and not trial.latched
    since = (missing_since if missing_since is not None else at.now) if hung else None
    missing = since is not None and at.now - since >= SHARE_GRACE
    if hung and not missing:
        after = replace(after, latched=False)
    began = _began(evidence, counters)
    standings = {
        name: _standing(after.metrics[name], terms[name], found, name, readings.get(name), began)
        for name in terms
    }
    beside: dict[str, Any] = {"version": VERSION, "meter": round(found.meter, 1)}
    beside |= {"missingSince": since} if since is not None and not missing else {}
    beside |= {"began": began} if began is not None else {}
    return Weighed(
        evidence=_Kept(after, beside),
        found=found,
        standings=standings,
        failed=after.latched and not missing,
        missing=missing,
        doubtful=found.suspicious,
        cleared=frozenset(name for name in terms if at.weight >= _ALL or name in found.passed),
    )


def meter_of(evidence: Mapping[str, Any]) -> float | None:
    """The evidence against the candidate in percent of what rolls it back; None where nothing is compared."""
    meter = evidence.get("meter")
    return float(meter) if isinstance(meter, int | float) else None


def _restored(evidence: Mapping[str, Any]) -> tuple[Trial, float | None]:
    if isinstance(evidence, _Kept):
        return evidence.trial, evidence.get("missingSince")
    if evidence.get("version") != VERSION:
        return Trial(), None
    try:
        return Trial.from_dict(evidence["trial"]), evidence.get("missingSince")
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return Trial(), None


def _counters(reading: Reading | None) -> Counters | None:
    return reading.counters if reading is not None and reading.kind in _COUNTED else None


def _began(evidence: Mapping[str, Any], counters: Mapping[str, Counters | None]) -> float | None:
    known = evidence.get("began")
    times = [each.at for each in counters.values() if each is not None]
    return known if known is not None else min(times, default=None)


def _limits(metrics: Any) -> dict[str, float]:
    """The largest acceptable fraction of failed requests, of the metrics whose range is an objective."""
    limits: dict[str, float] = {}
    for metric in metrics:
        end = _ERRORS_END.get(metric.name)
        if not metric.objective or end is None:
            continue
        bound = metric.range.max if end == "max" else metric.range.min
        if bound is not None:
            limit = bound / 100.0 if end == "max" else 1.0 - bound / 100.0
            if 0.0 < limit < 1.0:
                limits[metric.name] = limit
    return limits


def _is_share_alone(trial: Trial, terms: Mapping[str, Terms], gating: Sequence[str], found: Evidence) -> bool:
    """Whether the evidence suffices, and would not without the traffic that is missing."""
    if found.log_e < found.bound or not gating:
        return False
    decisive = {name: terms[name] for name in gating}
    others = combined({name: trial.metrics[name] for name in gating}, decisive)
    return others.log_e < others.bound and found.culprit == SHARE


def _standing(
    state: Comparison, terms: Terms, found: Evidence, name: str, reading: Reading | None, began: float | None
) -> Standing:
    lane = _worst_lane(state)
    n_c, e_c, n_s, e_s = state.total.lane(lane)
    counters = reading.counters if reading is not None else None
    gates = name in found.against  # the others are shown all the same
    against = found.against[name] if gates else state.evidence
    fine = found.fine[name] if gates else state.non_inferiority
    return Standing(
        candidate=_side(n_c, e_c),
        stable=_side(n_s, e_s),
        in_step=float(state.step.candidate),
        meter=round(100.0 * min(max(against / terms.bound, 0.0), 1.0), 1),
        cleared=round(100.0 * min(max(fine / -log(terms.beta), 0.0), 1.0), 1),
        blame=round(found.blame.get(name, 0.0), 3),
        seconds=round(counters.at - began, 1) if counters is not None and began is not None else 0.0,
        slower_than=state.bounds[lane] if state.bounds else None,
        note=_note(state, terms, reading),
    )


def _worst_lane(state: Comparison) -> int:
    """Of the latency bounds, the one that says most against the candidate."""
    if len(state.lanes) < 2:
        return 0
    return max(range(len(state.lanes)), key=lambda index: state.lanes[index].against)


def _side(requests: float, bad: float) -> Side:
    if requests <= 0:
        return Side()
    low, high = wilson(bad, requests)
    return Side(float(requests), float(bad), round(100.0 * low, 4), round(100.0 * high, 4))


def _note(state: Comparison, terms: Terms, reading: Reading | None) -> str:
    """Why nothing is compared; "" when it is, or when the reading says it already."""
    if reading is None or reading.kind not in _COUNTED:
        return ""
    source = f" of {reading.source.value}" if reading.source is not None else ""
    if reading.counters is None:
        if reading.kind is not ReadingKind.VALUE:
            return ""
        why = f": {reading.detail}" if reading.detail else ""
        return (
            f"the source{source} does not count the requests of both revisions, so nothing is compared{why}"
        )
    if not reading.counters.exact:
        return f"the counts{source} are approximate: thresholds may use them, a comparison may not"
    if terms.latency and not reading.counters.bounds:
        return f"the source{source} has no latency histogram, so nothing is compared"
    if terms.latency and not state.bounds:
        return "stable has completed too few requests to say what slow is"
    return ""
