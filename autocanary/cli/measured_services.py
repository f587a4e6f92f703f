"""What each policy's metrics are now, on the selected services that Prometheus knows.

Without a cluster the services are those whose revisions have series of some exporter; of each, the newest revision
stands for the candidate and the one before for stable. Labels of a selector are not known to Prometheus.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autocanary.controller.metric_queries import MeasuredRevisions, build_metric_query
from autocanary.errors import MetricsRefused, Problem
from autocanary.model.measurement import Measurement, MeasurementKind, Source
from autocanary.model.policy import Policy
from autocanary.model.value_wording import describe_measurement, format_duration, format_value
from autocanary.ports import Metrics
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.revision_labels import (
    ENVOY_CLUSTER,
    KNATIVE_LABELS,
    MESH_DESTINATION,
    POD_NAME,
    PRIVATE_SERVICE,
    PROMOTED,
    RELABELLED,
    RevisionLabels,
)
from autocanary.prometheus.sources import exporter_variants

__all__ = ["ProbedPolicies", "known_revisions", "measure_services", "revisions_by_service", "selected_services"]

_MAX_SERVICES = 20
"""Services of a policy that are shown."""
_REVISION = re.compile(r"(?P<service>.+?)-(?P<component>predictor|transformer|explainer)(?:-default|-canary)?-\d+")
_DOUBTFUL = frozenset({MeasurementKind.AMBIGUOUS, MeasurementKind.UNSUPPORTED, MeasurementKind.PARTIAL})
"""Kinds that hold every rollout, so that they are worth a warning before one starts."""


@dataclass(frozen=True, slots=True)
class ProbedPolicies:
    """Problems, and a line for each metric of each selected service that Prometheus knows."""

    problems: Sequence[Problem] = ()
    lines: Sequence[str] = field(default=())

    def __add__(self, other: ProbedPolicies) -> ProbedPolicies:
        return ProbedPolicies([*self.problems, *other.problems], [*self.lines, *other.lines])


def measure_services(
    query: Callable[[str], QueryResponse], metrics: Metrics, policies: Sequence[Policy]
) -> ProbedPolicies:
    """Measure each policy's metrics as the service does; MetricsUnreachable without an answer."""
    revisions = known_revisions(query)
    lines: list[str] = []
    problems: dict[Problem, None] = {}
    for policy in policies:
        measured = list(selected_services(policy, revisions))
        for each in measured[:_MAX_SERVICES]:
            queries = {
                metric.name: build_metric_query(each, analysis, metric)
                for analysis in policy.analyses
                for metric in analysis.metrics
                if metric.web is None
            }
            answers = metrics.query(list(queries.values()))
            for name, asked in queries.items():
                lines.append(f"{policy.name}: {each.namespace}/{each.service}: {_line(name, each, answers[asked])}")
                if answers[asked].kind in _DOUBTFUL:
                    message = f"{policy.name}: {name} of {each.namespace}/{each.service}: {answers[asked].detail}"
                    problems[Problem(policy.origin or policy.name, 0, 0, message, "", "warning")] = None
        if policy.web_metrics:
            names = ", ".join(dict.fromkeys(metric.name for metric in policy.web_metrics))
            lines.append(f"{policy.name}: {names}: not Prometheus', asked with --web-revision NAMESPACE/REVISION")
        if len(measured) > _MAX_SERVICES:
            lines.append(f"{policy.name}: {len(measured) - _MAX_SERVICES} more services are not shown")
        if not measured:
            lines.append(f"{policy.name}: no selected service has series in this Prometheus: nothing was measured")
        elif policy.selector.labels:
            lines.append(f"{policy.name}: the labels of its selector were not checked: Prometheus does not know them")
    return ProbedPolicies(list(problems), lines)


def _line(name: str, measured: MeasuredRevisions, found: Measurement) -> str:
    parts = []
    if found.requests is not None and found.window:
        rate = found.requests / found.window
        parts.append(f"{found.requests:,.0f} requests in {format_duration(found.window)} ({rate:.3g} a second)")
    if found.source is not None:
        parts.append(f"source {found.source.value}")
    if found.exporter:
        parts.append(found.exporter)
    if found.scrape_interval is not None:
        parts.append(f"scraped every {format_duration(round(found.scrape_interval) or 1)}")
    if found.age is not None:
        parts.append(f"newest sample {format_duration(found.age)} old")
    value = format_value(found.value, found.unit) if found.is_value and found.value is not None else ""
    shown = f"{name} of {measured.candidate}: {value or describe_measurement(found)}"
    return f"{shown}; {'; '.join(parts)}" if parts else shown


def known_revisions(query: Callable[[str], QueryResponse]) -> Mapping[tuple[str, str, str], Sequence[str]]:
    """The revisions that have series, the oldest first, by namespace, service and component."""
    metrics: dict[RevisionLabels, dict[str, None]] = {}
    for variant in exporter_variants(Source.AUTO):
        if variant.revision_labels in _READ:
            names = metrics.setdefault(variant.revision_labels, {})
            names.update(dict.fromkeys(counted.metric for counted in variant.counted))
            if variant.histogram is not None:  # which may be stored as a native one alone
                names[variant.histogram.metric] = None
    found: dict[tuple[str, str], None] = {}
    for labels, names in metrics.items():
        present = ",".join(f'{label}!=""' for label in labels.required_labels)
        selected = f'{{__name__=~"{"|".join(names)}",{present}}}'
        try:
            answer = query(labels.group_by_revision("count", selected, (), "5m"))
        except MetricsRefused:  # too many for this server: the other forms may do
            continue
        for sample in answer.samples:
            found[_READ[labels](tuple(sample.labels.get(each, "") for each in labels.group_labels))] = None
    return revisions_by_service(found)


def revisions_by_service(revisions: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str, str], Sequence[str]]:
    """Pairs of namespace and revision, by namespace, service and component, the oldest revision first."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for namespace, revision in revisions:
        if (match := _REVISION.fullmatch(revision)) is not None:
            found.setdefault((namespace, match["service"], match["component"]), {})[revision] = None
    return {key: sorted(names, key=_number) for key, names in found.items()}


def _number(revision: str) -> tuple[int, str]:
    return int(revision.rpartition("-")[2]), revision


def _of_pair(values: tuple[str, ...]) -> tuple[str, str]:
    return values[0], values[1]


def _of_private_service(values: tuple[str, ...]) -> tuple[str, str]:
    return values[0], values[1].removesuffix("-private")


def _of_cluster(values: tuple[str, ...]) -> tuple[str, str]:
    namespace, _, revision = values[0].partition("/")
    return namespace, revision


def _of_host(values: tuple[str, ...]) -> tuple[str, str]:
    revision, _, namespace = values[0].partition(".")
    return namespace, revision


def _of_pod(values: tuple[str, ...]) -> tuple[str, str]:
    return values[0], values[1].removesuffix("-deployment")


_READ: Mapping[RevisionLabels, Callable[[tuple[str, ...]], tuple[str, str]]] = {
    KNATIVE_LABELS: _of_pair,
    PROMOTED: _of_pair,
    RELABELLED: _of_pair,
    PRIVATE_SERVICE: _of_private_service,
    ENVOY_CLUSTER: _of_cluster,
    MESH_DESTINATION: _of_host,
    POD_NAME: _of_pod,
}
"""Namespace and revision from the values of the labels that an answer is grouped by."""


def selected_services(
    policy: Policy, revisions: Mapping[tuple[str, str, str], Sequence[str]]
) -> Iterator[MeasuredRevisions]:
    """The services that the policy selects, its labels aside; the newest revision is the candidate."""
    selector = policy.selector
    for (namespace, service, component), names in sorted(revisions.items()):
        if component != policy.component.value or policy.namespace not in ("", namespace):
            continue
        if selector.names and not any(fnmatch.fnmatchcase(service, each) for each in selector.names):
            continue
        if selector.namespaces and not any(fnmatch.fnmatchcase(namespace, each) for each in selector.namespaces):
            continue
        candidate, stable = names[-1], names[-2] if len(names) > 1 else names[-1]
        yield MeasuredRevisions(namespace, service, component, candidate, stable)
