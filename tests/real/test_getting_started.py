"""docs/getting-started.md as printed, on real servers: every command runs in order, or NOT_RUN says why it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, commands
from tests.real.installation import Installation
from tests.testbed.servers import free_port, wait_until
from tests.testbed.servers.http import fetch
from tests.testbed.servers.process import program

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

PAGE = "docs/getting-started.md"

NOT_RUN = {
    "make demo": "tests/app/test_demo_run.py and tests/cli run what it runs; its set-up is the gate's own",
    "make venv": "the tests run in what it makes",
    "kubectl -n monitoring port-forward": "Prometheus has a port of its own here",
    "docker build": "tests/chart/test_image_steps.py performs the image's steps",
    "kubectl -n autocanary rollout status": "nothing runs pods here",
}
"""Commands with these beginnings do not run here, and why."""


def _policy() -> str:
    """The page's policy with seconds instead of minutes, and a threshold: a comparison needs minutes of requests
    (tests/real/test_comparison.py has them).
    """
    (text,) = (block.text for block in blocks(ROOT / "docs/getting-started.md") if block.language == "yaml")
    assert "stepDuration: 5m" in text
    short = "\n    interval: 1s\n    warmup: 2s\n    window: 5s\n    minRequests: 5\n    source: knative\n    metrics:"
    text = text.replace("compare: {to: stable}", "thresholdRange: {max: 1}", 1)
    text = text.partition("      - name: request-duration")[0]
    return text.replace("stepDuration: 5m", "stepDuration: 20s\n  bake: 20s").replace("\n    metrics:", short)


class UserShell:
    """A user's shell: the commands on the PATH, a kubeconfig, a folder."""

    def __init__(self, installation: Installation, folder: Path, page: str = PAGE) -> None:
        self._installation, self.folder = installation, folder
        self._commands = commands(page)
        self.done: set[str] = set()
        self.environment = {
            "PATH": os.pathsep.join(
                [
                    str(Path(sys.executable).parent),
                    str(Path(program("kubectl")).parent),
                    str(Path(program("helm")).parent),
                    os.environ["PATH"],
                ]
            ),
            "HOME": str(folder),
            "KUBECONFIG": str(installation.api.kubeconfig()),
        }
        (folder / "my-policy.yaml").write_text(_policy())
        (folder / "charts").symlink_to(ROOT / "charts")

    def run(self, beginning: str, *, code: int = 0, among: int = 0) -> str:
        """Run the page's command with this beginning, as printed; its output."""
        command = [each for each in self._commands if each.startswith(beginning)][among]
        self.done.add(command)
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._adapted(command)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        output = ended.stdout + ended.stderr
        assert ended.returncode == code, f"{command}: {ended.returncode}\n{output}"
        assert "Traceback" not in output
        return output

    @contextmanager
    def running(self, beginning: str, *, without: tuple[str, ...] = ()) -> Iterator[Path]:
        """The page's command in the background, as in a second terminal; its log."""
        command = next(each for each in self._commands if each.startswith(beginning))
        self.done.add(command)
        words = [word for word in self._adapted(command).split() if word not in without]
        log, port = self.folder / f"background-{len(self.done)}.log", free_port()
        with log.open("w") as out:
            process = subprocess.Popen(
                [*words, "--listen", f"127.0.0.1:{port}", "--no-leader-election"],
                env=self.environment,
                cwd=self.folder,
                stdout=out,
                stderr=out,
            )

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return fetch(f"http://127.0.0.1:{port}/readyz")[0] == 200
            except OSError:
                return False

        try:
            wait_until(ready, seconds=60, what="autocanary to be ready")
            yield log
        finally:
            process.terminate()
            process.wait(20)

    def _adapted(self, command: str) -> str:
        return command.replace("http://localhost:9090", self._installation.prometheus.url)


def _phase(installation: Installation, rollout: str) -> str:
    return installation.phase("models", rollout)


def test_the_page_can_be_followed(installation: Installation, tmp_path: Path) -> None:
    """From the first check to a release, the user requests and the pipeline; every command is run."""
    installation.namespace("models")
    installation.released("models")
    shell = UserShell(installation, tmp_path)

    revision = next(
        line for line in (ROOT / "docs/getting-started.md").read_text().splitlines() if "latestReadyRevision" in line
    )
    query = revision.partition("`")[2].partition("`")[0]
    assert (
        subprocess.run(["bash", "-c", query], env=shell.environment, capture_output=True, text=True).stdout.strip()
        == "mnist-predictor-00001"
    )

    assert "1 policy is valid" in shell.run("autocanary validate my-policy.yaml", among=0)
    assert "1 policy is valid" in shell.run("autocanary validate my-policy.yaml --prometheus-url")
    shell.run("autocanary crds | kubectl apply -f -")

    with shell.running("autocanary run --prometheus-url") as log:
        pass  # releases in a dry run: tests/controller
    assert "policy_added" in log.read_text()
    assert "STATUS: deployed" in shell.run("helm install autocanary")  # the definitions of step 3 are no obstacle
    with shell.running("autocanary run --prometheus-url", without=("--dry-run",)):
        shell.run("kubectl -n models patch isvc mnist")
        assert "romoted" in shell.run("autocanary status mnist -n models --watch")
        assert "mnist-00002" in shell.run("kubectl -n models get canaryrollouts")
        shell.run("kubectl -n models wait --for=condition=Promoted")
        assert "Promoted" in shell.run("kubectl -n models describe isvc mnist")

        _release(installation, "v3")
        wait_until(
            lambda: _phase(installation, "mnist-00003") == "Progressing", seconds=90, what="v3 to be at its first step"
        )
        assert "Why not now" in shell.run("autocanary explain mnist -n models")
        shell.run("autocanary pause mnist -n models")
        shell.run("autocanary resume mnist -n models")
        shell.run("autocanary promote mnist -n models")
        shell.run("autocanary abort mnist -n models")
        wait_until(lambda: _phase(installation, "mnist-00003") == "RolledBack", seconds=60, what="v3 to be rolled back")
        shell.run("autocanary retry mnist -n models")
        wait_until(
            lambda: _phase(installation, "mnist-00003-r2") == "Progressing", seconds=60, what="the second attempt"
        )

        for command in commands(PAGE):
            if "patch crl mnist-00002" in command:  # the page's rollout has ended
                shell.done.add(command)
                by_hand = command.replace("mnist-00002", "mnist-00003-r2")
                subprocess.run(["bash", "-euc", by_hand], env=shell.environment, check=True, capture_output=True)
        wait_until(lambda: _phase(installation, "mnist-00003-r2") == "RolledBack", seconds=60, what="abort by hand")

        (tmp_path / "mnist.yaml").write_text(json.dumps(_manifest(installation, "v4")))
        shell.run("kubectl apply -f mnist.yaml")
        shell.run("autocanary status mnist -n models --timeout 2h")
        printed = shell.run("autocanary history mnist -n models")
        assert "gs://models/mnist/v4" in printed
        assert "abort by " in printed
        assert "is released again at 0 %" in shell.run("autocanary undo mnist -n models")
        undone = installation.isvc("models", "mnist")
        assert undone["spec"]["predictor"]["model"]["storageUri"] == "gs://models/mnist/v2"
        assert undone["metadata"]["annotations"]["autocanary.dev/release-reason"] == "it labels 7 as 1"

    left = [each for each in commands(PAGE) if each not in shell.done and not each.startswith(tuple(NOT_RUN))]
    assert left == []


def _release(installation: Installation, version: str) -> None:
    installation.api.kubectl("apply", "-f", "-", stdin=json.dumps(_manifest(installation, version)))


def _manifest(installation: Installation, version: str) -> dict[str, object]:
    document = installation.isvc("models", "mnist")
    predictor = {**document["spec"]["predictor"]}
    predictor["model"] = {**predictor["model"], "storageUri": f"gs://models/mnist/{version}"}
    return {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": {"name": "mnist", "namespace": "models"},
        "spec": {"predictor": predictor},
    }
