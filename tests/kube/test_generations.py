"""Several API generations of the InferenceService in one cluster: which of them drives a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from autocanary.errors import CanaryUnsupported, Refused
from autocanary.kserve import DIALECTS
from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.kserve.v1beta1 import V1Beta1
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.list_watch import WatchTiming
from autocanary.logs import capture
from autocanary.model.observation import Observation, PromotionPending, ServiceKey
from autocanary.simulator.world import kfserving_manifest
from tests.kube.fake_api import FakeApi, Reply, status, until
from tests.kube.samples import Leader, service

OLD = "serving.kubeflow.org"
SIDED = ServiceKey("ml", "flowers")


@dataclass(frozen=True)
class StubKFServing(V1Alpha2):
    """The server below distinguishes kinds by their plurals, not by groups."""

    plural: str = "sidedservices"


@dataclass(frozen=True)
class Newer(V1Beta1):
    """KFServing 0.5's own generation, likewise."""

    group: str = OLD
    plural: str = "newerservices"


@pytest.fixture
def connect(api: FakeApi) -> Iterator[Callable[..., KubeCluster]]:
    made: list[KubeCluster] = []

    def start(*dialects: Any) -> KubeCluster:
        client = api.client(timeout=(1.0, 5.0))
        made.append(KubeCluster(client, Leader(), timing=WatchTiming(retry_not_served=0.01), dialects=dialects))
        made[-1].start()
        assert made[-1].wait(5)
        return made[-1]

    yield start
    for each in made:
        each.stop()


def sided(name: str = "flowers", *, canary: str = "pvc://m/2", weight: int | None = 100) -> dict[str, Any]:
    """A canary with all the traffic, as KFServing 0.4 shows it."""
    document = kfserving_manifest(name, "pvc://m/1", canary=canary, weight=weight, namespace="ml")
    true = {"status": "True"}
    document["status"] = {
        "canaryTraffic": 100,
        "default": {"predictor": {"name": f"{name}-predictor-default-x7zcl"}},
        "canary": {"predictor": {"name": f"{name}-predictor-canary-mswmr"}},
        "conditions": [
            {"type": kind, **true} for kind in ("DefaultPredictorReady", "CanaryPredictorReady", "RoutesReady", "Ready")
        ],
    }
    return document


def seen(cluster: KubeCluster, key: ServiceKey) -> Observation:
    found = cluster.observe(key)
    assert found is not None
    return found


def test_supported_api_versions() -> None:
    """KServe's, then KFServing's newer and its older one."""
    assert [each.api_version for each in DIALECTS] == [
        "serving.kserve.io/v1beta1",
        "serving.kubeflow.org/v1beta1",
        "serving.kubeflow.org/v1alpha2",
    ]


def test_both_groups_at_once(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Each service is read and written as what it is."""
    api.put("inferenceservices", service())
    api.put("sidedservices", sided())
    cluster = connect(V1Beta1(), StubKFServing())
    assert {each.key.name: each.default_endpoint is None for each in cluster.services()} == {
        "mnist": True,
        "flowers": False,
    }
    found = seen(cluster, SIDED)
    assert (found.created, found.promotion_pending) == (
        "flowers-predictor-canary-mswmr",
        PromotionPending.ADOPT,
    )
    copied = cluster.finalize(found)
    assert copied.promotion_pending is PromotionPending.CLEAR
    cleared = cluster.finalize(copied)
    assert cleared.candidate_removed
    assert seen(cluster, SIDED) == cleared
    bodies = [each.body["spec"] for each in api.made("PATCH", "/sidedservices/")]
    assert bodies == [
        {"default": {"predictor": {"tensorflow": {"storageUri": "pvc://m/2"}}}},
        {"canary": None, "canaryTrafficPercent": None},
    ]
    with pytest.raises(Refused, match="nothing to finalize"):
        cluster.finalize(seen(cluster, ServiceKey("ml", "mnist")))


def test_a_group_that_is_not_served_is_no_fault(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Most clusters have only one of them."""
    api.unserved.add("inferenceservices")
    api.put("sidedservices", sided())
    cluster = connect(V1Beta1(), Newer(group="serving.kserve.io"), StubKFServing())
    assert cluster.fault is None
    assert [each.key for each in cluster.services()] == [SIDED]
    assert cluster.cache_age(SIDED, OLD) < 5
    assert cluster.set_weight(seen(cluster, SIDED), 50).weight == 50


def test_one_object_in_two_generations_is_driven_in_the_newer(
    api: FakeApi, connect: Callable[..., KubeCluster]
) -> None:
    """KFServing 0.5 and 0.6 serve both, and refuse canaries in the older."""
    api.put("inferenceservices", service() | {"apiVersion": f"{OLD}/v1beta1"})
    cluster = connect(V1Beta1(group=OLD), V1Alpha2())
    found = cluster.services()
    assert [each.api_version for each in found] == [f"{OLD}/v1beta1"]
    assert cluster.set_weight(found[0], 25).weight == 25
    assert api.made("PATCH", f"/apis/{OLD}/v1beta1/")
    assert not api.made("PATCH", f"/apis/{OLD}/v1alpha2/")


def test_a_newer_generation_that_fails_for_a_moment_hides_nothing(
    api: FakeApi, connect: Callable[..., KubeCluster]
) -> None:
    """It is not served, then the server stumbles: the services of the older one are still there."""
    api.unserved.add("newerservices")
    api.put("sidedservices", sided())
    cluster = connect(Newer(), StubKFServing())
    asked = len(api.made("GET", "/newerservices"))
    api.reply("GET", "/newerservices", *[Reply(503, status(503, "ServiceUnavailable", "busy"))] * 3)
    until(lambda: len(api.made("GET", "/newerservices")) > asked + 1)
    assert [each.key for each in cluster.services()] == [SIDED]
    assert seen(cluster, SIDED).created == "flowers-predictor-canary-mswmr"


def test_the_same_name_in_two_groups(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """They are two services, of which a rollout's name can mean only one: said once."""
    api.put("inferenceservices", service("flowers"))
    api.put("sidedservices", sided())
    with capture() as lines:
        cluster = connect(V1Beta1(), StubKFServing())
        for _ in range(3):
            assert [each.api_version for each in cluster.services()] == ["serving.kserve.io/v1beta1"]
    assert seen(cluster, SIDED).default_endpoint is None
    assert len(lines.named("service_shadowed")) == 1


def test_a_canary_that_kfserving_does_not_know_any_more(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """The webhook's refusal becomes a sentence that says what to do."""
    api.put("sidedservices", sided())
    cluster = connect(StubKFServing())
    said = (
        'admission webhook "inferenceservice.kfserving-webhook-server.validator" denied the request: Canary '
        "rollout is no longer supported on v1alpha2, please convert to v1beta1 to use the feature."
    )
    api.reply("PATCH", "/sidedservices/", Reply(400, status(400, "BadRequest", said)))
    with pytest.raises(CanaryUnsupported, match=r"apply the service as serving\.kubeflow\.org/v1beta1"):
        cluster.set_weight(seen(cluster, SIDED), 25)


FORBIDDEN = WatchTiming(first_backoff=0.01, max_backoff=0.05, retry_not_served=0.01)


@pytest.fixture
def forbidden_errors(api: FakeApi) -> Iterator[Callable[..., KubeCluster]]:
    """Clusters whose session may not read some of the kinds; they need not become ready."""
    made: list[KubeCluster] = []

    def start(*dialects: Any, **options: Any) -> KubeCluster:
        client = api.client(timeout=(1.0, 5.0))
        made.append(KubeCluster(client, Leader(), timing=FORBIDDEN, dialects=dialects, **options))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop()


def test_forbidden_group_does_not_block_other(api: FakeApi, forbidden_errors: Callable[..., KubeCluster]) -> None:
    """It is logged once, in the server's words; with the right its services are there, without a restart."""
    api.put("inferenceservices", service())
    api.put("sidedservices", sided())
    api.forbidden.add("sidedservices")
    with capture() as log:
        cluster = forbidden_errors(V1Beta1(), StubKFServing())
        until(lambda: cluster.wait(0))
        until(lambda: len(api.made("GET", f"/apis/{OLD}/v1alpha2/sidedservices")) > 2)
        assert [each.key.name for each in cluster.services()] == ["mnist"]
        (fault,) = cluster.forbidden_errors
        assert "sidedservices is forbidden" in str(fault)
        assert cluster.set_weight(seen(cluster, ServiceKey("ml", "mnist")), 25).weight == 25
        api.forbidden.clear()
        until(lambda: len(cluster.services()) == 2)
    assert not cluster.forbidden_errors
    assert [each["level"] for each in log.named("watch_failed")] == ["warning"]


def test_deletion_is_reported_by_own_api_group(api: FakeApi, forbidden_errors: Callable[..., KubeCluster]) -> None:
    """A rollout of a deleted service ends; one of a group that may not be read cannot be said to be over."""
    api.forbidden.add("sidedservices")
    cluster = forbidden_errors(V1Beta1(), StubKFServing())
    until(lambda: cluster.wait(0))
    assert cluster.cache_age(ServiceKey("ml", "deleted"), "serving.kserve.io/v1beta1") < 5
    assert cluster.cache_age(SIDED, f"{OLD}/v1alpha2") == float("inf")


def test_a_group_that_is_not_served_is_forbidden_too(
    api: FakeApi, forbidden_errors: Callable[..., KubeCluster]
) -> None:
    """Rights are checked before the path; whether there is such a kind is asked of discovery."""
    api.put("inferenceservices", service())
    api.forbidden.add("sidedservices")
    api.unserved.add("sidedservices")
    cluster = forbidden_errors(V1Beta1(), StubKFServing())
    until(lambda: cluster.wait(0))
    assert cluster.forbidden_errors == []
    assert cluster.fault is None


def test_not_synced_when_every_group_is_forbidden(api: FakeApi, forbidden_errors: Callable[..., KubeCluster]) -> None:
    """Neither is a group that is only not installed: the one that is may be readable in a moment."""
    api.forbidden |= {"inferenceservices", "sidedservices"}
    api.unserved.add("sidedservices")
    cluster = forbidden_errors(V1Beta1(), StubKFServing())
    until(lambda: len(api.made("GET", "/inferenceservices")) > 3)
    until(lambda: len(api.made("GET", "/sidedservices")) > 3)
    assert not cluster.wait(0)
    assert "inferenceservices is forbidden" in str(cluster.fault)


def test_discovery_that_fails_leaves_the_refusal(api: FakeApi, forbidden_errors: Callable[..., KubeCluster]) -> None:
    """Not known to be absent: it is taken for served."""
    api.put("inferenceservices", service())
    api.forbidden.add("sidedservices")
    api.unserved.add("sidedservices")
    refused = Reply(403, status(403, "Forbidden", "no discovery for you"))
    api.reply("GET", f"/apis/{OLD}/v1alpha2", *[refused] * 500)
    cluster = forbidden_errors(V1Beta1(), StubKFServing())
    until(lambda: cluster.wait(0))
    assert len(cluster.forbidden_errors) == 1


def test_a_right_missing_in_one_namespace_holds_up_nothing_else(
    api: FakeApi, forbidden_errors: Callable[..., KubeCluster]
) -> None:
    """A Role with the older group's rule was forgotten there."""
    api.put("inferenceservices", service())
    refused = Reply(403, status(403, "Forbidden", "sidedservices is forbidden in shop"))
    api.reply("GET", "/namespaces/shop/sidedservices", *[refused] * 500)
    cluster = forbidden_errors(V1Beta1(), StubKFServing(), namespaces=["ml", "shop"])
    until(lambda: cluster.wait(0))
    assert len(cluster.forbidden_errors) == 1
    assert cluster.cache_age(ServiceKey("ml", "mnist"), "serving.kserve.io/v1beta1") < 5
