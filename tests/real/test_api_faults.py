"""The API server's faults at the calls of a real ``autocanary run``, through a proxy in front of the real server.

Every cell of the table is a rollout in a namespace of its own, all of one process and at the same time; what
strikes lists and watches has a process of its own. The server is killed last, when everything else is done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import count

import pytest

from tests.matrices.api_faults import CALLS, FAULTS, ApiFault
from tests.real.installation import INSTANCES, SERVICE_ACCOUNT, Autocanary, Installation
from tests.real.manifests import Document
from tests.real.tested_service import NAME, ROLLOUT, SECOND, ServiceUnderTest, places, recording_traffic_splits
from tests.testbed.servers import (
    Delay,
    DropResponse,
    FaultProxy,
    Hang,
    InjectedFault,
    ReceivedRequest,
    RespondInstead,
    wait_until,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

KINDS = [*(call.real for call in CALLS if call.real), "event"]
CELLS = [(fault, kind) for fault in FAULTS for kind in KINDS]
NOT_NOTIFIED = ("409", "404", "webhook refuses")
"""409 says that an Event is there already; one that can never be written is given up, and logged."""
FAR = ("half-open", "gone", "slow-list")
GUARDED = "guarded"
TIMES = 2

_PATHS: Mapping[str, tuple[str, str]] = {
    "patch": ("PATCH", "/inferenceservices/"),
    "create": ("POST", "/canaryrollouts"),
    "status": ("PUT", "/status"),
    "event": ("POST", "/events"),
}


def of(namespace: str, kind: str) -> Callable[[ReceivedRequest], bool]:
    """The requests of one kind about one namespace."""
    method, part = _PATHS[kind]

    def matches(received: ReceivedRequest) -> bool:
        path = received.path.partition("?")[0]
        return received.method == method and f"/namespaces/{namespace}/" in path and part in path

    return matches


def space(fault: ApiFault, kind: str) -> str:
    """The namespace of a cell."""
    return f"{kind}-{FAULTS.index(fault)}"


def inject(proxy: FaultProxy, fault: ApiFault, kind: str) -> InjectedFault:
    """From the second time on where there is one, so that the rollout is under way."""
    when = of(space(fault, kind), kind)
    skip = 0 if kind == "create" else 1
    if fault.status == 0:
        return proxy.inject(DropResponse(), when, skip=skip, times=TIMES)
    headers = {"Content-Type": "application/json", **fault.headers}
    body = fault.body(NAME, create=kind in ("create", "event"))
    return proxy.inject(RespondInstead(fault.status, body, headers), when, skip=skip, times=TIMES)


def _lists(plural: str) -> Callable[[ReceivedRequest], bool]:
    def matches(received: ReceivedRequest) -> bool:
        path, _, query = received.path.partition("?")
        first = query == "limit=1"  # at the start, where an answer in time is insisted on
        return received.method == "GET" and path.endswith(f"/{plural}") and not ("watch=" in query or first)

    return matches


def _watches(plural: str) -> Callable[[ReceivedRequest], bool]:
    return lambda received: f"/{plural}?" in received.path and "watch=true" in received.path


GONE: Document = {
    "kind": "Status",
    "status": "Failure",
    "reason": "Expired",
    "code": 410,
    "message": "too old resource version: 1 (2)",
}


def far_faults(name: str, proxy: FaultProxy) -> list[InjectedFault]:
    """What strikes lists and watches, without what may come too late for the rollout."""
    kinds = ("inferenceservices", "canaryrollouts", "rolloutpolicies")
    json_ = {"Content-Type": "application/json"}
    if name == "half-open":
        return [proxy.inject(Hang(), _watches(plural), times=1) for plural in kinds]
    if name == "gone":
        event = json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n"
        for plural in kinds:
            proxy.inject(RespondInstead(200, event, json_), _watches(plural), skip=1, times=2)
        refusal = RespondInstead(410, json.dumps(GONE).encode(), json_)
        return [proxy.inject(refusal, _watches(plural), times=2) for plural in kinds]
    for plural in kinds:
        proxy.inject(Delay(3.0), _lists(plural))
    return [proxy.inject(Delay(13.0), _lists(plural), times=1) for plural in kinds]  # longer than we wait


@pytest.fixture(scope="module")
def ground(installation: Installation) -> Iterator[dict[str, ServiceUnderTest]]:
    """All services, serving, and what is routed noted."""
    found = places(installation, *(space(*cell) for cell in CELLS), *FAR, GUARDED, "restart")
    with recording_traffic_splits(*found.values()):
        yield found


@pytest.fixture(scope="module")
def injected() -> dict[str, list[InjectedFault]]:
    """The faults by namespace: a cell that they never struck would prove nothing."""
    return {}


@pytest.fixture(scope="module")
def instances(
    installation: Installation, ground: dict[str, ServiceUnderTest], injected: dict[str, list[InjectedFault]]
) -> Iterator[dict[str, Future[Autocanary]]]:
    """Everything but the end of the server, under way."""
    with ExitStack() as stack, ThreadPoolExecutor(8, "fault") as pool:

        def follow(*spaces: str, arm: Callable[[FaultProxy], None], **more: Mapping[str, str]) -> Autocanary:
            proxy = stack.enter_context(FaultProxy(installation.api.url, ca=installation.api.ca))
            arm(proxy)
            flags = [flag for each in spaces for flag in ("--namespace", each)]
            instance = Autocanary(installation, *flags, server=proxy.url, **more)  # type: ignore[arg-type]
            stack.callback(instance.stop)
            instance.start()
            wait_until(instance.is_ready, seconds=180, what=f"autocanary over {spaces[0]} to be ready")
            for each in spaces:
                ground[each].release()
            for each in spaces:
                ground[each].finish()
            return instance

        def cells(proxy: FaultProxy) -> None:
            for cell in CELLS:
                injected[space(*cell)] = [inject(proxy, *cell)]
            lease = count()
            faults: list[RespondInstead | DropResponse] = [
                RespondInstead(fault.status, fault.body("cells"), {"Content-Type": "application/json"})
                for fault in FAULTS
                if fault.status in (429, 500, 503)
            ]
            for fault in (*faults, DropResponse()):
                proxy.inject(fault, lambda received: "/leases" in received.path, skip=3 * next(lease), times=1)

        spaces = [space(*cell) for cell in CELLS]
        environment = {"AUTOCANARY_LEASE_NAME": "cells"}
        jobs = {"cells": pool.submit(lambda: follow(*spaces, arm=cells, environment=environment))}
        for name in FAR:
            jobs[name] = pool.submit(
                lambda name=name: follow(  # type: ignore[misc]
                    name,
                    arm=lambda proxy: injected.update({name: far_faults(name, proxy)}),
                    environment={"AUTOCANARY_LEASE_NAME": name},
                )
            )
        jobs[GUARDED] = pool.submit(lambda: guarded(installation, ground[GUARDED], stack))
        yield jobs


def guarded(installation: Installation, place: ServiceUnderTest, stack: ExitStack) -> Autocanary:
    """A real admission policy refuses half of the traffic until it is taken away."""
    group = "admissionregistration.k8s.io"
    rule = {"apiGroups": ["serving.kserve.io"], "apiVersions": ["*"], "operations": ["UPDATE"]}
    policy: Document = {
        "apiVersion": f"{group}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": GUARDED},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": GUARDED}},
                "resourceRules": [{**rule, "resources": ["inferenceservices"]}],
            },
            "validations": [
                {
                    "expression": "!has(object.spec.predictor.canaryTrafficPercent) || "
                    "object.spec.predictor.canaryTrafficPercent != 50",
                    "message": "not before noon",
                    "reason": "Forbidden",
                }
            ],
        },
    }
    binding: Document = {
        "apiVersion": f"{group}/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": GUARDED},
        "spec": {"policyName": GUARDED, "validationActions": ["Deny"]},
    }
    installation.api.apply(policy, binding)
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{GUARDED}/inferenceservices/{NAME}?dryRun=All"
    body = {"spec": {"predictor": {"canaryTrafficPercent": 50}}}

    def refuses() -> bool:
        patch = "application/merge-patch+json"
        return installation.api.request(path, method="PATCH", body=body, content_type=patch, seconds=30)[0] >= 400

    place.until(refuses, "the admission policy to be in force", 60)
    instance = Autocanary(
        installation,
        "--namespace",
        GUARDED,
        environment={"AUTOCANARY_LEASE_NAME": GUARDED},
        user=INSTANCES[0],
    )
    stack.callback(instance.stop)
    instance.start()
    wait_until(instance.is_ready, seconds=180, what="autocanary over the guarded service to be ready")
    place.release()
    place.until(lambda: place.phase == "Holding", "the refusal to be notified")
    assert place.share() == 10
    assert any("not before noon" in line["error"] for line in instance.events("write_failed"))
    assert not any("chart" in line["error"] for line in instance.events("write_failed")), "no right is missing"
    installation.api.kubectl("delete", "validatingadmissionpolicybinding", GUARDED)
    place.finish()
    return instance


def same_story(place: ServiceUnderTest) -> None:
    """Promoted through every weight, each written in effect once, without a jump."""
    assert place.ended == ("Promoted", "Promoted"), place.story()
    weights = place.weights()
    assert weights == [10, 50, 100], place.story()
    shares = [each.get(SECOND, 0) for each in place.shares]
    assert shares == sorted(shares), shares
    notified = place.status()["notified"]
    assert len(notified) == len(set(notified))


@pytest.mark.parametrize(("fault", "kind"), CELLS, ids=lambda each: getattr(each, "name", each))
def test_api_fault_at_each_call(
    fault: ApiFault,
    kind: str,
    ground: dict[str, ServiceUnderTest],
    instances: dict[str, Future[Autocanary]],
    injected: dict[str, list[InjectedFault]],
) -> None:
    """Twice in a row, from the second such call on; the rollout ends as if it had not been."""
    instance = instances["cells"].result()
    place = ground[space(fault, kind)]
    same_story(place)
    assert all(each.struck for each in injected[place.namespace]), "it was never made"
    lost = NOT_NOTIFIED if kind == "event" else ()
    missing = len(place.status()["notified"]) - len(place.notified_events())
    assert missing == 0 or (fault.name in lost and missing <= TIMES), place.notified_events()
    struck = [event for event in place.requests(accepted=False) if event["responseStatus"]["code"] >= 500]
    assert struck == [], "the faults are the proxy's; the server had none of its own"
    assert "Traceback" not in instance.text()


@pytest.mark.parametrize("name", FAR)
def test_lists_and_watches(
    name: str,
    ground: dict[str, ServiceUnderTest],
    instances: dict[str, Future[Autocanary]],
    injected: dict[str, list[InjectedFault]],
) -> None:
    """A watch that says nothing, one that is too old, and lists that are slow: late, but right."""
    instance = instances[name].result()
    same_story(ground[name])
    assert all(each.struck for each in injected[name]), "it was never made"
    assert "Traceback" not in instance.text()
    failed = [line for line in instance.events("watch_failed") if "410" in line["error"] or "answer" in line["error"]]
    assert failed or name == "gone"


def test_a_real_admission_policy_that_refuses(
    ground: dict[str, ServiceUnderTest], instances: dict[str, Future[Autocanary]]
) -> None:
    """Held at the weight before, reported with the policy's words, tried on until it is allowed."""
    instances[GUARDED].result()
    place = ground[GUARDED]
    same_story(place)
    assert any("rollout_held" in each for each in place.status()["notified"])


def test_the_server_is_killed_and_comes_back(
    installation: Installation, ground: dict[str, ServiceUnderTest], instances: dict[str, Future[Autocanary]]
) -> None:
    """For longer than the lease's deadline, on the same etcd: no instance writes meanwhile, then it goes on."""
    wait(instances.values())
    place = ground["restart"]
    instance = Autocanary(
        installation, "--namespace", place.namespace, environment={"AUTOCANARY_LEASE_NAME": "restart"}
    )
    try:
        instance.start()
        wait_until(instance.is_ready, seconds=180, what="autocanary to be ready")
        place.release()
        place.until_weight(10)
        installation.api.kill()
        time.sleep(12)
        installation.api.start()
        place.finish()
        same_story(place)
        assert instance.events("not_leading"), "it was away for longer than the deadline"
        assert "Traceback" not in instance.text()
    finally:
        instance.stop()
    writes = list(place.requests("patch", "update", "create"))
    assert {event["user"]["username"] for event in writes} == {SERVICE_ACCOUNT}
    assert place.read("canaryrollouts", ROLLOUT) is not None
