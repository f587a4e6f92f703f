"""Custom PromQL: joined, taken apart, and isolated from each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.query_errors import QueryTimedOut
from autocanary.prometheus.query_plan import QueryResult
from autocanary.promql import result_type
from tests.prometheus.scripted_prometheus import FakePrometheus, ManualClock, row, rows

PART = re.compile(r'label_replace\(\n(?:vector\()?(.*?)\n\)?, "autocanary_q", "(\d+)", "", ""\)', re.DOTALL)


def joining(answer: dict[str, QueryResult]) -> FakePrometheus:
    """A server that answers each query as scripted, and a joined one from its parts, as Prometheus would."""

    def respond(query: str) -> QueryResult:
        if query in answer:
            return answer[query]
        samples: list[VectorSample] = []
        warnings: list[str] = []
        for part, number in PART.findall(query):
            result = answer[part]
            if isinstance(result, MetricsError):
                return result
            warnings += result.warnings
            samples += [row(sample.value, **sample.labels, autocanary_q=number) for sample in result.samples]
        return rows(*samples, warnings=warnings)

    return FakePrometheus(respond)


def typed(queries: Iterable[str]) -> dict[str, str]:
    """Each query with its type, as a policy holds it."""
    return {query: result_type(query) or "" for query in queries}


def query_all(fake: FakePrometheus, *queries: str, custom: CustomQueries | None = None) -> Mapping[str, QueryResult]:
    return fake.run((custom or CustomQueries(ManualClock().now, 100_000)).query_all(typed(queries)))


def values(result: QueryResult) -> list[float | None]:
    assert isinstance(result, QueryResponse)
    return [sample.value for sample in result.samples]


def test_many_queries_are_one_request() -> None:
    """Identical ones count once, scalars are wrapped, comments end where they should."""
    fake = joining({"a": rows(row(1, x="y")), "b # said": rows(row(2)), "1 + 1": rows(row(3)), "c": rows()})
    found = query_all(fake, "a", "b # said", "1 + 1", "c", "a")
    assert {query: values(result) for query, result in found.items()} == {
        "a": [1],
        "b # said": [2],
        "1 + 1": [3],
        "c": [],
    }
    assert len(fake.queries) == 1
    promql_parser.parse(fake.queries[0])
    answer = found["a"]
    assert isinstance(answer, QueryResponse)
    assert dict(answer.samples[0].labels) == {"x": "y"}


def test_no_custom_query_sends_nothing() -> None:
    """No custom metric, no request."""
    fake = joining({})
    assert query_all(fake) == {}
    assert fake.rounds == []


def test_single_query_is_sent_unchanged() -> None:
    """So the server's answer shows its own type."""
    fake = joining({"1": rows(row(1))})
    query_all(fake, "1")
    assert fake.queries == ["1"]


def test_matrix_and_string_queries_are_sent_alone() -> None:
    """Ranges, texts, and what only a newer Prometheus may understand."""
    fake = joining({"a": rows(row(1)), "b": rows(row(2)), "a[5m]": rows(), '"x"': rows(), "a smoothed": rows()})
    query_all(fake, "a", "b", "a[5m]", '"x"', "a smoothed")
    assert len(fake.rounds) == 1
    assert {"a[5m]", '"x"', "a smoothed"} < set(fake.queries)
    assert len(fake.queries) == 4


def test_bad_query_is_isolated() -> None:
    """The joined one is asked again one by one; later the refused query goes alone, and joins again in time."""
    clock = ManualClock()
    custom = CustomQueries(clock.now, 100_000)
    for fault in (
        MetricsRefused("many-to-many"),
        QueryTimedOut("too slow"),
        rows(warnings=["PromQL warning: x"]),
    ):
        fake = joining({"a": rows(row(1)), "b": rows(row(2)), "bad": fault})
        found = query_all(fake, "a", "b", "bad", custom=custom)
        assert values(found["a"]) == [1]
        assert found["bad"] == fault
        assert [len(queries) for queries in fake.rounds] == [1, 3]
        fake.rounds.clear()
        found = query_all(fake, "a", "b", "bad", custom=custom)
        assert values(found["b"]) == [2]
        assert [len(queries) for queries in fake.rounds] == [2]
        clock.time += 601


def test_bad_query_among_hundreds_costs_few_requests() -> None:
    """The refused query is looked for in ever smaller pieces; the next round it goes alone."""
    fake = joining({f"m{number}": rows(row(number)) for number in range(400)} | {"bad": MetricsRefused("no")})
    custom = CustomQueries(ManualClock().now, 100_000)
    queries = [f"m{number}" for number in range(399)] + ["bad"]
    found = query_all(fake, *queries, custom=custom)
    assert isinstance(found["bad"], MetricsRefused)
    assert values(found["m398"]) == [398]
    assert [len(each) for each in fake.rounds] == [1, 8, 8, 7]
    fake.rounds.clear()
    query_all(fake, *queries, custom=custom)
    assert len(fake.queries) == 2


def test_group_size_adapts_to_server_limit() -> None:
    """Refused as a whole and answered in pieces: pieces it is, until the time is over."""
    clock = ManualClock()
    inner = joining({f"m{number}": rows(row(number)) for number in range(80)})
    fake = FakePrometheus(lambda query: MetricsRefused("too long") if len(query) > 1500 else inner.respond(query))
    custom = CustomQueries(clock.now, 100_000)
    queries = [f"m{number}" for number in range(80)]
    for rounds in ([1, 8], [8], [8]):
        found = query_all(fake, *queries, custom=custom)
        assert [values(found[query]) for query in queries] == [[number] for number in range(80)]
        assert [len(each) for each in fake.rounds] == rounds
        fake.rounds.clear()
    clock.time += 601
    query_all(fake, *queries, custom=custom)
    assert [len(each) for each in fake.rounds] == [1, 8]


def test_outage_does_not_change_group_size() -> None:
    """The size was perhaps not the reason."""
    answers: list[QueryResult] = [MetricsRefused("no"), *[MetricsUnreachable("away")] * 8]
    fake = FakePrometheus(lambda _query: answers.pop(0) if answers else rows())
    custom = CustomQueries(ManualClock().now, 100_000)
    queries = [f"m{number}" for number in range(80)]
    query_all(fake, *queries, custom=custom)
    fake.rounds.clear()
    query_all(fake, *queries, custom=custom)
    assert len(fake.queries) == 1


def test_outage_fails_all_queries_without_retry() -> None:
    """No query is the cause, and a struggling server is not asked again."""
    outage = MetricsUnreachable("away")
    fake = FakePrometheus(lambda _query: outage)
    assert query_all(fake, "a", "b") == {"a": outage, "b": outage}
    assert len(fake.queries) == 1


def test_storage_warning_applies_to_all_queries() -> None:
    """It is in the server's answer as a whole: every query may lack data."""
    fake = joining({"a": rows(row(1), warnings=["store is down"]), "b": rows(row(2))})
    found = query_all(fake, "a", "b")
    assert [result.warnings for result in found.values() if isinstance(result, QueryResponse)] == [
        ("store is down",)
    ] * 2


def test_dropped_query_label_falls_back_to_single_queries() -> None:
    """An answer that cannot be taken apart is not guessed at."""
    fake = FakePrometheus(lambda query: rows(row(1)) if "autocanary_q" in query else rows(row(5)))
    assert [values(result) for result in query_all(fake, "a", "b").values()] == [[5], [5]]


def test_joined_queries_stay_short() -> None:
    """Both the number of queries and their bytes are bounded."""
    fake = FakePrometheus(lambda query: rows())
    query_all(fake, *(f"metric_{number}" for number in range(1000)))
    assert len(fake.queries) == 3
    fake = FakePrometheus(lambda query: rows())
    query_all(fake, *(f"metric_{number}" for number in range(20)), custom=CustomQueries(ManualClock().now, 300))
    assert all(len(query) < 450 for query in fake.queries)
    assert 4 <= len(fake.queries) <= 7


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([f"m{number}" for number in range(80)] + ["1", "time()", "a[5m]", "bad("]),
        st.one_of(
            st.just(MetricsRefused("no")),
            st.just(MetricsUnreachable("away")),
            st.lists(st.floats(allow_nan=False), max_size=3).map(
                lambda numbers: rows(*(row(number, i=str(i)) for i, number in enumerate(numbers)))
            ),
        ),
    )
)
def test_each_query_gets_its_own_result(answers: dict[str, QueryResult]) -> None:
    """Each distinct query has one result: its own, unless an outage took its neighbours."""
    fake = joining(answers)
    found = query_all(fake, *answers)
    assert set(found) == set(answers)
    for query, result in found.items():
        assert result == answers[query] or isinstance(result, MetricsUnreachable)
    if not any(isinstance(result, MetricsUnreachable) for result in answers.values()):
        assert found == answers


def test_query_deeper_than_the_stack_is_asked_alone() -> None:
    """A thousand operators parse, and their tree is deeper than Python's stack: the others go on."""
    deep = " or ".join(["up"] * 1000)
    fake = joining({deep: rows(row(1)), "a": rows(row(2)), "b": rows(row(3))})
    found = query_all(fake, deep, "a", "b")
    assert {query: values(result) for query, result in found.items()} == {deep: [1], "a": [2], "b": [3]}
    assert deep in fake.queries


def test_evaluation_parses_no_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """The type of a query comes with it, from the policy; one without a type is asked alone."""
    monkeypatch.setattr(promql_parser, "parse", lambda _query: pytest.fail("the parser ran at an evaluation"))
    fake = joining({"a": rows(row(1)), "b": rows(row(2)), "c": rows(row(3))})
    plan = CustomQueries(ManualClock().now, 100_000).query_all({"a": "vector", "b": "scalar", "c": ""})
    found = fake.run(plan)
    assert {query: values(result) for query, result in found.items()} == {"a": [1], "b": [2], "c": [3]}
    assert "c" in fake.queries


AGES = re.compile(r'label_replace\(time\(\) - (max\(.*?\)), "autocanary_q", "(\d+)", "", ""\)(?: or |$)')


def ages_of(*queries: str, ages: Mapping[str, float | None], delay: float = 0.0) -> Mapping[str, float]:
    """The ages that the custom queries learn from a server whose metrics have these."""

    def respond(query: str) -> QueryResult:
        samples = [row(1000.0, autocanary="now")]
        for part, number in AGES.findall(query):
            name = re.findall(r"timestamp\((\w+)\{", part)[0]
            if (age := ages.get(name)) is not None:
                samples.append(row(age, autocanary_q=number))
        return QueryResponse(tuple(samples), server_time=1000.0 + delay)

    fake = FakePrometheus(respond)
    found = fake.run(CustomQueries(ManualClock().now, 200_000).query_ages(dict.fromkeys(queries, "vector")))
    assert len(fake.queries) <= 1
    return found


def test_age_of_a_query_is_that_of_its_oldest_metric() -> None:
    """A ratio whose failures are fresh and whose requests are no longer scraped is old."""
    query = "sum(rate(failures[1m])) / sum(rate(requests[1m]))"
    assert ages_of(query, "sum(up)", ages={"failures": 3.0, "requests": 50.0, "up": 1.0}) == {
        query: 50.0,
        "sum(up)": 1.0,
    }


def test_metric_without_samples_says_nothing_of_the_age() -> None:
    """No failure has been counted yet; a constant has no age at all."""
    query = "sum(failures) / sum(requests) or vector(0)"
    assert ages_of(query, "vector(1)", ages={"requests": 2.0}) == {query: 2.0}


def test_age_includes_how_far_the_server_answers_from_the_past() -> None:
    """By the server's own clock."""
    assert ages_of("sum(up)", ages={"up": 1.0}, delay=30.0) == {"sum(up)": 31.0}


@pytest.mark.parametrize("error", [MetricsRefused("too heavy"), MetricsUnreachable("away")])
def test_refused_ages_are_unknown(error: MetricsError) -> None:
    """The value itself counts all the same."""
    fake = FakePrometheus(lambda _: error)
    assert fake.run(CustomQueries(ManualClock().now, 200_000).query_ages({"sum(up)": "vector"})) == {}


def test_many_ages_are_few_queries() -> None:
    """Each metric once, 1,000 a query."""
    fake = FakePrometheus(lambda _: rows())
    queries = {f"sum(m{number % 1900}) + {number}": "vector" for number in range(2000)}
    fake.run(CustomQueries(ManualClock().now, 200_000).query_ages(queries))
    assert len(fake.queries) == 2
