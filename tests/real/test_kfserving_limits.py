"""Where KFServing's v1alpha2 has limits of its own: one weight for all components, and none at all after 0.4."""

from __future__ import annotations

import time

import pytest

from tests.real.installation import Autocanary, Installation
from tests.real.kfserving_service import CANARY, FIRST, NAME, KFServingService, model, policy, serving
from tests.real.manifests import Document
from tests.real.run_command import autocanary
from tests.testbed.servers import wait_until

pytestmark = pytest.mark.real

KFSERVING = True
COMPONENTS = ("predictor", "transformer", "explainer")
SAID = "apply the service as serving.kubeflow.org/v1beta1, where canaryTrafficPercent is a field of the predictor"


@pytest.fixture
def service(installation: Installation, namespace: str) -> KFServingService:
    """Default serves, and a policy of few seconds selects it."""
    return serving(installation, namespace)


# --- components -----------------------------------------------------------------------------------------------


def whole(version: int) -> Document:
    """An endpoint with all that it can have."""
    return {
        **model(f"pvc://models/mnist-{version}/"),
        "transformer": {"custom": {"container": {"image": f"registry.example.com/images:{version}"}}},
        "explainer": {"alibi": {"type": "AnchorImages", "storageUri": f"pvc://models/explain-{version}/"}},
    }


@pytest.fixture
def wide(service: KFServingService) -> KFServingService:
    """Default has a predictor, a transformer and an explainer, and all of them serve."""
    service.edit(default=whole(1))
    wait_until(
        lambda: set(service.get()["status"].get("default", {})) == set(COMPONENTS) and service.split() == ("100", ""),
        seconds=30,
        what="all of default to serve",
    )
    return service


def split(service: KFServingService) -> dict[str, int]:
    """Who answers requests, of all components: percent by what follows the service's name."""
    shares = service.installation.split()[service.namespace, NAME]
    return {revision.removeprefix(f"{NAME}-"): share for revision, share in shares.items() if share}


def test_a_service_with_transformer_and_explainer(installation: Installation, wide: KFServingService) -> None:
    """All components have the candidate's share, each by a revision of its own, and are promoted in one copy."""
    installation.run("--namespace", wide.namespace, "--no-leader-election")
    wide.edit(canary=whole(2), canaryTrafficPercent=10)
    wide.wait_for_weight_in_effect(50)
    status = wide.get()["status"]
    assert {side: set(status[side]) for side in ("default", "canary")} == {
        "default": set(COMPONENTS),
        "canary": set(COMPONENTS),
    }
    shares = split(wide)
    for component in COMPONENTS:
        assert shares[f"{component}-canary-00001"] == 50, shares
        assert sum(share for name, share in shares.items() if name.startswith(f"{component}-default")) == 50
    shown = autocanary(
        "status",
        "-n",
        wide.namespace,
        "-o",
        "wide",
        home=installation.folder,
        environment={"KUBECONFIG": str(installation.api.kubeconfig())},
    )
    routes = {line.split()[0]: line.split()[-1] for line in shown.out.splitlines() if "100% ->" in line}
    assert {name for name in routes if name.endswith("-canary")} == {
        f"{NAME}-{component}-canary" for component in COMPONENTS
    }
    assert all(revision.startswith(name) for name, revision in routes.items())
    assert wide.ended()["status"]["phase"] == "Promoted"
    assert wide.spec == {"default": whole(2)}
    assert split(wide) == {
        "predictor-default-00003": 100,
        "transformer-default-00002": 100,
        "explainer-default-00002": 100,
    }
    assert [each for each in wide.written_specs() if "default" not in each] == [
        {"canaryTrafficPercent": 50},
        {"canaryTrafficPercent": 100},
        {"canary": None, "canaryTrafficPercent": None},
    ]


def test_a_bad_transformer_takes_the_whole_candidate_back(installation: Installation, wide: KFServingService) -> None:
    """Measured by the transformer's revisions, of both sides; the predictor's are without a fault."""
    policy(installation, component="transformer")
    bad = f"{NAME}-transformer-canary-00001"
    installation.traffic.behave(bad, errors=0.3)
    installation.run("--namespace", wide.namespace, "--no-leader-election")
    try:
        wide.edit(canary=whole(2), canaryTrafficPercent=10)
        rollout = wide.ended(bad)
    finally:
        installation.traffic.behave(bad)
    assert (rollout["status"]["phase"], rollout["status"]["reason"]) == ("RolledBack", "MetricViolation")
    assert rollout["spec"]["stable"] == f"{NAME}-transformer-default-00001"
    assert wide.written_specs() == [{"canaryTrafficPercent": 0}]
    assert wide.split() == ("100", "")
    assert all("-default-" in name for name in split(wide))


def test_two_policies_for_one_service(installation: Installation, wide: KFServingService) -> None:
    """For two of its components: neither applies, and the log says so; with one of them it is started."""
    policy(installation, "second", component="transformer")
    process = installation.run("--namespace", wide.namespace, "--no-leader-election")
    wide.edit(canary=whole(2), canaryTrafficPercent=10)
    wide.wait_for_weight_in_effect(10)
    installation.eventually(lambda: len(process.events("rollout_refused")) == 2, "the tie to be notified")
    time.sleep(3)
    refused = process.events("rollout_refused")
    assert [(each["service"], each["reason"]) for each in refused] == [(NAME, "PolicyTie")] * 2
    assert all("share one weight: let only one of them select it" in each["message"] for each in refused)
    assert installation.rollouts(wide.namespace) == {}
    assert wide.written_specs() == []
    (installation.policies / "second.yaml").unlink()
    assert wide.ended()["status"]["phase"] == "Promoted"


# --- KFServing 0.5 and 0.6 ------------------------------------------------------------------------------------


def upgrade(service: KFServingService) -> None:
    """From now on every weight is refused, in the words of KFServing 0.5's webhook."""
    group, name = "admissionregistration.k8s.io", service.namespace
    rule = {"apiGroups": ["serving.kubeflow.org"], "apiVersions": ["v1alpha2"], "operations": ["UPDATE"]}
    service.installation.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                    "resourceRules": [{**rule, "resources": ["inferenceservices"]}],
                },
                "validations": [
                    {
                        "expression": "!has(object.spec.canaryTrafficPercent)",
                        "message": "Canary rollout is no longer supported on v1alpha2, please convert to "
                        "v1beta1 to use the feature.",
                    }
                ],
            },
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    )
    path = f"/apis/serving.kubeflow.org/v1alpha2/namespaces/{name}/inferenceservices/{NAME}?dryRun=All"

    def refuses() -> bool:
        status, _ = service.installation.api.request(
            path,
            method="PATCH",
            body={"spec": {"canaryTrafficPercent": 11}},
            content_type="application/merge-patch+json",
        )
        return status >= 400

    wait_until(refuses, seconds=60, what="the refusal to be in force", every=0.2)


@pytest.fixture
def upgraded(installation: Installation, service: KFServingService) -> tuple[KFServingService, Autocanary]:
    """A canary has 10 % when KFServing is upgraded under it; the next step is refused."""
    service.canary("pvc://models/mnist-2/")
    service.wait_for_weight_in_effect(10)
    upgrade(service)
    process = installation.run("--namespace", service.namespace, "--no-leader-election")
    wait_until(
        lambda: (
            installation.rollouts(service.namespace).get(FIRST, {}).get("status", {}).get("reason")
            == "CanaryUnsupported"
        ),
        seconds=60,
        what="the refusal to be notified",
        every=0.3,
    )
    return service, process


def test_a_refusal_of_canaries_is_notified(
    installation: Installation, upgraded: tuple[KFServingService, Autocanary]
) -> None:
    """Held at the weight there is; status, log, Event and command say what works. It is tried on meanwhile."""
    service, process = upgraded
    status = installation.rollouts(service.namespace)[FIRST]["status"]
    assert status["phase"] == "Holding"
    assert SAID in status["message"]
    [held] = process.events("rollout_held")
    assert held["reason"] == "CanaryUnsupported"
    assert SAID in held["message"]
    assert SAID in process.events("write_failed")[0]["error"]
    notified = [each for each in installation.kube_events(service.namespace) if each["reason"] == "CanaryUnsupported"]
    assert [(each["type"], SAID in each["message"]) for each in notified] == [("Warning", True)]
    shown = autocanary(
        "status",
        NAME,
        "-n",
        service.namespace,
        home=installation.folder,
        environment={"KUBECONFIG": str(installation.api.kubeconfig())},
    )
    assert "CanaryUnsupported" in shown.out
    assert SAID in " ".join(shown.out.split())
    assert (service.split(), service.written_specs()) == (("90", "10"), [])
    installation.api.kubectl("delete", "validatingadmissionpolicybinding", service.namespace)
    assert service.ended()["status"]["phase"] == "Promoted"
    assert service.spec == {"default": model("pvc://models/mnist-2/")}


def test_a_rollback_where_weights_are_refused(
    installation: Installation, upgraded: tuple[KFServingService, Autocanary]
) -> None:
    """The candidate is taken out of the spec instead, which KFServing still accepts."""
    service, _ = upgraded
    before = service.spec["default"]
    installation.traffic.behave(f"{CANARY}-00001", errors=0.5)
    try:
        rollout = service.ended()
    finally:
        installation.traffic.behave(f"{CANARY}-00001")
    assert (rollout["status"]["phase"], rollout["status"]["reason"]) == ("RolledBack", "MetricViolation")
    assert service.written_specs() == [{"canary": None, "canaryTrafficPercent": None}]
    assert service.spec == {"default": before}
    assert service.split() == ("100", "")
