"""Policies from files and custom resources at one desk, and the answers in their statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary import logs
from autocanary.app.policy_status import PolicyStatusWriter
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.rollout_policies import KubePolicies
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.rollout import Rollout
from autocanary.policy_files import ActivePolicies
from tests.decide.builders import make_observation, rollout
from tests.kube.fake_api import FakeApi, Reply, until
from tests.kube.samples import Leader

SPEC: dict[str, Any] = {
    "selector": {"names": ["mnist"]},
    "stepWeights": [10, 100],
    "stepDuration": "1m",
    "analysis": {"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]},
}


def document(name: str = "prod", namespace: str = "models", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**SPEC, **spec},
    }


def service(name: str, namespace: str = "models") -> Observation:
    return replace(make_observation(), key=ServiceKey(namespace, name))


def running(policy: str, namespace: str = "models") -> Rollout:
    return rollout(policy_name=policy, namespace=namespace)


class PolicyStatusSetup:
    """A desk with its book, and the custom resources of the API server in memory."""

    def __init__(self, api: FakeApi, leader: Leader, paths: tuple[Path, ...] = ()) -> None:
        self.api, self.book = api, ActivePolicies(paths)
        self.desk = PolicyStatusWriter(self.book)
        self.taken: dict[tuple[str, str], Any] = {}
        self.resources = KubePolicies(api.client(), leader, self._heard, timing=WatchTiming(retry_not_served=0.01))

    def _heard(self, namespace: str, name: str, written: Mapping[str, Any] | None) -> None:
        self.desk.on_event(namespace, name, written)
        self.taken[namespace, name] = written["spec"] if written is not None else None

    def write_statuses(self, *services: Observation, running: tuple[Rollout, ...] = ()) -> None:
        self.desk.write_statuses(self.resources, services, running)

    def put(self, written: dict[str, Any]) -> None:
        """A user applies it, and the watch has brought it."""
        self.api.put("rolloutpolicies", written)
        name = (written["metadata"]["namespace"], written["metadata"]["name"])
        until(lambda: self.taken.get(name) == written["spec"])

    def status(self, name: str = "prod", namespace: str = "models") -> dict[str, Any]:
        status: dict[str, Any] = self.api.objects["rolloutpolicies", namespace, name].get("status") or {}
        return status

    def generation(self, name: str = "prod") -> int:
        return int(self.api.objects["rolloutpolicies", "models", name]["metadata"]["generation"])

    def condition(self, name: str = "prod") -> dict[str, Any]:
        (condition,) = self.status(name)["conditions"]
        return dict(condition)


@pytest.fixture
def make_setup(api: FakeApi) -> Iterator[Callable[..., PolicyStatusSetup]]:
    made: list[PolicyStatusSetup] = []

    def start(*paths: Path, leader: Leader | None = None) -> PolicyStatusSetup:
        setup = PolicyStatusSetup(api, leader or Leader(), paths)
        made.append(setup)
        setup.resources.start()
        assert setup.resources.wait(5)
        return setup

    yield start
    for each in made:
        each.resources.stop()


def test_valid_policy_is_active_and_its_status_says_so(make_setup: Callable[..., PolicyStatusSetup]) -> None:
    """With the generation it was judged at, how many services it governs and how many rollouts run."""
    setup = make_setup()
    setup.put(document(stepWeights=[5, 100]))
    setup.put(document())
    setup.write_statuses(service("mnist"), service("fraud"), running=(running("prod"), running("prod", "elsewhere")))
    assert [policy.name for policy in setup.book.current()] == ["prod"]
    condition = setup.condition()
    assert (condition["status"], condition["reason"]) == ("True", "Valid")
    assert condition["message"] == "selects 1 services"
    assert setup.status()["observedGeneration"] == setup.generation()
    assert (setup.status()["matchedServices"], setup.status()["activeRollouts"]) == (1, 1)


def test_status_of_an_invalid_policy_lists_every_error(
    make_setup: Callable[..., PolicyStatusSetup], captured: logs.CapturedLogs
) -> None:
    """Not in force; the condition has the faults, and the log has each of them."""
    setup = make_setup()
    setup.put(document(stepWeights=[50, 10], stepDuration="5"))
    setup.write_statuses(service("mnist"))
    assert setup.book.current() == ()
    condition = setup.condition()
    assert (condition["status"], condition["reason"]) == ("False", "PolicyInvalid")
    assert "stepWeights" in condition["message"]
    assert "stepDuration" in condition["message"]
    assert len(captured.named("policy_invalid")) >= 2
    assert setup.status()["matchedServices"] == 0


def test_a_resource_that_becomes_invalid_stays_in_force_as_it_was(
    make_setup: Callable[..., PolicyStatusSetup],
) -> None:
    """The last valid version governs on, the condition says what is wrong with the new one."""
    setup = make_setup()
    setup.put(document())
    setup.put(document(stepWeights=[0]))
    setup.write_statuses(service("mnist"))
    (policy,) = setup.book.current()
    assert [step.weight for step in policy.steps] == [10, 100]
    assert setup.condition()["status"] == "False"
    setup.put(document(stepWeights=[20, 100]))
    setup.write_statuses(service("mnist"))
    assert setup.condition()["status"] == "True"
    assert setup.status()["observedGeneration"] == setup.generation() > 1


def test_a_resource_that_is_deleted_is_forgotten(make_setup: Callable[..., PolicyStatusSetup]) -> None:
    """It governs nothing any more, and no status is written."""
    setup = make_setup()
    setup.put(document())
    setup.api.drop("rolloutpolicies", "models", "prod")
    until(lambda: not setup.book.current())
    setup.write_statuses(service("mnist"))
    assert setup.api.made("PATCH") == []


def test_a_warning_is_said_and_does_no_harm(
    make_setup: Callable[..., PolicyStatusSetup], captured: logs.CapturedLogs
) -> None:
    """The policy is valid, the message has the warning, and it is logged as one."""
    setup = make_setup()
    metrics = [{"name": "drift", "query": "sum(drift)", "thresholdRange": {"max": 0}}]
    setup.put(document(analysis={"metrics": metrics}))
    warnings = captured.named("policy_invalid")
    setup.write_statuses(service("mnist"))
    assert setup.condition()["status"] == "True"
    assert [policy.name for policy in setup.book.current()] == ["prod"]
    assert all("warning" in each["problem"] for each in warnings)


def test_unchanged_status_is_written_once(make_setup: Callable[..., PolicyStatusSetup]) -> None:
    """Every five seconds the desk looks; only what has changed costs a request."""
    setup = make_setup()
    setup.put(document())
    for _ in range(3):
        setup.write_statuses(service("mnist"))
    assert len(setup.api.made("PATCH")) == 1
    setup.write_statuses(service("mnist"), running=(running("prod"),))
    assert len(setup.api.made("PATCH")) == 2


def test_one_answer_that_cannot_be_written_does_not_end_the_others(
    make_setup: Callable[..., PolicyStatusSetup], captured: logs.CapturedLogs
) -> None:
    """The API server refuses the first; the second is written, and the first is tried again."""
    setup = make_setup()
    setup.put(document("alpha"))
    setup.put(document("beta", selector={"names": ["fraud"]}))
    setup.api.reply("PATCH", "alpha", Reply(500, b"{}"))
    setup.write_statuses(service("mnist"))
    assert setup.condition("beta")["status"] == "True"
    assert setup.status("alpha") == {}
    assert captured.named("policy_status_not_written")[0]["policy"] == "alpha"
    setup.write_statuses(service("mnist"))
    assert setup.condition("alpha")["status"] == "True"


def test_writes_no_status_without_leadership(
    make_setup: Callable[..., PolicyStatusSetup], captured: logs.CapturedLogs
) -> None:
    """It is logged and not raised."""
    setup = make_setup(leader=Leader(False))
    setup.put(document())
    setup.write_statuses(service("mnist"))
    assert setup.api.made("PATCH") == []
    assert "not the leader" in captured.named("policy_status_not_written")[0]["error"]


def test_tied_policies_match_no_service(make_setup: Callable[..., PolicyStatusSetup]) -> None:
    """Two policies of one place are equally specific: the service is governed by none."""
    setup = make_setup()
    setup.put(document("one"))
    setup.put(document("two"))
    setup.write_statuses(service("mnist"))
    assert setup.status("one")["matchedServices"] == 0
    assert setup.status("two")["matchedServices"] == 0


def test_a_resource_whose_name_a_file_has_already_gets_a_status(
    make_setup: Callable[..., PolicyStatusSetup], tmp_path: Path
) -> None:
    """The file's stays in force; the author of the resource must not read that theirs is."""
    file = tmp_path / "prod.yaml"
    file.write_text(yaml.safe_dump(document(stepWeights=[50, 100])))
    setup = make_setup(file)
    setup.desk.reload()
    setup.put(document())
    setup.write_statuses(service("mnist"))
    (policy,) = setup.book.current()
    assert policy.steps[0].weight == 50
    assert setup.condition()["status"] == "False"
    assert "already used by" in setup.condition()["message"]


def test_files_are_read_again_and_what_is_different_is_logged(tmp_path: Path, captured: logs.CapturedLogs) -> None:
    """Added, changed, invalid, repaired, removed: each said once."""
    file = tmp_path / "prod.yaml"
    desk = PolicyStatusWriter(book := ActivePolicies([tmp_path]))
    written = document()
    file.write_text(yaml.safe_dump(written))
    desk.reload()
    desk.reload()
    assert [each["policy"] for each in captured.named("policy_added")] == ["models/prod"]
    file.write_text(yaml.safe_dump({**written, "spec": {**written["spec"], "stepWeights": [30, 100]}}))
    desk.reload()
    assert [each["policy"] for each in captured.named("policy_changed")] == ["models/prod"]
    file.write_text(yaml.safe_dump({**written, "spec": {**written["spec"], "stepWeights": []}}))
    desk.reload()
    desk.reload()
    (invalid,) = captured.named("policy_invalid")
    assert "prod.yaml" in invalid["problem"]
    assert [policy.steps[0].weight for policy in book.current()] == [30]
    file.unlink()
    desk.reload()
    assert [each["policy"] for each in captured.named("policy_removed")] == ["models/prod"]
    assert book.current() == ()
