"""Plans: what to ask Prometheus next, given what it has answered; they decide and never touch a socket.

A plan is a generator that yields the queries it needs, is sent their results, and returns what it learnt.
Several plans run in lockstep, so that everything that can be asked at once is.

Runs queries at once on the pool, each distinct one only once at a time, whoever asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.ports import Pool
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.revision_labels import Target

__all__ = ["Flight", "Gathered", "Limits", "Plan", "Result", "both", "divided", "gather", "kept", "together"]

T = TypeVar("T")
U = TypeVar("U")
Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

Result = Answer | MetricsError
Plan = Generator[Sequence[str], Mapping[str, Result], T]

_MOST_HALVINGS = 3  # of a refused query; what is refused at an eighth of its size will be refused at any


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one query may ask for."""

    revisions: int
    query_bytes: int


@dataclass(slots=True)
class Gathered(Generic[Row]):
    """What a grouped query gave each of its targets: a row, an error, neither; and what was said besides."""

    rows: dict[Target, Row] = field(default_factory=dict)
    errors: dict[Target, MetricsError] = field(default_factory=dict)
    warnings: dict[Target, str] = field(default_factory=dict)


def together(plans: Sequence[Plan[T]]) -> Plan[list[T]]:
    """One plan that runs all of the given ones in lockstep; their results in the same order."""
    steps = [_advance(plan, None) for plan in plans]
    while waiting := [number for number, step in enumerate(steps) if not step.done]:
        results = yield list(dict.fromkeys(query for number in waiting for query in steps[number].queries))
        for number in waiting:
            steps[number] = _advance(plans[number], results)
    return [step.done[0] for step in steps if step.done]


def kept(store: dict[Key, T], key: Key, plan: Plan[T]) -> Plan[None]:
    """The plan, with its result put where the key says."""
    store[key] = yield from plan


def both(one: Plan[T], other: Plan[U]) -> Plan[tuple[T, U]]:
    """Two plans of different kinds in lockstep."""
    first: dict[None, T] = {}
    second: dict[None, U] = {}
    yield from together([kept(first, None, one), kept(second, None, other)])
    return first[None], second[None]


@dataclass(frozen=True, slots=True)
class _Step(Generic[T]):
    """Where a plan stands: what it asks next, or its result, boxed as a result may be None."""

    queries: Sequence[str] = ()
    done: tuple[T] | None = None


def _advance(plan: Plan[T], results: Mapping[str, Result] | None) -> _Step[T]:
    try:
        return _Step(plan.send(results) if results is not None else next(plan))
    except StopIteration as stop:
        return _Step(done=(stop.value,))


def gather(
    chunks: Sequence[Sequence[Target]],
    build: Callable[[Sequence[Target]], str],
    read: Callable[[Sequence[Target], Answer], Mapping[Target, Row]],
) -> Plan[Gathered[Row]]:
    """Ask for every chunk of targets; a refused one is halved, as it may only have been too much at once."""
    gathered: Gathered[Row] = Gathered()
    waiting = [(tuple(chunk), 0) for chunk in chunks]
    while waiting:
        asked = [(build(chunk), chunk, halvings) for chunk, halvings in waiting]
        results = yield [query for query, _, _ in asked]
        waiting = []
        for query, chunk, halvings in asked:
            result = results[query]
            if isinstance(result, MetricsRefused) and len(chunk) > 1 and halvings < _MOST_HALVINGS:
                middle = len(chunk) // 2
                waiting += [(chunk[:middle], halvings + 1), (chunk[middle:], halvings + 1)]
            elif isinstance(result, MetricsError):
                gathered.errors.update(dict.fromkeys(chunk, result))
            else:
                gathered.rows.update(read(chunk, result))
                if result.warnings:
                    gathered.warnings.update(dict.fromkeys(chunk, "; ".join(result.warnings)))
    return gathered


def divided(
    targets: Sequence[Target], build: Callable[[Sequence[Target]], str], *, most: int, most_bytes: int
) -> list[Sequence[Target]]:
    """The targets in chunks whose queries stay within both bounds, as far as single ones do."""
    chunks: list[Sequence[Target]] = []
    waiting = [targets[start : start + most] for start in range(0, len(targets), most)]
    while waiting:
        chunk = waiting.pop(0)
        if len(chunk) > 1 and len(build(chunk).encode()) > most_bytes:
            middle = len(chunk) // 2
            waiting[:0] = [chunk[:middle], chunk[middle:]]
        else:
            chunks.append(chunk)
    return chunks


class Flight:
    """May be used from many threads, but not from the pool's own: both methods wait for the pool."""

    def __init__(self, query: Callable[[str], Answer], pool: Pool) -> None:
        self._query = query
        self._pool = pool
        self._flying: dict[str, Future[Answer]] = {}
        self._lock = threading.Lock()

    def fly(self, plan: Plan[T]) -> T:
        """Run a plan to its end."""
        try:
            queries = next(plan)
            while True:
                queries = plan.send(self.fetch(queries))
        except StopIteration as stop:
            value: T = stop.value
            return value

    def fetch(self, queries: Iterable[str]) -> Mapping[str, Result]:
        """Every query's answer or error."""
        promises = {query: self._promise(query) for query in queries}
        return {query: _result(promise) for query, promise in promises.items()}

    def _promise(self, query: str) -> Future[Answer]:
        with self._lock:
            flying = self._flying.get(query)
            if flying is not None:
                return flying
            promise = self._flying[query] = Future()

        def landed(work: Future[Answer]) -> None:
            with self._lock:
                del self._flying[query]
            if work.cancelled():
                promise.set_exception(_stopping())
            elif (error := work.exception()) is not None:
                promise.set_exception(error)
            else:
                promise.set_result(work.result())

        try:
            work = self._pool.submit(lambda: self._query(query))
        except RuntimeError:  # the pool has been shut down
            work = Future()
            work.set_exception(_stopping())
        work.add_done_callback(landed)
        return promise


def _stopping() -> MetricsUnreachable:
    return MetricsUnreachable("Prometheus was not asked: autocanary is stopping")


def _result(promise: Future[Answer]) -> Result:
    try:
        return promise.result()
    except MetricsError as error:
        return error
