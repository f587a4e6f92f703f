"""Check policies against Prometheus: do queries run, does an exporter measure the presets, are windows long enough.

Without a cluster the services are unknown, so presets are searched in all of Prometheus.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from autocanary.cli.measured_services import ProbedPolicies, measure_services
from autocanary.errors import MetricsError, MetricsRefused, Problem
from autocanary.model.policy import Analysis, Metric, Policy
from autocanary.policy_files.cross_field_checks import with_sample_values
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import config_from_settings, config_of_server
from autocanary.prometheus.exporters import Exporter
from autocanary.prometheus.measurements import short_window_problem
from autocanary.prometheus.preset_queries import scrape_interval
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.sources import exporter_variants
from autocanary.promql import metric_names, quote_string
from autocanary.scheduler import SteadyClock
from autocanary.settings import load

__all__ = ["check_queries", "probe"]

Query = Callable[[str], QueryResponse]


def probe(url: str, policies: Sequence[Policy]) -> ProbedPolicies:
    """Query with the credentials of the settings; MetricsUnreachable when there is no answer.

    A policy that names one of the settings' further servers is checked against that one.
    """
    settings = load({"prometheus_url": url})
    named = {server.name: config_of_server(server) for server in settings.prometheus_servers}
    by_config: dict[str, list[Policy]] = {}
    for policy in policies:
        by_config.setdefault(policy.analysis.server if policy.analysis.server in named else "", []).append(policy)
    found = ProbedPolicies()
    for name, checked in by_config.items():
        found += _probe(named[name] if name else config_from_settings(settings), checked)
    return found


def _probe(config: PrometheusConfig, policies: Sequence[Policy]) -> ProbedPolicies:
    client = PrometheusClient(config)
    try:
        problems = check_queries(client.query, policies)
    finally:
        client.close()
    with ThreadPoolExecutor(config.connections) as pool:
        metrics = PrometheusMetrics(config, pool=pool, clock=SteadyClock())
        try:
            measured = measure_services(metrics.run, metrics, policies)
        finally:
            metrics.close()
    return ProbedPolicies([*problems, *measured.problems], measured.lines)


def check_queries(query: Query, policies: Sequence[Policy]) -> list[Problem]:
    """A refused query is an error; a preset without series, or a window too short for them, is a warning."""
    query = cache(query)
    query("vector(1)")  # unreachable, or not Prometheus: reported once, not per metric
    problems: dict[Problem, None] = {}  # two presets of one exporter have the same problem once
    for policy in policies:
        for analysis in policy.analyses:
            for metric in analysis.metrics:
                if metric.web is not None:
                    continue
                check = _check_query if metric.query else _check_preset
                problems.update(dict.fromkeys(check(query, policy, analysis, metric)))
    return list(problems)


def _check_query(query: Query, policy: Policy, _: Analysis, metric: Metric) -> Iterator[Problem]:
    promql = with_sample_values(metric.query)
    try:
        query(promql)
    except MetricsRefused as error:
        yield _problem(policy, f"the query of {metric.name} is refused: {error}")
        return
    for name in metric_names(promql):
        if not query(f"count({{__name__={quote_string(name)}}})").samples:
            message = f"the query of {metric.name} reads {name}, of which this Prometheus has no series"
            hint = "is the name right? Where no series means zero, write: … or vector(0)"
            yield _problem(policy, message, hint, "warning")


def _check_preset(query: Query, policy: Policy, analysis: Analysis, metric: Metric) -> Iterator[Problem]:
    exporters = {variant.exporter: variant.source for variant in exporter_variants(analysis.source)}
    supporting = {
        exporter: source for exporter, source in exporters.items() if not exporter.unsupported_reason(metric.name)
    }
    if not supporting:
        yield _problem(policy, next(iter(exporters)).unsupported_reason(metric.name))
        return
    names = sorted({counted.metric for exporter in supporting for counted in exporter.counted})
    found = query(f'count by (__name__) ({{__name__=~"{"|".join(names)}"}})')
    if not found.samples:
        sources = ", ".join(dict.fromkeys(source.value for source in supporting.values()))
        message = f"nothing in this Prometheus measures {metric.name}: there are no series of {', '.join(names)}"
        hint = f"they come from {sources}; check that it is scraped, and that a service has had requests"
        yield _problem(policy, message, hint, "warning")
    with_series = {each.labels.get("__name__") for each in found.samples}
    yield from _check_window(query, policy, analysis, metric, supporting, with_series)


def _check_window(
    query: Query,
    policy: Policy,
    analysis: Analysis,
    metric: Metric,
    exporters: Iterable[Exporter],
    found: set[str | None],
) -> Iterator[Problem]:
    """A warning for each exporter whose most often scraped series have fewer than two samples in the window."""
    if metric.window is None and analysis.window_follows:
        return  # it is as long as the scrapes need
    window = analysis.window if metric.window is None else metric.window
    for exporter in exporters:
        counted = exporter.counted[0]
        if counted.metric not in found:
            continue
        matchers = ",".join(filter(None, (exporter.matchers, counted.matchers)))
        try:
            intervals = query(f"min({scrape_interval(f'{counted.metric}{{{matchers}}}')})").samples
        except MetricsError:  # perhaps too heavy for this server: the check is left out
            continue
        for value in (each.value for each in intervals):
            if value is None or not math.isfinite(value):
                continue
            if problem := short_window_problem(counted.metric, value, window):
                hint = "a rate needs two samples; a shorter scrape interval helps as well"
                yield _problem(policy, problem, hint, "warning")


def _problem(policy: Policy, message: str, hint: str = "", severity: str = "error") -> Problem:
    return Problem(f"{policy.origin or policy.name}", 0, 0, f"{policy.name}: {message}", hint, severity)
