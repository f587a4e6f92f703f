"""Many questions to few queries, and every question its own reading."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Question, ReadingKind, Source, Unit
from autocanary.prometheus.presets import PRESETS
from autocanary.prometheus.query_plan import Result
from autocanary.prometheus.revision_labels import Target
from autocanary.prometheus.sources import variants_of
from tests.prometheus.fake_prometheus import Desk, knative, question, row, rows, traffic

FOUR = ("request-success-rate", "request-duration", "error-rate", "request-count")


def is_latency(query: str) -> bool:
    return query.startswith("histogram_quantile")


def serving(query: str) -> Result:
    """Queue-proxy's metrics of the canary of `mnist`: 100 requests, two failed, p99 at 0.25 s."""
    if is_latency(query):
        return rows(row(0.25, **knative()))
    return rows(*traffic(100, 2))


def test_four_presets_are_two_queries() -> None:
    """Rates and counts share one query with the age of the samples; the latency takes another."""
    desk = Desk(serving)
    readings = desk.ask(*(question(metric) for metric in FOUR))
    assert len(desk.played.rounds) == 1
    assert len(desk.played.queries) == 2
    assert [reading.value for reading in readings.values()] == [98, 0.25, 2, 100]
    assert {reading.requests for reading in readings.values()} == {100}
    assert {reading.kind for reading in readings.values()} == {ReadingKind.VALUE}


def test_windows_and_quantiles_are_asked_apart() -> None:
    """Each window its traffic; each quantile its latency; the same ones together."""
    desk = Desk(serving)
    desk.ask(
        question("request-duration", quantile=0.99),
        question("request-duration"),
        question("request-duration", quantile=0.5),
        question("error-rate", window=300),
        question("error-rate", service="other"),
    )
    assert len(desk.played.queries) == 4
    assert sum("0.5" in query for query in desk.played.queries) == 1
    assert sum("[5m]" in query for query in desk.played.queries) == 1


def test_chunks_are_bounded_in_revisions_and_bytes() -> None:
    """More revisions than fit are asked in several queries at once."""
    crowd = [question("error-rate", service=f"s{number:03}") for number in range(50)]
    desk = Desk(lambda _query: rows(), revisions=20)
    assert len(desk.ask(*crowd)) == 50
    assert len(desk.played.rounds) == 1
    assert len(desk.played.queries) == 5  # 50 candidates and 50 stable ones
    desk = Desk(lambda _query: rows(), size=3000)
    desk.ask(*crowd)
    assert all(len(query) <= 3000 for query in desk.played.queries)


def test_one_failed_query_is_an_outage_for_exactly_its_questions() -> None:
    """The latency's query fails: rates are fine; the traffic's query fails: nothing can be said."""
    outage = MetricsUnreachable("Prometheus is away")

    def latency_fails(query: str) -> Result:
        return outage if is_latency(query) else serving(query)

    readings = Desk(latency_fails).ask(question("error-rate"), question("request-duration"))
    assert [reading.kind for reading in readings.values()] == [ReadingKind.VALUE, ReadingKind.OUTAGE]
    assert [reading.detail for reading in readings.values()] == ["", "Prometheus is away"]

    def traffic_fails(query: str) -> Result:
        return serving(query) if is_latency(query) else outage

    readings = Desk(traffic_fails).ask(question("error-rate"), question("request-duration"))
    assert {reading.kind for reading in readings.values()} == {ReadingKind.OUTAGE}


def test_one_chunk_of_many_fails() -> None:
    """Only the services in it are without an answer."""

    def respond(query: str) -> Result:
        if "s000-" in query:
            return MetricsUnreachable("away")
        return rows(*(sample for n in range(50) for sample in traffic(9, labels=knative(2, f"s{n:03}"))))

    readings = Desk(respond, revisions=10).ask(
        *(question("error-rate", service=f"s{n:03}") for n in range(50))
    )
    kinds = [reading.kind for reading in readings.values()]
    assert kinds == [ReadingKind.OUTAGE] * 5 + [ReadingKind.VALUE] * 45


def test_a_warning_makes_its_questions_partial() -> None:
    """Both queries' warnings are told, each once."""

    def respond(query: str) -> Result:
        answer = serving(query)
        assert not isinstance(answer, MetricsError)
        return rows(*answer.samples, warnings=["a store is down"])

    reading = Desk(respond).ask_one(question("request-duration"))
    assert (reading.kind, reading.value) == (ReadingKind.PARTIAL, 0.25)
    assert reading.detail == "Prometheus warns: a store is down"


def test_a_canary_without_series_beside_a_busy_stable_one() -> None:
    """The source is known to exist, so there were no requests; a latency says the same."""

    def respond(query: str) -> Result:
        return rows() if is_latency(query) else rows(*traffic(100, labels=knative(1)))

    for metric in ("error-rate", "request-duration", "request-count"):
        reading = Desk(respond).ask_one(question(metric))
        assert (reading.kind, reading.requests) == (ReadingKind.NO_SERIES, 0), metric


def test_a_service_heard_of_before_is_known() -> None:
    """Later silence of both revisions is no traffic rather than no source."""
    desk = Desk(serving)
    desk.ask(question("error-rate"))
    desk.played.respond = lambda _query: rows()
    assert desk.ask_one(question("error-rate")).requests == 0
    assert desk.ask_one(question("error-rate", service="other")).requests is None


def test_namespaces_are_not_mixed_up() -> None:
    """The same revision name in two namespaces is two revisions; others in the answer are ignored."""

    def respond(_query: str) -> Result:
        here, there = traffic(10, 1), traffic(10, 9, labels=knative(namespace="team-a"))
        return rows(*here, *there, *traffic(5, 5, labels=knative(namespace="nobody")))

    readings = Desk(respond).ask(question("error-rate"), question("error-rate", namespace="team-a"))
    assert [reading.value for reading in readings.values()] == [10, 90]


def test_what_no_source_gives_asks_nothing() -> None:
    """An unknown preset, and one the named source does not have, are answered without a query."""
    desk = Desk(serving)
    unknown, tokens, kserve = desk.ask(
        question("request-sucess-rate", source=Source.AUTO),
        question("time-to-first-token"),
        question("error-rate", source=Source.KSERVE),
    ).values()
    assert {unknown.kind, tokens.kind, kserve.kind} == {ReadingKind.UNSUPPORTED}
    assert "known are" in unknown.detail
    assert "knative does not measure" in tokens.detail
    assert kserve.unit is Unit.PERCENT
    assert desk.played.rounds == []


def test_custom_queries_learn_how_many_requests_there_were() -> None:
    """The policy's minimum holds for them as well; the source's own trouble does not hurt them."""
    mine = question(query="sum(drift)", source=Source.KNATIVE)

    def respond(query: str) -> Result:
        return rows(row(0.5)) if query == "sum(drift)" else rows(*traffic(40))

    reading = Desk(respond).ask_one(mine)
    assert (reading.kind, reading.value, reading.requests) == (ReadingKind.VALUE, 0.5, 40)

    def quiet(query: str) -> Result:
        return rows(row(0.5)) if query == "sum(drift)" else rows(*traffic(40, labels=knative(1)))

    assert Desk(quiet).ask_one(mine).requests == 0

    def broken(query: str) -> Result:
        return rows(row(0.5)) if query == "sum(drift)" else MetricsUnreachable("away")

    reading = Desk(broken).ask_one(mine)
    assert (reading.kind, reading.requests) == (ReadingKind.VALUE, None)
    undiscovered = question(query="sum(drift)", source=Source.AUTO)
    assert Desk(broken).ask_one(undiscovered).requests is None


def test_identical_custom_queries_of_many_rollouts_are_asked_once() -> None:
    """One query for all whose text is the same."""
    desk = Desk(lambda query: rows(row(1)))
    desk.ask(*(question(query="up", service=f"s{number}") for number in range(10)))
    assert desk.played.queries.count("up") == 1


def test_nothing_asked_nothing_answered() -> None:
    """An idle tick costs no request."""
    desk = Desk(serving)
    assert desk.ask() == {}
    assert desk.played.rounds == []


QUESTIONS = st.builds(
    question,
    st.sampled_from([*PRESETS, "no-such-preset"]),
    query=st.sampled_from(["", "", "", "up", "sum(x)", "1", "bad(", "x[5m]"]),
    service=st.sampled_from(["a", "b", "c"]),
    number=st.integers(1, 3),
    namespace=st.sampled_from(["models", "team-a"]),
    source=st.sampled_from(Source),
    window=st.sampled_from([60.0, 300.0]),
    quantile=st.sampled_from([None, 0.5, 0.99]),
)


@st.composite
def responses(draw: st.DrawFn, query: str) -> Result:
    """Anything a Prometheus may answer: errors, nothing, warnings, or rows with labels of any form."""
    shape = draw(st.sampled_from(["rows", "rows", "rows", "empty", "warned", "refused", "away"]))
    if shape == "refused":
        return MetricsRefused("no")
    if shape == "away":
        return MetricsUnreachable("away")
    if shape == "empty":
        return rows()
    samples = []
    for variant in variants_of(Source.AUTO):
        target = Target(
            draw(st.sampled_from(["models", "team-a"])), f"{draw(st.sampled_from('abc'))}-predictor-00002"
        )
        labels = dict(zip(variant.labelling.by, variant.labelling.key(target), strict=True))
        tags = draw(
            st.sampled_from(
                [
                    {},
                    {"autocanary": "count0"},
                    {"autocanary": "age"},
                    {"autocanary": "count0", "autocanary_failed": "1"},
                    {"autocanary_metric": variant.meter.counted[0].metric},
                    {"autocanary_q": "0"},
                ]
            )
        )
        samples.append(row(draw(st.floats()), **labels, **tags))
    return rows(*samples, warnings=["a store is down"] if shape == "warned" else [])


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
)
@given(st.data(), st.lists(QUESTIONS, max_size=12))
def test_any_set_of_questions_gets_exactly_one_reading_each(
    data: st.DataObject, asked: list[Question]
) -> None:
    """Whatever Prometheus answers, nothing is raised, nothing is missing, and numbers are finite."""
    desk = Desk(lambda query: data.draw(responses(query)))
    for _ in range(2):
        readings = desk.ask(*asked)
        assert list(readings) == list(dict.fromkeys(asked))
        for reading in readings.values():
            assert (reading.kind is ReadingKind.VALUE) <= (reading.value is not None)
            for number in (reading.value, reading.requests, reading.age):
                assert number is None or math.isfinite(number)
            assert reading.source is not Source.AUTO
        desk.clock.time += 31


@settings(max_examples=60, deadline=None)
@given(st.lists(QUESTIONS.filter(lambda asked: not asked.query), max_size=40), st.integers(1, 40))
def test_queries_grow_with_distinct_metrics_not_with_rollouts(asked: list[Question], copies: int) -> None:
    """Copying every question to more services adds no query."""
    sources = [Source.KNATIVE, Source.ISTIO, Source.KOURIER]  # with a form of their own, so nothing is probed
    settled = [question_ for question_ in asked if question_.source in sources]

    def queries(many: Sequence[Question]) -> int:
        desk = Desk(lambda _query: rows())
        desk.ask(*many)
        return len(desk.played.queries)

    crowd = [moved(one, number) for one in settled for number in range(copies)]
    kinds = {(one.source, one.window) for one in settled if answerable(one)}
    latencies = {
        (one.source, one.window, one.quantile or 0.99) for one in settled if one.metric == "request-duration"
    }
    assert queries(settled) == queries(crowd) == len(kinds) + len(latencies)


def moved(one: Question, number: int) -> Question:
    revision = re.sub(r"^.", f"x{number}", one.revision)
    stable = re.sub(r"^.", f"x{number}", one.stable)
    return Question(
        one.namespace,
        f"x{number}",
        one.component,
        revision,
        stable,
        one.source,
        one.window,
        one.metric,
        one.quantile,
    )


def answerable(one: Question) -> bool:
    return not variants_of(one.source)[0].meter.lack(one.metric)
