"""The workflow files of the hosting: small, and with no more rights than each job needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.dockerfile import ROOT
from tests.testbed import setup

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _read(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_jobs_may_only_read_unless_they_publish(path: Path) -> None:
    """The default is reading; writing is granted to single jobs of the release."""
    workflow = _read(path)
    assert workflow["permissions"] == {"contents": "read"}
    granting = {name for name, job in workflow["jobs"].items() if "permissions" in job}
    assert granting == ({"pypi", "image-and-chart"} if path.stem == "release" else set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_and_keep_no_credentials(path: Path) -> None:
    """Each by its commit, with the tag beside it for Dependabot; a checkout leaves no token for what runs after it."""
    text = path.read_text(encoding="utf-8")
    for step in _steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
            assert re.search(rf"{step['uses']} # v\d+\.\d+\.\d+$", text, re.MULTILINE), step["uses"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_expression_is_put_into_a_script(path: Path) -> None:
    """A tag's or branch's name would be carried out as code; scripts get such things as variables."""
    assert [step["run"] for step in _steps(path) if "${{" in step.get("run", "")] == []


def test_what_is_run_is_there() -> None:
    """The targets of make, the scripts and the versions that the workflows name."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    runs = "\n".join(step["run"] for path in FILES for step in _steps(path) if "run" in step)
    assert {word for line in re.findall(r"^make (.+)$", runs, re.MULTILINE) for word in line.split()} <= targets
    assert (ROOT / ".ci" / "run").is_file()
    [helm] = [step for path in FILES for step in _steps(path) if "setup-helm" in step.get("uses", "")]
    assert helm["with"]["version"] == setup.HELM


def test_an_action_is_one_commit_everywhere() -> None:
    """Two versions of one action would be updated apart."""
    uses = {step["uses"] for path in FILES for step in _steps(path) if "uses" in step}
    assert len(uses) == len({each.partition("@")[0] for each in uses})


def test_the_release_builds_on_the_dockerfiles_digest() -> None:
    """A tag may mean another image a minute later, and an argument could name another base."""
    [image] = [step for path in FILES for step in _steps(path) if "build-push-action" in step.get("uses", "")]
    assert "PYTHON" not in image["with"]["build-args"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [base] = re.findall(r"^FROM (\S+) AS base$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"python:\S+@sha256:[0-9a-f]{64}", base)
    assert f'image.base.name="docker.io/library/{base.partition("@")[0]}"' in dockerfile


def test_updates_are_proposed_for_all_that_is_pinned() -> None:
    """A pinned version that is never updated keeps its vulnerabilities."""
    proposed = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in proposed} >= {"pip", "docker", "github-actions", "gomod"}
    assert "make audit" in "\n".join(step["run"] for step in _steps(FILES[0]) if "run" in step)


def test_the_release_signs_what_it_publishes() -> None:
    """The image, its bill of materials and the chart; each by its digest, which cannot be moved."""
    text = (ROOT / ".github" / "workflows" / "release.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"cosign (?:sign|attest) --yes", text)) == 3
    assert "steps.image.outputs.digest" in text
    assert "Digest: " in text
