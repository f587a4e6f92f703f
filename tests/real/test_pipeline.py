"""What a pipeline does on the real servers: apply, then ask for the outcome, at once and more than once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.installation import Installation
from tests.real.run_command import CommandOutput, autocanary
from tests.testbed.servers.process import program

pytestmark = pytest.mark.real

QUICK: dict[str, Any] = {"stepWeights": [10, 100], "stepDuration": "2s", "bake": "0s"}


def outcome(installation: Installation, namespace: str, *flags: str) -> CommandOutput:
    """`autocanary status mnist --timeout …`, as the last line of a job."""
    kubeconfig = str(installation.api.kubeconfig())
    return autocanary(
        *("status", "mnist", "--timeout", "2m", "-n", namespace, "--kubeconfig", kubeconfig, *flags),
        home=installation.folder,
        seconds=150,
    )


def test_each_release_gets_its_own_outcome(installation: Installation, namespace: str) -> None:
    """Asked right after each apply, when the rollout before is still the only one there is."""
    installation.policy(**QUICK)
    prefix = installation.released(namespace)
    running = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    first = outcome(installation, namespace)
    assert (first.code, "mnist-predictor-00002" in first.err.splitlines()[-1]) == (0, True), first
    running.kill()
    installation.traffic.behave(f"{prefix}-00003", errors=0.5)
    installation.serve(namespace, "mnist", "v3", 0)
    early = outcome(installation, namespace, "--timeout", "3")
    assert early.code == 1
    waiting, late = early.err.splitlines()
    assert "a newer spec was applied to mnist: waiting for its rollout" in waiting
    assert "no rollout of mnist started within 3s" in late
    installation.run("--namespace", namespace, "--no-leader-election")
    second = outcome(installation, namespace)
    assert (second.code, "RolledBack" in second.err.splitlines()[-1]) == (1, True), second
    assert "mnist-predictor-00003" in second.err.splitlines()[-1]
    installation.serve(namespace, "mnist", "v3", 0)
    again = outcome(installation, namespace)
    assert (again.code, again.err.splitlines()) == (1, second.err.splitlines()[-1:])


def test_as_a_plugin_of_kubectl(installation: Installation, namespace: str, tmp_path: Path) -> None:
    """With kubectl's flags, which mean what they mean there; the answer is what kubectl itself gets."""
    installation.policy(**QUICK)
    installation.released(namespace)
    installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_phase(namespace, "mnist-00002", "Promoted")
    plugin = tmp_path / "kubectl-autocanary"
    plugin.write_text(f"#!{sys.executable}\nfrom autocanary.__main__ import main\nmain()\n")
    plugin.chmod(0o755)
    kubeconfig = installation.api.kubeconfig()
    context = installation.api.kubectl("config", "current-context").strip()

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(
            [program("kubectl"), "autocanary", *arguments],
            env={"PATH": path, "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    flags = ("-n", namespace, "--context", context, f"--kubeconfig={kubeconfig}")
    said = run("status", "mnist", "-o", "json", *flags)
    assert (said.returncode, said.stderr) == (0, "")
    ours = json.loads(said.stdout)
    theirs = installation.rollouts(namespace)["mnist-00002"]
    assert ours["spec"] == theirs["spec"]
    assert {name: value for name, value in ours["status"].items() if value is not None} == {
        name: value for name, value in theirs["status"].items() if value is not None
    }
    said = run("status", "-A", KUBECONFIG=str(kubeconfig))
    assert namespace in said.stdout
    said = run("promote", "mnist", f"--namespace={namespace}", KUBECONFIG=str(kubeconfig))
    assert said.returncode == 1
    assert said.stderr.startswith(f"{namespace}/mnist")
    said = run("status", "--contxt", context)
    assert (said.returncode, said.stderr.startswith("kubectl autocanary status: No such option")) == (2, True)
