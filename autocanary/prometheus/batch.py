"""All questions of a tick to few queries, and the answers back to the questions. Decides; does no I/O.

Questions fall into groups by what can be asked in one query: the traffic (requests, failures and the age of
the newest sample together) per variant and window, and each latency or level per variant, window and
quantile. Success rate, error rate and request count need the traffic alone; every other preset needs it
too, to say from how many requests and how fresh. So four presets of one source are two queries, for one
rollout or for hundreds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from autocanary.core.reading import Question, Reading
from autocanary.prometheus.custom import CustomQueries
from autocanary.prometheus.discover import Discovery, Found, Wanted, targets_of, wanted_by
from autocanary.prometheus.labelling import Target
from autocanary.prometheus.plan import Gathered, Plan, Result, divided, gather, together
from autocanary.prometheus.presets import DEFAULT_QUANTILE, RATES, Variant
from autocanary.prometheus.queries import (
    Traffic,
    measure_query,
    measured_rows,
    traffic_query,
    traffic_rows,
)
from autocanary.prometheus.readings import (
    Evidence,
    custom_reading,
    preset_reading,
    undiscovered,
    unsupported,
)
from autocanary.prometheus.sources import variants_of

__all__ = ["Limits", "answer_all"]

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one query may ask for."""

    revisions: int
    query_bytes: int


class _TrafficGroup(NamedTuple):
    variant: Variant
    window: float


class _MeasureGroup(NamedTuple):
    variant: Variant
    window: float
    metric: str
    quantile: float


@dataclass(frozen=True, slots=True)
class _Answers:
    """Everything Prometheus said in one round."""

    traffic: dict[_TrafficGroup, Gathered[Traffic]]
    measures: dict[_MeasureGroup, Gathered[float]]
    custom: dict[str, Result]


def answer_all(
    questions: Sequence[Question], discovery: Discovery, custom: CustomQueries, limits: Limits
) -> Plan[Mapping[Question, Reading]]:
    """Exactly one reading for every question."""
    distinct = tuple(dict.fromkeys(questions))
    hopeless = {question: why for question in distinct if (why := _hopeless(question))}
    asked = [question for question in distinct if question not in hopeless]
    found = (yield from discovery.resolve(asked)) if asked else {}
    chosen = {
        question: variant
        for question in asked
        if (variant := found[wanted_by(question)].preferred(question.metric)) is not None
    }
    answers = yield from _ask(asked, chosen, custom, limits)
    _report(asked, chosen, answers, discovery)
    readings = {question: unsupported(question, why) for question, why in hopeless.items()}
    for question in asked:
        readings[question] = _reading(question, chosen.get(question), found[wanted_by(question)], answers)
    return {question: readings[question] for question in distinct}


def _hopeless(question: Question) -> str:
    """Why no variant of the question's source can ever answer it; empty when one may."""
    if question.query:
        return ""
    lacks = [variant.meter.lack(question.metric) for variant in variants_of(question.source)]
    return lacks[0] if all(lacks) else ""


def _ask(
    asked: Sequence[Question], chosen: Mapping[Question, Variant], custom: CustomQueries, limits: Limits
) -> Plan[_Answers]:
    traffic: dict[_TrafficGroup, dict[Target, None]] = {}
    measures: dict[_MeasureGroup, dict[Target, None]] = {}
    for question, variant in chosen.items():
        if not question.query and variant.meter.lack(question.metric):
            continue
        traffic.setdefault(_TrafficGroup(variant, question.window), {}).update(
            dict.fromkeys(targets_of(question))
        )
        if (group := _measure_group(question, variant)) is not None:
            measures.setdefault(group, {})[targets_of(question)[0]] = None
    answers = _Answers({}, {}, {})
    yield from together(
        [
            *(
                _kept(answers.traffic, group, _traffic_plan(group, targets, limits))
                for group, targets in traffic.items()
            ),
            *(
                _kept(answers.measures, group, _measure_plan(group, targets, limits))
                for group, targets in measures.items()
            ),
            _custom_plan(answers.custom, custom, asked),
        ]
    )
    return answers


def _kept(store: dict[Key, T], key: Key, plan: Plan[T]) -> Plan[None]:
    """The plan, with its result put where the key says."""
    store[key] = yield from plan


def _custom_plan(store: dict[str, Result], custom: CustomQueries, asked: Sequence[Question]) -> Plan[None]:
    store.update((yield from custom.ask(question.query for question in asked if question.query)))


def _measure_group(question: Question, variant: Variant) -> _MeasureGroup | None:
    if question.query or question.metric in RATES or question.metric == "request-count":
        return None
    quantile = DEFAULT_QUANTILE if question.quantile is None else question.quantile
    return _MeasureGroup(variant, question.window, question.metric, quantile)


def _traffic_plan(group: _TrafficGroup, targets: Iterable[Target], limits: Limits) -> Plan[Gathered[Traffic]]:
    def build(chunk: Sequence[Target]) -> str:
        return traffic_query(group.variant, group.window, chunk)

    chunks = divided(sorted(targets), build, most=limits.revisions, most_bytes=limits.query_bytes)
    return gather(chunks, build, lambda chunk, answer: traffic_rows(group.variant, chunk, answer))


def _measure_plan(group: _MeasureGroup, targets: Iterable[Target], limits: Limits) -> Plan[Gathered[float]]:
    def build(chunk: Sequence[Target]) -> str:
        return measure_query(group.variant, group.metric, group.quantile, group.window, chunk)

    chunks = divided(sorted(targets), build, most=limits.revisions, most_bytes=limits.query_bytes)
    return gather(chunks, build, lambda chunk, answer: measured_rows(group.variant, chunk, answer))


def _report(
    asked: Sequence[Question], chosen: Mapping[Question, Variant], answers: _Answers, discovery: Discovery
) -> None:
    """Tell the discovery which services were heard of; those whose query failed are left out."""
    heard: dict[Wanted, bool] = {}
    for question in asked:
        gathered = (
            answers.traffic.get(_TrafficGroup(chosen[question], question.window))
            if question in chosen
            else None
        )
        if gathered is None or targets_of(question)[0] in gathered.errors:
            continue
        series = any(target in gathered.rows for target in targets_of(question))
        heard[wanted_by(question)] = heard.get(wanted_by(question), False) or series
    for wanted, series in heard.items():
        discovery.heard(wanted, series=series)


def _reading(question: Question, variant: Variant | None, found: Found, answers: _Answers) -> Reading:
    if question.query:
        return custom_reading(answers.custom[question.query], _requests(question, variant, answers))
    if variant is None:
        return undiscovered(question, found)
    if why := variant.meter.lack(question.metric):
        return unsupported(question, why, variant.source)
    target, *others = targets_of(question)
    traffic = answers.traffic[_TrafficGroup(variant, question.window)]
    group = _measure_group(question, variant)
    measured = answers.measures[group] if group is not None else Gathered[float]()
    warnings = dict.fromkeys(
        filter(None, (traffic.warnings.get(target, ""), measured.warnings.get(target, "")))
    )
    return preset_reading(
        question,
        variant,
        Evidence(
            traffic=traffic.rows.get(target, Traffic()),
            measured=measured.rows.get(target),
            error=traffic.errors.get(target) or measured.errors.get(target),
            warning="; ".join(warnings),
            seen=found.seen or any(other in traffic.rows for other in others),
        ),
    )


def _requests(question: Question, variant: Variant | None, answers: _Answers) -> float | None:
    """How many requests the revision completed while a custom query looked; None when nobody counts them."""
    if variant is None:
        return None
    target, *others = targets_of(question)
    traffic = answers.traffic[_TrafficGroup(variant, question.window)]
    row = traffic.rows.get(target)
    if row is not None:
        return row.requests
    silent = target not in traffic.errors and target not in traffic.warnings
    return 0.0 if silent and any(other in traffic.rows for other in others) else None
