"""Custom PromQL: joined, taken apart, and isolated from each other."""

from __future__ import annotations

import re
from collections.abc import Mapping

import promql_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.prometheus.client import TooSlow
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.query_answer import Answer, Sample
from autocanary.prometheus.query_plan import Result
from tests.prometheus.fake_prometheus import ManualClock, Played, row, rows

PART = re.compile(r'label_replace\(\n(?:vector\()?(.*?)\n\)?, "autocanary_q", "(\d+)", "", ""\)', re.DOTALL)


def joining(answer: dict[str, Result]) -> Played:
    """A server that answers each query as told, and a joined one from its parts, as Prometheus would."""

    def respond(query: str) -> Result:
        if query in answer:
            return answer[query]
        samples: list[Sample] = []
        warnings: list[str] = []
        for part, number in PART.findall(query):
            result = answer[part]
            if isinstance(result, MetricsError):
                return result
            warnings += result.warnings
            samples += [row(sample.value, **sample.labels, autocanary_q=number) for sample in result.samples]
        return rows(*samples, warnings=warnings)

    return Played(respond)


def ask(played: Played, *queries: str, custom: CustomQueries | None = None) -> Mapping[str, Result]:
    return played.run((custom or CustomQueries(ManualClock().now, 100_000)).ask(queries))


def values(result: Result) -> list[float | None]:
    assert isinstance(result, Answer)
    return [sample.value for sample in result.samples]


def test_many_queries_are_one_request() -> None:
    """Identical ones count once, scalars are wrapped, comments end where they should."""
    played = joining({"a": rows(row(1, x="y")), "b # said": rows(row(2)), "1 + 1": rows(row(3)), "c": rows()})
    found = ask(played, "a", "b # said", "1 + 1", "c", "a")
    assert {query: values(result) for query, result in found.items()} == {
        "a": [1],
        "b # said": [2],
        "1 + 1": [3],
        "c": [],
    }
    assert len(played.queries) == 1
    promql_parser.parse(played.queries[0])
    answer = found["a"]
    assert isinstance(answer, Answer)
    assert dict(answer.samples[0].labels) == {"x": "y"}


def test_nothing_to_ask_asks_nothing() -> None:
    """No custom metric, no request."""
    played = joining({})
    assert ask(played) == {}
    assert played.rounds == []


def test_a_single_query_goes_as_it_is() -> None:
    """So the server's answer shows its own type."""
    played = joining({"1": rows(row(1))})
    ask(played, "1")
    assert played.queries == ["1"]


def test_what_is_no_number_is_asked_alone() -> None:
    """Ranges, texts, and what only a newer Prometheus may understand."""
    played = joining(
        {"a": rows(row(1)), "b": rows(row(2)), "a[5m]": rows(), '"x"': rows(), "a smoothed": rows()}
    )
    ask(played, "a", "b", "a[5m]", '"x"', "a smoothed")
    assert len(played.rounds) == 1
    assert {"a[5m]", '"x"', "a smoothed"} < set(played.queries)
    assert len(played.queries) == 4


def test_one_bad_query_spoils_no_other_and_is_set_apart() -> None:
    """The joined one is asked again one by one; later the culprit goes alone, and is forgiven in time."""
    clock = ManualClock()
    custom = CustomQueries(clock.now, 100_000)
    for fault in (MetricsRefused("many-to-many"), TooSlow("too slow"), rows(warnings=["PromQL warning: x"])):
        played = joining({"a": rows(row(1)), "b": rows(row(2)), "bad": fault})
        found = ask(played, "a", "b", "bad", custom=custom)
        assert values(found["a"]) == [1]
        assert found["bad"] == fault
        assert [len(queries) for queries in played.rounds] == [1, 3]
        played.rounds.clear()
        found = ask(played, "a", "b", "bad", custom=custom)
        assert values(found["b"]) == [2]
        assert [len(queries) for queries in played.rounds] == [2]
        clock.time += 601


def test_one_bad_query_among_hundreds_costs_a_few_dozen() -> None:
    """The culprit is looked for in ever smaller pieces; the next round it goes alone."""
    played = joining(
        {f"m{number}": rows(row(number)) for number in range(400)} | {"bad": MetricsRefused("no")}
    )
    custom = CustomQueries(ManualClock().now, 100_000)
    queries = [f"m{number}" for number in range(399)] + ["bad"]
    found = ask(played, *queries, custom=custom)
    assert isinstance(found["bad"], MetricsRefused)
    assert values(found["m398"]) == [398]
    assert [len(each) for each in played.rounds] == [1, 8, 8, 7]
    played.rounds.clear()
    ask(played, *queries, custom=custom)
    assert len(played.queries) == 2


def test_a_server_that_takes_less_at_once_is_learnt() -> None:
    """Refused as a whole and answered in pieces: pieces it is, until the time is over."""
    clock = ManualClock()
    inner = joining({f"m{number}": rows(row(number)) for number in range(80)})
    played = Played(lambda query: MetricsRefused("too long") if len(query) > 1500 else inner.respond(query))
    custom = CustomQueries(clock.now, 100_000)
    queries = [f"m{number}" for number in range(80)]
    for rounds in ([1, 8], [8], [8]):
        found = ask(played, *queries, custom=custom)
        assert [values(found[query]) for query in queries] == [[number] for number in range(80)]
        assert [len(each) for each in played.rounds] == rounds
        played.rounds.clear()
    clock.time += 601
    ask(played, *queries, custom=custom)
    assert [len(each) for each in played.rounds] == [1, 8]


def test_pieces_that_meet_an_outage_teach_nothing() -> None:
    """The size was perhaps not the reason."""
    answers: list[Result] = [MetricsRefused("no"), *[MetricsUnreachable("away")] * 8]
    played = Played(lambda _query: answers.pop(0) if answers else rows())
    custom = CustomQueries(ManualClock().now, 100_000)
    queries = [f"m{number}" for number in range(80)]
    ask(played, *queries, custom=custom)
    played.rounds.clear()
    ask(played, *queries, custom=custom)
    assert len(played.queries) == 1


def test_an_outage_is_everybodys_and_asked_once() -> None:
    """Nobody's query is to blame, and a struggling server is not asked again."""
    outage = MetricsUnreachable("away")
    played = Played(lambda _query: outage)
    assert ask(played, "a", "b") == {"a": outage, "b": outage}
    assert len(played.queries) == 1


def test_a_warning_about_the_storage_holds_for_all() -> None:
    """It is in the server's answer as a whole: every query may lack data."""
    played = joining({"a": rows(row(1), warnings=["store is down"]), "b": rows(row(2))})
    found = ask(played, "a", "b")
    assert [result.warnings for result in found.values() if isinstance(result, Answer)] == [
        ("store is down",)
    ] * 2


def test_a_server_that_drops_the_number_is_asked_one_by_one() -> None:
    """An answer that cannot be taken apart is not guessed at."""
    played = Played(lambda query: rows(row(1)) if "autocanary_q" in query else rows(row(5)))
    assert [values(result) for result in ask(played, "a", "b").values()] == [[5], [5]]


def test_joined_queries_stay_short() -> None:
    """Both the number of queries and their bytes are bounded."""
    played = Played(lambda query: rows())
    ask(played, *(f"metric_{number}" for number in range(1000)))
    assert len(played.queries) == 3
    played = Played(lambda query: rows())
    ask(played, *(f"metric_{number}" for number in range(20)), custom=CustomQueries(ManualClock().now, 300))
    assert all(len(query) < 450 for query in played.queries)
    assert 4 <= len(played.queries) <= 7


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
def test_every_query_gets_its_own_result(answers: dict[str, Result]) -> None:
    """Each distinct query has one result: its own, unless an outage took its neighbours."""
    played = joining(answers)
    found = ask(played, *answers)
    assert set(found) == set(answers)
    for query, result in found.items():
        assert result == answers[query] or isinstance(result, MetricsUnreachable)
    if not any(isinstance(result, MetricsUnreachable) for result in answers.values()):
        assert found == answers
