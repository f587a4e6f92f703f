"""Finding the source: few probes, a memory, and no haste."""

from __future__ import annotations

import re
from collections.abc import Collection

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Question, ReadingKind, Source
from autocanary.prometheus.exporter_discovery import Discovery, Found, looked_for, targets_of, wanted_by
from autocanary.prometheus.presets import Variant
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.query_plan import Result
from autocanary.prometheus.revision_labels import Labelling, Target
from autocanary.prometheus.sources import variants_of
from tests.prometheus.fake_prometheus import Desk, ManualClock, Played, question, row, rows

AUTO = question(source=Source.AUTO)
STABLE = Target("models", "mnist-predictor-00001")
FORMS = list(dict.fromkeys(variant.labelling for variant in variants_of(Source.AUTO)))


def variant(source: Source, labelling: int = 0, meter: int = 0) -> Variant:
    meters = list(dict.fromkeys(one.meter for one in variants_of(source)))
    return Variant(meters[meter], meters[meter].labellings[labelling])


class Exposing:
    """A Prometheus that has series of the given variants for the given revisions."""

    def __init__(self, *variants: Variant, targets: Collection[Target] = (STABLE,)) -> None:
        self.variants = variants
        self.targets = targets
        self.fault: dict[tuple[str, ...], Result] = {}

    def __call__(self, query: str) -> Result:
        labelling = self.form(query)
        if labelling.needs in self.fault:
            return self.fault[labelling.needs]
        names = re.findall(r'__name__=~"([^"]*)"', query)[0].split("|")
        found = []
        for one in self.variants:
            metric = one.meter.counted[0].metric
            if one.labelling is labelling and metric in names:
                for target in self.targets:
                    labels = dict(zip(labelling.by, labelling.key(target), strict=True))
                    found.append(row(1, **labels, autocanary_metric=metric))
        return rows(*found)

    @staticmethod
    def form(query: str) -> Labelling:
        """Which form of labels a probe looks for."""
        by = re.match(r"count by \(([^)]*), autocanary_metric\)", query)
        assert by is not None, query
        same = [one for one in FORMS if ", ".join(one.by) == by[1]]
        return next(one for one in same if one.joined == ("target_info" in query))


class Search:
    """A discovery over a played Prometheus."""

    def __init__(self, prometheus: Exposing) -> None:
        self.clock = ManualClock()
        self.prometheus = prometheus
        self.played = Played(prometheus)
        self.discovery = Discovery(self.clock.now, most=1000, most_bytes=200_000)

    def find(self, *questions: Question) -> Found:
        asked = {wanted_by(each): targets_of(each) for each in questions or (AUTO,)}
        return self.played.run(self.discovery.resolve(asked))[next(iter(asked))]

    @property
    def probes(self) -> int:
        count = len(self.played.queries)
        self.played.rounds.clear()
        return count


def test_one_probe_per_form_of_labels_whatever_the_number_of_services() -> None:
    """Hundreds of services are looked for in one round of eight queries."""
    search = Search(Exposing())
    search.find(*(question(service=f"s{number}", source=Source.AUTO) for number in range(300)))
    assert len(search.played.rounds) == 1
    assert search.probes == len(FORMS) == 8


def test_a_settled_service_is_not_looked_for_again() -> None:
    """Found once by its stable revision, remembered for the candidate."""
    search = Search(Exposing(variant(Source.ISTIO)))
    assert search.find().variants == (variant(Source.ISTIO),)
    assert search.probes == 8
    search.clock.time += 1000
    assert search.find().variants == (variant(Source.ISTIO),)
    assert search.find().seen
    assert search.probes == 0


def test_nothing_found_is_looked_for_again_after_a_while() -> None:
    """Every 30 seconds at most, until there is something."""
    search = Search(Exposing())
    assert search.find() == Found()
    search.clock.time += 29
    assert search.find() == Found()
    assert search.probes == 8
    search.clock.time += 1
    search.prometheus.variants = (variant(Source.KOURIER),)
    assert search.find().variants == (variant(Source.KOURIER),)
    assert search.probes == 8


def test_a_source_with_one_form_needs_no_search() -> None:
    """knative, istio and kourier are what they are; whether they have been seen is learnt from answers."""
    search = Search(Exposing())
    asked = question(source=Source.KNATIVE)
    assert search.find(asked) == Found(variants_of(Source.KNATIVE))
    assert search.probes == 0
    search.discovery.heard(wanted_by(asked), series=True)
    assert search.find(asked).seen


def test_the_form_of_a_named_source_is_found() -> None:
    """knative-otel is one source with many forms: only its own metrics are looked for."""
    wanted = variant(Source.KNATIVE_OTEL, labelling=3, meter=1)
    search = Search(Exposing(wanted, variant(Source.KNATIVE)))
    assert search.find(question(source=Source.KNATIVE_OTEL)).variants == (wanted,)
    assert search.probes == 5


def test_the_documented_order_decides_between_several() -> None:
    """Queue-proxy before gateways before model servers; per metric the first that can give it."""
    everything = variants_of(Source.AUTO)
    found = Search(Exposing(*everything)).find()
    assert found.variants == everything
    assert found.preferred("error-rate") == variant(Source.KNATIVE)
    tokens = found.preferred("time-to-first-token")
    assert tokens is not None
    assert tokens.source is Source.VLLM
    only_kserve = Found((variant(Source.KSERVE),))
    assert only_kserve.preferred("error-rate") == variant(Source.KSERVE)
    assert Found().preferred("error-rate") is None


def test_a_service_gone_silent_is_looked_for_again_and_kept_meanwhile() -> None:
    """Its exporter may have been replaced; or its revisions are scaled to zero, which is no news."""
    search = Search(Exposing(variant(Source.KNATIVE)))
    search.find()
    search.discovery.heard(wanted_by(AUTO), series=False)
    search.clock.time += 30
    search.prometheus.variants = ()
    assert search.find().variants == (variant(Source.KNATIVE),)
    assert search.probes == 16
    search.clock.time += 30
    search.prometheus.variants = (variant(Source.KNATIVE_OTEL),)
    assert search.find().variants == (variant(Source.KNATIVE_OTEL),)
    search.discovery.heard(wanted_by(AUTO), series=True)
    search.clock.time += 30
    search.find()
    assert search.probes == 8


def test_a_failed_probe_settles_nothing() -> None:
    """Not found is told from not answered; what was found is used, and better is looked for again."""
    outage = MetricsUnreachable("away")
    search = Search(Exposing(variant(Source.KOURIER)))
    search.prometheus.fault = {form.needs: outage for form in FORMS}
    assert search.find().error is outage
    search.clock.time += 30
    search.prometheus.fault = {("namespace_name", "revision_name"): outage}
    assert search.find().variants == (variant(Source.KOURIER),)
    assert not search.find().certain
    search.clock.time += 30
    search.prometheus.fault = {}
    search.prometheus.variants = (variant(Source.KNATIVE), variant(Source.KOURIER))
    assert search.find().variants[0] == variant(Source.KNATIVE)
    assert search.find().certain


def test_a_refused_form_is_not_there_for_us() -> None:
    """A join that this Prometheus cannot do must not keep the others from being settled."""
    search = Search(Exposing(variant(Source.VLLM)))
    search.prometheus.fault = {("job", "instance", "target_info"): MetricsRefused("many-to-many")}
    assert search.find().certain


def test_a_warning_is_remembered_with_what_was_not_found() -> None:
    """With a store missing, absence proves nothing."""
    search = Search(Exposing())
    search.prometheus.fault = {form.needs: Answer((), ("a store is down",)) for form in FORMS}
    assert search.find().warning == "a store is down"


def test_services_nobody_asks_about_are_forgotten() -> None:
    """An hour later a deleted service is out of memory."""
    search = Search(Exposing())
    search.find()
    search.clock.time += 3601
    search.find(question(service="other", source=Source.AUTO))
    assert len(search.discovery._memory) == 1


def test_what_is_looked_for_can_be_searched_for() -> None:
    """Metric names with the labels that are needed."""
    assert looked_for(Source.KNATIVE) == "revision_request_count with {namespace_name,revision_name}"
    assert "or {namespace,service}" in looked_for(Source.KNATIVE_OTEL)


def test_the_stable_revision_is_asked_about_too() -> None:
    """It shows that the source exists; without one the revision stands alone."""
    assert targets_of(AUTO) == (Target("models", "mnist-predictor-00002"), STABLE)


@pytest.mark.parametrize("failing", [MetricsUnreachable("away"), MetricsRefused("no")])
def test_readings_of_an_undiscovered_service(failing: MetricsUnreachable | MetricsRefused) -> None:
    """Through the batcher: an outage of the probes is an outage, a refusal means that nothing was found."""
    reading = Desk(lambda _query: failing).ask_one(AUTO)
    expected = ReadingKind.OUTAGE if isinstance(failing, MetricsUnreachable) else ReadingKind.NO_SERIES
    assert reading.kind is expected
