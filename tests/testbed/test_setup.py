"""Getting and missing the servers: a laptop may lack one, the continuous integration may not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed import setup
from tests.testbed.servers import ServerError, missing_servers, require_servers, wait_until
from tests.testbed.servers.process import ServerProcess


class Sleeper(ServerProcess):
    """A stand-in server: it never says that it is ready."""

    name = "sleeper"
    ready_seconds = 0.3

    def command(self) -> list[str]:
        """Say one line, then sleep."""
        return ["/bin/sh", "-c", "echo no luck; exec sleep 60"]

    def ready(self) -> bool:
        """Never."""
        return False


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any of the servers, Go or apt."""
    monkeypatch.setattr(setup, "USUAL_GO_FOLDER", str(tmp_path / "go"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.delenv(setup.REQUIRED_VARIABLE, raising=False)
    return tmp_path


@pytest.mark.usefixtures("bare_machine")
class TestMissing:
    """The rule for skipping."""

    def test_a_missing_server_skips_and_names_the_command(self) -> None:
        """A developer learns what to run."""
        with pytest.raises(pytest.skip.Exception, match=r"etcd; `python3 tests/testbed/setup\.py`"):
            require_servers("etcd")

    def test_a_missing_server_fails_where_it_is_required(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing skips in silence in continuous integration."""
        monkeypatch.setenv(setup.REQUIRED_VARIABLE, "required")
        with pytest.raises(pytest.fail.Exception, match="forbids skipping"):
            require_servers("etcd")

    def test_the_assets_folder_and_the_cache_are_searched(
        self, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The folder that envtest's users have counts, and so does what an earlier run made."""
        for folder in (bare_machine / "assets", setup.cache_folder()):
            folder.mkdir(parents=True)
        for program in (bare_machine / "assets" / "etcd", setup.cache_folder() / "kubectl"):
            program.touch(mode=0o755)
        monkeypatch.setenv("KUBEBUILDER_ASSETS", str(bare_machine / "assets"))
        assert missing_servers("etcd", "kubectl", "prometheus") == ["prometheus"]

    @pytest.mark.parametrize(("required", "code"), [("", 0), ("required", 1)])
    def test_the_script_says_what_is_missing(
        self,
        required: str,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """One line per server with how to get it; the exit code says whether that was allowed."""
        monkeypatch.setenv(setup.REQUIRED_VARIABLE, required)
        assert setup.main([]) == code
        said = capsys.readouterr()
        for server in setup.SERVERS:
            assert f"{server.name}: missing" in said.out
        assert (f"{setup.REQUIRED_VARIABLE}=required" in said.err) is bool(required)

    def test_an_interrupted_build_leaves_nothing_in_the_cache(self) -> None:
        """A half-written program never gets its final name."""

        def interrupted(into: Path) -> None:
            (into / "etcd").write_bytes(b"half")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            setup.obtain(setup.TestbedProgram("etcd", interrupted, ""))
        assert list(setup.cache_folder().iterdir()) == []


class TestGoModules:
    """KServe's and Knative's own programs, each kept in a folder of its version."""

    @pytest.mark.parametrize("module", [setup.KSERVE, setup.KNATIVE], ids=lambda module: module.folder)
    def test_the_version_is_that_of_the_go_mod_unless_the_environment_names_another(
        self, module: setup.GoModule, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So a workflow can try a newer KServe without a commit."""
        monkeypatch.delenv(module.variable, raising=False)
        pinned = module.version()
        assert f"{module.module} {pinned}\n" in (setup.HERE / module.folder / "go.mod").read_text()
        monkeypatch.setenv(module.variable, "v9.9.9")
        assert module.version() == "v9.9.9"
        assert module.cache().name == f"{module.folder}-v9.9.9"

    def test_a_program_of_another_version_does_not_count(
        self, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even one on the PATH: a program does not say its version by its name."""
        monkeypatch.delenv(setup.KSERVE.variable, raising=False)
        made = setup.KSERVE.cache() / "kserve-manager"
        made.parent.mkdir(parents=True)
        made.touch(mode=0o755)
        assert setup.find("kserve-manager") == made
        monkeypatch.setenv(setup.KSERVE.variable, "v9.9.9")
        (bare_machine / "bin").mkdir()
        (bare_machine / "bin" / "kserve-manager").touch(mode=0o755)
        assert setup.find("kserve-manager") is None

    def test_the_tools_to_build_are_those_of_the_go_mod(self) -> None:
        """Another version is asked for by the same packages."""
        assert setup.tools_of(setup.HERE / "kserve/go.mod") == ["github.com/kserve/kserve/cmd/manager"]
        assert setup.tools_of(setup.HERE / "knative/go.mod") == [
            "knative.dev/serving/cmd/controller",
            "knative.dev/serving/cmd/webhook",
        ]


def test_a_server_that_never_becomes_ready_fails_with_its_log(tmp_path: Path) -> None:
    """The wait is bounded and the error shows what the server said last."""
    sleeper = Sleeper(tmp_path)
    with pytest.raises(ServerError, match=r"(?s)not ready within 0.3 s.*no luck"), sleeper:
        pytest.fail("it became ready")
    assert not sleeper.running


ORPHAN_MAKER = """
import os, pathlib, sys
from tests.testbed.test_setup import Sleeper
Sleeper.ready = lambda self: True
server = Sleeper(pathlib.Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A test run that is killed leaves no server behind."""
    script = [sys.executable, "-c", ORPHAN_MAKER, str(tmp_path)]
    root = setup.HERE.parent.parent
    done = subprocess.run(script, cwd=root, stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.strip().isdigit(), "no server was started"
    left = ["ps", "-o", "stat=", "-p", done.stdout.strip()]

    def gone() -> bool:
        """Ended, or a zombie whose parent has not collected it yet."""
        state = subprocess.run(left, stdout=subprocess.PIPE, text=True).stdout.strip()
        return state == "" or state.startswith("Z")

    wait_until(gone, seconds=10, what="the server's end")
