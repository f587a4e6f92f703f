#!/usr/bin/env python3
# ruff: noqa: T201 - what this script has to say, it prints
"""Write the schemas beside this file: `python3 tests/chart/schemas/make.py`; needs Go and the network.

Kubernetes' own OpenAPI documents and the Prometheus operator's definitions are parts of their Go modules. Go
fetches those at the versions named here, and each is compared with the checksum written beside its version
(the one that go.sum holds and sum.golang.org publishes). The tests read only what is kept here: the kinds
that the chart makes and what they refer to, without the descriptions. Python alone is needed besides.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KUBERNETES = {
    "v1.27.16": "h1:DHFqj/HTUqHStFlRH9wCKPocqgHsjR6Q/DzYarB2QQE=",
    "v1.30.14": "h1:MrlKXh9uhLIJpyxOeXhcndzRVSvwiV9iJ8NgH8nqPsg=",
    "v1.34.4": "h1:Yy6R4QB8C9kJPp25GFqEvX5XQwY5qzKeqD0Xx6oAcmk=",
    "v1.37.2": "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=",
}
OPERATOR = (
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
)
OPERATOR_KINDS = ("servicemonitors", "podmonitors", "prometheusrules")
KINDS = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "CustomResourceDefinition",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
    }
)
GROUP_VERSION_KIND = "x-kubernetes-group-version-kind"


def fetch(module: str, version: str, checksum: str, cache: str) -> Path:
    """The folder of one module; ends the script when its checksum is not the one expected."""
    environment = {**os.environ, "GOMODCACHE": cache, "GOFLAGS": "-modcacherw"}
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    said = json.loads(done.stdout or "{}")
    if done.returncode != 0:
        sys.exit(f"{module}@{version}: {said.get('Error') or done.stderr.strip()}")
    if said["Sum"] != checksum:
        sys.exit(f"{module}@{version} has the checksum {said['Sum']}, expected {checksum or 'none yet'}")
    return Path(said["Dir"])


def definitions(swagger: Mapping[str, Any]) -> dict[str, Any]:
    """The kinds wanted and all that they refer to, by the name of the definition."""
    everything = swagger["definitions"]
    waiting = [
        name
        for name, node in everything.items()
        if any(each["kind"] in KINDS for each in node.get(GROUP_VERSION_KIND, ()))
    ]
    kept: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = bare(everything[name])
            waiting += references(kept[name])
    return dict(sorted(kept.items()))


def references(node: Any) -> list[str]:
    """The names that a schema refers to."""
    if isinstance(node, list):
        return [name for each in node for name in references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"].rpartition("/")[2]] if isinstance(node.get("$ref"), str) else []
    return own + [name for each in node.values() for name in references(each)]


def bare(node: Any) -> Any:
    """A schema without its descriptions; a property called so is kept."""
    if isinstance(node, list):
        return [bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {name: bare(each) for name, each in node.items() if name != "description" or not isinstance(each, str)}


def write(name: str, document: Any) -> None:
    """The same bytes for the same document, wherever it is written."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"
    path = HERE / f"{name}.json.gz"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.name}: {path.stat().st_size} bytes")


def main() -> None:
    import yaml  # of the tests' environment; here, so that the head of this file says what is needed

    with tempfile.TemporaryDirectory() as cache:
        for version, checksum in KUBERNETES.items():
            folder = fetch("k8s.io/kubernetes", version, checksum, cache)
            swagger = json.loads((folder / "api/openapi-spec/swagger.json").read_text())
            write(f"kubernetes-{version.rpartition('.')[0]}", definitions(swagger))
        folder = fetch(*OPERATOR, cache)
        for kind in OPERATOR_KINDS:
            path = folder / "example/prometheus-operator-crd" / f"monitoring.coreos.com_{kind}.yaml"
            write(f"monitoring.coreos.com_{kind}", bare(yaml.safe_load(path.read_text())))


if __name__ == "__main__":
    main()
