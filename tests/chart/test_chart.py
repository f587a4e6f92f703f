"""The chart by its files alone: what can be checked without Helm."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]

from autocanary import __version__
from autocanary.kube.rbac import RBAC_RULES
from autocanary.policy_files import load_text
from autocanary.settings import ENV_PREFIX, Settings
from charts.generate import FILES, documented
from tests.chart.chart import CHART, PROMETHEUS, values

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
TEMPLATES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir()))
FREE = {
    "objectSelector",
    "affinity",
    "global",
    "livenessProbe",
    "objects",
    "podSecurityContext",
    "readinessProbe",
    "resources",
    "securityContext",
    "valueFrom",
}
"""What Kubernetes defines, and Helm's own."""


def _keys(node: Any, at: str = "") -> set[str]:
    if not isinstance(node, dict) or not node:
        return {at}
    return {found for name, each in node.items() for found in _keys(each, f"{at}.{name}".lstrip("."))}


def _objects(node: Any, name: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every object schema in the schema, with the name of the property that it describes."""
    found = []
    if isinstance(node, dict):
        if node.get("type") == "object":
            found.append((name, node))
        for key, each in node.items():
            inner = each.items() if key in ("properties", "definitions") else [(name, each)]
            found += [pair for label, part in inner for pair in _objects(part, label)]
    elif isinstance(node, list):
        found = [pair for each in node for pair in _objects(each, name)]
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_what_its_source_says_now(name: str) -> None:
    """Rights, definitions, the policy format, the README: `make generate` writes them."""
    assert (CHART / name).read_text(encoding="utf-8") == FILES[name](), "run `make generate`"


def test_every_right_is_in_the_roles_with_its_reason() -> None:
    """Who reads the roles in the cluster's chart sees what each right is for."""
    text = (CHART / "templates" / "_rules.tpl").read_text(encoding="utf-8")
    assert all(f"# {right.reason[0].upper()}{right.reason[1:]}." in text for right in RBAC_RULES)


def test_the_chart_has_the_programs_version() -> None:
    """One version for both, as they are released together."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["apiVersion"], chart["appVersion"], chart["version"]) == ("v2", __version__, __version__)


def test_the_default_values_fit_their_schema() -> None:
    """What is documented is accepted."""
    Draft7Validator.check_schema(SCHEMA)
    Draft7Validator(SCHEMA).validate(values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"prometeus": {"url": "http://p"}},
        {"prometheus": {"url": "http://p", "adress": "x"}},
        {"prometheus": {"url": "prometheus:9090"}},
        {"image": {"repository": "a", "digest": "latest"}},
        {"replicas": "2"},
        {"service": {"port": 80}},
        {"policies": {"a/b": "text"}},
        {"tick": "1"},
        {"log": {"level": "verbose"}},
        {"terminationGracePeriodSeconds": 5},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        {"networkPolicy": {"apiServerPorts": ["https"]}},
        {"prometheus": {"url": "http://p", "headers": {"a b": "c"}}},
        {"policies": {"a": {"kind": "RolloutPolicy"}}},
        {"policies": {"a": ""}},
        {"policies": {"a": 1}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    """A mistyped value is an error, never silently ignored."""
    with pytest.raises(ValidationError):
        Draft7Validator(SCHEMA).validate({**values(), **wrong})


def test_no_object_of_the_schema_takes_unknown_names() -> None:
    """additionalProperties is false, or says of what kind they are, wherever the chart decides."""
    own = {name: each for name, each in SCHEMA["definitions"].items() if not name.startswith("policy.")}
    open_ones = {
        name
        for name, node in _objects({**SCHEMA, "definitions": own})
        if "additionalProperties" not in node and "propertyNames" not in node
    }
    assert open_ones - FREE - {"", "policies"} == set()


def test_every_value_is_in_the_schema_and_is_used() -> None:
    """No value without a rule, none without an effect."""
    for path in sorted(_keys(values())):
        node: Any = SCHEMA
        for part in path.split("."):
            if "properties" not in node:
                break  # Kubernetes' own, such as resources
            node = node["properties"][part]
            node = SCHEMA["definitions"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        used = next((part for part in path.split(".") if part in FREE), path.rsplit(".", 1)[-1])
        used = "labels" if path == "dashboards.labels.grafana_dashboard" else used
        assert re.search(rf"\.{used}\b", TEMPLATES), path


def test_every_value_is_documented() -> None:
    """A comment that begins with `--` is above each value, or above what it is part of."""
    known = {value.name for value in documented()}
    bare = []
    for path in sorted(_keys(values())):
        parts = path.split(".")
        if not known & {".".join(parts[: at + 1]) for at in range(len(parts))}:
            bare.append(path)
    assert bare == []


def test_the_readme_lists_every_value() -> None:
    """With its default, so that users need not read the templates."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    assert '| `prometheus.timeout` | `"5s"` | The whole time one query may take. |' in text
    assert all(f"| `{value.name}` |" in text for value in documented())


@pytest.mark.parametrize("text", ["stepWeights: [10, 100]", "stepWeights: ten", "stepDuration: 5 minutes", "more: 1"])
def test_the_charts_policy_format_agrees_with_the_program(text: str) -> None:
    """A policy in the values is refused by the schema exactly when the program refuses it."""
    spec = {
        "selector": {},
        "stepWeights": [50, 100],
        "analysis": {"metrics": [{"name": "error-rate", "thresholdRange": {"max": 1}}]},
        **yaml.safe_load(text),
    }
    policy = {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": "one"},
        "spec": spec,
    }
    accepted = Draft7Validator(SCHEMA).is_valid({**PROMETHEUS, "policies": {"one": policy}})
    loading = load_text(yaml.safe_dump(policy), "one.yaml")
    assert accepted is (len(loading.policies) == 1)


def test_the_variables_it_sets_are_settings() -> None:
    """A misspelt variable would only be a warning in the log."""
    known = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(rf"\b{ENV_PREFIX}([A-Z_]+)\b", TEMPLATES))
    mounted = set(re.findall(r"\bsetting: ([A-Z_]+)", TEMPLATES))
    assert (named | mounted) - known == set()
    assert mounted >= {name for name in known if name.endswith("_FILE")}


def test_secrets_reach_the_container_as_files_only() -> None:
    """Nothing of a Secret is in the Deployment, in arguments or in the environment."""
    assert "secretKeyRef:" not in TEMPLATES
    assert "kind: Secret" not in TEMPLATES
    text = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    assert re.search(r"args: \[run\]$", text, re.MULTILINE)


def test_the_definitions_are_the_ones_the_program_prints() -> None:
    """`helm install` and `autocanary crds` install the same; Helm's own folder for them is hidden from it."""
    names = {path.name for path in (CHART / "crds").iterdir()}
    assert names == {"canaryrollouts.yaml", "rolloutpolicies.yaml"}
    assert "/crds/" in (CHART / ".helmignore").read_text(encoding="utf-8").splitlines()
