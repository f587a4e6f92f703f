"""The chart by its files alone: what can be checked without Helm."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]

from autocanary import __version__
from autocanary.kube.rights import Where, rules
from autocanary.settings import PREFIX, Settings
from tests.chart.chart import CHART, named_template, values

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
TEMPLATES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir()))
FREE = {"affinity", "global", "resources", "valueFrom"}
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


def test_the_roles_are_exactly_the_codes_rights() -> None:
    """Not a verb more or less than autocanary/kube/rights.py says."""
    assert named_template("autocanary.rules.watched") == rules(Where.WATCHED)
    assert named_template("autocanary.rules.home") == rules(Where.HOME)


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
    ],
    ids=str,
)
def test_the_schema_refuses_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    """A mistyped value is an error, never silently ignored."""
    with pytest.raises(ValidationError):
        Draft7Validator(SCHEMA).validate({**values(), **wrong})


def test_no_object_of_the_schema_takes_unknown_names() -> None:
    """additionalProperties is false, or says of what kind they are, wherever the chart decides."""
    open_ones = [name for name, node in _objects(SCHEMA) if "additionalProperties" not in node]
    # The items of these lists are Kubernetes' own.
    assert set(open_ones) - FREE - {"tolerations", "topologySpreadConstraints"} == set()


def test_every_value_is_in_the_schema_and_is_used() -> None:
    """No value without a rule, none without an effect."""
    for path in sorted(_keys(values())):
        node: Any = SCHEMA
        for part in path.split("."):
            if "properties" not in node:
                break  # Kubernetes' own, such as resources
            node = node["properties"][part]
            node = SCHEMA["definitions"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        name = "resources" if path.startswith("resources.") else path.rsplit(".", 1)[-1]
        assert re.search(rf"\.{name}\b", TEMPLATES), path


def test_every_value_is_documented() -> None:
    """A comment that begins with `--` stands above each value or its group's members."""
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    bare = []
    for at, line in enumerate(lines):
        top = re.match(r"([a-zA-Z]+):(.*)", line)
        if top is None:
            continue
        members = [each for each in lines[at + 1 : at + 3] if each.startswith("  ")]
        if not lines[at - 1].startswith("#") and not any(each.startswith("  # --") for each in members):
            bare.append(top[1])
    assert bare == []


def test_the_variables_it_sets_are_settings() -> None:
    """A misspelt variable would only be a warning in the log."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bAUTOCANARY_[A-Z_]+\b", TEMPLATES)) - known == set()


def test_secrets_reach_the_container_as_files_or_references_only() -> None:
    """No value of a Secret is ever written into the Deployment."""
    for name in ("TOKEN_FILE", "PASSWORD_FILE", "SLACK_WEBHOOK_URL_FILE"):
        assert re.search(rf"AUTOCANARY_\w*{name}, value: {{{{ printf \"/etc/autocanary/", TEMPLATES), name
    assert "secretKeyRef" in TEMPLATES


def test_the_definitions_are_the_ones_the_program_prints() -> None:
    """`helm install` and `autocanary crds` install the same."""
    names = {path.name for path in (CHART / "crds").iterdir()}
    assert names == {"canaryrollouts.yaml", "rolloutpolicies.yaml"}
