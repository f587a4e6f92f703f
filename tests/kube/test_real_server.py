"""This room on a real API server: schemas, compare-and-set, watches, leases, rights."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.errors import AlreadyExists, Conflict, Forbidden, NotFound, Refused, Unreachable
from autocanary.kube import crds
from autocanary.kube.api_client import ApiClient
from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.events import EventWriter
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.leader_election import LeaderElector, LeaseTimings
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.rbac import rbac_rules
from autocanary.kube.resource import EVENTS, LEASES, POLICIES, Resource
from autocanary.kube.rollout_policies import KubePolicies, PolicyStatus
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.model.measurement import Measurement, MeasurementKind
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.progress import MetricState, Phase
from autocanary.model.progress_json import VERSION, with_stored_fields
from autocanary.model.recorded_spec import spec_digests
from autocanary.model.rollout import Request, Rollout
from autocanary.ports import Message
from tests.kube.conftest import SERVICE_USER
from tests.kube.fake_api import until
from tests.kube.samples import Leader, notification, rollout, service
from tests.policy_files.policy_texts import FULL_POLICY
from tests.policy_files.test_every_field import BASE as BASE_POLICY
from tests.testbed.servers import ApiServer, KubectlError, TcpProxy, install_inferenceservice_crd

pytestmark = pytest.mark.real

QUICK = WatchTiming(first_backoff=0.05, max_backoff=0.5)
SHIPPED = sorted((Path(__file__).resolve().parents[2] / "policies").glob("*.yaml"))


@pytest.fixture
def connect(cluster: ApiServer) -> Iterator[Callable[..., ApiClient]]:
    """Sessions with the service's own rights, or another user's."""
    sessions: list[ApiClient] = []

    def client(user: str = SERVICE_USER, *, server: str | None = None, **options: Any) -> ApiClient:
        credentials = find_credentials(str(cluster.kubeconfig(user, server=server)))
        sessions.append(ApiClient(credentials, **options))
        return sessions[-1]

    yield client
    for each in sessions:
        each.close()


@pytest.fixture
def client(connect: Callable[..., ApiClient]) -> ApiClient:
    return connect()


Follow = Callable[[Any], Any]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Starts anything that follows the server, and stops it at the end."""
    started: list[Any] = []

    def start(each: Any) -> Any:
        started.append(each)
        each.start()
        assert each.wait(10)
        return each

    yield start
    for each in started:
        each.stop()


def in_namespace(namespace: str, **changes: Any) -> Rollout:
    return rollout(namespace=namespace, **changes)


def test_the_definitions_are_structural(cluster: ApiServer) -> None:
    """Established, and without the condition that names a fault of the schema."""
    for each in crds.definitions():
        reported = json.loads(cluster.kubectl("get", "crd", each["metadata"]["name"], "-o", "json"))
        conditions = {one["type"]: one["status"] for one in reported["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_policies_are_accepted_whole(cluster: ApiServer, namespace: str, path: Path) -> None:
    """The same document works as a file and as an object, and nothing of it is dropped."""
    document = yaml.safe_load(path.read_text())
    document["metadata"]["namespace"] = namespace
    cluster.apply(document)
    name = document["metadata"]["name"]
    held = json.loads(cluster.kubectl("get", "rp", name, "-n", namespace, "-o", "json"))
    assert held["spec"] == document["spec"]


@pytest.mark.parametrize("text", [FULL_POLICY, BASE_POLICY], ids=["short form", "every field"])
def test_policy_with_many_fields_comes_back_unchanged(cluster: ApiServer, namespace: str, text: str) -> None:
    """The API server drops nothing, adds no default, and explains each field in the schema's words."""
    document = yaml.safe_load(text)
    document["metadata"] = {"name": "whole", "namespace": namespace}
    cluster.apply(document)
    held = json.loads(cluster.kubectl("get", "rp", "whole", "-n", namespace, "-o", "json"))
    assert held["spec"] == document["spec"]
    explained = cluster.kubectl("explain", "rolloutpolicy.spec.analysis.metrics.compare.margin")
    assert "How much worse the candidate may be" in " ".join(explained.split())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"onUnstaged": "catch"}, 'supported values: "intercept", "ignore"'),
        ({"webhooks": [{"name": "a", "type": "rollout", "url": "http://a"}] * 21}, "must have at most 20 items"),
        ({"analysis": {"metrics": [{"name": "a", "query": "a" * 16_385}]}}, "may not be more than 16384"),
        ({"windows": [{"from": "09:00", "to": "10:00"}]}, "timezone: Required value"),
    ],
)
def test_api_server_refuses_what_is_beyond_a_limit(
    cluster: ApiServer, namespace: str, spec: dict[str, Any], says: str
) -> None:
    """The limits and the known words of the schema hold when the policy is applied."""
    metadata = {"name": "odd", "namespace": namespace}
    with pytest.raises(KubectlError) as refused:
        cluster.apply({"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata, "spec": spec})
    assert says in str(refused.value)


def test_a_misspelt_policy_reaches_the_service(cluster: ApiServer, namespace: str) -> None:
    """Unknown fields, at every depth, are kept for the service to name; wrong types are refused at once."""
    metadata = {"name": "odd", "namespace": namespace}
    head = {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata}
    odd = {
        "stepWeight": [10],
        "analysis": {"wndow": "1m", "metrics": [{"name": "x", "thresholdRange": {"maximum": 1}}]},
        "steps": [{"setWeight": 10, "pauze": {}}],
    }
    cluster.apply(head | {"spec": odd})
    held = json.loads(cluster.kubectl("get", "rp", "odd", "-n", namespace, "-o", "json"))
    assert held["spec"] == odd
    with pytest.raises(KubectlError, match="stepWeights"):
        cluster.apply(head | {"spec": {"stepWeights": "10"}})


def test_a_rollout_comes_back_as_it_was(client: ApiClient, namespace: str, follow: Follow) -> None:
    """Nulls, fractions and unknown fields survive the schema; another instance reads the same."""
    measurements = {
        "p99": MetricState(0, 3, True, Measurement(MeasurementKind.VALUE, 0.1 + 0.2, requests=1e9, age=0.5)),
        "errors": MetricState(1, 0, None, Measurement(MeasurementKind.NOT_A_NUMBER, float("nan"), detail="0/0")),
    }
    progress = with_stored_fields(rollout().progress, {"metrics": measurements, "started_at": 1_799_999_999.999_999})
    wanted = in_namespace(namespace, progress=progress, candidate_spec={"a": {"b": None}}, candidate_digest="c")
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK))
    made = store.create(wanted)
    other = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    for found in (made, other.rollouts()[0]):
        assert found.progress.started_at == progress.started_at
        assert found.progress.step.weight is None
        assert found.progress.decisions == progress.decisions
        assert found.progress.analysis.metrics["p99"] == measurements["p99"]
        assert (found.policy_document, found.stable_spec) == (wanted.policy_document, wanted.stable_spec)
        assert found.candidate_spec == {"a": {"b": None}}
    recorded = store.update_status(
        replace(
            made,
            progress=replace(
                progress, analysis=replace(progress.analysis, metrics={}), step=replace(progress.step, weight=0)
            ),
        )
    )
    assert (recorded.progress.analysis.metrics, recorded.progress.step.weight) == ({}, 0)
    until(lambda: other.rollouts()[0] == recorded)


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_can_be_recorded(client: ApiClient, namespace: str, follow: Follow, phase: Phase) -> None:
    """The definition must not refuse what the program says."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    finished = 1_700_000_100.0 if phase.is_final else None
    recorded = store.update_status(
        replace(
            made, progress=with_stored_fields(made.progress, {"phase": phase, "weight": 50, "finished_at": finished})
        )
    )
    assert recorded.progress.phase is phase


def test_users_read_and_wait_with_kubectl(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """The columns, and `kubectl wait` for the outcome."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    done = with_stored_fields(made.progress, {"phase": Phase.PROMOTED, "weight": 100, "finished_at": 1_700_000_100.0})
    store.update_status(replace(made, progress=done))
    names = ["NAME", "SERVICE", "PHASE", "STEP", "WEIGHT", "STABLE", "CANDIDATE", "REASON", "AGE"]
    header, row = cluster.kubectl("get", "crl", "-n", namespace).splitlines()
    assert header.split() == names
    assert row.split()[1:5] == ["mnist", "Promoted", "1", "100"]
    cluster.kubectl("wait", "--for=condition=Promoted", "--timeout=5s", f"crl/{made.name}", "-n", namespace)


def test_patch_of_a_recorded_spec_is_refused(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """A user with patch on the object changes the spec and tries to change its digest: the spec is not used."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    assert made.stable_spec is not None
    asked = json.dumps({"spec": {"paused": True}})
    cluster.kubectl("patch", "crl", made.name, "-n", namespace, "--type=merge", "-p", asked)
    found = store.read(namespace, made.name)
    assert found is not None
    assert (found.stable_spec, found.changed_specs) == (made.stable_spec, ())
    spec = {"hash": "def", "value": {"serviceAccountName": "cluster-admin"}}
    forged = json.dumps({"spec": {"stableSpec": spec}, "status": {"specDigests": spec_digests({"stableSpec": spec})}})
    cluster.kubectl("patch", "crl", made.name, "-n", namespace, "--type=merge", "-p", forged)
    found = store.read(namespace, made.name)
    assert found is not None
    assert (found.stable_spec, found.changed_specs) == (None, ("stableSpec",))
    store.update_status(found)
    shown = cluster.kubectl("get", "crl", made.name, "-n", namespace, "-o", "yaml")
    assert "spec.stableSpec is not what autocanary recorded, and is not used" in shown


def test_a_users_request_conflicts_with_the_next_record(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """Asked with kubectl or with our command: the state is not written over it."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    ask = '{"spec": {"paused": true, "request": {"id": "1", "verb": "abort"}}}'
    cluster.kubectl("patch", "crl", made.name, "-n", namespace, "--type=merge", "-p", ask)
    with pytest.raises(Conflict, match=f"CanaryRollout {namespace}/{made.name}.*modified"):
        store.update_status(made)
    found = store.read(namespace, made.name)
    assert found is not None
    assert (found.paused, found.request) == (True, Request("1", "abort"))
    store.update_status(found)


def test_asking_replaces_the_request(
    connect: Callable[..., ApiClient], client: ApiClient, namespace: str, follow: Follow
) -> None:
    """The user's own rights count; who asked before does not stick; a bad verb is refused."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    person = KubeRolloutStore(connect("admin"), Leader(False))
    assert person.write_request(namespace, made.name, paused=True, request=Request("1", "promote", "ann")).paused
    asked = person.write_request(namespace, made.name, paused=None, request=Request("2", "promote-full"))
    assert (asked.paused, asked.request) == (True, Request("2", "promote-full"))
    for request in (Request("3", "explode"), Request("", "abort")):
        with pytest.raises(Refused, match=r"spec\.request"):
            person.write_request(namespace, made.name, paused=None, request=request)
    with pytest.raises(NotFound, match="none"):
        person.write_request(namespace, "none", paused=True, request=None)


def test_a_second_create_takes_over_or_is_refused(client: ApiClient, namespace: str, follow: Follow) -> None:
    """Ours: what it has recorded counts. About another service: left alone."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    further = store.update_status(replace(made, progress=replace(made.progress, phase=Phase.BAKING)))
    assert store.create(in_namespace(namespace)) == further
    with pytest.raises(AlreadyExists, match="about another candidate"):
        store.create(in_namespace(namespace, service_uid="3a8d1a52-0f5b-4d3b-9f0e-000000000000"))
    store.delete(further)
    store.delete(further)
    assert store.read(namespace, made.name) is None
    again = store.create(in_namespace(namespace))
    with pytest.raises(Conflict):
        store.delete(further)
    assert store.read(namespace, made.name) == again


def test_a_rollout_of_a_newer_version_is_left_alone(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """After a downgrade."""
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK, namespaces=[namespace]))
    made = store.create(in_namespace(namespace))
    newer = f'{{"status": {{"progress": {{"version": {VERSION + 1}, "new": {{"field": 1}}}}}}}}'
    patch = ("patch", "crl", made.name, "-n", namespace, "--subresource=status", "--type=merge", "-p", newer)
    cluster.kubectl(*patch)
    until(lambda: not store.rollouts())
    with pytest.raises(Refused, match="left alone"):
        store.read(namespace, made.name)
    held = json.loads(cluster.kubectl("get", "crl", made.name, "-n", namespace, "-o", "json"))
    assert held["status"]["progress"]["new"] == {"field": 1}


def apply_service(cluster: ApiServer, namespace: str, **options: Any) -> None:
    document = service(namespace=namespace, **options)
    state = document.pop("status")
    cluster.apply(document)
    body = json.dumps({"status": state})
    where = ("isvc", "mnist", "-n", namespace)
    cluster.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", body)


def observed(cluster: KubeCluster, namespace: str) -> Observation:
    found = cluster.observe(ServiceKey(namespace, "mnist"))
    assert found is not None
    return found


@pytest.fixture(params=["minimal", "full"])
def variant(request: pytest.FixtureRequest, cluster: ApiServer) -> Iterator[str]:
    """Both definitions of InferenceService that users have; the minimal one is put back."""
    install_inferenceservice_crd(cluster, request.param)
    yield request.param
    install_inferenceservice_crd(cluster, "minimal")


@pytest.mark.usefixtures("variant")
def test_weights_are_compared_and_set(cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow) -> None:
    """The rest of the spec stays, a stale version is refused, the field can go, and our name is on it."""
    apply_service(cluster, namespace)
    services = follow(KubeCluster(client, Leader(), namespaces=[namespace], timing=QUICK))
    first = observed(services, namespace)
    written = services.set_weight(first, 25)
    assert (written.weight, written.spec, written.traffic) == (25, first.spec, first.traffic)
    assert observed(services, namespace) == written
    assert written.writer == "autocanary"
    with pytest.raises(Conflict, match="modified"):
        services.set_weight(first, 50)
    with pytest.raises(Conflict, match="uid"):
        services.set_weight(replace(written, uid="7e0c5e63-8a3d-4a53-9d7d-000000000000"), 50)
    stable = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://m/v1"}}
    restored = services.restore(written, stable, None)
    assert restored.weight is None
    assert restored.spec["model"]["storageUri"] == "s3://m/v1"


def test_changes_are_seen_and_survive_a_killed_server(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """Killed and started again on the same etcd: the cache is whole again, with what was missed."""
    services = follow(KubeCluster(client, Leader(), timing=QUICK))
    apply_service(cluster, namespace)
    until(lambda: services.observe(ServiceKey(namespace, "mnist")))
    until(lambda: observed(services, namespace).traffic_percent("mnist-predictor-00002") == 10)
    before = observed(services, namespace)
    cluster.kill()
    until(lambda: isinstance(services.fault, Unreachable))
    with pytest.raises(Unreachable, match=f"{cluster.url}: connection refused"):
        services.set_weight(before, 25)
    assert observed(services, namespace) == before
    cluster.start()
    cluster.kubectl("label", "isvc", "mnist", "-n", namespace, "tier=prod")
    until(lambda: observed(services, namespace).labels.get("tier") == "prod", seconds=20)
    until(lambda: services.fault is None, seconds=20)
    assert services.set_weight(observed(services, namespace), 25).weight == 25


def test_a_deleted_service_is_gone(cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow) -> None:
    """By the watch, and by a read before the watch."""
    apply_service(cluster, namespace)
    services = follow(KubeCluster(client, Leader(), namespaces=[namespace], timing=QUICK))
    seen = observed(services, namespace)
    cluster.kubectl("delete", "isvc", "mnist", "-n", namespace)
    assert services.refresh(seen.key) is None
    until(lambda: not services.services())
    with pytest.raises(NotFound, match="mnist"):
        services.set_weight(seen, 25)


def test_an_idle_encrypted_watch_stops_at_once(cluster: ApiServer, client: ApiClient, namespace: str) -> None:
    """TLS has a reader of its own that must be woken too."""
    services = KubeCluster(client, Leader(), namespaces=[namespace])
    services.start()
    assert services.wait(10)
    until(lambda: watches(cluster, namespace))
    before = sum(each.name == "watch-inferenceservices" for each in threading.enumerate())
    services.stop()
    assert sum(each.name == "watch-inferenceservices" for each in threading.enumerate()) < before


def test_a_watch_that_the_server_ends_goes_on(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """Asked to end after a second, again and again: nothing is listed twice, nothing is lost."""
    services = follow(KubeCluster(client, Leader(), namespaces=[namespace], timing=WatchTiming(watch_seconds=1.0)))
    until(lambda: watches(cluster, namespace) >= 3, seconds=20)
    apply_service(cluster, namespace)
    until(lambda: services.observe(ServiceKey(namespace, "mnist")))
    ours = [each for each in cluster.audit(SERVICE_USER) if about(each, namespace)]
    served = [each for each in ours if each["objectRef"].get("apiGroup") == "serving.kserve.io"]
    assert [each["verb"] for each in served].count("list") == 1
    assert services.fault is None
    assert services.cache_age(ServiceKey(namespace, "mnist"), "serving.kserve.io/v1beta1") < 10


def about(event: dict[str, Any], namespace: str) -> bool:
    return (event.get("objectRef") or {}).get("namespace") == namespace


def watches(cluster: ApiServer, namespace: str) -> int:
    audit = cluster.audit(SERVICE_USER)
    return sum(each["verb"] == "watch" and about(each, namespace) for each in audit)


def test_one_of_two_leads_and_the_other_follows(
    client: ApiClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released: taken over at once. Silent: taken over after the duration, and never two at a time."""
    times = LeaseTimings(duration=2.0, renew_deadline=1.2, retry=0.1)
    electors = [LeaderElector(client, namespace, "autocanary", f"pod-{n}", times=times) for n in range(3)]
    first, second, third = electors
    first.start()
    until(first.is_leader)
    second.start()
    until(lambda: second.holder == first.identity)
    assert not second.is_leader()
    first.stop()
    until(second.is_leader)
    monkeypatch.setattr(second, "try_acquire_or_renew", lambda: None)  # as if it were killed
    third.start()
    both = False
    deadline = time.monotonic() + 20
    while not third.is_leader():
        both |= second.is_leader() and third.is_leader()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not both
    assert not second.is_leader()
    third.stop()
    lease = client.get(LEASES, namespace, "autocanary")
    assert lease["spec"]["holderIdentity"] == ""
    assert lease["spec"]["leaseTransitions"] == 2


def test_a_lease_deleted_by_hand_is_made_again(cluster: ApiServer, client: ApiClient, namespace: str) -> None:
    """And one edited by hand is believed."""
    elector = LeaderElector(client, namespace, "autocanary", "pod")
    elector.try_acquire_or_renew()
    cluster.kubectl("delete", "lease", "autocanary", "-n", namespace)
    elector.try_acquire_or_renew()
    assert elector.is_leader()
    patch = '{"spec": {"holderIdentity": "somebody"}}'
    cluster.kubectl("patch", "lease", "autocanary", "-n", namespace, "--type=merge", "-p", patch)
    elector.try_acquire_or_renew()
    assert not elector.is_leader()
    assert elector.holder == "somebody"


def test_events_are_shown_once(cluster: ApiServer, client: ApiClient, namespace: str) -> None:
    """Notified twice, written once, on both objects."""
    message = Message(notification=notification(), rollout=in_namespace(namespace, uid="3a8d1a52-0f5b-4d3b-9f0e-1"))
    writer = EventWriter(client, "pod-1")
    writer.write(message)
    writer.write(message)
    reported = json.loads(cluster.kubectl("get", "events", "-n", namespace, "-o", "json"))["items"]
    assert sorted(each["involvedObject"]["kind"] for each in reported) == ["CanaryRollout", "InferenceService"]
    assert {(each["reason"], each["type"], each["message"]) for each in reported} == {
        ("StepPassed", "Normal", "25 % of traffic now")
    }
    assert "25 % of traffic now" in cluster.kubectl("events", "-n", namespace)


def test_a_policys_author_is_notified(cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow) -> None:
    """The condition and the counts, shown by `kubectl get`, and `kubectl wait` works on them."""
    metadata = {"name": "prod", "namespace": namespace}
    head = {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata}
    cluster.apply(head | {"spec": {"stepWeights": [10, 100]}})
    reported: list[str] = []
    policies = follow(
        KubePolicies(client, Leader(), lambda _, name, __: reported.append(name), namespaces=[namespace], timing=QUICK)
    )
    until(lambda: reported == ["prod"])
    assert policies.write_status(namespace, "prod", PolicyStatus(1, True, "Valid", "in force", 3, 1))
    assert not policies.write_status(namespace, "prod", PolicyStatus(1, True, "Valid", "in force", 3, 1))
    assert cluster.kubectl("get", "rp", "-n", namespace).splitlines()[1].split()[:4] == [
        "prod",
        "True",
        "3",
        "1",
    ]
    cluster.kubectl("wait", "--for=condition=Valid", "--timeout=5s", "rp/prod", "-n", namespace)
    assert policies.write_status(namespace, "prod", PolicyStatus(1, False, "PolicyInvalid", "no steps", 3, 1))


def test_distinguishes_a_kind_that_is_not_served_from_an_object(client: ApiClient, namespace: str) -> None:
    """The real server's two 404s."""
    with pytest.raises(ResourceNotServed, match="is KServe installed"):
        client.list_page(Resource("serving.kserve.io", "v9", "inferenceservices", "InferenceService"), limit=1)
    with pytest.raises(NotFound, match='"none" not found') as caught:
        client.get(LEASES, namespace, "none")
    assert not isinstance(caught.value, ResourceNotServed)
    event = {"metadata": {"name": "x", "namespace": "none"}, "involvedObject": {"namespace": "none"}}
    with pytest.raises(NotFound, match='namespaces "none" not found'):
        client.create(EVENTS, "none", event)


def test_a_server_that_hangs_and_one_that_cannot_be_trusted(
    cluster: ApiServer, connect: Callable[..., ApiClient], namespace: str, tmp_path: Path
) -> None:
    """Deadlines hold over TLS, and another authority's certificate is refused with a clear message."""
    with TcpProxy(cluster.url) as proxy:
        client = connect(server=f"https://{proxy.address}")
        client.list_page(POLICIES, namespace, limit=1)
        client.timeout = (0.5, 0.2)
        proxy.freeze()
        with pytest.raises(Unreachable, match="no answer in time"):
            client.list_page(POLICIES, namespace, limit=1)
    raw = json.loads(cluster.kubeconfig().read_text())
    del raw["clusters"][0]["cluster"]["certificate-authority"]
    stranger = tmp_path / "config"
    stranger.write_text(json.dumps(raw))
    untrusting = ApiClient(find_credentials(str(stranger)))
    with pytest.raises(Unreachable, match=r"certificate verify failed.*certificate-authority"):
        untrusting.list_page(LEASES, limit=1)
    untrusting.close()


def test_the_rights_are_exactly_those_that_are_used(
    cluster: ApiServer, client: ApiClient, namespace: str, follow: Follow
) -> None:
    """A user bound to the list of rights makes every call of this room; the audit log knows no other."""
    apply_service(cluster, namespace)
    cluster.apply(
        {
            "apiVersion": POLICIES.api_version,
            "kind": POLICIES.kind,
            "metadata": {"name": "prod", "namespace": namespace},
            "spec": {},
        }
    )
    services = follow(KubeCluster(client, Leader(), timing=QUICK))
    services.refresh(services.set_weight(observed(services, namespace), 25).key)
    store = follow(KubeRolloutStore(client, Leader(), timing=QUICK))
    made = store.create(in_namespace(namespace))
    store.read(namespace, made.name)
    store.delete(made)
    policies = follow(KubePolicies(client, Leader(), lambda *_: None, timing=QUICK))
    policies.write_status(namespace, "prod", PolicyStatus(1, True, "Valid", "in force", 1, 0))
    EventWriter(client).write(Message(notification=notification(), rollout=made))
    elector = LeaderElector(client, namespace, "autocanary", "pod")
    elector.try_acquire_or_renew()
    elector.stop()
    granted = {
        (group, resource, verb)
        for rule in rbac_rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    # KFServing's definitions are not in this cluster: its objects are listed in vain, and never written.
    missing = {each for each in granted if each[0] == "serving.kubeflow.org"}
    until(lambda: granted - missing <= used(cluster), seconds=30)
    assert granted - missing <= used(cluster) <= granted


def used(cluster: ApiServer) -> set[tuple[str, str, str]]:
    """Every (group, resource, verb) that the service's user was allowed so far, without discovery's.

    Every user may ask what is served; it is asked when something is forbidden, as all is for a moment after a
    restart of the server.
    """
    found = set()
    for each in cluster.audit(SERVICE_USER):
        about = each.get("objectRef") or {}
        if (each.get("annotations") or {}).get("authorization.k8s.io/decision") == "allow":
            resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
            if about and about.get("apiVersion") != "v9":
                found.add((about.get("apiGroup", ""), resource, each["verb"]))
    return found


def test_what_was_not_granted_is_forbidden(connect: Callable[..., ApiClient], namespace: str) -> None:
    """The sentence names the right that lacks."""
    client = connect()
    with pytest.raises(Forbidden, match=r"cannot list resource.*secrets.*chart's roles"):
        client.list_page(Resource("", "v1", "secrets", "Secret"), namespace, limit=1)


def test_impersonation_is_what_kubectl_does(cluster: ApiServer, tmp_path: Path) -> None:
    """The server sees the same user, groups and extra values from both, and refuses both alike."""
    document = yaml.safe_load(cluster.kubeconfig().read_text(encoding="utf-8"))
    document["users"][0]["user"] |= {
        "as": "ann@example.com",
        "as-groups": ["dev", "system:masters"],
        "as-user-extra": {"acme.com/reason": ["audit", "test"]},
    }
    path = tmp_path / "impersonating"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    by_kubectl = json.loads(cluster.kubectl("--kubeconfig", str(path), "auth", "whoami", "-o", "json"))
    client = ApiClient(find_credentials(str(path)))
    review = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
    body = {"apiVersion": review.api_version, "kind": review.kind, "metadata": {"name": ""}}
    ours = client.create(review, "", body)
    client.close()
    assert ours["status"]["userInfo"] == by_kubectl["status"]["userInfo"]
    assert ours["status"]["userInfo"]["username"] == "ann@example.com"
    assert ours["status"]["userInfo"]["extra"] == {"acme.com/reason": ["audit", "test"]}
