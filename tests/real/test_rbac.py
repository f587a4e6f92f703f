"""The rights of ``autocanary.kube.rbac``, held against the audit log: every one is used, and none is missing.

One process does everything that autocanary can do: whole rollouts of both API generations with conflicts on
the way, a policy as a custom resource, history that is pruned, Events, and a lease that it takes from another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.kube.rbac import rbac_rules
from tests.matrices.api_faults import FAULTS
from tests.real.installation import PERSON, SERVICE_ACCOUNT, Installation
from tests.real.kfserving_service import KFServingService
from tests.real.manifests import Document
from tests.real.run_command import autocanary
from tests.real.tested_service import NAME, ROLLOUT, ServiceUnderTest
from tests.testbed.servers import FaultProxy, ReceivedRequest, RespondInstead
from tests.testbed.servers.apiserver import ApiServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

KFSERVING = True
OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
Permission = tuple[str, str, str]


def granted(listed: Iterable[Mapping[str, Any]]) -> set[Permission]:
    return {
        (group, resource, verb)
        for rule in listed
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(api: ApiServer, user: str) -> tuple[set[Permission], list[str]]:
    """What a user was allowed, as (group, resource, verb), and what it was refused because it lacks a right."""
    allowed: set[Permission] = set()
    refused = []
    for event in api.audit(user):
        where = event.get("objectRef") or {}
        resource = "/".join(filter(None, (where.get("resource"), where.get("subresource"))))
        if (event.get("annotations") or {}).get("authorization.k8s.io/decision") == "allow":
            allowed.add((where.get("apiGroup", ""), resource, event["verb"]))
        else:
            refused.append(f"{event['verb']} {event['requestURI']}")
    return allowed, refused


def conflict(proxy: FaultProxy, method: str, part: str) -> None:
    """The next such request meets a conflict, after which the object is read again."""
    fault = FAULTS[0]
    assert fault.status == 409

    def matches(received: ReceivedRequest) -> bool:
        return received.method == method and part in received.path

    headers = {"Content-Type": "application/json"}
    proxy.inject(RespondInstead(409, fault.body(NAME), headers), matches, skip=1 if method == "PUT" else 0, times=1)


def as_a_resource(place: ServiceUnderTest) -> None:
    """The policy as an object in the namespace, instead of the file."""
    file = place.installation.policies / f"{place.namespace}.yaml"
    document = yaml.safe_load(file.read_text())
    file.unlink()
    document["metadata"]["namespace"] = place.namespace
    document["spec"].pop("selector")
    place.installation.api.apply({**document, "spec": {**document["spec"], "selector": {}}})


def test_rbac_rules_are_all_used_and_sufficient(installation: Installation) -> None:
    """Exactly the list: a right that nothing uses would be one too many, a refusal one too few."""
    place = ServiceUnderTest(installation, "rights")
    as_a_resource(place)
    place.serve()
    installation.namespace("rights-sided")
    sided = KFServingService(installation, "rights-sided")
    ServiceUnderTest(installation, "rights-sided")  # its policy file
    sided.serving()
    place.serving()
    spaces = ("--namespace", "rights", "--namespace", "rights-sided")
    before = installation.run(*spaces)
    place.until(lambda: before.events("leading"), "the first instance to lead")
    with FaultProxy(installation.api.url, ca=installation.api.ca) as proxy:
        conflict(proxy, "PATCH", "/serving.kserve.io/")
        conflict(proxy, "PATCH", "/serving.kubeflow.org/")
        conflict(proxy, "PUT", "/canaryrollouts/")
        instance = installation.run(*spaces, server=proxy.url, environment={"AUTOCANARY_HISTORY_LIMIT": "1"})
        before.terminate()
        place.until(lambda: instance.events("leading"), "the second instance to lead")
        place.release()
        sided.canary("pvc://models/other/")
        place.finish()
        assert place.ended == ("Promoted", "Promoted"), place.story()
        installation.traffic.quality_of = lambda _, revision: 0.5 if revision.endswith("-00003") else 0.0
        place.write(
            "inferenceservices",
            NAME,
            {"spec": {"predictor": {"canaryTrafficPercent": 0, "model": {"storageUri": "gs://models/mnist/v3"}}}},
        )
        place.until(lambda: (place.read("canaryrollouts", f"{NAME}-00003") or {}).get("status"), "the next one")
        place.until(lambda: place.read("canaryrollouts", ROLLOUT) is None, "the older record to be pruned")
        assert sided.ended()["status"]["phase"] == "Promoted"
        wanted = granted(rbac_rules())
        place.until(lambda: wanted <= used(installation.api, SERVICE_ACCOUNT)[0], "every right to be used", 30)
    allowed, refused = used(installation.api, SERVICE_ACCOUNT)
    assert (allowed, refused) == (wanted, [])
    last = place.read("canaryrollouts", f"{NAME}-00003")
    assert last is not None
    assert last["status"]["phase"] == "RolledBack"


def documented() -> list[Document]:
    """The rights of users, as the page about operations prints them."""
    text = OPERATIONS.read_text().partition("Users need get and list")[2]
    block = text.partition("```yaml\n")[2].partition("```")[0]
    found: list[Document] = yaml.safe_load(block)["rules"]
    return found


def test_documented_user_rbac_is_sufficient(installation: Installation) -> None:
    """Every verb of the command line, by a user with exactly those rights."""
    place = ServiceUnderTest(installation, "users", stepDuration="30m")
    place.serve()
    place.serving()
    installation.api.grant(PERSON, documented(), name="users")
    installation.run("--namespace", "users", "--no-leader-election")
    kubeconfig = str(installation.api.kubeconfig(PERSON))
    where = ("-n", "users", "--kubeconfig", kubeconfig)

    def ask(*words: str) -> str:
        said = autocanary(*words, *where, home=installation.folder, seconds=180)
        assert said.code in (0, 1), said
        return said.out + said.err

    def until(so: Callable[[], bool], what: str) -> None:
        place.until(so, what, 60)

    place.release()
    place.until_weight(10)
    assert "mnist" in ask("status")
    assert "Why not now" in ask("explain", NAME)
    assert "Progressing" in ask("history", NAME)
    assert NAME in ask("policies")
    ask("pause", NAME)
    until(lambda: place.phase == "Paused", "the pause")
    ask("resume", NAME)
    until(lambda: place.phase != "Paused", "the end of the pause")
    ask("promote", NAME)
    until(lambda: place.status().get("weight") == 50, "the next step")
    ask("abort", NAME)
    until(lambda: place.phase == "RolledBack", "the rollback")
    ask("retry", NAME)
    until(lambda: place.read("canaryrollouts", f"{ROLLOUT}-r2") is not None, "the second attempt")
    ask("status", "--timeout", "1s", NAME)
    allowed, refused = used(installation.api, PERSON)
    assert refused == [], json.dumps(refused)
    review = ("authentication.k8s.io", "selfsubjectreviews", "create")  # Kubernetes grants it to every user
    assert review in allowed
    assert allowed - {review} <= granted(documented())
    assert {("autocanary.dev", "canaryrollouts", verb) for verb in ("get", "list", "patch")} <= allowed
