"""``autocanary crds``."""

from __future__ import annotations

import yaml

from tests.cli.conftest import Invoke


def test_it_prints_what_kubectl_applies(invoke: Invoke) -> None:
    """Both definitions as one stream of YAML, and nothing else."""
    result = invoke("crds")
    assert (result.exit_code, result.stderr) == (0, "")
    documents = [each for each in yaml.safe_load_all(result.stdout) if each]
    assert {each["kind"] for each in documents} == {"CustomResourceDefinition"}
    assert {each["metadata"]["name"] for each in documents} == {
        "canaryrollouts.autocanary.dev",
        "rolloutpolicies.autocanary.dev",
    }
