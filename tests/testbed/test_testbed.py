"""The real servers of the testbed: one that is not what it seems to be would excuse any bug."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.servers import (
    ApiServer,
    Exporter,
    FaultProxy,
    KubectlError,
    Prometheus,
    Reset,
    Scrape,
    TcpProxy,
    install_inferenceservice_crd,
    install_kfserving_crd,
    require_servers,
    writes,
)

CONTROLLER = "system:serviceaccount:autocanary:autocanary"
STRANGER = "stranger"
ISVC = "inferenceservices.serving.kserve.io"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One API server for the module; pytest keeps the folder, so its log can be read after a failure."""
    require_servers("kube-apiserver", "etcd", "kubectl")
    with ApiServer([CONTROLLER, STRANGER], folder=tmp_path_factory.mktemp("apiserver")) as server:
        install_inferenceservice_crd(server)
        yield server


def isvc(name: str, percent: int | None = None) -> dict[str, Any]:
    """An InferenceService as a user writes it."""
    predictor: dict[str, Any] = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://b/v1"}}
    if percent is not None:
        predictor["canaryTrafficPercent"] = percent
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictor": predictor},
    }


@pytest.mark.real
class TestApiServer:
    """kube-apiserver on etcd."""

    def test_kubectl_prints_the_columns_of_an_inferenceservice(self, api: ApiServer) -> None:
        """The definition's printer columns are those users see, traffic included."""
        api.apply(isvc("columns", 10))
        traffic = [
            {"revisionName": "columns-predictor-00001", "percent": 90, "tag": "prev"},
            {"revisionName": "columns-predictor-00002", "percent": 10, "latestRevision": True},
        ]
        status = {"url": "http://columns.example", "components": {"predictor": {"traffic": traffic}}}
        patch = json.dumps({"status": status})
        api.kubectl("patch", ISVC, "columns", "--subresource=status", "--type=merge", "-p", patch)
        header, row = api.kubectl("get", "inferenceservice", "columns").splitlines()
        expected = "NAME URL READY PREV LATEST PREVROLLEDOUTREVISION LATESTREADYREVISION AGE"
        assert header.split() == expected.split()
        name, url, prev, latest, *revisions, _age = row.split()  # READY is empty
        assert (name, url, prev, latest) == ("columns", "http://columns.example", "90", "10")
        assert revisions == ["columns-predictor-00001", "columns-predictor-00002"]

    def test_a_user_without_rights_is_forbidden_and_the_audit_log_says_so(self, api: ApiServer) -> None:
        """RBAC is real: a missing verb is a 403, on record under the user's name."""
        with pytest.raises(KubectlError, match="forbidden"):
            api.kubectl("get", ISVC, "-n", "default", user=STRANGER)
        refused = [event for event in api.audit(STRANGER) if event["verb"] == "list"]
        assert refused
        assert {event["responseStatus"]["code"] for event in refused} == {403}
        assert refused[0]["objectRef"]["resource"] == "inferenceservices"

    def test_a_user_named_like_a_service_account_gets_its_rights(self, api: ApiServer) -> None:
        """A role bound to a ServiceAccount subject, as a chart binds it, counts for the user of that name."""
        rbac = "rbac.authorization.k8s.io"
        rules = [{"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"], "verbs": ["patch"]}]
        subject = {"kind": "ServiceAccount", "name": "autocanary", "namespace": "autocanary"}
        api.apply(
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "canary"},
                "rules": rules,
            },
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "canary"},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "canary"},
                "subjects": [subject],
            },
            isvc("bound", 5),
        )
        body = {"spec": {"predictor": {"canaryTrafficPercent": 25}}}
        assert api.kubectl("auth", "can-i", "patch", ISVC, user=CONTROLLER).strip() == "yes"
        with pytest.raises(KubectlError, match="forbidden"):
            api.kubectl("delete", ISVC, "bound", user=CONTROLLER)
        status, _ = api.request(
            "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices/bound",
            user=CONTROLLER,
            method="PATCH",
            body=body,
            content_type="application/merge-patch+json",
        )
        assert status == 200
        [event] = [event for event in api.audit(CONTROLLER) if event["verb"] == "patch"]
        assert event["requestObject"] == body

    def test_kill_and_restart_keep_the_objects_and_the_address(self, api: ApiServer) -> None:
        """A crash of the API server is an outage, not a new cluster."""
        api.apply(isvc("survivor"))
        address = api.url
        api.kill()
        with pytest.raises(KubectlError, match="refused"):
            api.kubectl("get", ISVC, "survivor")
        api.start()
        assert api.url == address
        assert api.kubectl("get", ISVC, "survivor", "-o", "jsonpath={.metadata.name}") == "survivor"

    def test_pause_hangs_and_resume_answers(self, api: ApiServer) -> None:
        """A frozen server takes connections and says nothing."""
        api.pause()
        try:
            with pytest.raises(TimeoutError):
                api.request("/readyz", seconds=0.5)
        finally:
            api.resume()
        assert api.request("/readyz")[0] == 200

    def test_the_full_and_the_old_definitions_install(self, api: ApiServer) -> None:
        """Both generations stand side by side, and the full schema takes the minimal one's place."""
        install_kfserving_crd(api)
        old = isvc("old") | {
            "apiVersion": "serving.kubeflow.org/v1alpha2",
            "spec": {"default": {"predictor": {}}, "canaryTrafficPercent": 0},
        }
        api.apply(old)
        assert "CANARY TRAFFIC" in api.kubectl("get", "inferenceservices.serving.kubeflow.org")
        install_inferenceservice_crd(api, "full")
        wrong = isvc("typed")
        wrong["spec"]["predictor"]["canaryTrafficPercent"] = "ten"
        with pytest.raises(KubectlError, match="canaryTrafficPercent"):
            api.apply(wrong)
        install_inferenceservice_crd(api, "minimal")

    def test_kubectl_works_through_both_proxies(self, api: ApiServer) -> None:
        """The service under test can be put behind either: TLS untouched, or read and counted."""
        with TcpProxy(api.url) as tunnel:
            config = str(api.kubeconfig(server=tunnel.url))
            assert "default" in api.kubectl("--kubeconfig", config, "get", "namespaces")
        with FaultProxy(api.url, ca=api.ca, token=api.token()) as proxy:
            config = str(api.kubeconfig(server=proxy.url))
            api.kubectl("--kubeconfig", config, "create", "namespace", "through")
            assert proxy.count(writes) == 1
            proxy.inject(Reset(), writes)
            with pytest.raises(KubectlError):
                api.kubectl("--kubeconfig", config, "delete", "namespace", "through")
        assert "Active" in api.kubectl("get", "namespace", "through")


@pytest.mark.real
class TestPrometheus:
    """Prometheus over an exporter of the tests."""

    def test_it_scrapes_answers_and_survives_what_is_done_to_it(self, tmp_path: Path) -> None:
        """Labels and relabelling arrive, a pause is a time-out, a kill keeps the samples."""
        require_servers("prometheus")
        drop = {"regex": "noise", "action": "labeldrop"}
        with Exporter('canary_requests_total{noise="x"} 7\n') as exporter:
            scrape = Scrape("pods", exporter.target, {"namespace": "shop"}, metric_relabels=[drop])
            with Prometheus([scrape], folder=tmp_path / "prometheus") as prometheus:
                [series] = prometheus.wait_for("canary_requests_total")
                assert series["metric"]["namespace"] == "shop"
                assert "noise" not in series["metric"]
                assert series["value"][1] == "7"

                prometheus.pause()
                with pytest.raises(TimeoutError):
                    prometheus.query("1", seconds=0.5)
                prometheus.resume()
                assert prometheus.query("vector(2)")[0]["value"][1] == "2"

                prometheus.kill()
                with pytest.raises(OSError, match="refused"):
                    prometheus.query("1")
                prometheus.start()
                assert prometheus.query("last_over_time(canary_requests_total[1m])")
