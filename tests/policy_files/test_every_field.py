"""No field of the policy does nothing: each changes the compiled policy, or has a reason here why it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from autocanary.model.policy import Policy
from autocanary.policy_files import validate
from autocanary.policy_files.json_schema import policy_json_schema

BASE = """\
apiVersion: autocanary.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: a}
spec:
  selector: {names: [mnist]}
  component: predictor
  stepWeights: [10, 50]
  stepDuration: 5m
  analysis:
    metrics:
      - {name: request-success-rate, thresholdRange: {min: 90, max: 100}}
      - {name: request-duration, compare: {to: stable}}
      - {name: own, query: a, thresholdRange: {max: 1}}
      - {name: eval, web: {url: "http://a/{{revision}}"}, thresholdRange: {max: 1}}
    onNoData: {hold: 1m}
    onOutage: {hold: 1m}
  onFailure: {action: rollback}
  windows: [{from: "09:00", to: "10:00", timezone: UTC}]
  webhooks: [{name: smoke, type: rollout, url: "http://a/b"}]
  notifications: [{slack: {channel: "#a"}}, {webhook: {url: "http://a/b"}}, {events: [held]}]
"""
LONG_FORM: Any = {
    "steps": [
        {"setWeight": 10},
        {"pause": {"duration": "5m"}},
        {
            "setWeight": 50,
            "analysis": {
                "warmup": "1m",
                "metrics": [
                    {"name": "request-success-rate", "thresholdRange": {"min": 95, "max": 100}},
                    {"name": "request-duration", "compare": {"to": "stable"}},
                    {"name": "own", "query": "a", "thresholdRange": {"max": 1}},
                    {"name": "eval", "web": {"url": "http://a/{{revision}}"}, "thresholdRange": {"max": 1}},
                ],
                "onNoData": {"hold": "3m"},
                "onOutage": {"hold": "3m"},
            },
        },
    ]
}
_OF_METRICS = {
    "name": ("2.name", "mine"),
    "thresholdRange.min": ("0.thresholdRange.min", 91),
    "thresholdRange.max": ("0.thresholdRange.max", 99),
    "compare.margin": ("1.compare.margin", "1%"),
    "compare.confidence": ("1.compare.confidence", "90%"),
    "compare.ratio": ("1.compare.ratio", 1.1),
    "compare.preset": ("1.compare.preset", "fast"),
    "query": ("2.query", "b"),
    "quantile": ("1.quantile", 0.5),
    "failureLimit": ("0.failureLimit", 2),
    "consecutive": ("0.consecutive", True),
    "consecutiveFailureLimit": ("0.consecutiveFailureLimit", 3),
    "consecutiveSuccessLimit": ("0.consecutiveSuccessLimit", 3),
    "dryRun": ("0.dryRun", True),
    "minRequests": ("0.minRequests", 60),
    "window": ("0.window", "2m"),
    "web.url": ("3.web.url", "http://b/{{revision}}"),
    "web.answer": ("3.web.answer", "counts"),
    "web.timeout": ("3.web.timeout", "6s"),
    "web.credentialsRef.name": ("3.web.credentialsRef", {"name": "eval"}),
}
"""The fields of a metric; each is changed in the policy's own list and in a step's."""
_METRIC_LISTS = ("spec.analysis.metrics", "spec.steps[].analysis.metrics")

CHANGES: dict[str, tuple[str, Any]] = {
    # the field of the schema: where the base document has it (indexes in brackets), and another value
    "metadata.name": ("metadata.name", "b"),
    "metadata.namespace": ("metadata.namespace", "models"),
    "spec.selector.names[]": ("spec.selector.names", ["iris"]),
    "spec.selector.namespaces[]": ("spec.selector.namespaces", ["models"]),
    "spec.selector.matchLabels": ("spec.selector.matchLabels", {"tier": "prod"}),
    "spec.component": ("spec.component", "transformer"),
    "spec.after[]": ("spec.after", ["transformer"]),
    "spec.stepWeights[]": ("spec.stepWeights", [20, 50]),
    "spec.stepDuration": ("spec.stepDuration", "6m"),
    "spec.stepTimeout": ("spec.stepTimeout", "1h"),
    "spec.steps[].setWeight": ("spec.steps.0.setWeight", 20),
    "spec.steps[].pause.duration": ("spec.steps.1.pause.duration", "6m"),
    "spec.steps[].analysis.warmup": ("spec.steps.2.analysis.warmup", "2m"),
    "spec.steps[].analysis.window": ("spec.steps.2.analysis.window", "3m"),
    "spec.steps[].analysis.minRequests": ("spec.steps.2.analysis.minRequests", 61),
    "spec.steps[].analysis.preset": ("spec.steps.2.analysis.preset", "robust"),
    "spec.steps[].analysis.onNoData.hold": ("spec.steps.2.analysis.onNoData.hold", "2m"),
    "spec.steps[].analysis.onNoData.then": ("spec.steps.2.analysis.onNoData.then", "hold"),
    "spec.steps[].analysis.onOutage.hold": ("spec.steps.2.analysis.onOutage.hold", "2m"),
    "spec.steps[].analysis.onOutage.then": ("spec.steps.2.analysis.onOutage.then", "rollback"),
    "spec.steps[].analysis.onInconclusive": ("spec.steps.2.analysis.onInconclusive", "promote"),
    "spec.bake": ("spec.bake", "1m"),
    "spec.progressDeadline": ("spec.progressDeadline", "31m"),
    "spec.analysis.interval": ("spec.analysis.interval", "16s"),
    "spec.analysis.warmup": ("spec.analysis.warmup", "31s"),
    "spec.analysis.firstWarmup": ("spec.analysis.firstWarmup", "5m"),
    "spec.analysis.maxFailedRequests": ("spec.analysis.maxFailedRequests", 1000),
    "spec.analysis.source": ("spec.analysis.source", "istio"),
    "spec.analysis.prometheusRef.name": ("spec.analysis.prometheusRef", {"name": "team-b"}),
    "spec.analysis.cancelledCalls": ("spec.analysis.cancelledCalls", "failure"),
    "spec.analysis.window": ("spec.analysis.window", "2m"),
    "spec.analysis.minRequests": ("spec.analysis.minRequests", 60),
    "spec.analysis.preset": ("spec.analysis.preset", "robust"),
    "spec.analysis.onNoData.hold": ("spec.analysis.onNoData.hold", "2m"),
    "spec.analysis.onNoData.then": ("spec.analysis.onNoData.then", "hold"),
    "spec.analysis.onOutage.hold": ("spec.analysis.onOutage.hold", "2m"),
    "spec.analysis.onOutage.then": ("spec.analysis.onOutage.then", "rollback"),
    "spec.analysis.onInconclusive": ("spec.analysis.onInconclusive", "promote"),
    "spec.onFailure.action": ("spec.onFailure.action", "pause"),
    "spec.onFailure.candidate": ("spec.onFailure.candidate", "remove"),
    "spec.onUnstaged": ("spec.onUnstaged", "ignore"),
    "spec.onWeightRemoved": ("spec.onWeightRemoved", "pause"),
    "spec.windows[].days[]": ("spec.windows.0.days", ["mon"]),
    "spec.windows[].from": ("spec.windows.0.from", "08:00"),
    "spec.windows[].to": ("spec.windows.0.to", "11:00"),
    "spec.windows[].timezone": ("spec.windows.0.timezone", "Asia/Seoul"),
    "spec.webhooks[].name": ("spec.webhooks.0.name", "other"),
    "spec.webhooks[].type": ("spec.webhooks.0.type", "rollback"),
    "spec.webhooks[].url": ("spec.webhooks.0.url", "http://a/c"),
    "spec.webhooks[].timeout": ("spec.webhooks.0.timeout", "11s"),
    "spec.webhooks[].retries": ("spec.webhooks.0.retries", 1),
    "spec.webhooks[].metadata": ("spec.webhooks.0.metadata", {"suite": "smoke"}),
    "spec.notifications[].slack.channel": ("spec.notifications.0.slack.channel", "#b"),
    "spec.notifications[].slack.mention[]": ("spec.notifications.0.slack.mention", ["here"]),
    "spec.notifications[].webhook.url": ("spec.notifications.1.webhook.url", "http://a/c"),
    "spec.notifications[].events[]": ("spec.notifications.2.events", ["promoted"]),
} | {
    f"{base}[].{field}": (f"{base.replace('[]', '.2')}.{place}", value)
    for base in _METRIC_LISTS
    for field, (place, value) in _OF_METRICS.items()
}
WITHOUT_EFFECT = {
    "apiVersion": "one value is known",
    "kind": "one value is known",
    "metadata.labels": "the user's own",
    "metadata.annotations": "the user's own",
    "spec.analysis.metrics[].compare.to": "one value is known",
    "spec.steps[].analysis.metrics[].compare.to": "one value is known",
}


def leaves(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each field that holds no other field."""
    if "$ref" in node:
        node = policy_json_schema()["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    if "items" in node:
        yield from leaves(node["items"], f"{path}[]")
    elif "properties" in node:
        for name, field in node["properties"].items():
            yield from leaves(field, f"{path}.{name}".lstrip("."))
    else:
        yield path


def test_every_field_of_the_schema_is_changed_here() -> None:
    """A field that is added needs a line above, and so an effect."""
    assert sorted(leaves(policy_json_schema())) == sorted([*CHANGES, *WITHOUT_EFFECT])


def compiled(document: dict[str, Any]) -> Policy:
    policy, problems = validate(document)
    assert policy is not None, [str(each) for each in problems]
    return replace(policy, origin="", document={})


@pytest.mark.parametrize("name", CHANGES)
def test_field_changes_the_compiled_policy(name: str) -> None:
    """The policy is another one, and so is its digest."""
    before, after = yaml.safe_load(BASE), yaml.safe_load(BASE)
    place, value = CHANGES[name]
    if ".steps" in place:
        for each in (before, after):
            del each["spec"]["stepWeights"], each["spec"]["stepDuration"]
            each["spec"] |= yaml.safe_load(yaml.safe_dump(LONG_FORM))
    *parents, last = place.split(".")
    here: Any = after
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[last] = value
    one, other = compiled(before), compiled(after)
    assert replace(one, digest="") != replace(other, digest="")
    assert (one.digest != other.digest) == (not name.startswith("metadata."))
