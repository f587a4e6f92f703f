"""Policies from files and custom resources at one desk, and the answers in their statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary import logs
from autocanary.app.policy_status import PolicyDesk
from autocanary.kube.list_watch import Pace
from autocanary.kube.rollout_policies import KubePolicies
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.rollout import Rollout
from autocanary.policy_files import PolicyBook
from tests.decide.build import observation, rollout
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
    return replace(observation(), key=ServiceKey(namespace, name))


def running(policy: str, namespace: str = "models") -> Rollout:
    return rollout(policy_name=policy, namespace=namespace)


class Office:
    """A desk with its book, and the custom resources of the API server in memory."""

    def __init__(self, api: FakeApi, leader: Leader, paths: tuple[Path, ...] = ()) -> None:
        self.api, self.book = api, PolicyBook(paths)
        self.desk = PolicyDesk(self.book)
        self.taken: dict[tuple[str, str], Any] = {}
        self.resources = KubePolicies(api.session(), leader, self._heard, pace=Pace(missing=0.01))

    def _heard(self, namespace: str, name: str, written: Mapping[str, Any] | None) -> None:
        self.desk.heard(namespace, name, written)
        self.taken[namespace, name] = written["spec"] if written is not None else None

    def answer(self, *services: Observation, running: tuple[Rollout, ...] = ()) -> None:
        self.desk.answer(self.resources, services, running)

    def put(self, written: dict[str, Any]) -> None:
        """Somebody applies it, and the watch has brought it."""
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
def open_office(api: FakeApi) -> Iterator[Callable[..., Office]]:
    made: list[Office] = []

    def start(*paths: Path, leader: Leader | None = None) -> Office:
        office = Office(api, leader or Leader(), paths)
        made.append(office)
        office.resources.start()
        assert office.resources.wait(5)
        return office

    yield start
    for each in made:
        each.resources.stop()


def test_a_valid_resource_is_in_force_and_told_so(open_office: Callable[..., Office]) -> None:
    """With the generation it was judged at, how many services it governs and how many rollouts run."""
    office = open_office()
    office.put(document(stepWeights=[5, 100]))
    office.put(document())
    office.answer(service("mnist"), service("fraud"), running=(running("prod"), running("prod", "elsewhere")))
    assert [policy.name for policy in office.book.current()] == ["prod"]
    condition = office.condition()
    assert (condition["status"], condition["reason"]) == ("True", "Valid")
    assert condition["message"] == "selects 1 services"
    assert office.status()["observedGeneration"] == office.generation()
    assert (office.status()["matchedServices"], office.status()["activeRollouts"]) == (1, 1)


def test_an_invalid_resource_is_told_every_fault(
    open_office: Callable[..., Office], captured: logs.Captured
) -> None:
    """Not in force; the condition has the faults, and the log has each of them."""
    office = open_office()
    office.put(document(stepWeights=[50, 10], stepDuration="5"))
    office.answer(service("mnist"))
    assert office.book.current() == ()
    condition = office.condition()
    assert (condition["status"], condition["reason"]) == ("False", "PolicyInvalid")
    assert "stepWeights" in condition["message"]
    assert "stepDuration" in condition["message"]
    assert len(captured.named("policy_invalid")) >= 2
    assert office.status()["matchedServices"] == 0


def test_a_resource_that_becomes_invalid_stays_in_force_as_it_was(open_office: Callable[..., Office]) -> None:
    """The last valid version governs on, the condition says what is wrong with the new one."""
    office = open_office()
    office.put(document())
    office.put(document(stepWeights=[0]))
    office.answer(service("mnist"))
    (policy,) = office.book.current()
    assert [step.weight for step in policy.steps] == [10, 100]
    assert office.condition()["status"] == "False"
    office.put(document(stepWeights=[20, 100]))
    office.answer(service("mnist"))
    assert office.condition()["status"] == "True"
    assert office.status()["observedGeneration"] == office.generation() > 1


def test_a_resource_that_is_deleted_is_forgotten(open_office: Callable[..., Office]) -> None:
    """It governs nothing any more, and nobody is answered."""
    office = open_office()
    office.put(document())
    office.api.drop("rolloutpolicies", "models", "prod")
    until(lambda: not office.book.current())
    office.answer(service("mnist"))
    assert office.api.made("PATCH") == []


def test_a_warning_is_said_and_does_no_harm(
    open_office: Callable[..., Office], captured: logs.Captured
) -> None:
    """The policy is valid, the message has the warning, and it is logged as one."""
    office = open_office()
    metrics = [{"name": "drift", "query": "sum(drift)", "thresholdRange": {"max": 0}}]
    office.put(document(analysis={"metrics": metrics}))
    warnings = captured.named("policy_invalid")
    office.answer(service("mnist"))
    assert office.condition()["status"] == "True"
    assert [policy.name for policy in office.book.current()] == ["prod"]
    assert all("warning" in each["problem"] for each in warnings)


def test_the_same_answer_is_written_once(open_office: Callable[..., Office]) -> None:
    """Every five seconds the desk looks; only what has changed costs a request."""
    office = open_office()
    office.put(document())
    for _ in range(3):
        office.answer(service("mnist"))
    assert len(office.api.made("PATCH")) == 1
    office.answer(service("mnist"), running=(running("prod"),))
    assert len(office.api.made("PATCH")) == 2


def test_one_answer_that_cannot_be_written_does_not_end_the_others(
    open_office: Callable[..., Office], captured: logs.Captured
) -> None:
    """The API server refuses the first; the second is written, and the first is tried again."""
    office = open_office()
    office.put(document("alpha"))
    office.put(document("beta", selector={"names": ["fraud"]}))
    office.api.reply("PATCH", "alpha", Reply(500, b"{}"))
    office.answer(service("mnist"))
    assert office.condition("beta")["status"] == "True"
    assert office.status("alpha") == {}
    assert captured.named("policy_status_not_written")[0]["policy"] == "alpha"
    office.answer(service("mnist"))
    assert office.condition("alpha")["status"] == "True"


def test_without_leadership_nothing_is_answered(
    open_office: Callable[..., Office], captured: logs.Captured
) -> None:
    """Said in the log, raised to nobody."""
    office = open_office(leader=Leader(False))
    office.put(document())
    office.answer(service("mnist"))
    assert office.api.made("PATCH") == []
    assert "not the leader" in captured.named("policy_status_not_written")[0]["error"]


def test_a_tie_is_counted_for_neither(open_office: Callable[..., Office]) -> None:
    """Two policies of one place are equally specific: the service is governed by none."""
    office = open_office()
    office.put(document("one"))
    office.put(document("two"))
    office.answer(service("mnist"))
    assert office.status("one")["matchedServices"] == 0
    assert office.status("two")["matchedServices"] == 0


def test_a_resource_whose_name_a_file_has_already_is_told_so(
    open_office: Callable[..., Office], tmp_path: Path
) -> None:
    """The file's stays in force; the author of the resource must not read that theirs is."""
    file = tmp_path / "prod.yaml"
    file.write_text(yaml.safe_dump(document(stepWeights=[50, 100])))
    office = open_office(file)
    office.desk.reload()
    office.put(document())
    office.answer(service("mnist"))
    (policy,) = office.book.current()
    assert policy.steps[0].weight == 50
    assert office.condition()["status"] == "False"
    assert "already used by" in office.condition()["message"]


def test_files_are_read_again_and_what_is_different_is_logged(
    tmp_path: Path, captured: logs.Captured
) -> None:
    """Added, changed, invalid, repaired, removed: each said once."""
    file = tmp_path / "prod.yaml"
    desk = PolicyDesk(book := PolicyBook([tmp_path]))
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
