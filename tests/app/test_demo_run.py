"""The demo: the unchanged controller over a scenario's world, as the command runs it."""

from __future__ import annotations

import urllib.request

import pytest

from autocanary.app.demo_run import DEFAULT_SCENARIOS, Demo, controller_on, scenarios
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.reason import Reason
from autocanary.simulator.demo_policy import DEMO_POLICY
from autocanary.simulator.scenarios import SCENARIOS


def test_the_scenarios_are_named_with_a_sentence_each() -> None:
    """What ``demo --list`` prints; the default ones are among them."""
    assert set(scenarios()) == set(SCENARIOS)
    assert all(sentence.endswith(".") for sentence in scenarios().values())
    assert set(DEFAULT_SCENARIOS) <= set(scenarios())


def test_the_default_shows_a_comparison_an_approval_and_a_crash_that_is_restored() -> None:
    """What a first policy does: the presets that are compared with stable, as in policies/first.yaml."""
    reasons = []
    for name in DEFAULT_SCENARIOS:
        demo = Demo(name)
        demo.advance(demo.horizon)
        ((rollout, policy, _),) = demo.shown()
        assert (rollout.progress.phase,) == demo.expected
        compared = policy is not None and any(metric.compare for metric in policy.analysis.metrics)
        approved = any(entry.get("requestedBy") == "ada" for entry in rollout.progress.decisions)
        reasons.append((rollout.progress.reason, compared, approved, rollout.progress.rollback.restored))
    assert reasons == [
        (Reason.PROMOTED, True, True, False),
        (Reason.WORSE_THAN_STABLE, True, False, False),
        (Reason.REVISION_FAILED, False, False, True),
    ]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_demo_ends_as_expected_within_its_horizon(name: str) -> None:
    """In any stride: here in steps of seven seconds."""
    demo = Demo(name)
    began = demo.now()
    while demo.now() - began < demo.horizon:
        demo.advance(7.0)
    phases = tuple(rollout.progress.phase for rollout, _, _ in demo.shown())
    assert phases == demo.expected
    demo.close()


@pytest.mark.parametrize("stride", [0.1, 0.5, 3.0, 60.0])
def test_step_size_does_not_change_the_result(stride: float) -> None:
    """Virtual time passes the same way however finely it is shown."""
    demo = Demo("healthy")
    other = Demo("healthy")
    for _ in range(int(240 / stride)):
        demo.advance(stride)
    other.advance(240.0)
    assert demo.now() == pytest.approx(other.now())
    assert [each.progress.step.index for each, _, _ in demo.shown()] == [
        each.progress.step.index for each, _, _ in other.shown()
    ]
    assert [each.progress.step.weight for each, _, _ in demo.shown()] == [25]


def test_what_is_shown_is_the_rollout_its_policy_and_what_was_seen() -> None:
    """Nothing before a release, then the running state, then the finished record."""
    demo = Demo("healthy")
    demo.advance(20.0)
    assert list(demo.shown()) == []
    demo.advance(80.0)
    ((rollout, policy, observation),) = demo.shown()
    assert rollout.name == "mnist-00002"
    assert policy == DEMO_POLICY
    assert observation is not None
    assert observation.weight == rollout.progress.step.weight == 10
    assert "healthy" in demo.title


def test_a_service_is_listed_as_kubectl_prints_it() -> None:
    """Where the scenario is about these columns; before the service exists there is nothing."""
    demo = Demo("kfserving")
    assert list(demo.listing()) == []
    demo.advance(60.0)
    head, row = demo.listing()
    assert head.split("   ")[0].strip() == "NAME"
    assert row.split()[2:5] == ["True", "90", "10"]
    demo.advance(demo.horizon)
    assert demo.listing()[1].split()[2:4] == ["True", "100"]
    assert list(Demo("healthy").listing()) == []


def test_no_time_means_nothing_happens() -> None:
    """Nothing happens but in ``advance``."""
    demo = Demo("errors")
    before = demo.now()
    demo.advance(0.0)
    assert demo.now() == before
    assert list(demo.shown()) == []
    assert demo.address == ""
    demo.close()


def test_served_metrics_show_the_rollout() -> None:
    """``--serve``: the same /metrics as the service, at an address that is said."""
    demo = Demo("healthy", serve=True)
    try:
        demo.advance(100.0)
        assert demo.address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(demo.address, timeout=5) as answer:  # noqa: S310 - our own address
            text = answer.read().decode()
        weight = [line for line in text.splitlines() if line.startswith("autocanary_rollout_weight_percent{")]
        assert len(weight) == 1
        assert 'service="mnist"' in weight[0]
        assert float(weight[0].rsplit(" ", 1)[1]) == 10.0
        assert "autocanary_policies{" in text
    finally:
        demo.close()


def test_an_unknown_scenario_is_a_key_error() -> None:
    """The command checks the name first."""
    with pytest.raises(KeyError):
        Demo("unheard-of")


def test_engine_on_counts_into_what_it_is_given() -> None:
    """Decisions and finished rollouts of the scenario are in the counters."""
    scenario = SCENARIOS["errors"]
    world, counters = scenario.open(), ControllerMetrics()
    controller = controller_on(world, counters)
    for _ in range(600):
        world.advance(1.0)
        controller.tick()
    counts = counters.snapshot().counts
    finished = counts["autocanary_rollouts_finished_total"]
    assert {end: count for end, count in finished.items() if count} == {("RolledBack", "MetricViolation"): 1}
    assert controller.idle()
    assert controller.rollouts() == []
