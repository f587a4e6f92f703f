"""The PromQL of one metric of one rollout, for users who want to run it themselves."""

from __future__ import annotations

from autocanary.model.measurement import Source
from autocanary.model.policy import DEFAULT_QUANTILE, Policy
from autocanary.model.rollout import Rollout
from autocanary.prometheus.exporters import RATES
from autocanary.prometheus.preset_queries import preset_query, traffic_query
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.sources import exporter_variants
from autocanary.promql import fill_placeholders

__all__ = ["shown_query"]


def shown_query(rollout: Rollout, policy: Policy | None, metric: str) -> str:
    """What is asked about both revisions; "" for a metric that is not the policy's, or whose source is not known yet.

    It is "" without a policy as well.

    A preset's query is that of the source that answered last. The service asks for many revisions in one query.
    """
    if policy is None:
        return ""
    found = next((each for each in policy.analysis.metrics if each.name == metric), None)
    if found is None:
        return ""
    window = found.window if found.window is not None else policy.analysis.window
    if found.web is not None:
        return f"GET {found.web.url}"
    if found.query:
        names = {
            "namespace": rollout.namespace,
            "name": rollout.service,
            "service": rollout.service,
            "component": rollout.component.value,
            "revision": rollout.candidate,
            "stableRevision": rollout.stable,
            "window": window,
            "interval": window,
        }
        try:
            return fill_placeholders(found.query, names)
        except (KeyError, ValueError):
            return ""
    source = _source(rollout, policy, metric)
    variants = exporter_variants(source) if source is not Source.AUTO else ()
    targets = [RevisionTarget(rollout.namespace, rollout.candidate), RevisionTarget(rollout.namespace, rollout.stable)]
    for variant in variants:
        if metric in RATES:
            return traffic_query(variant, window, targets)
        if metric in variant.exporter.measures:
            quantile = found.quantile if found.quantile is not None else DEFAULT_QUANTILE
            return preset_query(variant, metric, quantile, window, targets)
    return ""


def _source(rollout: Rollout, policy: Policy, metric: str) -> Source:
    """The one that answered, else the policy's; of an ended rollout the last decision that has it knows."""
    state = rollout.progress.analysis.metrics.get(metric)
    if state is not None and state.last is not None and state.last.source is not None:
        return state.last.source
    return policy.analysis.source
