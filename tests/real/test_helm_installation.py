"""The chart, installed by Helm on the real API server, and its pods doing what they are there for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.kserve import DIALECTS
from autocanary.kube.rbac import NamespaceScope, rbac_rules
from tests.chart.chart import CHART, helm
from tests.real.installation import SERVICE_ACCOUNT, Installation
from tests.real.manifests import policy_document
from tests.real.pod import Pod
from tests.testbed.servers import (
    FaultProxy,
    ReceivedRequest,
    RespondInstead,
    free_port,
    require_servers,
    wait_until,
)
from tests.testbed.servers.crds import wait_served

pytestmark = pytest.mark.real

HOME = "autocanary"
SERVED = {"serving.kserve.io"}
"""Of the groups that services can be in, what the stage's API server serves."""


class HelmRelease:
    """One release of the chart, and its pods."""

    def __init__(self, installation: Installation, folder: Path, values: Mapping[str, Any]) -> None:
        self.installation, self._folder = installation, folder
        self.values: dict[str, Any] = {
            "prometheus": {"url": installation.prometheus.url},
            "slack": {"webhookSecret": {"name": "slack", "key": "url"}},
            "tick": "500ms",
            "service": {"port": free_port()},
            **values,
        }
        self.pods: list[Pod] = []
        self.between = FaultProxy(
            installation.api.url, ca=installation.api.ca, token=installation.api.token(SERVICE_ACCOUNT)
        ).__enter__()
        self._made = 0
        self.seen = len(installation.api.audit())
        self._helm("install")
        for name in ("canaryrollouts", "rolloutpolicies"):
            wait_served(installation.api, "autocanary.dev", "v1alpha1", name)

    def upgrade(self, **values: Any) -> None:
        """``helm upgrade`` with some values changed."""
        self.values |= values
        self._helm("upgrade")

    def _helm(self, verb: str) -> None:
        done = helm(
            verb,
            HOME,
            str(CHART),
            "--namespace",
            HOME,
            given=self.values,
            kubeconfig=self.installation.api.kubeconfig(),
        )
        assert done.returncode == 0, done.stderr

    def deployment(self) -> dict[str, Any]:
        """As it is on the server now."""
        text = self.installation.api.kubectl("-n", HOME, "get", "deployment", HOME, "-o", "json")
        found: dict[str, Any] = json.loads(text)
        return found

    def pod(self) -> Pod:
        """Start one more pod of the Deployment and wait until it is ready."""
        self._made += 1
        pod = Pod(
            self.installation.api,
            self.deployment(),
            f"{HOME}-{self._made}",
            f"127.0.0.{10 + self._made}",
            self._folder,
            server=self.between.url,
        )
        self.pods.append(pod)
        pod.start()
        wait_until(pod.is_ready, seconds=30, what=f"{pod.name} to be ready", every=0.1)
        return pod

    def leader(self) -> Pod:
        """The pod that leads, once one does; never two."""
        wait_until(lambda: any(pod.leads() for pod in self._up()), seconds=30, what="a leader", every=0.2)
        [found] = [pod for pod in self._up() if pod.leads()]
        return found

    def _up(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.process.poll() is None]

    def granted(self) -> set[tuple[str, str, str]]:
        """(group, resource, verb) of every role of the release."""
        text = helm("get", "manifest", HOME, "--namespace", HOME, kubeconfig=self.installation.api.kubeconfig()).stdout
        return {
            (group, resource, verb)
            for document in yaml.safe_load_all(text)
            if document and document["kind"] in ("Role", "ClusterRole")
            for rule in document["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def requests(self) -> list[dict[str, Any]]:
        """What the pods asked the API server for, since the installation."""
        events = self.installation.api.audit()[self.seen :]
        return [
            event
            for event in events
            if event["user"].get("username") == SERVICE_ACCOUNT and "resource" in event.get("objectRef", {})
        ]

    def used(self) -> set[tuple[str, str, str]]:
        """(group, resource, verb) of everything that they asked for."""
        found = set()
        for event in self.requests():
            about = event["objectRef"]
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            found.add((about.get("apiGroup", ""), resource, event["verb"]))
        return found

    def refused(self) -> list[dict[str, Any]]:
        """What they asked for and had no right to."""
        return [
            event for event in self.requests() if event["annotations"].get("authorization.k8s.io/decision") != "allow"
        ]

    def others_are_faster_once(self) -> None:
        """The next write of a weight and the next record each find that a user has written just before."""
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409}
        conflict = RespondInstead(409, json.dumps(body).encode(), {"Content-Type": "application/json"})
        for method, kind in (("PATCH", "/inferenceservices/"), ("PUT", "/canaryrollouts/")):
            self.between.inject(conflict, partial(_is, method, kind), times=1)

    def end(self) -> None:
        for pod in self.pods:
            pod.kill()
        self.between.__exit__(None, None, None)
        done = helm("uninstall", HOME, "--namespace", HOME, kubeconfig=self.installation.api.kubeconfig())
        assert done.returncode == 0, done.stderr
        # A killed leader gives nothing back, and the next release is not to wait for it.
        self.installation.api.kubectl("-n", HOME, "delete", "lease", "--all", "--ignore-not-found")


def _is(method: str, kind: str, received: ReceivedRequest) -> bool:
    return received.method == method and kind in received.path


@pytest.fixture(scope="module")
def bare(installation: Installation) -> Installation:
    """The stage without what its own tests put there for autocanary: the chart brings all of it."""
    require_servers("helm")
    installation.api.kubectl("delete", "clusterrolebinding,clusterrole", HOME)
    installation.api.kubectl(
        "delete", "--wait", "crd", "canaryrollouts.autocanary.dev", "rolloutpolicies.autocanary.dev"
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "slack", "namespace": HOME},
        "stringData": {"url": installation.slack.url},
    }
    installation.api.apply(secret)
    return installation


@pytest.fixture
def install(bare: Installation, namespace: str, tmp_path: Path) -> Iterator[Any]:
    """Make the release, with a policy for the test's namespace."""
    made: list[HelmRelease] = []

    def make(**values: Any) -> HelmRelease:
        policies = {"quick": policy_document("quick", selector={"namespaces": [namespace]})}
        made.append(HelmRelease(bare, tmp_path, {"policies": policies, **values}))
        return made[-1]

    yield make
    for each in made:
        each.end()


def _unserved(granted: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Rights on services in groups that this API server does not have: listing is tried, no more."""
    absent = {dialect.group for dialect in DIALECTS} - SERVED
    return {right for right in granted if right[0] in absent}


def test_two_pods_of_a_release_roll_out_a_model_and_use_every_right(
    install: Any, bare: Installation, namespace: str
) -> None:
    """From helm install to Promoted: one of two leads, nothing is refused, nothing is granted in vain."""
    helm_release = install(historyLimit=1)
    first, second = helm_release.pod(), helm_release.pod()
    leader = helm_release.leader()
    assert {first.is_alive(), second.is_alive(), first.is_ready(), second.is_ready()} == {True}
    bare.api.apply(policy_document("own", namespace=namespace, selector={"names": ["unknown"]}))
    bare.released(namespace)
    helm_release.others_are_faster_once()
    bare.serve(namespace, "mnist", "v2", 0)
    bare.wait_for_phase(namespace, "mnist-00002", "Promoted")
    assert bare.weights_written(namespace, "mnist") == [10, 25, 50, 100]
    bare.eventually(lambda: len(bare.messages(namespace)) >= 2, "Slack to get the beginning and the end")
    bare.serve(namespace, "mnist", "v3", 0)
    bare.wait_for_phase(namespace, "mnist-00003", "Promoted")
    bare.eventually(lambda: "mnist-00002" not in bare.rollouts(namespace), "the oldest of the history to go")
    # The other takes over when the leader is stopped in order.
    assert leader.terminate() == 0
    assert helm_release.leader() is not leader
    granted = helm_release.granted()
    assert helm_release.refused() == []
    assert granted - helm_release.used() - _unserved(granted) == set(), "granted and never used"
    assert helm_release.used() - granted == set()


def test_named_namespaces_are_enough(install: Any, bare: Installation, namespace: str) -> None:
    """Roles in these and nowhere else: a rollout there needs no right in the cluster, and none elsewhere."""
    other = f"{namespace[:40]}-other"
    bare.namespace(other)
    helm_release = install(namespaces=[namespace], historyLimit=1)
    bare.api.apply(policy_document("own", namespace=namespace, selector={"names": ["unknown"]}))
    helm_release.pod()
    helm_release.leader()
    bare.released(other)
    bare.released(namespace)
    helm_release.others_are_faster_once()
    bare.serve(namespace, "mnist", "v2", 0)
    bare.serve(other, "mnist", "v2", 0)
    bare.wait_for_phase(namespace, "mnist-00002", "Promoted")
    bare.serve(namespace, "mnist", "v3", 0)
    bare.wait_for_phase(namespace, "mnist-00003", "Promoted")
    bare.eventually(lambda: "mnist-00002" not in bare.rollouts(namespace), "the oldest of the history to go")
    assert bare.rollouts(other) == {}
    names = bare.api.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert "autocanary" not in names
    assert helm_release.refused() == []
    assert {event["objectRef"].get("namespace") for event in helm_release.requests()} == {namespace, HOME}
    granted = helm_release.granted()
    assert granted - helm_release.used() - _unserved(granted) == set(), "granted and never used"


def test_upgrade_continues_the_rollout_without_duplicates(install: Any, bare: Installation, namespace: str) -> None:
    """The Deployment's rolling update at a quarter of the traffic: a new pod is ready, then an old one goes."""
    helm_release = install()
    old = [helm_release.pod(), helm_release.pod()]
    leader = helm_release.leader()
    bare.released(namespace)
    bare.serve(namespace, "mnist", "v2", 0)
    bare.wait_for_weight(namespace, "mnist", 25)
    before = helm_release.deployment()["spec"]["template"]
    helm_release.upgrade(image={"tag": "next"})
    assert helm_release.deployment()["spec"]["template"] != before
    assert helm_release.deployment()["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }
    helm_release.pod()
    assert leader.terminate() == 0
    helm_release.pod()
    [other] = [pod for pod in old if pod is not leader]
    assert other.terminate() == 0
    bare.wait_for_phase(namespace, "mnist-00002", "Promoted")
    assert bare.weights_written(namespace, "mnist") == [10, 25, 50, 100]
    bare.eventually(lambda: any("romoted" in text for text in bare.messages(namespace)), "the last message")
    notified = bare.messages(namespace)
    assert len(notified) == len(set(notified)), notified
    trail = [
        (line["event"], line["namespace"])
        for pod in helm_release.pods
        for line in pod.events()
        if line["logger"] == "autocanary.audit"
    ]
    events = [event for event, place in trail if place == namespace]
    assert sorted(events) == sorted(["rollout_started", *["step_taken"] * 4, "rollout_promoted"]), trail


def test_a_changed_policy_reaches_the_pods_without_a_restart(install: Any, bare: Installation, namespace: str) -> None:
    """helm upgrade, the kubelet's refresh of the ConfigMap, and the service says so."""
    helm_release = install()
    pod = helm_release.pod()
    before = helm_release.deployment()["spec"]["template"]
    helm_release.upgrade(
        policies={"quick": policy_document("quick", selector={"namespaces": [namespace]}, stepWeights=[50, 100])}
    )
    assert helm_release.deployment()["spec"]["template"] == before, "the pods would be replaced"
    pod.sync()
    bare.eventually(
        lambda: [line["policy"] for line in pod.events("policy_changed")] == ["quick"],
        "the new policy to be read",
    )
    bare.released(namespace)
    bare.serve(namespace, "mnist", "v2", 0)
    bare.wait_for_phase(namespace, "mnist-00002", "Promoted")
    assert bare.weights_written(namespace, "mnist") == [50, 100]


def test_a_dry_run_needs_no_right_to_write(install: Any, bare: Installation, namespace: str) -> None:
    """With roles of one's own that only read, it says what it would do, and nothing is refused."""
    helm_release = install(dryRun=True, replicas=1, leaderElection=False, rbac={"create": False})
    measurement = [{**rule, "verbs": ["get", "list", "watch"]} for rule in rbac_rules(NamespaceScope.WATCHED)]
    bare.api.grant(SERVICE_ACCOUNT, measurement, name="only-reading")
    try:
        bare.released(namespace)
        pod = helm_release.pod()
        bare.serve(namespace, "mnist", "v2", 0)
        bare.eventually(lambda: bool(pod.events("rollout_started")), "it to say that it would begin")
        bare.eventually(lambda: bool(pod.events("write_skipped")), "it to say that it would write")
    finally:
        bare.api.kubectl("delete", "clusterrolebinding,clusterrole", "only-reading")
    assert helm_release.refused() == []
    assert {verb for _, _, verb in helm_release.used()} <= {"get", "list", "watch"}
    assert bare.weights_written(namespace, "mnist") == []
