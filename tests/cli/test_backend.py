"""The doors to the rest of the program, opened for real where no cluster is needed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from autocanary.cli import backend
from autocanary.errors import SettingsError
from autocanary.model.progress import Phase
from autocanary.settings import Settings
from tests.cli.conftest import Invoke
from tests.cli.fakes import rollout


def test_a_kubeconfig_that_is_not_there_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    """For commands and for the service alike."""
    missing = str(tmp_path / "config")
    with pytest.raises(SettingsError, match="does not exist"):
        backend.open_ledger(missing, None)
    settings = Settings(prometheus_url="http://prometheus:9090", listen="127.0.0.1:0")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="does not exist"):
        backend.run_service(settings, missing, None)


def test_the_default_scenarios_are_known() -> None:
    """One promotion and one rollback, each with a sentence about it."""
    known = backend.scenarios()
    assert set(backend.default_scenarios()) <= set(known)
    assert all(known.values())


def test_a_stage_plays_to_its_expected_end() -> None:
    """The shape that the demo command relies on."""
    with closing(backend.stage("errors", serve=False)) as stage:
        before = stage.now()
        stage.advance(stage.horizon)
        assert stage.now() == before + stage.horizon
        ((found, policy, seen),) = stage.shown()
        assert (found.progress.phase,) == stage.expected == (Phase.ROLLED_BACK,)
        assert policy is not None
        assert seen is not None
        assert seen.share(found.candidate) == 0
        assert stage.address == ""


def test_the_demo_ends_as_it_should(invoke: Invoke) -> None:
    """The whole program but the cluster: promoted, then rolled back, exit code 0."""
    result = invoke("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    for weight in (10, 25, 50, 100):
        assert f"step_taken  {weight} %" in result.stdout
    assert "rollout_promoted  100 %" in result.stdout
    assert "rollout_rolled_back  0 %  MetricBreach" in result.stdout


def test_the_policy_of_a_rollout_is_read_from_its_snapshot() -> None:
    """None, rather than an error, when this version cannot read it."""
    policy = backend.policy_of(rollout())
    assert policy is not None
    assert [step.weight for step in policy.steps] == [10, 25, 50, 100]
    assert backend.policy_of(rollout().but(policy_document={"steps": "?"})) is None


def test_rollouts_of_one_policy_share_it() -> None:
    """Restoring one takes milliseconds, and a list may be of thousands."""
    assert backend.policy_of(rollout(service="a")) is backend.policy_of(rollout(service="b"))
