"""``autocanary report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autocanary.cli import report as command
from autocanary.errors import Unreachable
from autocanary.model.progress import Phase
from tests.cli.conftest import Invoke
from tests.cli.fake_client import FakeRolloutClient, rollout

Cluster = Callable[[object], None]


def test_it_goes_to_stdout(invoke: Invoke, cluster: Cluster) -> None:
    """One whole HTML document."""
    cluster(FakeRolloutClient(rollout(Phase.ROLLED_BACK)))
    result = invoke("report", "mnist", "-n", "models")
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert result.stdout.endswith("</html>\n")


def test_or_into_a_file(invoke: Invoke, cluster: Cluster, tmp_path: Path) -> None:
    """And stderr says where it is."""
    cluster(FakeRolloutClient(rollout()))
    path = tmp_path / "r.html"
    result = invoke("report", "mnist-00002", "-n", "models", "--output", str(path))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "the report of models/mnist-00002" in result.stderr
    assert path.read_text("utf-8").endswith("</html>\n")
    assert [each.name for each in tmp_path.iterdir()] == ["r.html"]


def test_a_file_that_cannot_be_written_is_said(invoke: Invoke, cluster: Cluster, tmp_path: Path) -> None:
    """And nothing is left behind."""
    cluster(FakeRolloutClient(rollout()))
    result = invoke("report", "mnist", "-n", "models", "--output", str(tmp_path / "none" / "r.html"))
    assert result.exit_code == 2
    assert "the report cannot be written: No such file or directory" in result.stderr


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a report could be taken for the whole story."""
    path = tmp_path / "r.html"
    path.write_text("before")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command._write(path, "after", rollout())
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_rollout_and_no_cluster(invoke: Invoke, cluster: Cluster) -> None:
    """1 and 3, as for every command."""
    cluster(FakeRolloutClient())
    result = invoke("report", "nothing", "-n", "models")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no rollout of nothing in namespace models" in result.stderr
    cluster(Unreachable("the API server is away"))
    assert invoke("report", "mnist").exit_code == 3
