"""What Prometheus says of policies: whether their queries run, and whether anything measures their presets.

Without a cluster nobody knows which services there are, so presets are looked for anywhere in Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from autocanary.errors import MetricsRefused, Problem
from autocanary.model.policy import Metric, Policy
from autocanary.policy_files.cross_field_checks import sample_of
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import config_of
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.sources import variants_of
from autocanary.settings import load

__all__ = ["examine", "probe"]

Query = Callable[[str], Answer]


def probe(url: str, policies: Sequence[Policy]) -> list[Problem]:
    """Asks with the credentials of the settings; MetricsUnreachable when there is no answer."""
    client = PrometheusClient(config_of(load({"prometheus_url": url})))
    try:
        return examine(client.query, policies)
    finally:
        client.close()


def examine(query: Query, policies: Sequence[Policy]) -> list[Problem]:
    """A refused query is an error; a preset that nothing measures may only be waiting for its exporter."""
    query("vector(1)")  # away, or not Prometheus: said once, not once a metric
    problems: list[Problem] = []
    for policy in policies:
        for metric in policy.analysis.metrics:
            ask = _refused if metric.query else _unmeasured
            problems += ask(query, policy, metric)
    return problems


def _refused(query: Query, policy: Policy, metric: Metric) -> Iterator[Problem]:
    try:
        query(sample_of(metric.query))
    except MetricsRefused as error:
        yield _problem(policy, f"the query of {metric.name} is refused: {error}")


def _unmeasured(query: Query, policy: Policy, metric: Metric) -> Iterator[Problem]:
    meters = {variant.meter: variant.source for variant in variants_of(policy.analysis.source)}
    able = {meter: source for meter, source in meters.items() if not meter.lack(metric.name)}
    if not able:
        yield _problem(policy, next(iter(meters)).lack(metric.name))
        return
    names = sorted({counted.metric for meter in able for counted in meter.counted})
    found = query(f'count by (__name__) ({{__name__=~"{"|".join(names)}"}})')
    if not found.samples:
        sources = ", ".join(dict.fromkeys(source.value for source in able.values()))
        message = (
            f"nothing in this Prometheus measures {metric.name}: there are no series of {', '.join(names)}"
        )
        hint = f"they come from {sources}; check that it is scraped, and that a service has had requests"
        yield _problem(policy, message, hint, "warning")


def _problem(policy: Policy, message: str, hint: str = "", severity: str = "error") -> Problem:
    return Problem(f"{policy.origin or policy.name}", 0, 0, f"{policy.name}: {message}", hint, severity)
