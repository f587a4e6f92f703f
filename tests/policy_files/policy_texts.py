"""Policies as text, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from autocanary.errors import Problem
from autocanary.model.policy import Policy
from autocanary.policy_files import load_text, parse

FULL_POLICY = """\
apiVersion: autocanary.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: prod-models, namespace: models}
spec:
  selector:
    names: [mnist, "fraud-*"]
    matchLabels: {tier: prod}
  component: transformer
  stepWeights: [10, 25, 50, 100]
  stepDuration: 5m
  bake: 10m
  progressDeadline: 45m
  analysis:
    interval: 20s
    warmup: 40s
    source: istio
    window: 2m
    minRequests: 60
    metrics:
      - name: request-success-rate
        thresholdRange: {min: 99}
        failureLimit: 3
      - name: request-duration
        quantile: 0.95
        thresholdRange: {max: 500ms}
        consecutive: true
        minRequests: 100
        window: 5m
      - name: prediction-drift
        query: sum(increase(drift_alerts_total{revision="{{ revision }}"}[{{ window }}]))
        thresholdRange: {max: 0}
        dryRun: true
    onNoData: {hold: 5m, then: pause}
    onOutage: {hold: 1h, then: rollback}
  onFailure: {action: pause, candidate: remove}
  onUnstaged: ignore
  onWeightRemoved: pause
  windows:
    - {days: [thu, mon], from: "09:00", to: "17:00", timezone: Asia/Seoul}
  webhooks:
    - name: smoke
      type: pre-rollout
      url: http://smoke/run
      timeout: 30s
      retries: 2
      metadata: {b: "2", a: "1"}
  notifications:
    - {slack: {channel: "#ml-ops", mention: [S012AB3CD, here]}, events: [started, promoted, rolled-back, held]}
    - {webhook: {url: https://hooks.example.com/x}}
    - {events: [warning]}
"""

MINIMAL_POLICY = """\
apiVersion: autocanary.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: small}
spec:
  selector: {names: [mnist]}
  stepWeights: [10, 100]
  stepDuration: 5m
  analysis:
    metrics:
      - name: request-success-rate
        thresholdRange: {min: 99}
"""


def named(name: str, *, service: str = "mnist", extra: str = "") -> str:
    """A small policy of a name, as one document."""
    return MINIMAL_POLICY.replace("name: small", f"name: {name}").replace("[mnist]", f"[{service}]") + extra


def document(text: str = MINIMAL_POLICY) -> dict[str, Any]:
    """The text as a custom resource."""
    value: dict[str, Any] = yaml.safe_load(text)
    return value


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from _places(each, (*path, key))


PLACES = sorted(_places(document(FULL_POLICY)), key=str)
"""The path of each value of a whole policy: the keys and indexes that lead there."""


def whole_with(where: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The whole policy with one value replaced."""
    changed = document(FULL_POLICY)
    here: Any = changed
    for part in where[:-1]:
        here = here[part]
    here[where[-1]] = value
    return changed


def only(text: str) -> Policy:
    (policy,) = parse(text)
    return policy


def problems(text: str) -> list[str]:
    """What is wrong with a text, as users see it."""
    return [str(each) for each in load_text(text, "p.yaml").all_problems]


def first_problem(text: str) -> Problem:
    return load_text(text, "p.yaml").all_problems[0]
