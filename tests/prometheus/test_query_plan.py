"""Plans: lockstep, chunks, and what happens to a refused one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import (
    QueryPlan,
    gather_pair,
    gather_plans,
    query_in_chunks,
    split_into_chunks,
)
from autocanary.prometheus.revision_labels import RevisionTarget
from tests.prometheus.scripted_prometheus import FakePrometheus, row, rows


def targets(count: int) -> list[RevisionTarget]:
    return [RevisionTarget("models", f"r{number:04}") for number in range(count)]


def build(chunk: Sequence[RevisionTarget]) -> str:
    return " ".join(target.revision for target in chunk)


def read(chunk: Sequence[RevisionTarget], answer: QueryResponse) -> Mapping[RevisionTarget, float]:
    return dict.fromkeys(chunk, answer.samples[0].value or 0.0)


def steps(name: str, count: int) -> QueryPlan[str]:
    for number in range(count):
        yield [f"{name}{number}", "shared"]
    return name


def test_plans_run_in_lockstep_and_share_queries() -> None:
    """As many rounds as the longest plan has, each query once a round; results in order."""
    fake = FakePrometheus(lambda _query: rows())
    assert fake.run(gather_plans([steps("a", 2), steps("b", 0), steps("c", 1)])) == ["a", "b", "c"]
    assert fake.rounds == [["a0", "shared", "c0"], ["a1", "shared"]]
    assert FakePrometheus(lambda _query: rows()).run(gather_plans([])) == []


def test_two_plans_of_different_kinds_run_in_lockstep() -> None:
    """Each keeps its own result."""

    def number() -> QueryPlan[int]:
        yield ["n"]
        return 7

    fake = FakePrometheus(lambda _query: rows())
    assert fake.run(gather_pair(steps("a", 2), number())) == ("a", 7)
    assert fake.rounds == [["a0", "shared", "n"], ["a1", "shared"]]


def test_a_refused_chunk_is_halved_until_it_passes() -> None:
    """A limit on samples or on the query's length is met by smaller queries."""
    fake = FakePrometheus(lambda query: MetricsRefused("too long") if len(query.split()) > 3 else rows(row(7.0)))
    gathered = fake.run(query_in_chunks([targets(8)], build, read))
    assert gathered.rows == dict.fromkeys(targets(8), 7.0)
    assert [len(queries) for queries in fake.rounds] == [1, 2, 4]


def test_refused_chunk_costs_a_bounded_number_of_queries() -> None:
    """The error is kept for each target, after at most three halvings."""
    fake = FakePrometheus(lambda _query: MetricsRefused("no"))
    gathered = fake.run(query_in_chunks([targets(1000)], build, read))
    assert set(gathered.errors) == set(targets(1000))
    assert len(fake.queries) == 1 + 2 + 4 + 8


def test_outage_is_not_retried() -> None:
    """Only the chunk whose query failed has the error."""

    def respond(query: str) -> QueryResponse | MetricsError:
        return MetricsUnreachable("away") if "r0000" in query else rows(row(1.0), warnings=["partial"])

    fake = FakePrometheus(respond)
    gathered = fake.run(query_in_chunks([targets(4)[:2], targets(4)[2:]], build, read))
    assert set(gathered.errors) == set(targets(2))
    assert set(gathered.rows) == set(gathered.warnings) == set(targets(4)[2:])
    assert len(fake.queries) == 2


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 100))
def test_chunks_hold_every_target_once_within_limits(count: int, max_targets: int, size: int) -> None:
    """A chunk of one may exceed the bytes, as it cannot be made smaller."""
    chunks = split_into_chunks(targets(count), build, max_targets=max_targets, max_query_bytes=size)
    assert [target for chunk in chunks for target in chunk] == targets(count)
    assert all(len(chunk) <= max_targets for chunk in chunks)
    assert all(len(build(chunk)) <= size for chunk in chunks if len(chunk) > 1)
