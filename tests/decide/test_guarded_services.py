"""Which services the guard holds without a policy, and whether a revision of theirs waits."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.decide.guarded_services import GuardedService, guarded_without_policy
from autocanary.model.guard import Guard, LabelOperator, LabelRequirement
from autocanary.model.observation import ConditionStatus, DefaultEndpoint, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Component, Selector
from tests.decide.builders import KEY, STABLE, make_observation, policy

GUARD = Guard(namespaces=("models",))
WAITING = make_observation(0)


def _found(*services: Observation, guard: Guard = GUARD, **selector: Any) -> list[GuardedService]:
    policies = [policy(selector=Selector(**selector))] if selector else []
    return list(guarded_without_policy(guard, services, policies))


def test_a_revision_that_waits_at_0_without_a_policy() -> None:
    """The service is named, with the reason."""
    assert _found(WAITING) == [GuardedService(KEY, True, "no policy selects models/mnist")]
    assert _found(WAITING, names=("mnist",)) == []


@pytest.mark.parametrize(
    "seen",
    [
        make_observation(0, created=STABLE),
        make_observation(None),
        make_observation(10),
        make_observation(0, created=""),
    ],
    ids=["no new revision", "no weight", "it has a weight", "no revision yet"],
)
def test_a_service_at_which_none_waits_is_named_too(seen: Observation) -> None:
    """Its next release would wait."""
    assert [each.waits for each in _found(seen)] == [False]


def test_a_tie_governs_nothing() -> None:
    """Both policies are named."""
    tied = (policy(name="a"), policy(name="b"))
    [found] = guarded_without_policy(GUARD, [WAITING], tied)
    assert "the policies a (" in found.problem
    assert " and b (" in found.problem


def test_a_component_without_a_policy_is_named_alone() -> None:
    """The guard holds a new transformer as well, and the predictor's policy does not roll it out."""
    key = ServiceKey("models", "mnist", Component.TRANSFORMER)
    [found] = _found(WAITING, make_observation(0, key=key), names=("mnist",))
    assert (found.key, found.problem) == (key, "no policy selects models/mnist (transformer)")


@pytest.mark.parametrize(
    "seen",
    [
        make_observation(0, key=ServiceKey("other", "mnist")),
        make_observation(0, mode=DeploymentMode.STANDARD),
        make_observation(0, mode=DeploymentMode.MODELMESH),
        make_observation(0, stopped=True),
        make_observation(0, deleting=True),
        make_observation(0, default_endpoint=DefaultEndpoint({}, "", ConditionStatus.TRUE, True)),
    ],
    ids=["elsewhere", "Standard", "ModelMesh", "stopped", "deleting", "v1alpha2"],
)
def test_what_the_guard_does_not_hold_is_not_named(seen: Observation) -> None:
    """As the chart's match conditions say."""
    assert _found(seen) == []


@pytest.mark.parametrize(
    ("operator", "values", "labels", "holds"),
    [
        (LabelOperator.IN, ("a", "b"), {"team": "b"}, True),
        (LabelOperator.IN, ("a", "b"), {}, False),
        (LabelOperator.NOT_IN, ("a",), {"team": "b"}, True),
        (LabelOperator.NOT_IN, ("a",), {}, True),
        (LabelOperator.NOT_IN, ("a",), {"team": "a"}, False),
        (LabelOperator.EXISTS, (), {"team": ""}, True),
        (LabelOperator.EXISTS, (), {}, False),
        (LabelOperator.DOES_NOT_EXIST, (), {}, True),
        (LabelOperator.DOES_NOT_EXIST, (), {"team": "a"}, False),
    ],
)
def test_labels_are_selected_as_kubernetes_does(
    operator: LabelOperator, values: tuple[str, ...], labels: dict[str, str], holds: bool
) -> None:
    """A label that is missing is not in any list, and so in none that it must not be in."""
    guard = Guard(requirements=(LabelRequirement("team", operator, values),))
    assert bool(_found(make_observation(0, labels=labels), guard=guard)) is holds
