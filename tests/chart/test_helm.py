"""The chart by what Helm makes of it, and what a real API server says to that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from autocanary.kube.rights import Where, rules
from autocanary.policyfile import load_text
from autocanary.settings import PREFIX, load
from tests.chart.chart import CHART, PROMETHEUS, helm, of_kind, render
from tests.testbed.servers import ApiServer, KubectlError, require_servers

pytestmark = pytest.mark.real

EVERYTHING: dict[str, Any] = {
    "prometheus": {
        **PROMETHEUS["prometheus"],
        "username": "reader",
        "passwordSecret": {"name": "prometheus", "key": "password"},
        "caConfigMap": {"name": "ca", "key": "ca.crt"},
    },
    "namespaces": ["models", "team-a"],
    "policies": {"first": (CHART.parents[1] / "policies" / "first.yaml").read_text(encoding="utf-8")},
    "slack": {"webhookSecret": {"name": "slack", "key": "url"}},
    "webhook": {"urlSecret": {"name": "hook", "key": "url"}},
    "clusterName": "prod-1",
    "imagePullSecrets": [{"name": "registry"}],
    "image": {
        "registry": "registry.example.com",
        "repository": "ml/autocanary",
        "digest": "sha256:" + "0" * 64,
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "ml"},
    "serviceAccount": {"annotations": {"a": "b"}},
    "service": {"annotations": {"prometheus.io/scrape": "true"}},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "autocanary"}},
        }
    ],
    "priorityClassName": "system-cluster-critical",
}


def _container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    [deployment] = of_kind(documents, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def _variables(documents: list[dict[str, Any]]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in _container(documents)["env"] if "value" in each}


@pytest.mark.parametrize("given", [PROMETHEUS, EVERYTHING], ids=["least", "everything"])
def test_helm_lint_has_nothing_to_say(given: dict[str, Any]) -> None:
    """With the least values and with all of them; warnings are errors."""
    done = helm("lint", str(CHART), "--strict", "--quiet", given=given)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "prometheus.url is required"),
        ({**PROMETHEUS, "leaderElection": False}, "then replicas must be 1"),
        ({**PROMETHEUS, "replica": 3}, "replica"),
        ({"prometheus": {"url": "http://p", "username": "u"}}, "belong together"),
        (
            {
                "prometheus": {
                    "url": "http://p",
                    "username": "u",
                    "passwordSecret": {"name": "s"},
                    "tokenSecret": {"name": "s"},
                }
            },
            "exclude each other",
        ),
        ({**PROMETHEUS, "serviceAccount": {"create": False}}, "name the account"),
    ],
)
def test_values_that_cannot_work_are_refused_with_a_sentence(given: dict[str, Any], says: str) -> None:
    """Helm stops before anything is installed."""
    done = helm("template", "autocanary", str(CHART), given=given)
    assert done.returncode != 0
    assert says in done.stderr


def test_the_whole_cluster_is_watched_with_a_cluster_role_and_leases_at_home_only() -> None:
    """The rights in rights.py, bound to the chart's account, in the right places."""
    documents = render(namespace="auto")
    [everywhere] = of_kind(documents, "ClusterRole")
    [home] = of_kind(documents, "Role")
    assert everywhere["rules"] == rules(Where.WATCHED)
    assert (home["metadata"]["namespace"], home["rules"]) == ("auto", rules(Where.HOME))
    for binding in (*of_kind(documents, "ClusterRoleBinding"), *of_kind(documents, "RoleBinding")):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "autocanary", "namespace": "auto"}]
        assert binding["roleRef"]["name"] in {everywhere["metadata"]["name"], home["metadata"]["name"]}


def test_named_namespaces_get_a_role_each_and_the_cluster_none() -> None:
    """Least privilege: no ClusterRole at all, and the service is told to watch only these."""
    documents = render({"namespaces": ["models", "team-a"]}, namespace="auto")
    assert of_kind(documents, "ClusterRole") + of_kind(documents, "ClusterRoleBinding") == []
    roles = {each["metadata"]["namespace"]: each["rules"] for each in of_kind(documents, "Role")}
    assert roles == {
        "models": rules(Where.WATCHED),
        "team-a": rules(Where.WATCHED),
        "auto": rules(Where.HOME),
    }
    assert _variables(documents)["AUTOCANARY_NAMESPACES"] == "models,team-a"


@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["least", "everything"])
def test_the_service_accepts_the_settings_it_is_given(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container's variables go through the program's own settings."""
    for name, value in _variables(render(given)).items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert settings.prometheus_url == "http://prometheus.monitoring:9090"
    assert settings.leader_election is True
    assert (settings.lease_name, settings.lease_namespace) == ("autocanary", "auto")
    assert settings.listen == ("0.0.0.0", 8080)


def test_every_file_that_a_setting_names_is_mounted() -> None:
    """A path in a variable lies below a mount, and every mount has its volume."""
    documents = render(EVERYTHING)
    container = _container(documents)
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    paths = [
        value
        for name, value in _variables(documents).items()
        if name.startswith(PREFIX) and value.startswith("/etc/")
    ]
    assert len(paths) == 4
    assert all(any(path == mount or path.startswith(f"{mount}/") for mount in mounts) for path in paths)
    volumes = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["volumes"]
    assert sorted(each["name"] for each in volumes) == sorted(mounts.values())


def test_policies_arrive_as_they_were_written() -> None:
    """Comments, quotes and all, so that errors name the lines that people see; and they load."""
    [config] = of_kind(render(EVERYTHING), "ConfigMap")
    written = EVERYTHING["policies"]["first"]
    assert config["data"] == {"first.yaml": written}
    loading = load_text(config["data"]["first.yaml"], "first.yaml")
    assert [policy.name for policy in loading.policies] == ["first"]


def test_one_instance_without_election_is_replaced_before_the_next_begins() -> None:
    """Two of them would write the same weights."""
    [deployment] = of_kind(render({"leaderElection": False, "replicas": 1}), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that knows the service account, and the namespaces the chart is told of."""
    require_servers("kube-apiserver", "etcd", "kubectl", "helm")
    users = ["system:serviceaccount:auto:autocanary"]
    with ApiServer(users, folder=tmp_path_factory.mktemp("apiserver")) as server:
        for name in ("auto", "models", "team-a", "other"):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            server.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            )
        yield server


@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["least", "everything"])
def test_a_real_api_server_takes_every_object_and_field(api: ApiServer, given: dict[str, Any]) -> None:
    """Strictly: an unknown or misplaced field is an error."""
    manifest = yaml.safe_dump_all(render(given))
    api.kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-", stdin=manifest)


def test_the_pod_passes_the_restricted_pod_security_standard(api: ApiServer) -> None:
    """The Deployment's pod is admitted where `restricted` is enforced; one that runs as root is not."""
    template = of_kind(render(), "Deployment")[0]["spec"]["template"]
    template["spec"].pop("priorityClassName", None)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "auto"},
        "spec": template["spec"],
    }
    api.kubectl("create", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(pod))
    pod["metadata"] = {"name": "two", "namespace": "auto"}
    template["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        api.kubectl("create", "-f", "-", stdin=yaml.safe_dump(pod))


def test_the_account_may_do_what_is_needed_in_its_namespaces_and_nothing_elsewhere(api: ApiServer) -> None:
    """RBAC as the API server understands the rendered roles."""
    user = "system:serviceaccount:auto:autocanary"
    api.kubectl("delete", "clusterrolebinding", "auto-autocanary", "--ignore-not-found")
    api.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        stdin=yaml.safe_dump_all(render({"namespaces": ["models", "team-a"]})),
    )
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}

    def may(verb: str, group: str, resource: str, namespace: str) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        body = yaml.safe_dump({**review, "spec": {"resourceAttributes": attributes}})
        answer = api.kubectl("create", "--validate=false", "-o", "yaml", "-f", "-", stdin=body, user=user)
        return bool(yaml.safe_load(answer)["status"]["allowed"])

    assert may("patch", "serving.kserve.io", "inferenceservices", "models")
    assert may("create", "autocanary.dev", "canaryrollouts", "team-a")
    assert may("update", "coordination.k8s.io", "leases", "auto")
    assert not may("patch", "serving.kserve.io", "inferenceservices", "other")
    assert not may("update", "coordination.k8s.io", "leases", "models")
    assert not may("get", "", "secrets", "models")
