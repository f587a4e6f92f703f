"""RolloutPolicy objects: documents out, status in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import Busy, NotLeader
from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.rollout_policies import KubePolicies, PolicyStatus
from tests.kube.fake_api import FakeApi, Reply, until
from tests.kube.samples import Leader

VALID = PolicyStatus(1, True, "Valid", "in force", 2, 1)


class PolicyRecorder:
    """Policies with the changes that they reported, and a wall clock that stops until moved."""

    def __init__(self, api: FakeApi, leader: Leader) -> None:
        self.reported: list[tuple[str, str, Mapping[str, Any] | None]] = []
        self.now = 1_700_000_000.0
        self.policies = KubePolicies(
            api.client(),
            leader,
            lambda namespace, name, document: self.reported.append((namespace, name, document)),
            timing=WatchTiming(retry_not_served=0.01),
            now=lambda: self.now,
        )


@pytest.fixture
def read(api: FakeApi) -> Iterator[Callable[..., PolicyRecorder]]:
    made: list[PolicyRecorder] = []

    def start(leader: Leader | None = None) -> PolicyRecorder:
        made.append(PolicyRecorder(api, leader or Leader()))
        made[-1].policies.start()
        assert made[-1].policies.wait(5)
        return made[-1]

    yield start
    for each in made:
        each.policies.stop()


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": "prod", "namespace": "ml", "managedFields": [{"manager": "kubectl"}]},
        "spec": spec,
    }


def condition(api: FakeApi) -> dict[str, Any]:
    held: dict[str, Any] = api.objects["rolloutpolicies", "ml", "prod"]["status"]["conditions"][0]
    return held


def test_documents_come_as_they_are(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """Unknown fields included: it is for the loader to name them."""
    api.put("rolloutpolicies", policy(stepWeights=[10], stpDuration="5m"))
    reader = read()
    until(lambda: reader.reported)
    namespace, name, document = reader.reported[0]
    assert (namespace, name) == ("ml", "prod")
    assert document is not None
    assert document["spec"] == {"stepWeights": [10], "stpDuration": "5m"}
    assert "managedFields" not in document["metadata"]
    assert list(reader.policies.documents()) == [document]


def test_reports_a_change_and_an_end(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """Edited, then deleted."""
    api.put("rolloutpolicies", policy(bake="1m"))
    reader = read()
    api.put("rolloutpolicies", policy(bake="2m"))
    until(lambda: len(reader.reported) == 2)
    api.drop("rolloutpolicies", "ml", "prod")
    until(lambda: len(reader.reported) == 3)
    documents = [document for _, _, document in reader.reported]
    assert [document and document["spec"]["bake"] for document in documents] == ["1m", "2m", None]


def test_a_status_is_written_once(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """The service says the same on every tick; the API server receives it once, and no other component does."""
    api.put("rolloutpolicies", policy())
    reader = read()
    assert reader.policies.write_status("ml", "prod", VALID)
    assert not reader.policies.write_status("ml", "prod", VALID)
    assert len(api.made("PATCH", "/rolloutpolicies/prod/status")) == 1
    assert api.objects["rolloutpolicies", "ml", "prod"]["status"] == {
        "observedGeneration": 1,
        "matchedServices": 2,
        "activeRollouts": 1,
        "conditions": [
            {
                "type": "Valid",
                "status": "True",
                "reason": "Valid",
                "message": "in force",
                "observedGeneration": 1,
                "lastTransitionTime": "2023-11-14T22:13:20Z",
            }
        ],
    }
    api.put("rolloutpolicies", {**policy(), "metadata": {"name": "other", "namespace": "ml"}})
    until(lambda: len(reader.reported) == 2)
    assert [name for _, name, _ in reader.reported] == ["prod", "other"]


def test_the_transition_time_moves_with_the_verdict_alone(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """As `kubectl wait` and alerting rules expect of a condition."""
    api.put("rolloutpolicies", policy())
    reader = read()
    reader.policies.write_status("ml", "prod", VALID)
    reader.now += 100
    reader.policies.write_status("ml", "prod", replace(VALID, matched_services=3, message="still"))
    assert (condition(api)["lastTransitionTime"], condition(api)["message"]) == (
        "2023-11-14T22:13:20Z",
        "still",
    )
    reader.policies.write_status("ml", "prod", replace(VALID, valid=False, reason="PolicyInvalid"))
    assert (condition(api)["lastTransitionTime"], condition(api)["status"]) == (
        "2023-11-14T22:15:00Z",
        "False",
    )


def test_a_policy_that_is_gone_gets_no_status(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """It was deleted while it was being judged."""
    assert not read().policies.write_status("ml", "prod", VALID)
    assert api.made("PATCH") == []


def test_without_leadership_nothing_is_written(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """Replicas would otherwise write in turn."""
    api.put("rolloutpolicies", policy())
    with pytest.raises(NotLeader, match="ml/prod"):
        read(Leader(False)).policies.write_status("ml", "prod", VALID)


def test_a_status_that_was_refused_is_tried_again(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """Only what the server has answered counts as reported."""
    api.put("rolloutpolicies", policy())
    reader = read()
    api.reply("PATCH", "/status", Reply(503))
    with pytest.raises(Busy):
        reader.policies.write_status("ml", "prod", VALID)
    assert reader.policies.write_status("ml", "prod", VALID)


def test_missing_definitions_are_a_fault(api: FakeApi, read: Callable[..., PolicyRecorder]) -> None:
    """An installation with policies in files does not need them; the error says how to install them."""
    api.unserved.add("rolloutpolicies")
    fault = read().policies.fault
    assert isinstance(fault, ResourceNotServed)
    assert "autocanary crds" in str(fault)
