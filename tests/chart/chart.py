"""The chart as the tests read it: its files as they are, and what Helm makes of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import setup
from tests.testbed.servers import require_servers

__all__ = ["CHART", "PROMETHEUS", "helm", "named_template", "of_kind", "render", "values"]

CHART = Path(__file__).resolve().parents[2] / "charts" / "autocanary"
PROMETHEUS = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}

Document = dict[str, Any]


def values() -> Document:
    """The chart's default values."""
    loaded: Document = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return loaded


def named_template(name: str) -> Any:
    """The YAML within a `define` that holds no template code."""
    text = (CHART / "templates" / "_rules.tpl").read_text(encoding="utf-8")
    found = re.search(rf'define "{re.escape(name)}" -}}}}\n(.*?)\{{{{- end', text, re.DOTALL)
    assert found is not None, name
    return yaml.safe_load(found[1])


def helm(*arguments: str, given: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm on the chart with these values; skips or fails by the testbed's rule when there is no Helm."""
    require_servers("helm")
    program = setup.find("helm")
    assert program is not None
    return subprocess.run(
        [str(program), *arguments, "--values", "-"],
        input=yaml.safe_dump(dict(given or {})),
        capture_output=True,
        text=True,
        timeout=60,
    )


def render(given: Mapping[str, Any] | None = None, namespace: str = "auto") -> list[Document]:
    """The objects of `helm template` with the required values and these besides."""
    merged = {**PROMETHEUS, **(given or {})}
    done = helm("template", "autocanary", str(CHART), "--namespace", namespace, given=merged)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Those of one kind."""
    return [document for document in documents if document["kind"] == kind]
