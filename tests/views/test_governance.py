"""Who governs what: policies, ties, invalid ones, services without a policy, and windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timezone

from autocanary.model.observation import DeploymentMode, ServiceKey
from autocanary.model.policy import Selector
from autocanary.model.rollout_windows import Window
from autocanary.views import govern_services
from tests.decide.builders import NOW, make_observation, policy

MNIST = make_observation()
IRIS = replace(MNIST, key=ServiceKey("models", "iris"))
OTHER = replace(MNIST, key=ServiceKey("other", "fraud"))


def test_each_service_has_the_most_specific_policy() -> None:
    """A name beats none; a service that none selects is said to be untouched."""
    wide = policy(name="wide", selector=Selector(namespaces=("models",)), origin="policies/wide.yaml")
    exact = policy(name="exact", selector=Selector(names=("mnist",)))
    found = govern_services([OTHER, IRIS, MNIST], [wide, exact], {}, NOW)
    assert [(each.service, each.policy, each.problem) for each in found.services] == [
        ("iris", "wide", ""),
        ("mnist", "exact", ""),
        ("fraud", "", "no policy selects it: autocanary does not touch it"),
    ]
    assert [(each.name, each.services) for each in found.policies] == [("exact", 1), ("wide", 1)]


def test_a_tie_governs_nothing_and_names_both() -> None:
    """And says what to change."""
    one, two = (policy(name=name, selector=Selector(names=("mnist",))) for name in ("a", "b"))
    (row,) = govern_services([MNIST], [one, two], {}, NOW).services
    assert (row.policy, row.tied) == ("", ("a", "b"))
    assert "make one selector more specific" in row.problem


def test_an_invalid_policy_is_listed_whether_or_not_an_older_version_governs() -> None:
    """Its problems are those of the newest version."""
    found = govern_services(
        [MNIST],
        [policy(name="kept", namespace="models")],
        {
            "models/kept": ["steps: unknown field"],
            "models/new": ["metrics: required"],
            "/etc/policies/x.yaml": ["not YAML"],
        },
        NOW,
    )
    rows = {row.name: row for row in found.policies}
    assert (rows["kept"].valid, rows["kept"].in_force, rows["kept"].services) == (False, True, 1)
    assert (rows["new"].valid, rows["new"].in_force, rows["new"].namespace) == (False, False, "models")
    assert rows["/etc/policies/x.yaml"].problems == ("not YAML",)


def test_a_closed_window_says_when_it_opens() -> None:
    """NOW is a Friday, 08:00 UTC."""
    window = Window((4,), time(9), time(17), timezone.utc)
    (row,) = govern_services([MNIST], [policy(windows=(window,))], {}, NOW).policies
    assert (row.window_open, row.next_window) == (False, NOW + 3600)
    (row,) = govern_services([MNIST], [policy(windows=(window,))], {}, NOW + 3600).policies
    assert (row.window_open, row.next_window) == (True, None)


def test_a_service_that_cannot_be_rolled_out_says_why() -> None:
    """A policy selects it, and KServe makes no revisions of it."""
    standard = replace(MNIST, mode=DeploymentMode.STANDARD)
    (row,) = govern_services([standard], [policy()], {}, NOW).services
    assert row.policy == "prod"
    assert "Standard (RawDeployment) mode" in row.problem
