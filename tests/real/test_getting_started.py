"""docs/getting-started.md followed to the letter on real servers: every command in it is run, or it is said why not."""

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
    "helm install autocanary": "tests/real/test_helm_installation.py installs the chart",
    "kubectl -n autocanary rollout status": "nothing runs pods here",
}
"""Commands that begin so are not run here, and why."""


def _policy() -> str:
    """The page's policy, with short times and a limit: a user has minutes for the evidence of a comparison
    (tests/real/test_comparison.py gathers it), a test has seconds.
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
        self._stage, self.folder = installation, folder
        self._commands = commands(page)
        self.done: set[str] = set()
        self.environment = {
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), str(Path(program("kubectl")).parent), os.environ["PATH"]]
            ),
            "HOME": str(folder),
            "KUBECONFIG": str(installation.api.kubeconfig()),
        }
        (folder / "my-policy.yaml").write_text(_policy())

    def run(self, beginning: str, *, code: int = 0, among: int = 0) -> str:
        """Run the page's command that begins so, in a shell as it stands; what it printed."""
        command = [each for each in self._commands if each.startswith(beginning)][among]
        self.done.add(command)
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(command)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        said = ended.stdout + ended.stderr
        assert ended.returncode == code, f"{command}: {ended.returncode}\n{said}"
        assert "Traceback" not in said
        return said

    @contextmanager
    def running(self, beginning: str, *, without: tuple[str, ...] = ()) -> Iterator[Path]:
        """The page's command in the background, as in a second window; its log."""
        command = next(each for each in self._commands if each.startswith(beginning))
        self.done.add(command)
        words = [word for word in self._here(command).split() if word not in without]
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

    def _here(self, command: str) -> str:
        return command.replace("http://localhost:9090", self._stage.prometheus.url)


def _phase(installation: Installation, rollout: str) -> str:
    return installation.phase("models", rollout)


def test_the_page_can_be_followed(installation: Installation, tmp_path: Path) -> None:
    """From the first check to a release, the verbs and the pipeline; nothing on the page is left out."""
    installation.namespace("models")
    installation.released("models")
    desk = UserShell(installation, tmp_path)

    revision = next(
        line for line in (ROOT / "docs/getting-started.md").read_text().splitlines() if "latestReadyRevision" in line
    )
    query = revision.partition("`")[2].partition("`")[0]
    assert (
        subprocess.run(["bash", "-c", query], env=desk.environment, capture_output=True, text=True).stdout.strip()
        == "mnist-predictor-00001"
    )

    assert "1 policy is valid" in desk.run("autocanary validate my-policy.yaml", among=0)
    assert "1 policy is valid" in desk.run("autocanary validate my-policy.yaml --prometheus-url")
    desk.run("autocanary crds | kubectl apply -f -")

    with desk.running("autocanary run --prometheus-url"):
        pass  # it looks on; what it says of a release is in tests/real/test_bad_input.py and tests/controller
    with desk.running("autocanary run --prometheus-url", without=("--dry-run",)):
        desk.run("kubectl -n models patch isvc mnist")
        assert "romoted" in desk.run("autocanary status mnist -n models --watch")
        assert "mnist-00002" in desk.run("kubectl -n models get canaryrollouts")
        desk.run("kubectl -n models wait --for=condition=Promoted")
        assert "Promoted" in desk.run("kubectl -n models describe isvc mnist")

        _release(installation, "v3")
        wait_until(lambda: _phase(installation, "mnist-00003") == "Progressing", seconds=90, what="v3 to be judged")
        desk.run("autocanary pause mnist -n models")
        desk.run("autocanary resume mnist -n models")
        desk.run("autocanary promote mnist -n models")
        desk.run("autocanary abort mnist -n models")
        wait_until(lambda: _phase(installation, "mnist-00003") == "RolledBack", seconds=60, what="v3 to be back")
        desk.run("autocanary retry mnist -n models")
        wait_until(lambda: _phase(installation, "mnist-00003-r2") == "Progressing", seconds=60, what="another try")

        for command in commands(PAGE):
            if "patch crl mnist-00002" in command:  # the page's own rollout has long ended here
                desk.done.add(command)
                by_hand = command.replace("mnist-00002", "mnist-00003-r2")
                subprocess.run(["bash", "-euc", by_hand], env=desk.environment, check=True, capture_output=True)
        wait_until(lambda: _phase(installation, "mnist-00003-r2") == "RolledBack", seconds=60, what="abort by hand")

        (tmp_path / "mnist.yaml").write_text(json.dumps(_manifest(installation, "v4")))
        desk.run("kubectl apply -f mnist.yaml")
        desk.run("autocanary status mnist -n models --timeout 2h")

    left = [each for each in commands(PAGE) if each not in desk.done and not each.startswith(tuple(NOT_RUN))]
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
