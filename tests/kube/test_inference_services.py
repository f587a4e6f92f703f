"""The Cluster port: the cache of InferenceServices, and the two writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from autocanary.errors import (
    Busy,
    ClusterError,
    Conflict,
    Forbidden,
    InputError,
    NotFound,
    NotLeader,
    Refused,
    Unreachable,
)
from autocanary.kserve.v1beta1 import V1Beta1
from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.list_watch import WatchTiming
from autocanary.logs import capture
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Component
from autocanary.ports import Cluster
from tests.kube.fake_api import FakeApi, Reply, status, until
from tests.kube.samples import Leader, service

MNIST = ServiceKey("ml", "mnist")
KSERVE = "serving.kserve.io/v1beta1"


@dataclass(frozen=True)
class Older(V1Beta1):
    """Another API generation, for the tests: the same form under another group."""

    group: str = "serving.kubeflow.org"
    version: str = "v1alpha2"
    plural: str = "oldservices"


@pytest.fixture
def connect(api: FakeApi) -> Iterator[Callable[..., KubeCluster]]:
    made: list[KubeCluster] = []

    def start(*, whole: bool = True, **options: Any) -> KubeCluster:
        leader = options.pop("leader", Leader())
        options.setdefault("dialects", (V1Beta1(),))  # the server below distinguishes kinds, not groups
        client = api.client(timeout=(1.0, options.pop("read", 5.0)))
        made.append(KubeCluster(client, leader, timing=WatchTiming(retry_not_served=0.01), **options))
        made[-1].start()
        assert not whole or made[-1].wait(5)
        return made[-1]

    yield start
    for each in made:
        each.stop()


def seen(cluster: KubeCluster, key: ServiceKey = MNIST) -> Observation:
    found = cluster.observe(key)
    assert found is not None
    return found


def test_services_are_observed_without_a_call(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A tick looks at thousands of services; it must not ask the server for each."""
    api.put("inferenceservices", service())
    api.put("inferenceservices", service("other", weight=None))
    cluster: Cluster = connect()
    calls = len(api.made("GET", "/inferenceservices/"))
    assert sorted(each.key.name for each in cluster.services()) == ["mnist", "other"]
    found = cluster.observe(MNIST)
    assert found is not None
    assert (found.weight, found.traffic_percent("mnist-predictor-00002")) == (10, 10)
    assert cluster.observe(ServiceKey("ml", "mnist", Component.TRANSFORMER)) is None
    assert cluster.observe(ServiceKey("elsewhere", "mnist")) is None
    assert calls == len(api.made("GET", "/inferenceservices/")) == 0


def test_changes_are_drained_once(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """An event only says: look at this one now."""
    heard: list[set[ServiceKey]] = []
    api.put("inferenceservices", service())
    cluster = connect(on_change=heard.append)
    until(lambda: heard)
    assert cluster.take_changes() == {MNIST}
    assert cluster.take_changes() == set()
    api.drop("inferenceservices", "ml", "mnist")
    until(lambda: len(heard) == 2)
    assert cluster.take_changes() == {MNIST}
    assert list(cluster.services()) == []


def test_a_weight_is_written_by_compare_and_set(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """The patch names the version and the object that were seen, and nothing but the weight."""
    made = api.put("inferenceservices", service())
    cluster = connect()
    written = cluster.set_weight(seen(cluster), 25)
    assert written.weight == 25
    patch = api.made("PATCH")[0]
    assert patch.body == {
        "metadata": {
            "resourceVersion": made["metadata"]["resourceVersion"],
            "uid": made["metadata"]["uid"],
        },
        "spec": {"predictor": {"canaryTrafficPercent": 25}},
    }
    assert patch.query["fieldManager"] == "autocanary"
    assert patch.headers["content-type"] == "application/merge-patch+json"


def test_write_response_updates_cache_at_once(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Or the next tick would see the world before its own write, and take that for another client's."""
    api.put("inferenceservices", service())
    cluster = connect()
    before = seen(cluster)
    written = cluster.set_weight(before, 25)
    assert seen(cluster) == written
    assert int(written.resource_version) > int(before.resource_version)


def test_older_write_response_does_not_overwrite_cache(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """KServe's status may arrive before the answer to our own patch does."""
    api.put("inferenceservices", service())
    cluster = connect()
    before = seen(cluster)
    api.put("inferenceservices", service(weight=77))
    until(lambda: seen(cluster).weight == 77)
    stale = service(weight=25)
    stale["metadata"].update(uid=before.uid, resourceVersion=before.resource_version)
    api.reply("PATCH", "mnist", Reply(200, json.dumps(stale).encode()))
    assert cluster.set_weight(before, 25).weight == 25
    assert seen(cluster).weight == 77


def test_concurrent_write_is_conflict(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """409 is normal; after it the service is read again."""
    api.put("inferenceservices", service())
    cluster = connect()
    before = seen(cluster)
    api.put("inferenceservices", service(weight=30))
    with pytest.raises(Conflict, match=r"patch InferenceService ml/mnist.*modified"):
        cluster.set_weight(before, 25)
    found = cluster.refresh(MNIST)
    assert found is not None
    assert found.weight == 30
    assert seen(cluster) == found


def test_a_service_of_the_same_name_is_not_the_same_service(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Deleted and made again: the uid in the patch is refused with 422, which is a conflict to us."""
    api.put("inferenceservices", service())
    cluster = connect()
    replaced = seen(cluster)
    api.reply("PATCH", "mnist", Reply(422, status(422, "Invalid", "metadata.uid: field is immutable")))
    with pytest.raises(Conflict, match="uid"):
        cluster.set_weight(replaced, 25)


def test_a_service_that_is_gone(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A read finds that out before the watch does."""
    api.put("inferenceservices", service())
    cluster = connect()
    before = seen(cluster)
    gone = Reply(404, status(404, "NotFound", '"mnist" not found', name="mnist"))
    api.reply("PATCH", "mnist", gone)
    with pytest.raises(NotFound):
        cluster.set_weight(before, 25)
    api.reply("GET", "/inferenceservices/mnist", gone)
    assert cluster.refresh(MNIST) is None
    assert cluster.observe(MNIST) is None


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(500, status(500, "InternalError", "failed calling webhook")), Busy),
        (Reply(400, status(400, "", "admission webhook x denied the request: no")), Refused),
        (Reply(403, status(403, "Forbidden", "cannot patch")), Forbidden),
        (Reply(delay=5), Unreachable),
        (Reply(200, b'{"spec"', cut=True), Unreachable),
    ],
)
def test_failed_write_leaves_cache_unchanged(
    api: FakeApi, connect: Callable[..., KubeCluster], reply: Reply, kind: type[ClusterError]
) -> None:
    """Nothing is assumed of a write without a good answer."""
    api.put("inferenceservices", service())
    cluster = connect(read=0.05)
    before = seen(cluster)
    api.reply("PATCH", "mnist", reply)
    with pytest.raises(kind):
        cluster.set_weight(before, 25)
    assert seen(cluster).weight == 10


def test_watch_shows_write_with_lost_response(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """The write has happened; the cache learns it from the server."""
    api.put("inferenceservices", service())
    cluster = connect(read=0.05)
    before = seen(cluster)
    until(lambda: api.watches())
    api.reply("PATCH", "mnist", Reply(delay=0.1, after=True))
    with pytest.raises(Unreachable):
        cluster.set_weight(before, 25)
    until(lambda: seen(cluster).weight == 25)


def test_without_leadership_nothing_is_written(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Asked before every single write."""
    api.put("inferenceservices", service())
    leader = Leader()
    cluster = connect(leader=leader)
    written = cluster.set_weight(seen(cluster), 25)
    leader.leading = False
    with pytest.raises(NotLeader, match="ml/mnist"):
        cluster.set_weight(written, 50)
    with pytest.raises(NotLeader):
        cluster.restore(written, {}, None)
    assert len(api.made("PATCH")) == 1


def test_a_dry_run_writes_nothing(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """It answers with what was seen, and says so in the log."""
    api.put("inferenceservices", service())
    cluster = connect(dry_run=True)
    before = seen(cluster)
    with capture() as log:
        assert cluster.set_weight(before, 25) is before
    assert log.named("write_skipped")[0]["weight"] == 25
    assert api.made("PATCH") == []


def test_a_weight_that_kserve_cannot_use_is_refused_here(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """The API server would accept 101, and KServe would stop reconciling."""
    api.put("inferenceservices", service())
    cluster = connect()
    with pytest.raises(Refused, match="101"):
        cluster.set_weight(seen(cluster), 101)
    assert api.made("PATCH") == []


def test_the_stable_spec_is_restored_in_one_patch(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """What was added goes, what was changed comes back, and the weight is removed with it."""
    api.put("inferenceservices", service())
    cluster = connect()
    stable = {"model": {"storageUri": "s3://m/v1"}}
    restored = cluster.restore(seen(cluster), stable, None)
    assert (restored.spec, restored.weight) == (stable, None)
    assert len(api.made("PATCH")) == 1


def test_reports_an_answer_without_the_component(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A user has removed the transformer in the same moment."""
    api.put("inferenceservices", service())
    cluster = connect()
    bare = service()
    bare["metadata"].update(resourceVersion="900", uid="u")
    bare["spec"] = {}
    api.reply("PATCH", "mnist", Reply(200, json.dumps(bare).encode()))
    with pytest.raises(NotFound, match="no predictor any more"):
        cluster.set_weight(seen(cluster), 25)


def test_a_generation_that_is_not_installed_is_no_fault(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Most clusters serve one of them; both are read, and the age is of those that answer."""
    api.put("inferenceservices", service())
    api.unserved.add("oldservices")
    cluster = connect(dialects=(V1Beta1(), Older()))
    assert cluster.fault is None
    assert [each.key for each in cluster.services()] == [MNIST]
    assert cluster.cache_age(MNIST, KSERVE) < 5
    assert cluster.refresh(ServiceKey("ml", "none")) is None


def test_services_of_two_generations_are_one_list(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A cluster in migration has both."""
    api.put("inferenceservices", service())
    old = service("old")
    old["apiVersion"] = "serving.kubeflow.org/v1alpha2"
    api.put("oldservices", old)
    cluster = connect(dialects=(V1Beta1(), Older()))
    assert {each.key.name for each in cluster.services()} == {"mnist", "old"}
    found = cluster.refresh(ServiceKey("ml", "old"))
    assert found is not None
    assert found.api_version == "serving.kubeflow.org/v1alpha2"
    assert cluster.set_weight(found, 25).weight == 25
    assert api.made("PATCH", "/apis/serving.kubeflow.org/v1alpha2/")


def test_unsupported_api_version_is_not_written(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A rollout recorded by a version that knew more of them."""
    api.put("inferenceservices", service())
    cluster = connect()
    with pytest.raises(InputError, match="v9"):
        cluster.set_weight(replace(seen(cluster), api_version="serving.kserve.io/v9"), 25)
    assert api.made("PATCH") == []


def test_no_generation_installed_is_a_fault(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """Then KServe is missing, and the sentence says so."""
    api.unserved.add("inferenceservices")
    cluster = connect()
    assert isinstance(cluster.fault, ResourceNotServed)
    assert "is KServe installed?" in str(cluster.fault)


def test_without_any_generation_nothing_is_known(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A service restarted while the definition is gone must not take all its services for deleted."""
    api.unserved.add("inferenceservices")
    cluster = connect()
    assert cluster.cache_age(MNIST, KSERVE) == float("inf")
    with pytest.raises(ResourceNotServed):
        cluster.refresh(MNIST)
    api.unserved.clear()
    api.put("inferenceservices", service())
    until(lambda: cluster.cache_age(MNIST, KSERVE) < 5)
    assert cluster.observe(MNIST) is not None


def test_cache_age_is_that_of_its_namespace(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """One namespace that cannot be followed says nothing about the services of another."""
    api.put("inferenceservices", service())
    api.reply("GET", "/namespaces/shop/", *[Reply(503)] * 1000)
    cluster = connect(dialects=(V1Beta1(),), namespaces=["ml", "shop"], whole=False)
    until(lambda: cluster.cache_age(MNIST, KSERVE) < 5)
    assert cluster.cache_age(ServiceKey("shop", "fraud"), KSERVE) == float("inf")
    assert cluster.cache_age(ServiceKey("elsewhere", "fraud"), KSERVE) == float("inf")


def test_dry_run_logs_each_skipped_write_once(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """It is tried again at every evaluation; only another weight is news."""
    api.put("inferenceservices", service())
    cluster = connect(dry_run=True)
    with capture() as captured:
        for weight in (25, 25, 25, 0, 0):
            assert cluster.set_weight(seen(cluster), weight).weight == 10
    assert [line["weight"] for line in captured.named("write_skipped")] == [25, 0]
    assert api.made("PATCH") == []


def test_a_definition_that_vanishes_does_not_end_a_known_service(
    api: FakeApi, connect: Callable[..., KubeCluster]
) -> None:
    """A refresh says that nothing can be known, not that the service is gone."""
    api.put("inferenceservices", service())
    cluster = connect()
    api.unserved.add("inferenceservices")
    with pytest.raises(ResourceNotServed):
        cluster.refresh(MNIST)
    assert cluster.observe(MNIST) is not None


def test_a_watch_that_is_refused_is_a_fault(api: FakeApi, connect: Callable[..., KubeCluster]) -> None:
    """A missing right shows, also beside a generation that is not installed."""
    api.unserved.add("oldservices")
    cluster = connect(dialects=(V1Beta1(), Older()))
    until(lambda: api.watches())
    api.reply("GET", "/inferenceservices", *[Reply(403, status(403, "Forbidden", "cannot list"))] * 20)
    api.cut_streams()
    until(lambda: isinstance(cluster.fault, Forbidden))
    assert "cannot list" in str(cluster.fault)
