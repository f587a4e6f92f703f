"""Every variant of the chart against the schemas of several Kubernetes versions, without a server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.chart import CHART, CI, render, variant
from tests.chart.openapi import VERSIONS, faults

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict[str, Any]]]:
    """What each variant makes."""
    return {name: render(variant(name)) for name in CI}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CI)
def test_every_object_fits_the_schemas(name: str, version: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    """No unknown field, no wrong type, no kind that this version lacks."""
    found = {f"{each['kind']} {each['metadata']['name']}": faults(each, version) for each in rendered[name]}
    assert {place: said for place, said in found.items() if said} == {}


def test_the_variants_make_every_kind_the_chart_can(rendered: dict[str, list[dict[str, Any]]]) -> None:
    """A template that no variant uses would not be checked."""
    made = {each["kind"] for documents in rendered.values() for each in documents}
    assert made == {
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "CustomResourceDefinition",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"replicas": "2"}, "$.spec.replicas: '2' is not of type 'integer'"),
        ({"replica": 2}, "'replica' was unexpected"),
        ({"selector": None}, "$.spec.selector: None is not of type 'object'"),
    ],
)
def test_a_wrong_object_is_noticed(change: dict[str, Any], says: str) -> None:
    """The check can fail: a wrong type, an unknown field, nothing where something must be."""
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one"},
        "spec": {"selector": {}, "template": {}, **change},
    }
    assert any(says in fault for fault in faults(document, VERSIONS[0]))


def test_a_kind_of_another_age_is_noticed() -> None:
    """What an API server no longer serves."""
    document = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "one"}}
    assert faults(document, "1.34") == ["policy/v1beta1 PodDisruptionBudget is not a kind of Kubernetes 1.34"]


def test_the_oldest_version_checked_is_the_oldest_that_the_chart_accepts() -> None:
    """Chart.yaml promises no more than was checked."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    oldest = min(VERSIONS, key=lambda version: tuple(map(int, version.split("."))))
    assert chart["kubeVersion"] == f">={oldest}.0-0"


def test_the_schemas_of_every_pinned_version_are_there() -> None:
    """The script that makes them names the same versions, each with a checksum."""
    path = Path(__file__).resolve().parent / "schemas" / "make.py"
    spec = importlib.util.spec_from_file_location("make", path)
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    pinned = {version.removeprefix("v").rpartition(".")[0] for version in make.KUBERNETES}
    assert pinned == set(VERSIONS)
    assert all(checksum.startswith("h1:") for checksum in (*make.KUBERNETES.values(), make.OPERATOR[2]))
