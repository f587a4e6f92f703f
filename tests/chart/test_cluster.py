"""The chart on a real API server: installed, upgraded and removed by Helm, and what may be done then."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.kube.crds import manifest
from tests.chart.chart import CHART, CI, PROMETHEUS, helm, of_kind, render, variant
from tests.testbed.servers import ApiServer, KubectlError, require_servers
from tests.testbed.servers.crds import wait_served

pytestmark = pytest.mark.real

USER = "system:serviceaccount:auto:autocanary"
SCHEMAS = Path(__file__).resolve().parent / "schemas"
POLICY = {
    "apiVersion": "autocanary.dev/v1alpha1",
    "kind": "RolloutPolicy",
    "metadata": {"name": "kept", "namespace": "models"},
    "spec": {"selector": {}, "stepWeights": [50, 100]},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that knows the service account, the namespaces of the variants and the operator's kinds."""
    require_servers("kube-apiserver", "etcd", "kubectl", "helm")
    with ApiServer([USER], folder=tmp_path_factory.mktemp("apiserver")) as server:
        for name in ("auto", "models", "team-a", "monitoring", "other"):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        for path in sorted(SCHEMAS.glob("monitoring.coreos.com_*")):
            server.apply(json.loads(gzip.decompress(path.read_bytes())))
        for name in ("servicemonitors", "podmonitors", "prometheusrules"):
            wait_served(server, "monitoring.coreos.com", "v1", name)
        yield server


def test_admission_policy_allows_users_their_requests_only(clean: ApiServer) -> None:
    """With kubectl, by an administrator: the RBAC right alone would allow each of these."""
    values = {**PROMETHEUS, "admissionPolicy": {"enabled": True}}
    installed = helm(
        "install", "autocanary", str(CHART), "--namespace", "auto", given=values, kubeconfig=clean.kubeconfig()
    )
    assert installed.returncode == 0, installed.stderr
    wait_served(clean, "autocanary.dev", "v1alpha1", "canaryrollouts")
    clean.apply(
        {
            "apiVersion": "autocanary.dev/v1alpha1",
            "kind": "CanaryRollout",
            "metadata": {"name": "mnist-00002", "namespace": "models"},
            "spec": {
                "inferenceService": {"apiVersion": "serving.kserve.io/v1beta1", "name": "mnist"},
                "stable": "a",
                "candidate": "b",
                "policy": {"name": "p", "hash": "h", "snapshot": {"stepWeights": [10, 100]}},
                "stableSpec": {"hash": "h", "value": {"model": {"storageUri": "s3://m/v1"}}},
            },
        }
    )

    def patch(spec: dict[str, Any]) -> str:
        words = ("patch", "crl", "mnist-00002", "-n", "models", "--type=merge", "-p", json.dumps({"spec": spec}))
        try:
            return clean.kubectl(*words)
        except KubectlError as error:
            return str(error)

    deadline = time.monotonic() + 30  # a new policy is in force after some seconds
    while "cannot be changed" not in patch({"candidate": "c"}):
        assert time.monotonic() < deadline
        patch({"candidate": "b"})
        time.sleep(0.5)
    spec: dict[str, Any]
    for spec in (
        {"stableSpec": {"value": {"containers": [{"image": "evil"}]}}},
        {"stableSpec": None},
        {"candidateSpec": {"value": {}}},
        {"policy": {"snapshot": {"stepWeights": [100]}}},
        {"inferenceService": {"name": "other"}},
        {"attempt": 2, "paused": True},
    ):
        assert "only spec.paused and spec.request can" in patch(spec), spec
    assert "patched" in patch({"paused": True})
    assert "patched" in patch({"request": {"id": "1", "verb": "abort"}})
    assert "patched" in patch({"request": None, "paused": False})


@pytest.fixture
def clean(api: ApiServer) -> Iterator[ApiServer]:
    """The server; afterwards without a release and without our definitions."""
    yield api
    helm("uninstall", "autocanary", "--namespace", "auto", "--ignore-not-found", kubeconfig=api.kubeconfig())
    names = ("canaryrollouts.autocanary.dev", "rolloutpolicies.autocanary.dev")
    api.kubectl("delete", "crd", "--ignore-not-found", "--wait", *names)


def _helm(api: ApiServer, *arguments: str, given: dict[str, Any] | None = None) -> str:
    """Run Helm in the release's namespace; what it says, and no failure."""
    done = helm(*arguments, "--namespace", "auto", given=given, kubeconfig=api.kubeconfig())
    assert done.returncode == 0, done.stderr
    return done.stdout


def _columns(api: ApiServer) -> list[str]:
    text = api.kubectl("get", "crd", "canaryrollouts.autocanary.dev", "-o", "json")
    [version] = json.loads(text)["spec"]["versions"]
    return [column["name"] for column in version["additionalPrinterColumns"]]


@pytest.mark.parametrize("name", CI)
def test_every_variant_can_be_installed_and_removed(clean: ApiServer, name: str) -> None:
    """First as a rehearsal on the server, then for real; then nothing is left but what is kept on purpose."""
    _helm(clean, "install", "autocanary", str(CHART), "--dry-run=server", given=variant(name))
    _helm(clean, "install", "autocanary", str(CHART), given=variant(name))
    made = render(variant(name))
    for document in made:
        place = ["-n", document["metadata"].get("namespace", "auto")]
        clean.kubectl(*place, "get", document["kind"], document["metadata"]["name"])
    _helm(clean, "uninstall", "autocanary")
    left = clean.kubectl("get", "deployments,services,roles,rolebindings,configmaps,pdb,netpol", "-A", "-o", "name")
    assert [line for line in left.splitlines() if "autocanary" in line or "trial" in line] == []
    crds = clean.kubectl("get", "crd", "-o", "name")
    kept = variant(name).get("crds", {})
    assert ("autocanary.dev" in crds) is (kept.get("install", True) and kept.get("keep", True))


@pytest.mark.parametrize("name", CI)
def test_the_server_takes_every_object_and_field(api: ApiServer, name: str) -> None:
    """Strictly: an unknown or misplaced field is an error, where Helm would only drop it."""
    made = render(variant(name))
    strictly = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    taken = api.kubectl(*strictly, stdin=yaml.safe_dump_all(made)).splitlines()
    assert len(taken) == len(made)
    assert all(line.endswith(" serverside-applied (server dry run)") for line in taken)


def test_an_upgrade_brings_new_definitions_and_leaves_every_object(clean: ApiServer, tmp_path: Path) -> None:
    """What Helm's own folder for definitions does not do."""
    older = tmp_path / "autocanary"
    shutil.copytree(CHART, older)
    template = older / "templates" / "crds.yaml"
    column = "        - {name: Reason, type: string, jsonPath: .status.reason}\n"
    text = template.read_text(encoding="utf-8")
    assert column in text
    template.write_text(text.replace(column, ""), encoding="utf-8")
    _helm(clean, "install", "autocanary", str(older), given=PROMETHEUS)
    wait_served(clean, "autocanary.dev", "v1alpha1", "rolloutpolicies")
    clean.apply(POLICY)
    assert "Reason" not in _columns(clean)
    _helm(clean, "upgrade", "autocanary", str(CHART), given=PROMETHEUS)
    assert "Reason" in _columns(clean)
    clean.kubectl("-n", "models", "get", "rolloutpolicy", "kept")


def test_removing_it_keeps_every_policy_and_a_second_installation_takes_over(clean: ApiServer) -> None:
    """The definitions stay, and with them all objects; the same release finds them its own."""
    _helm(clean, "install", "autocanary", str(CHART), given=PROMETHEUS)
    wait_served(clean, "autocanary.dev", "v1alpha1", "rolloutpolicies")
    clean.apply(POLICY)
    said = _helm(clean, "uninstall", "autocanary")
    assert "kept due to the resource policy" in said
    clean.kubectl("-n", "models", "get", "rolloutpolicy", "kept")
    _helm(clean, "install", "autocanary", str(CHART), given=PROMETHEUS)
    clean.kubectl("-n", "models", "get", "rolloutpolicy", "kept")


def test_definitions_of_another_release_are_left_or_adopted_by_choice(clean: ApiServer) -> None:
    """`autocanary crds | kubectl apply -f -` came first: Helm says so, and two ways lead on."""
    clean.kubectl("apply", "--server-side", "-f", "-", stdin=manifest())
    refused = helm(
        "install",
        "autocanary",
        str(CHART),
        "--namespace",
        "auto",
        given=PROMETHEUS,
        kubeconfig=clean.kubeconfig(),
    )
    assert refused.returncode != 0
    assert "canaryrollouts.autocanary.dev" in refused.stderr
    _helm(clean, "install", "autocanary", str(CHART), given={**PROMETHEUS, "crds": {"install": False}})
    _helm(clean, "uninstall", "autocanary")
    _helm(clean, "install", "autocanary", str(CHART), "--take-ownership", given=PROMETHEUS)


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({}, "There is no policy file."),
        ({"existingPoliciesConfigMap": "mine"}, "Which policies does it have"),
    ],
)
def test_the_notes_give_the_next_three_commands(api: ApiServer, given: dict[str, Any], first: str) -> None:
    """What a user does after `helm install`."""
    said = _helm(api, "install", "autocanary", str(CHART), "--dry-run=server", given={**PROMETHEUS, **given})
    notes = said.split("NOTES:", 1)[1]
    assert first in notes
    commands = [line.strip() for line in notes.splitlines() if line.startswith("     ")]
    assert len(commands) == 3
    assert all(command.startswith("kubectl ") for command in commands)


def test_the_pod_passes_the_restricted_pod_security_standard(api: ApiServer) -> None:
    """The Deployment's pod is admitted where `restricted` is enforced; one that runs as root is not."""
    for name in CI:
        template = of_kind(render(variant(name)), "Deployment")[0]["spec"]["template"]
        template["spec"].pop("priorityClassName", None)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "auto"},
            "spec": template["spec"],
        }
        api.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(pod))
        template["spec"]["securityContext"] = {"runAsUser": 0}
        with pytest.raises(KubectlError, match="violates PodSecurity"):
            api.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))


def test_the_account_may_do_what_is_needed_in_its_namespaces_and_nothing_elsewhere(clean: ApiServer) -> None:
    """RBAC as the API server understands the roles of a release for two namespaces."""
    _helm(clean, "install", "autocanary", str(CHART), given=variant("namespaced"))
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}

    def may(verb: str, group: str, resource: str, namespace: str) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        body = yaml.safe_dump({**review, "spec": {"resourceAttributes": attributes}})
        answer = clean.kubectl("create", "--validate=false", "-o", "yaml", "-f", "-", stdin=body, user=USER)
        return bool(yaml.safe_load(answer)["status"]["allowed"])

    assert may("patch", "serving.kserve.io", "inferenceservices", "models")
    assert may("create", "autocanary.dev", "canaryrollouts", "team-a")
    assert may("update", "coordination.k8s.io", "leases", "auto")
    assert not may("patch", "serving.kserve.io", "inferenceservices", "other")
    assert not may("list", "serving.kserve.io", "inferenceservices", "")
    assert not may("update", "coordination.k8s.io", "leases", "models")
    assert not may("get", "", "secrets", "models")
    assert not may("get", "", "secrets", "auto")
