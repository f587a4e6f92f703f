"""The log names the services that the guard holds and no policy governs, once each."""

from __future__ import annotations

from dataclasses import replace

from autocanary import logs
from autocanary.app.ungoverned_services import UngovernedServices
from autocanary.model.guard import Guard
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Selector
from tests.decide.builders import STABLE, make_observation, policy

GUARD = Guard(namespaces=("models",))
AT_REST, WAITING = make_observation(None, created=STABLE), make_observation(0)


class Leader:
    leads = True

    def is_leader(self) -> bool:
        return self.leads


def test_each_service_is_logged_when_it_is_found_and_when_a_revision_waits() -> None:
    """Not with every reload of the policies."""
    guarded = UngovernedServices(GUARD, lambda: True)
    with logs.capture() as log:
        for seen in (AT_REST, AT_REST, WAITING, WAITING):
            guarded.update([seen], [])
        lines = log.named("guarded_without_policy")
    assert [(line["namespace"], line["service"], line["component"], line["waits"]) for line in lines] == [
        ("models", "mnist", "predictor", False),
        ("models", "mnist", "predictor", True),
    ]
    assert lines[0]["message"] == "no policy selects models/mnist"
    assert "spec.predictor.canaryTrafficPercent" in lines[0]["hint"]


def test_a_policy_ends_it_and_without_a_guard_there_is_none() -> None:
    """What is found follows the policies in force."""
    guarded, none = UngovernedServices(GUARD, lambda: True), UngovernedServices(None, lambda: True)
    for each in (guarded, none):
        each.update([WAITING], [])
    assert [each.waits for each in guarded.found()] == [True]
    assert list(none.found()) == []
    guarded.update([WAITING], [policy(selector=Selector(names=("mnist",)))])
    assert list(guarded.found()) == []


def test_the_leader_alone_logs_and_a_new_leader_says_it_again() -> None:
    """With two replicas each service is named once."""
    leader = Leader()
    leader.leads = False
    guarded = UngovernedServices(GUARD, leader.is_leader)
    with logs.capture() as log:
        guarded.update([WAITING], [])
        assert log.named("guarded_without_policy") == []
        leader.leads = True
        guarded.update([WAITING], [])
        assert len(log.named("guarded_without_policy")) == 1


def test_thousands_of_services_do_not_flood_the_log() -> None:
    """The metric counts them all."""
    guarded = UngovernedServices(GUARD, lambda: True)
    services = [replace(WAITING, key=ServiceKey("models", f"s{number}")) for number in range(300)]
    with logs.capture() as log:
        for _ in range(2):
            guarded.update(services, [])
        assert len(log.named("guarded_without_policy")) == 200
    assert len(guarded.found()) == 300
