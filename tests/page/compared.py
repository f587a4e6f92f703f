"""A rollout with comparisons in the simulated world."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from autocanary.app.demo_run import controller_on
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.policy_files import ActivePolicies
from autocanary.simulator.scenarios import SCENARIOS

DOCUMENT = {
    "selector": {"names": ["*"]},
    "steps": [
        {"setWeight": 20},
        {"pause": {"duration": "2m"}},
        {"setWeight": 50},
        {"pause": {"duration": "2m"}},
        {"setWeight": 100},
    ],
    "analysis": {
        "metrics": [
            {"name": "error-rate", "compare": {}},
            {"name": "request-duration", "thresholdRange": {"max": "500ms"}, "compare": {}},
        ]
    },
}


@cache
def run_compared(seconds: int = 400, scenario: str = "healthy") -> tuple[Rollout, Policy]:
    """The rollout after so many seconds, and its policy."""
    policy = replace(ActivePolicies().restore("compared", DOCUMENT), namespace="models")
    world = replace(SCENARIOS[scenario], policy=policy).open()
    controller = controller_on(world)
    for _ in range(seconds):
        world.advance(1.0)
        controller.tick()
    running = {each.name: each for each in controller.rollouts()}
    [stored] = world.store.rollouts()
    return running.get(stored.name, stored), policy
