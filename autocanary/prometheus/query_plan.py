"""Plans: what to ask Prometheus next, given what it has answered; they decide and never touch a socket.

A plan is a generator that yields the queries it needs, is sent their results, and returns what it learnt.
Several plans run in lockstep, so that everything that can be asked at once is.

Runs queries at once on the pool, each distinct one only once at a time, however many callers wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.ports import Pool
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.revision_labels import RevisionTarget

__all__ = [
    "OwnQuery",
    "ProcessingError",
    "QueryLimits",
    "QueryPlan",
    "QueryResult",
    "QueryRunner",
    "TargetResults",
    "gather_pair",
    "gather_plans",
    "guard_plan",
    "query_in_chunks",
    "split_into_chunks",
    "store_result",
]

T = TypeVar("T")
U = TypeVar("U")
Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

QueryResult = QueryResponse | MetricsError
QueryPlan = Generator[Sequence[str], Mapping[str, QueryResult], T]

_OWN_AT_ONCE = 3
_MAX_HALVINGS = 3  # of a refused query; what is refused at an eighth of its size will be refused at any


class OwnQuery(str):
    """PromQL that a policy's author wrote: it runs on threads of its own, and its answer must be small."""

    __slots__ = ()


class ProcessingError(MetricsRefused):
    """A defect of autocanary that one query or one answer triggers; it fails that query and no other."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"autocanary cannot process this query: {type(error).__name__}: {str(error)[:200]}")


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """How much one query may ask for."""

    revisions: int
    query_bytes: int


@dataclass(slots=True)
class TargetResults(Generic[Row]):
    """What a grouped query gave each of its targets: a row, an error, neither; and what was said besides."""

    rows: dict[RevisionTarget, Row] = field(default_factory=dict)
    errors: dict[RevisionTarget, MetricsError] = field(default_factory=dict)
    warnings: dict[RevisionTarget, str] = field(default_factory=dict)


def gather_plans(plans: Sequence[QueryPlan[T]]) -> QueryPlan[list[T]]:
    """One plan that runs all of the given ones in lockstep; their results in the same order."""
    steps = [_advance(plan, None) for plan in plans]
    while pending := [number for number, step in enumerate(steps) if not step.done]:
        results = yield list(dict.fromkeys(query for number in pending for query in steps[number].queries))
        for number in pending:
            steps[number] = _advance(plans[number], results)
    return [step.done[0] for step in steps if step.done]


def guard_plan(plan: QueryPlan[T], on_error: Callable[[ProcessingError], T]) -> QueryPlan[T]:
    """The plan; where its own code fails, what ``on_error`` makes of that, so that other plans go on."""
    try:
        return (yield from plan)
    except Exception as error:  # noqa: BLE001 - one query's defect must not fail the round of every rollout
        return on_error(ProcessingError(error))


def store_result(store: dict[Key, T], key: Key, plan: QueryPlan[T]) -> QueryPlan[None]:
    """The plan, with its result put where the key says."""
    store[key] = yield from plan


def gather_pair(one: QueryPlan[T], other: QueryPlan[U]) -> QueryPlan[tuple[T, U]]:
    """Two plans of different kinds in lockstep."""
    first: dict[None, T] = {}
    second: dict[None, U] = {}
    yield from gather_plans([store_result(first, None, one), store_result(second, None, other)])
    return first[None], second[None]


@dataclass(frozen=True, slots=True)
class _PlanState(Generic[T]):
    """The state of a plan: what it queries next, or its result, boxed as a result may be None."""

    queries: Sequence[str] = ()
    done: tuple[T] | None = None


def _advance(plan: QueryPlan[T], results: Mapping[str, QueryResult] | None) -> _PlanState[T]:
    try:
        return _PlanState(plan.send(results) if results is not None else next(plan))
    except StopIteration as stop:
        return _PlanState(done=(stop.value,))


def query_in_chunks(
    chunks: Sequence[Sequence[RevisionTarget]],
    build: Callable[[Sequence[RevisionTarget]], str],
    read: Callable[[Sequence[RevisionTarget], QueryResponse], Mapping[RevisionTarget, Row]],
) -> QueryPlan[TargetResults[Row]]:
    """Ask for every chunk of targets; a refused one is halved, as it may only have been too much at once."""
    gathered: TargetResults[Row] = TargetResults()
    pending = [(tuple(chunk), 0) for chunk in chunks]
    while pending:
        asked = [(build(chunk), chunk, halvings) for chunk, halvings in pending]
        results = yield [query for query, _, _ in asked]
        pending = []
        for query, chunk, halvings in asked:
            result, rows = _read_rows(results[query], chunk, read)
            if isinstance(result, MetricsRefused) and len(chunk) > 1 and halvings < _MAX_HALVINGS:
                middle = len(chunk) // 2
                pending += [(chunk[:middle], halvings + 1), (chunk[middle:], halvings + 1)]
            elif isinstance(result, MetricsError):
                gathered.errors.update(dict.fromkeys(chunk, result))
            else:
                gathered.rows.update(rows)
                if result.warnings:
                    gathered.warnings.update(dict.fromkeys(chunk, "; ".join(result.warnings)))
    return gathered


def _read_rows(
    result: QueryResult,
    chunk: Sequence[RevisionTarget],
    read: Callable[[Sequence[RevisionTarget], QueryResponse], Mapping[RevisionTarget, Row]],
) -> tuple[QueryResult, Mapping[RevisionTarget, Row]]:
    """The result and its rows; an answer that cannot be read is an error of its chunk."""
    if isinstance(result, MetricsError):
        return result, {}
    try:
        return result, read(chunk, result)
    except Exception as error:  # noqa: BLE001 - what one answer triggers must not fail the other chunks
        return ProcessingError(error), {}


def split_into_chunks(
    targets: Sequence[RevisionTarget],
    build: Callable[[Sequence[RevisionTarget]], str],
    *,
    max_targets: int,
    max_query_bytes: int,
) -> list[Sequence[RevisionTarget]]:
    """The targets in chunks whose queries stay within both bounds, as far as single ones do."""
    chunks: list[Sequence[RevisionTarget]] = []
    pending = [targets[start : start + max_targets] for start in range(0, len(targets), max_targets)]
    while pending:
        chunk = pending.pop(0)
        if len(chunk) > 1 and len(build(chunk).encode()) > max_query_bytes:
            middle = len(chunk) // 2
            pending[:0] = [chunk[:middle], chunk[middle:]]
        else:
            chunks.append(chunk)
    return chunks


class QueryRunner:
    """May be used from many threads, but not from the pools' own: both methods wait for the pools.

    ``own_pool`` runs the policies' own queries, of each caller only a few at a time: slow ones delay no other
    query, and those of one caller not all of another's.
    """

    def __init__(self, query: Callable[[str], QueryResponse], pool: Pool, own_pool: Pool | None = None) -> None:
        self._query = query
        self._pool, self._own_pool = pool, own_pool if own_pool is not None else pool
        self._in_flight: dict[str, Future[QueryResponse]] = {}
        self._lock = threading.Lock()

    def run(self, plan: QueryPlan[T]) -> T:
        """Run a plan to its end."""
        try:
            queries = next(plan)
            while True:
                queries = plan.send(self.run_queries(queries))
        except StopIteration as stop:
            value: T = stop.value
            return value

    def run_queries(self, queries: Iterable[str]) -> Mapping[str, QueryResult]:
        """Every query's answer or error."""
        own: list[str] = []
        futures: dict[str, Future[QueryResponse]] = {}
        for query in queries:
            if isinstance(query, OwnQuery):
                own.append(query)
            else:
                futures[query] = self._submit(query)
        found: dict[str, QueryResult] = {}
        for start in range(0, len(own), _OWN_AT_ONCE):
            some = {query: self._submit(query) for query in own[start : start + _OWN_AT_ONCE]}
            found.update({query: _result(future) for query, future in some.items()})
        return {**{query: _result(future) for query, future in futures.items()}, **found}

    def _submit(self, query: str) -> Future[QueryResponse]:
        with self._lock:
            in_flight = self._in_flight.get(query)
            if in_flight is not None:
                return in_flight
            future = self._in_flight[query] = Future()

        def on_done(work: Future[QueryResponse]) -> None:
            with self._lock:
                del self._in_flight[query]
            if work.cancelled():
                future.set_exception(_shutdown_error())
            elif (error := work.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(work.result())

        try:
            pool = self._own_pool if isinstance(query, OwnQuery) else self._pool
            work = pool.submit(lambda: self._query(query))
        except RuntimeError:  # the pool has been shut down
            work = Future()
            work.set_exception(_shutdown_error())
        work.add_done_callback(on_done)
        return future


def _shutdown_error() -> MetricsUnreachable:
    return MetricsUnreachable("Prometheus was not asked: autocanary is stopping")


def _result(future: Future[QueryResponse]) -> QueryResult:
    try:
        return future.result()
    except MetricsError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a defect that one query triggers is that query's outage
        return ProcessingError(error)
