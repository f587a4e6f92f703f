"""The counters that comparisons need: which a round queries, and the counts that the store then holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from autocanary.errors import MetricsRefused
from autocanary.model.measurement import RequestCounters
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_queries import CounterFamily, counters_query, process_history_query
from autocanary.prometheus.counter_samples import ParsedCounters, parse_counter_rows, parse_history_rows
from autocanary.prometheus.counter_tracking import CounterUpdate
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import (
    ProcessingError,
    QueryLimits,
    QueryPlan,
    TargetResults,
    gather_pair,
    gather_plans,
    guard_plan,
    query_in_chunks,
    split_into_chunks,
)
from autocanary.prometheus.revision_labels import RevisionTarget

__all__ = ["CollectedCounters", "RevisionKey", "collect_counters"]

RevisionKey = tuple[CounterFamily, RevisionTarget]

_MAX_REVISIONS_WITH_BUCKETS = 250  # revisions; each pod has two or three dozen buckets


@dataclass(frozen=True, slots=True)
class CollectedCounters:
    """What a round added to the store, and what it could not.

    ``native`` are those whose histogram is stored as a native one alone, where a classic one was expected.
    """

    store: CounterStore[RevisionKey]
    problem: dict[RevisionKey, str] = field(default_factory=dict)
    native: set[RevisionKey] = field(default_factory=set)

    def for_revisions(
        self, families: Sequence[CounterFamily], targets: Sequence[RevisionTarget]
    ) -> tuple[RequestCounters | None, str]:
        """The counters of the candidate and the stable revision, and what is wrong with them, if anything.

        Each revision has the family of its own exporter.
        """
        if len(targets) < 2:
            return None, "there is no stable revision to compare with"
        candidate, stable = zip(families, targets, strict=True)
        counters = self.store.counters(candidate, stable, latency=families[0].latency)
        problem = self.problem.get(candidate) or self.problem.get(stable, "")
        if counters is None and not problem:
            problem = "no request has been counted by its latency yet"
        return counters, problem


def collect_counters(
    store: CounterStore[RevisionKey],
    asked: Mapping[CounterFamily, Iterable[RevisionTarget]],
    limits: QueryLimits,
) -> QueryPlan[CollectedCounters]:
    """One update of all the families' revisions; tracking begins for new ones."""
    collected = CollectedCounters(store)
    yield from gather_plans([_collect_guarded(collected, family, targets, limits) for family, targets in asked.items()])
    return collected


def _collect_guarded(
    collected: CollectedCounters, family: CounterFamily, targets: Iterable[RevisionTarget], limits: QueryLimits
) -> QueryPlan[None]:
    def on_error(error: ProcessingError) -> None:
        collected.problem.update({(family, target): str(error) for target in targets})

    return guard_plan(_collect_family(collected, family, sorted(targets), limits), on_error)


def _collect_family(
    collected: CollectedCounters,
    family: CounterFamily,
    targets: Sequence[RevisionTarget],
    limits: QueryLimits,
) -> QueryPlan[None]:
    revision_keys = collected.store.untracked((family, target) for target in targets)
    new_targets = [target for _, target in revision_keys]
    parsed, history = yield from _query_counters(family, targets, new_targets, limits)
    updates: dict[RevisionTarget, CounterUpdate] = {}
    for target in targets:
        row = parsed.rows.get(target)
        problem = _problem(parsed, target) or (row.problem if row is not None else "")
        if row is None and not problem:
            problem = "the server did not say which time its answer is of"
        if row is not None and row.native:
            collected.native.add((family, target))
        if problem:
            collected.problem[family, target] = problem
        elif row is not None:
            updates[target] = row.update
    first_updates: dict[RevisionKey, CounterUpdate] = {}
    for target in new_targets:
        update = updates.pop(target, None)
        problem = _problem(history, target)
        if update is None:
            continue
        # A range too heavy for the server will be so the next time: then nothing is believed to be new.
        if problem and not isinstance(history.errors.get(target), MetricsRefused):
            collected.problem[family, target] = problem
            continue
        first_updates[family, target] = CounterUpdate(update.at, update.scrapes, history.rows.get(target))
    collected.store.start_tracking(first_updates)
    collected.store.update({(family, target): update for target, update in updates.items()})


def _query_counters(
    family: CounterFamily,
    targets: Sequence[RevisionTarget],
    new_targets: Sequence[RevisionTarget],
    limits: QueryLimits,
) -> QueryPlan[tuple[TargetResults[ParsedCounters], TargetResults[frozenset[str]]]]:
    """The counters, and the history of revisions whose tracking begins, in one round."""

    def build_counters_query(chunk: Sequence[RevisionTarget]) -> str:
        return counters_query(family, chunk)

    def build_history_query(chunk: Sequence[RevisionTarget]) -> str:
        return process_history_query(family, chunk)

    def chunks(
        for_revisions: Sequence[RevisionTarget], build: Callable[[Sequence[RevisionTarget]], str]
    ) -> list[Sequence[RevisionTarget]]:
        max_targets = min(limits.revisions, _MAX_REVISIONS_WITH_BUCKETS) if family.latency else limits.revisions
        return split_into_chunks(for_revisions, build, max_targets=max_targets, max_query_bytes=limits.query_bytes)

    return (
        yield from gather_pair(
            _query_sequentially(
                chunks(targets, build_counters_query),
                build_counters_query,
                partial(parse_counter_rows, family),
            ),
            query_in_chunks(
                chunks(new_targets, build_history_query),
                build_history_query,
                partial(parse_history_rows, family),
            ),
        )
    )


def _query_sequentially(
    chunks: Sequence[Sequence[RevisionTarget]],
    build: Callable[[Sequence[RevisionTarget]], str],
    read: Callable[[Sequence[RevisionTarget], QueryResponse], Mapping[RevisionTarget, ParsedCounters]],
) -> QueryPlan[TargetResults[ParsedCounters]]:
    """One chunk after the other: an answer with buckets takes much memory until it is read."""
    whole: TargetResults[ParsedCounters] = TargetResults()
    for chunk in chunks:
        part = yield from query_in_chunks([chunk], build, read)
        whole.rows.update(part.rows)
        whole.errors.update(part.errors)
        whole.warnings.update(part.warnings)
    return whole


def _problem(gathered: TargetResults[Any], target: RevisionTarget) -> str:
    if (error := gathered.errors.get(target)) is not None:
        return str(error)
    warning = gathered.warnings.get(target)
    return f"Prometheus warns: {warning}" if warning else ""
