"""The worked examples in policies/ are valid, and do what their comments say."""

from __future__ import annotations

from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from autocanary.decide.policy_selection import select_policy
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Policy, Step
from autocanary.policy_files import lint, load_paths
from autocanary.policy_files.json_schema import policy_json_schema

FOLDER = Path(__file__).resolve().parents[2] / "policies"
FILES = sorted(FOLDER.glob("*.yaml"))


def policy(name: str) -> Policy:
    (found,) = load_paths([FOLDER / f"{name}.yaml"]).policies
    return found


def test_the_examples_are_there() -> None:
    """Eight situations that most users have."""
    assert [file.stem for file in FILES] == [
        "careful",
        "comparison",
        "custom-promql",
        "first",
        "kfserving-mnist",
        "little-traffic",
        "llm",
        "thresholds",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_example_is_valid_without_warnings(file: Path) -> None:
    """For the loader, the linter and the editor's schema, which its first line names."""
    load_result = load_paths([file])
    assert load_result.all_problems == ()
    assert lint(load_result.documents) == ()
    jsonschema.Draft202012Validator(policy_json_schema()).validate(yaml.safe_load(file.read_text()))
    first = file.read_text().splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (FOLDER / first.removeprefix(prefix)).resolve() == FOLDER.parent / "docs" / "policy.schema.json"


def test_the_examples_can_be_used_together() -> None:
    """The folder as a whole has no ties and no name twice."""
    load_result = load_paths([FOLDER])
    assert lint(load_result.documents) == ()
    assert len(load_result.policies) == len(FILES)


def test_the_article_s_service_is_governed_by_its_policy() -> None:
    """tensorflow-mnist in admin, in four steps."""
    policies = load_paths([FOLDER]).policies
    found = select_policy(policies, ServiceKey("admin", "tensorflow-mnist"), {})
    assert isinstance(found, Policy)
    assert found.name == "tensorflow-mnist"
    assert [step.weight for step in found.steps] == [10, 25, 50, 100]
    assert select_policy(policies, ServiceKey("elsewhere", "tensorflow-mnist"), {}) is None


def test_careful_example_needs_approval_before_50_percent() -> None:
    """And bakes for two hours."""
    assert policy("careful").steps[-2:] == (Step(50, 1200.0, approval=True), Step(100, 7200.0))


def test_llm_example_measures_token_latency() -> None:
    """First token, pace, queue; the cache is only shown."""
    analysis = policy("llm").analysis
    assert [metric.name for metric in analysis.gating] == [
        "request-success-rate",
        "time-to-first-token",
        "time-per-output-token",
        "queue-time",
    ]
    assert [metric.name for metric in analysis.metrics if metric.dry_run] == ["kv-cache-usage"]


def test_the_little_traffic_example_can_reach_its_requests() -> None:
    """Four requests a minute, half of them, over its window: enough for a verdict."""
    example = policy("little-traffic")
    requests = 4 / 60 * example.steps[0].weight / 100 * example.analysis.window
    assert requests >= example.analysis.min_requests
