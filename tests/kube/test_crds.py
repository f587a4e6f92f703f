"""The definitions as they are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.errors import SettingsError
from autocanary.kube import crds
from autocanary.model.progress import Phase
from autocanary.model.rollout import Verb
from autocanary.model.rollout_json import to_document
from tests.kube.samples import rollout


def schema(plural: str) -> dict[str, Any]:
    found = next(each for each in crds.definitions() if each["spec"]["names"]["plural"] == plural)
    made: dict[str, Any] = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return made


def test_the_manifest_is_what_kubectl_takes() -> None:
    """One stream with both definitions."""
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(crds.manifest())]
    assert names == ["canaryrollouts.autocanary.dev", "rolloutpolicies.autocanary.dev"]
    assert crds.manifest().startswith("---\n")


def test_the_columns_are_those_of_the_documentation() -> None:
    """`kubectl get crl` is the first thing users look at."""
    version = crds.definitions()[0]["spec"]["versions"][0]
    shown = [each["name"].upper() for each in version["additionalPrinterColumns"] if not each.get("priority")]
    assert shown == ["SERVICE", "PHASE", "STEP", "WEIGHT", "STABLE", "CANDIDATE", "REASON", "AGE"]
    assert crds.definitions()[0]["spec"]["names"]["shortNames"] == ["crl"]


def test_phases_and_verbs_are_the_programs_own() -> None:
    """A phase that the definition does not know could not be recorded."""
    properties = schema("canaryrollouts")["properties"]
    assert properties["status"]["properties"]["phase"]["enum"] == [each.value for each in Phase]
    request = properties["spec"]["properties"]["request"]
    assert request["properties"]["verb"]["enum"] == [each.value for each in Verb]
    assert request["required"] == ["id", "verb"]


def test_every_field_that_is_written_is_defined() -> None:
    """The API server drops what the definition does not name."""
    document = to_document(rollout(candidate_spec={"a": 1}, candidate_digest="x"))
    assert list(undefined(document, schema("canaryrollouts"), "")) == []


def undefined(value: Any, of: dict[str, Any], path: str) -> Iterator[str]:
    """Paths that pruning would drop."""
    if path == ".metadata":
        return
    if isinstance(value, dict) and not of.get("x-kubernetes-preserve-unknown-fields"):
        for name, each in value.items():
            if name in of.get("properties", {}):
                yield from undefined(each, of["properties"][name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(value, list) and "items" in of:
        for each in value:
            yield from undefined(each, of["items"], f"{path}[]")


def test_an_installation_without_them_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wheel built without the files must not print nothing."""
    monkeypatch.setattr(crds, "_SEARCH_DIRS", (tmp_path,))
    with pytest.raises(SettingsError, match="reinstall"):
        crds.manifest()
