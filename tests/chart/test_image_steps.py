"""The image's own steps: the wheel, the locked installation, and the service started from what they made."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocanary import __version__
from autocanary.kube.crds import definitions
from autocanary.kube.rbac import rbac_rules
from tests.chart.dockerfile import ROOT, Stage, build, confined, stages, words
from tests.testbed.servers import (
    ApiServer,
    free_port,
    install_inferenceservice_crd,
    require_servers,
    wait_until,
)
from tests.testbed.servers.http import fetch

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

_BASE_PATH = "/usr/bin:/bin:/usr/sbin"  # for what confines a command
ACCOUNT = "system:serviceaccount:autocanary:autocanary"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may read."""
    folder = Path(tempfile.mkdtemp(prefix="autocanary-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(place: Path) -> dict[str, Stage]:
    """The stages, carried out."""
    return build(place)


def _installed(image: dict[str, Stage]) -> Path:
    return image["installed"].path("/opt/autocanary")


def test_only_the_wheel_and_what_is_locked_is_installed(image: dict[str, Stage]) -> None:
    """Everything that the lock names for this platform at its version, the program, and nothing else."""
    listing = "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    python = _installed(image) / "bin" / "python"
    done = subprocess.run([python, "-I", "-c", listing], capture_output=True, text=True, check=True)
    found = {
        each.lower().replace("_", "-").replace(".", "-", each.partition("==")[0].count("."))
        for each in done.stdout.split()
    }
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {line.split()[0].lower() for line in lock.splitlines() if "==" in line and not line.startswith(" ")}
    assert found - locked == {f"autocanary=={__version__}"}
    assert not {each.partition("==")[0] for each in found} & {"pip", "setuptools", "wheel", "hatchling"}


def test_the_final_stage_has_no_installer(image: dict[str, Stage]) -> None:
    """Neither in the interpreter's own place nor in the program's."""
    done = subprocess.run([image["final"].python(), "-m", "pip"], capture_output=True, text=True)
    assert "No module named pip" in done.stderr
    assert not list(image["final"].path("/opt/autocanary").rglob("pip"))


def test_two_builds_make_the_same_wheel(image: dict[str, Stage], tmp_path: Path) -> None:
    """Byte for byte."""
    stage = image["wheel"]
    [first] = stage.path("/wheel").glob("*.whl")
    command = [
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run([stage.python(), *command], cwd=stage.path("/source"), check=True)
    assert (tmp_path / first.name).read_bytes() == first.read_bytes()


def test_everything_is_compiled_ahead_without_times(image: dict[str, Stage]) -> None:
    """Hashes instead, never read: two builds are alike, and nothing needs to be written later."""
    sources = list((_installed(image) / "lib").rglob("autocanary/**/*.py"))
    assert len(sources) > 50
    for source in sources:
        [compiled] = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", compiled  # by hash, unchecked


def test_the_service_runs_from_it_without_root_and_without_writing(image: dict[str, Stage], place: Path) -> None:
    """As the image's user, on a read-only file system, with the image's environment and the chart's alone."""
    require_servers("kube-apiserver", "etcd", "kubectl")
    final = image["final"]
    program = _installed(image)
    before = _snapshot(program)
    (place / "api").mkdir()
    with ApiServer([ACCOUNT], folder=place / "api") as api:
        install_inferenceservice_crd(api, "minimal")
        api.apply(*definitions())
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "autocanary"}})
        api.grant(ACCOUNT, rbac_rules())
        kubeconfig = api.kubeconfig(ACCOUNT)
        for path in (api.folder, api.certificates):
            path.chmod(0o755)
        api.ca.chmod(0o644)
        port = free_port()
        environment = {
            **{name: value for name, value in final.environment.items() if name != "PATH"},
            "PATH": f"{program / 'bin'}:{_BASE_PATH}",
            "KUBECONFIG": str(kubeconfig),
            "AUTOCANARY_PROMETHEUS_URL": "http://127.0.0.1:9",
            "AUTOCANARY_LEASE_NAMESPACE": "autocanary",
            "AUTOCANARY_LISTEN": f"127.0.0.1:{port}",
        }
        [entrypoint] = words(final.last("ENTRYPOINT"))
        command, read_only = confined(
            final.last("USER"), [str(program / "bin" / entrypoint), *words(final.last("CMD"))]
        )
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:

            def ready() -> bool:
                assert process.poll() is None, (place / "log").read_text()
                try:
                    return fetch(f"http://127.0.0.1:{port}/readyz")[0] == 200
                except OSError:
                    return False

            wait_until(ready, seconds=60, what="the service to be ready", every=0.2)
            assert f'version="{__version__}"' in fetch(f"http://127.0.0.1:{port}/metrics")[1].decode()
            assert "0" not in _user_ids(process.pid) or os.geteuid() != 0
            assert _root_options(process.pid) == {"ro"} or not read_only
        finally:
            process.terminate()
        assert process.wait(15) == 0, (place / "log").read_text()
    assert _snapshot(program) == before


def _user_ids(pid: int) -> set[str]:
    """Real, effective, saved and file system's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {word for line in lines if line.startswith("Uid:") for word in line.split()[1:]}


def _root_options(pid: int) -> set[str]:
    """Whether the root file system that the process sees is rw or ro."""
    rows = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {row[5].split(",")[0] for row in rows if row[4] == "/"}


def _snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_any_command_of_the_program_runs_in_an_empty_environment(image: dict[str, Stage]) -> None:
    """`docker run autocanary crds | kubectl apply -f -`: the definitions are in the wheel."""
    final = stages()[-1]
    command, _ = confined(final.last("USER"), [str(_installed(image) / "bin" / "autocanary"), "crds"])
    done = subprocess.run(command, env={"PATH": _BASE_PATH}, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kind: CustomResourceDefinition") == 2
