"""Which variant of which source has data for a service: asked once, remembered, asked again when in doubt.

A service is settled once any of its revisions has series. Probes go out grouped by form of labels, for all
unsettled services together; they are repeated at most every 30 seconds: while nothing is found, while one
of them fails, and when a settled service has gone silent (its exporter may have been replaced).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from autocanary.errors import MetricsError, MetricsUnreachable
from autocanary.model.measurement import Question, Source
from autocanary.prometheus.preset_queries import probe_query, probe_rows
from autocanary.prometheus.presets import Variant
from autocanary.prometheus.query_plan import Gathered, Plan, divided, gather, together
from autocanary.prometheus.revision_labels import Labelling, Target
from autocanary.prometheus.sources import variants_of

__all__ = ["Discovery", "Found", "Wanted", "looked_for", "targets_of", "wanted_by"]

_AGAIN_AFTER = 30.0
_FORGET_AFTER = 3600.0


class Wanted(NamedTuple):
    """What is discovered: the variants of a source (or of any, AUTO) that one component's revisions have."""

    namespace: str
    service: str
    component: str
    source: Source


@dataclass(frozen=True, slots=True)
class Found:
    """``variants``, the preferred one first, are empty while nothing is found.

    ``seen`` is whether the service ever had series; ``error`` and ``warning`` say why nothing can be
    concluded from what the latest probes did not find.
    """

    variants: tuple[Variant, ...] = ()
    seen: bool = False
    error: MetricsError | None = None
    warning: str = ""

    @property
    def certain(self) -> bool:
        return bool(self.variants) and self.error is None and not self.warning

    def preferred(self, metric: str) -> Variant | None:
        """The first variant that can give the metric, else the first that says why it cannot."""
        able = (variant for variant in self.variants if not variant.meter.lack(metric))
        return next(able, self.variants[0] if self.variants else None)


@dataclass(slots=True)
class _Memory:
    found: Found = field(default_factory=Found)
    checked: float | None = None
    doubted: bool = False
    used: float = 0.0


def wanted_by(question: Question) -> Wanted:
    return Wanted(question.namespace, question.service, question.component, question.source)


def targets_of(question: Question) -> tuple[Target, ...]:
    """The revision, and the stable one: it tells a silent canary from a source that is not there."""
    own = Target(question.namespace, question.revision)
    if question.stable in ("", question.revision):
        return (own,)
    return own, Target(question.namespace, question.stable)


@cache
def looked_for(source: Source) -> str:
    """What a person can search for in Prometheus when nothing was found."""
    by_meter: dict[str, list[str]] = {}
    for variant in variants_of(source):
        by_meter.setdefault(str(variant.meter), []).append("{" + ",".join(variant.labelling.needs) + "}")
    return "; ".join(f"{meter} with {' or '.join(forms)}" for meter, forms in by_meter.items())


class Discovery:
    """Thread-safe memory of what was found; ``resolve`` is a plan and does no I/O itself."""

    def __init__(self, now: Callable[[], float], *, most: int, most_bytes: int) -> None:
        self._now = now
        self._most = most
        self._most_bytes = most_bytes
        self._memory: dict[Wanted, _Memory] = {}
        self._lock = threading.Lock()

    def resolve(self, asked: Mapping[Wanted, Iterable[Target]]) -> Plan[Mapping[Wanted, Found]]:
        """What is known of every service, after probing for its revisions where that is due."""
        due = self._due(asked)
        if due:
            outcomes = yield from self._probe({wanted: tuple(asked[wanted]) for wanted in due})
            return self._remember(asked, outcomes)
        return self._remember(asked, {})

    def heard(self, wanted: Wanted, *, series: bool) -> None:
        """Whether the latest round found any series of the service at all."""
        with self._lock:
            memory = self._memory.get(wanted)
            if memory is not None:
                memory.doubted = not series
                if series and not memory.found.seen:
                    memory.found = replace(memory.found, seen=True)

    def _due(self, asked: Iterable[Wanted]) -> list[Wanted]:
        with self._lock:
            now = self._now()
            self._memory = {
                wanted: memory for wanted, memory in self._memory.items() if now - memory.used < _FORGET_AFTER
            }
            due = []
            for wanted in asked:
                memory = self._memory.setdefault(wanted, _Memory())
                memory.used = now
                certain = variants_of(wanted.source)
                if len(certain) == 1:  # nothing to find out
                    if not memory.found.variants:
                        memory.found = replace(memory.found, variants=certain)
                    continue
                settled = memory.found.certain and not memory.doubted
                rested = memory.checked is None or now - memory.checked >= _AGAIN_AFTER
                if rested and not settled:
                    due.append(wanted)
            return due

    def _probe(self, due: Mapping[Wanted, Sequence[Target]]) -> Plan[Mapping[Wanted, Found]]:
        probes = [
            _Probe(key[0], key[1], tuple(metrics), tuple(targets))
            for key, (metrics, targets) in _by_form(due)
        ]
        gathered = yield from together([probe.plan(self._most, self._most_bytes) for probe in probes])
        return {wanted: _outcome(wanted, targets, probes, gathered) for wanted, targets in due.items()}

    def _remember(self, asked: Iterable[Wanted], outcomes: Mapping[Wanted, Found]) -> Mapping[Wanted, Found]:
        with self._lock:
            now = self._now()
            result: dict[Wanted, Found] = {}
            for wanted in asked:
                memory = self._memory.setdefault(wanted, _Memory(used=now))
                outcome = outcomes.get(wanted)
                if outcome is not None:
                    memory.checked = now
                    # What was known is better than nothing found now: the revisions may be scaled to zero.
                    known = outcome if outcome.variants else memory.found
                    memory.found = replace(known, error=outcome.error, warning=outcome.warning)
                result[wanted] = memory.found
            return result


@dataclass(frozen=True, slots=True)
class _Probe:
    """Metrics that may carry one form of labels, and the revisions they are looked for."""

    labelling: Labelling
    matchers: str
    metrics: tuple[str, ...]
    targets: tuple[Target, ...]

    def plan(self, most: int, most_bytes: int) -> Plan[Gathered[set[str]]]:
        def build(targets: Sequence[Target]) -> str:
            return probe_query(self.labelling, self.metrics, self.matchers, targets)

        chunks = divided(self.targets, build, most=most, most_bytes=most_bytes)
        return gather(
            chunks, build, lambda targets, answer: _per_target(probe_rows(self.labelling, targets, answer))
        )


def _per_target(pairs: Iterable[tuple[str, Target]]) -> Mapping[Target, set[str]]:
    found: dict[Target, set[str]] = {}
    for metric, target in pairs:
        found.setdefault(target, set()).add(metric)
    return found


def _by_form(
    due: Mapping[Wanted, Sequence[Target]],
) -> Iterable[tuple[tuple[Labelling, str], tuple[dict[str, None], dict[Target, None]]]]:
    """Per form of labels: every metric and every target that one of the services wants looked for."""
    forms: dict[tuple[Labelling, str], tuple[dict[str, None], dict[Target, None]]] = {}
    for wanted, targets in due.items():
        for variant in variants_of(wanted.source):
            metrics, all_targets = forms.setdefault((variant.labelling, variant.meter.matchers), ({}, {}))
            metrics.update(dict.fromkeys(counted.metric for counted in variant.meter.counted))
            all_targets.update(dict.fromkeys(targets))
    return forms.items()


def _outcome(
    wanted: Wanted,
    targets: Sequence[Target],
    probes: Sequence[_Probe],
    gathered: Sequence[Gathered[set[str]]],
) -> Found:
    variants = []
    error: MetricsError | None = None
    warning = ""
    by_form = {(probe.labelling, probe.matchers): got for probe, got in zip(probes, gathered, strict=True)}
    for variant in variants_of(wanted.source):
        got = by_form[variant.labelling, variant.meter.matchers]
        metrics = {counted.metric for counted in variant.meter.counted}
        if any(metrics & got.rows.get(target, set()) for target in targets):
            variants.append(variant)
        for target in targets:
            failure = got.errors.get(target)
            if isinstance(failure, MetricsUnreachable):  # a form that is refused has no data for us
                error = failure
            warning = warning or got.warnings.get(target, "")
    return Found(tuple(variants), bool(variants), error, warning)
