"""Each scenario of the demo ends as it says, with the real controller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.model.rollout import Rollout
from autocanary.policy_files import ActivePolicies
from autocanary.simulator.demo_policy import APPROVAL_POLICY, COMPARING_POLICY, DEMO_POLICY
from autocanary.simulator.scenarios import SCENARIOS, ExpectedResult, Scenario
from autocanary.simulator.virtual_clock import START
from autocanary.simulator.world import World


def run_scenario(scenario: Scenario, seed: int) -> tuple[World, list[Rollout]]:
    """Until every rollout that is expected has ended, or the horizon."""
    world = scenario.open(seed)
    controller, until = controller_on(world), world.now() + scenario.horizon
    rollouts: list[Rollout] = []
    while world.now() < until:
        controller.tick()
        world.advance(1.0)
        rollouts = sorted(world.store.rollouts(), key=lambda each: each.progress.started_at)
        if len(rollouts) >= len(scenario.expected) and all(each.is_final for each in rollouts):
            break
    return world, rollouts


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_ends_as_it_says(name: str, seed: int) -> None:
    """Final phase and reason of each of its rollouts, whatever the dice say."""
    scenario = SCENARIOS[name]
    _, rollouts = run_scenario(scenario, seed)
    assert [ExpectedResult(each.progress.phase, each.progress.reason) for each in rollouts] == list(scenario.expected)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("healthy", [10, 25, 50, 100]),
        ("errors", [10, 0]),
        ("slow", [10, 0]),
        ("late-onset", [10, 25, 50, 0]),
        ("no-traffic", [10, 0]),
        ("outage", [10, 25, 50, 100]),
        ("crash-loop", []),
        ("second-release", [10, 25, 10, 25, 50, 100]),
        ("unstaged", [0, 10, 25, 50, 100]),
    ],
)
def test_weights_written_by_each_scenario(name: str, weights: list[int]) -> None:
    """What is written to the service, from the first weight to the last."""
    world, _ = run_scenario(SCENARIOS[name], 1)
    assert [write.weight for write in world.cluster.writes] == weights


def test_during_the_outage_the_weight_is_held() -> None:
    """Nothing is written while Prometheus is down, and the outage falls into the step at 25 %."""
    scenario = SCENARIOS["outage"]
    (trouble,) = scenario.prometheus_outages
    world, _ = run_scenario(scenario, 1)
    start = START
    before = [write for write in world.cluster.writes if write.at < start + trouble.start]
    during = [write for write in world.cluster.writes if start + trouble.start <= write.at < start + trouble.end]
    assert before[-1].weight == 25
    assert during == []


def test_the_demos_policy_is_what_its_document_says() -> None:
    """The value built in code equals the one that the policy files' loader makes of the document."""
    for policy in (DEMO_POLICY, APPROVAL_POLICY, COMPARING_POLICY):
        loaded = ActivePolicies([]).restore(policy.name, policy.document)
        assert replace(loaded, digest="", origin="") == replace(policy, digest="", origin="")


def test_every_scenario_has_a_one_sentence_description() -> None:
    """Names are keys, sentences end, and each is about the one service that the policy selects."""
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name
        assert scenario.sentence.endswith(".")
        assert {release.service for release in scenario.releases} == set(scenario.policy.selector.names)
