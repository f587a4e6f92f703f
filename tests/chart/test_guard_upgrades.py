"""The guard's life: from the form that warns to the one that holds, beside another installation's, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.chart.chart import CHART, PROMETHEUS, helm
from tests.chart.test_guard import GATE, SERVICE_ACCOUNT, V1, V2, V3, Cluster, model
from tests.testbed.servers import ApiServer, require_servers
from tests.testbed.servers.crds import install_inferenceservice_crd

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

OTHER_ACCOUNT = "system:serviceaccount:second:autocanary"
KINDS = "mutatingadmissionpolicies,mutatingadmissionpolicybindings"
ALWAYS_THERE = "validatingadmissionpolicies,validatingadmissionpolicybindings"


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that got MutatingAdmissionPolicy after the chart was installed, and the chart upgraded after that."""
    require_servers("kube-apiserver", "etcd", "kubectl", "helm")
    with ApiServer([SERVICE_ACCOUNT, OTHER_ACCOUNT], folder=tmp_path_factory.mktemp("upgraded")) as api:
        for name in ("auto", "second", "models"):
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        install_inferenceservice_crd(api, "minimal")
        rule = {"apiGroups": ["serving.kserve.io"], "resources": ["*"], "verbs": ["*"]}
        for account in (SERVICE_ACCOUNT, OTHER_ACCOUNT):
            api.grant(account, [rule], name=f"services-{account.split(':')[2]}")
        cluster = Cluster(api)
        cluster.install()
        _until(lambda: "release it with" in cluster.apply(cluster.service(model(V1)), model(V2)))
        api.kill()
        api.flags = GATE
        api.start()
        yield cluster


def _until(true: Callable[[], bool], seconds: float = 90) -> None:
    """A policy is in force some seconds after it was made or changed; meanwhile the server may answer 503."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except AssertionError as error:
            if "ServiceUnavailable" not in str(error):
                raise
        assert time.monotonic() < deadline, "the guard is not as it should be"
        time.sleep(0.5)


def _is_held(cluster: Cluster) -> bool:
    """A release, and what the user reads."""
    name = cluster.service(model(V1))
    said = cluster.apply(name, model(V2))
    return cluster.weight(name) == 0 and "is held at 0 %" in said and "release it with" not in said


def test_an_upgraded_server_gets_the_form_that_holds_with_the_next_upgrade_of_the_chart(upgraded: Cluster) -> None:
    """Until then it warns as before."""
    _until(lambda: "release it with" in upgraded.apply(upgraded.service(model(V1)), model(V2)))
    upgraded.install()
    _until(lambda: _is_held(upgraded))
    name = upgraded.service(model(V1, 25))
    assert "is left out" not in upgraded.apply(name, model(V1))
    assert upgraded.weight(name) == 25


def test_two_installations_over_one_namespace_take_each_other_for_users(upgraded: Cluster) -> None:
    """A user's release is held once, and no request fails; but what one autocanary removes, the other's guard keeps."""
    words = ("upgrade", "--install", "second", str(CHART), "--namespace", "second")
    values = {**PROMETHEUS, "crds": {"install": False}, "guard": {"enabled": True, "namespaces": ["models"]}}
    values["serviceAccount"] = {"name": "autocanary"}
    done = helm(*words, given=values, kubeconfig=upgraded.api.kubeconfig())
    assert done.returncode == 0, done.stderr

    def removed_by(account: str) -> int | None:
        name = upgraded.service(model(V1, 25))
        upgraded.replace(name, model(V1), user=account)
        return upgraded.weight(name)

    _until(lambda: removed_by(SERVICE_ACCOUNT) == 25)
    assert removed_by(OTHER_ACCOUNT) == 25
    assert _is_held(upgraded)
    done = helm("uninstall", "second", "--namespace", "second", kubeconfig=upgraded.api.kubeconfig())
    assert done.returncode == 0, done.stderr
    _until(lambda: removed_by(SERVICE_ACCOUNT) is None)


def test_nothing_of_the_guard_is_left_behind(upgraded: Cluster) -> None:
    """The last test here: afterwards requests are stored as they are written, and the weights that were set stay."""
    held = upgraded.service(model(V1))
    upgraded.apply(held, model(V2))
    assert upgraded.weight(held) == 0
    done = helm("uninstall", "autocanary", "--namespace", "auto", kubeconfig=upgraded.api.kubeconfig())
    assert done.returncode == 0, done.stderr
    left = upgraded.kubectl("get", f"{KINDS},{ALWAYS_THERE}", "-o", "name")
    assert left == (0, "")

    def is_free() -> bool:
        name = upgraded.service(model(V1))
        said = upgraded.apply(name, model(V3))
        return upgraded.weight(name) is None and "Warning" not in said

    _until(is_free)
    assert upgraded.weight(held) == 0
