"""The chart as the tests read it: its files as they are, and what Helm makes of them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import setup
from tests.testbed.servers import require_servers

__all__ = [
    "CHART",
    "CI",
    "KUBERNETES",
    "PROMETHEUS",
    "container",
    "helm",
    "of_kind",
    "render",
    "values",
    "variant",
]

CHART = Path(__file__).resolve().parents[2] / "charts" / "autocanary"
PROMETHEUS = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
CI = tuple(sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml")))
"""The variants that ci/ holds values for."""
KUBERNETES = "1.34"
"""The version that Helm renders for; one that was built by Go alone believes in a version of 2020."""

Document = dict[str, Any]


def values() -> Document:
    """The chart's default values."""
    loaded: Document = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return loaded


def variant(name: str) -> Document:
    """The values of one variant in ci/."""
    loaded: Document = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    return loaded


def helm(
    *arguments: str, given: Mapping[str, Any] | None = None, kubeconfig: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Helm with these values; skips or fails by the testbed's rule when there is no Helm."""
    require_servers("helm")
    program = setup.find("helm")
    assert program is not None
    offline = ["--kube-version", KUBERNETES] if arguments[0] in ("template", "lint") else []
    with_values = [] if given is None else ["--values", "-"]
    access = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    return subprocess.run(
        [str(program), *arguments, *offline, *with_values, *access],
        input=None if given is None else yaml.safe_dump(dict(given)),
        capture_output=True,
        text=True,
        timeout=120,
    )


def render(
    given: Mapping[str, Any] | None = None, namespace: str = "auto", release: str = "autocanary"
) -> list[Document]:
    """The objects of `helm template` with the required values and these besides."""
    merged = {**PROMETHEUS, **(given or {})}
    done = helm("template", release, str(CHART), "--namespace", namespace, given=merged)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Those of one kind."""
    return [document for document in documents if document["kind"] == kind]


def container(documents: list[Document]) -> Document:
    """The container of the Deployment."""
    [deployment] = of_kind(documents, "Deployment")
    [found] = deployment["spec"]["template"]["spec"]["containers"]
    answer: Document = found
    return answer
