"""The doors to the rest of the program, opened for real where no cluster is needed."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from autocanary.cli import backend
from autocanary.errors import SettingsError
from autocanary.model.progress import Phase
from autocanary.settings import Settings
from tests.cli.conftest import Invoke
from tests.cli.fake_client import rollout


def test_a_kubeconfig_that_is_not_there_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    """For commands and for the service alike."""
    missing = str(tmp_path / "config")
    with pytest.raises(SettingsError, match="does not exist"):
        backend.open_client(missing, None)
    settings = Settings(prometheus_url="http://prometheus:9090", listen="127.0.0.1:0")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="does not exist"):
        backend.run_service(settings, missing, None)


def test_the_default_scenarios_are_known() -> None:
    """One promotion and one rollback, each with a sentence about it."""
    known = backend.scenarios()
    assert set(backend.default_scenarios()) <= set(known)
    assert all(known.values())


def test_demo_run_ends_as_expected() -> None:
    """The shape that the demo command relies on."""
    with closing(backend.demo_run("errors", serve=False)) as demo_run:
        before = demo_run.now()
        demo_run.advance(demo_run.horizon)
        assert demo_run.now() == before + demo_run.horizon
        ((found, policy, observation),) = demo_run.shown()
        assert (found.progress.phase,) == demo_run.expected == (Phase.ROLLED_BACK,)
        assert policy is not None
        assert observation is not None
        assert observation.traffic_percent(found.candidate) == 0
        assert demo_run.address == ""


def test_the_demo_ends_as_it_should(invoke: Invoke) -> None:
    """The whole program but the cluster: promoted, rolled back, restored; exit code 0."""
    result = invoke("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    for weight in (10, 25, 50, 100):
        assert f"step_taken  {weight} %" in result.stdout
    assert "rollout_promoted  100 %" in result.stdout
    assert "spec.predictor was set back to" in re.sub(r"\s+", " ", result.stdout)
    assert "rollout_rolled_back  0 %  WorseThanStable" in result.stdout


def test_the_policy_of_a_rollout_is_read_from_its_snapshot() -> None:
    """None, rather than an error, when this version cannot read it."""
    policy = backend.policy_of(rollout())
    assert policy is not None
    assert [step.weight for step in policy.steps] == [10, 25, 50, 100]
    assert backend.policy_of(replace(rollout(), policy_document={"steps": "?"})) is None


def test_rollouts_of_one_policy_share_it() -> None:
    """Restoring one takes milliseconds, and a list may be of thousands."""
    assert backend.policy_of(rollout(service="a")) is backend.policy_of(rollout(service="b"))
