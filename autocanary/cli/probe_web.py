"""Ask the services of policies' web metrics about given revisions, with the settings and guards of ``run``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from autocanary.cli.measured_services import ProbedPolicies, revisions_by_service, selected_services
from autocanary.controller.metric_queries import MeasuredRevisions, build_metric_query
from autocanary.errors import InputError, MetricsError, MetricsRefused, Problem
from autocanary.model.measurement import WebQuestion
from autocanary.model.policy import Analysis, Metric, Policy
from autocanary.model.value_wording import format_duration
from autocanary.outbound.http_client import HttpClient, url_origin
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.settings import load
from autocanary.web_metrics.web_answer import BadAnswer, WebAnswer, read_answer
from autocanary.web_metrics.web_client import WebClient

__all__ = ["probe_web"]


def probe_web(revisions: Sequence[str], policies: Sequence[Policy]) -> ProbedPolicies:
    """Each web metric's answer about the revisions (``NAMESPACE/REVISION``); InputError for one that is none.

    Of a service's revisions the newest is the candidate and the one before is stable. A service that does not answer
    is a warning; an answer that is not what the policy says, an address or credentials that it may not use, an error.
    """
    known = revisions_by_service(_pair(each) for each in revisions)
    settings = load({})
    hosts = WebhookHosts(settings.webhook_hosts)
    client = WebClient(HttpClient(hosts=hosts), settings.web_credentials)
    lines: list[str] = []
    problems: dict[Problem, None] = {}
    for policy in policies:
        if not policy.web_metrics:
            continue
        measured = list(selected_services(policy, known))
        if not measured:
            lines.append(f"{policy.name}: it selects none of the revisions: its web metrics were not asked")
        for each in measured:
            for analysis, metric in _web_metrics(policy):
                for line in _ask(client, hosts, policy, analysis, metric, each):
                    if isinstance(line, Problem):
                        problems[line] = None
                    else:
                        lines.append(line)
    if not any(policy.web_metrics for policy in policies):
        lines.append("no policy has a web metric: nothing was asked")
    return ProbedPolicies(list(problems), list(dict.fromkeys(lines)))


def _pair(text: str) -> tuple[str, str]:
    namespace, _, revision = text.partition("/")
    if not namespace or not revision or "/" in revision:
        raise InputError(f"{text!r} is not a revision: write NAMESPACE/REVISION, as in models/mnist-predictor-00002")
    return namespace, revision


def _web_metrics(policy: Policy) -> Iterator[tuple[Analysis, Metric]]:
    for analysis in policy.analyses:
        yield from ((analysis, metric) for metric in analysis.metrics if metric.web is not None)


def _ask(
    client: WebClient,
    hosts: WebhookHosts,
    policy: Policy,
    analysis: Analysis,
    metric: Metric,
    measured: MeasuredRevisions,
) -> Iterator[str | Problem]:
    query = build_metric_query(measured, analysis, metric)
    web = query.web
    assert web is not None  # noqa: S101 - it is the query of a web metric
    sides = {measured.candidate: web.url}
    if web.stable_url and measured.stable != measured.candidate:
        sides[measured.stable] = web.stable_url
    what = f"{policy.name}: {measured.namespace}/{measured.service}: {metric.name} of"
    for revision, url in sides.items():
        began = time.monotonic()
        try:
            answer = _answer(client, replace(web, url=url), measured.namespace)
        except MetricsError as error:
            severity = "error" if isinstance(error, BadAnswer | MetricsRefused) else "warning"
            said = f"the answer of {url_origin(url)} cannot be used: {error}" if isinstance(error, BadAnswer) else error
            yield Problem(policy.origin or policy.name, 0, 0, f"{what} {revision}: {said}", "", severity)
            continue
        shows_reason = hosts.allows_name(urlsplit(url).hostname or "")
        text = _answer_text(answer, query.window, shows_reason=shows_reason)
        yield f"{what} {revision}: {text}; answered in {1000 * (time.monotonic() - began):.0f} ms"
        age = time.time() - answer.at
        if age > query.window:
            old = f"the newest sample is {format_duration(age)} old"
            message = f"{what} {revision}: {old}, older than the window of {format_duration(query.window)}"
            yield Problem(policy.origin or policy.name, 0, 0, message, "set the metric's window to more", "warning")


def _answer(client: WebClient, web: WebQuestion, namespace: str) -> WebAnswer:
    asked_at = time.time()
    return read_answer(client.get(web.url, web.timeout, web.credentials, namespace), web.form, asked_at)


def _answer_text(answer: WebAnswer, window: float, *, shows_reason: bool) -> str:
    if answer.unknown is not None:
        return f"unknown: {answer.unknown[:120]}" if shows_reason and answer.unknown else "unknown"
    if answer.total is not None:
        return f"{answer.bad:,} bad of {answer.total:,} since the revision began"
    of = f", of {answer.samples:,.0f} samples" if answer.samples is not None else ", without samples"
    return f"{answer.value:g}{of} in {format_duration(window)}"
