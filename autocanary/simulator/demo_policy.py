"""The policy of the demo: 10, 25, 50 and 100 percent, two minutes each, and two minutes of bake."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autocanary.model.measurement import Unit
from autocanary.model.policy import (
    Analysis,
    ComparisonPolicy,
    Metric,
    OnInconclusive,
    Policy,
    Range,
    Selector,
    Step,
    Timeout,
    TimeoutAction,
)

__all__ = [
    "APPROVAL_POLICY",
    "COMPARING_POLICY",
    "DEMO_POLICY",
    "KFSERVING_NAMESPACE",
    "KFSERVING_POLICY",
    "KFSERVING_SERVICE",
    "NAMESPACE",
    "SERVICE",
]

NAMESPACE, SERVICE = "models", "mnist"
KFSERVING_NAMESPACE, KFSERVING_SERVICE = "admin", "tensorflow-mnist"
"""Of the walk-through of a canary on KFServing by hand that docs/kfserving.md goes along with."""


def _demo_policy(namespace: str, service: str) -> Policy:
    document: dict[str, Any] = {
        "selector": {"names": [service], "namespaces": [namespace]},
        "stepWeights": [10, 25, 50, 100],
        "stepDuration": "2m",
        "bake": "2m",
        "progressDeadline": "5m",
        "analysis": {
            "interval": "15s",
            "warmup": "30s",
            "minRequests": 50,
            "metrics": [
                {"name": "request-success-rate", "thresholdRange": {"min": 99}, "failureLimit": 2},
                {
                    "name": "request-duration",
                    "quantile": 0.99,
                    "thresholdRange": {"max": "500ms"},
                    "failureLimit": 2,
                },
            ],
            "onNoData": {"hold": "5m", "then": "rollback"},
            "onOutage": {"hold": "30m", "then": "hold"},
        },
    }
    return Policy(
        name="demo",
        namespace="",
        selector=Selector(names=(service,), namespaces=(namespace,)),
        steps=(Step(10, 120.0), Step(25, 120.0), Step(50, 120.0), Step(100, 120.0)),
        analysis=Analysis(
            metrics=(
                Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=2),
                Metric("request-duration", Range(max=0.5), Unit.SECONDS, quantile=0.99, failure_limit=2),
            ),
            interval=15.0,
            warmup=30.0,
            min_requests=50.0,
            on_no_data=Timeout(300.0, TimeoutAction.ROLLBACK),
            on_outage=Timeout(1800.0, TimeoutAction.HOLD),
        ),
        bake=120.0,
        progress_deadline=300.0,
        digest="demo",
        origin="the demo",
        document=document,
    )


def _with_approval(policy: Policy) -> Policy:
    first, *others = policy.steps
    steps: list[dict[str, Any]] = [{"setWeight": first.weight}, {"pause": {"duration": "2m"}}, {"pause": {}}]
    for step in others:
        steps += [{"setWeight": step.weight}, {"pause": {"duration": "2m"}}]
    document = {name: value for name, value in policy.document.items() if name not in ("stepWeights", "stepDuration")}
    return replace(
        policy,
        name="demo-approval",
        digest="demo-approval",
        steps=(replace(first, approval=True), *others),
        document={**document, "steps": steps},
    )


def _comparing(policy: Policy) -> Policy:
    metrics = (Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy()),)
    analysis = {**policy.document["analysis"], "metrics": [{"name": "error-rate", "compare": {"to": "stable"}}]}
    return replace(
        policy,
        name="demo-comparison",
        digest="demo-comparison",
        analysis=replace(policy.analysis, metrics=metrics, on_inconclusive=OnInconclusive.HOLD),
        document={**policy.document, "analysis": analysis},
    )


DEMO_POLICY = _demo_policy(NAMESPACE, SERVICE)
"""``document`` says the same as users write it; a test compares the two."""
COMPARING_POLICY = _comparing(DEMO_POLICY)
APPROVAL_POLICY = _with_approval(COMPARING_POLICY)
KFSERVING_POLICY = _demo_policy(KFSERVING_NAMESPACE, KFSERVING_SERVICE)
