"""Plans: lockstep, chunks, and what happens to a refused one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.query_plan import Plan, both, divided, gather, together
from autocanary.prometheus.revision_labels import Target
from tests.prometheus.fake_prometheus import Played, row, rows


def targets(count: int) -> list[Target]:
    return [Target("models", f"r{number:04}") for number in range(count)]


def build(chunk: Sequence[Target]) -> str:
    return " ".join(target.revision for target in chunk)


def read(chunk: Sequence[Target], answer: Answer) -> Mapping[Target, float]:
    return dict.fromkeys(chunk, answer.samples[0].value or 0.0)


def steps(name: str, count: int) -> Plan[str]:
    for number in range(count):
        yield [f"{name}{number}", "shared"]
    return name


def test_plans_run_in_lockstep_and_share_queries() -> None:
    """As many rounds as the longest plan has, each query once a round; results in order."""
    played = Played(lambda _query: rows())
    assert played.run(together([steps("a", 2), steps("b", 0), steps("c", 1)])) == ["a", "b", "c"]
    assert played.rounds == [["a0", "shared", "c0"], ["a1", "shared"]]
    assert Played(lambda _query: rows()).run(together([])) == []


def test_two_plans_of_different_kinds_run_in_lockstep() -> None:
    """Each keeps its own result."""

    def number() -> Plan[int]:
        yield ["n"]
        return 7

    played = Played(lambda _query: rows())
    assert played.run(both(steps("a", 2), number())) == ("a", 7)
    assert played.rounds == [["a0", "shared", "n"], ["a1", "shared"]]


def test_a_refused_chunk_is_halved_until_it_passes() -> None:
    """A limit on samples or on the query's length is met by smaller queries."""
    played = Played(lambda query: MetricsRefused("too long") if len(query.split()) > 3 else rows(row(7.0)))
    gathered = played.run(gather([targets(8)], build, read))
    assert gathered.rows == dict.fromkeys(targets(8), 7.0)
    assert [len(queries) for queries in played.rounds] == [1, 2, 4]


def test_a_chunk_that_is_always_refused_costs_a_bounded_number_of_queries() -> None:
    """The error is kept for each target, after at most three halvings."""
    played = Played(lambda _query: MetricsRefused("no"))
    gathered = played.run(gather([targets(1000)], build, read))
    assert set(gathered.errors) == set(targets(1000))
    assert len(played.queries) == 1 + 2 + 4 + 8


def test_an_outage_is_not_asked_twice() -> None:
    """Only the chunk whose query failed has the error."""

    def respond(query: str) -> Answer | MetricsError:
        return MetricsUnreachable("away") if "r0000" in query else rows(row(1.0), warnings=["partial"])

    played = Played(respond)
    gathered = played.run(gather([targets(4)[:2], targets(4)[2:]], build, read))
    assert set(gathered.errors) == set(targets(2))
    assert set(gathered.rows) == set(gathered.warnings) == set(targets(4)[2:])
    assert len(played.queries) == 2


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 100))
def test_chunks_hold_every_target_once_within_both_bounds(count: int, most: int, size: int) -> None:
    """A chunk of one may exceed the bytes, as it cannot be made smaller."""
    chunks = divided(targets(count), build, most=most, most_bytes=size)
    assert [target for chunk in chunks for target in chunk] == targets(count)
    assert all(len(chunk) <= most for chunk in chunks)
    assert all(len(build(chunk)) <= size for chunk in chunks if len(chunk) > 1)
