"""The README's commands on real servers: each runs here, or ELSEWHERE names its test."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from tests.chart.chart import helm
from tests.docs.pages import ROOT, commands
from tests.real.installation import Installation
from tests.real.test_getting_started import UserShell

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ELSEWHERE = {
    "make demo": "tests/app/test_demo_run.py and tests/cli run what it runs",
    "docker build": "tests/chart/test_image_steps.py performs the image's steps",
    "make venv": "the tests run in what it makes",
}
"""Commands with these beginnings run in other tests."""


def test_the_chart_takes_the_readmes_arguments() -> None:
    """As written, with `template` for `install`: image, Prometheus and policy arrive where they belong."""
    (install,) = [each for each in commands("README.md") if each.startswith("helm install")]
    _, _, name, chart, *arguments = shlex.split(install)
    for flag in ("--create-namespace", "--take-ownership"):  # not of `template`
        arguments.remove(flag)
    file = next(each for each in arguments if each.startswith("policies.first="))
    arguments[arguments.index(file)] = file.replace("=", f"={ROOT}/")
    done = helm("template", name, str(ROOT / chart), *arguments)
    assert done.returncode == 0, done.stderr
    documents = [each for each in yaml.safe_load_all(done.stdout) if each]
    (deployment,) = [each for each in documents if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.com/autocanary:")
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["AUTOCANARY_PROMETHEUS_URL"] == "http://prometheus-operated.monitoring:9090"
    policy = (ROOT / "policies/first.yaml").read_text(encoding="utf-8")
    maps = [each["data"] for each in documents if each["kind"] == "ConfigMap"]
    assert policy.strip() in [text.strip() for data in maps for text in data.values()]


def test_it_runs_from_a_users_machine(installation: Installation, tmp_path: Path) -> None:
    """The definitions, then the service in a dry run with the first policy: it gets ready."""
    shell = UserShell(installation, tmp_path, "README.md")
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    shell.run("autocanary crds | kubectl apply -f -")
    with shell.running("autocanary run --prometheus-url") as log:
        pass
    assert "policy_added" in log.read_text()
    left = [each for each in commands("README.md") if each not in shell.done]
    assert [each for each in left if not each.startswith((*ELSEWHERE, "helm install"))] == []
