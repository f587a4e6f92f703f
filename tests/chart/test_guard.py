"""The guard on real API servers: which requests get a weight, which stay as they are, and what users read.

Three servers: MutatingAdmissionPolicy with KServe's minimal definition and with its full one, and without it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from autocanary.settings import load
from tests.chart.chart import CHART, PROMETHEUS, container, helm, of_kind, render
from tests.testbed.servers import ApiServer, require_servers
from tests.testbed.servers.crds import Variant, install_inferenceservice_crd
from tests.testbed.servers.process import program

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SERVICE_ACCOUNT = "system:serviceaccount:auto:autocanary"
GATE = (
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
)
V1, V2, V3 = "s3://models/mnist/1", "s3://models/mnist/2", "s3://models/mnist/3"
Spec = dict[str, Any]


def model(uri: str, weight: int | None = None, **more: Any) -> Spec:
    """A predictor as KServe stores it."""
    return predictor({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri, **more}}, weight)


def predictor(component: Spec, weight: int | None = None) -> Spec:
    return {"predictor": {**component, **({} if weight is None else {"canaryTrafficPercent": weight})}}


def custom(image: str, weight: int | None = None, **more: Any) -> Spec:
    """A predictor with a container of its own."""
    return predictor({"containers": [{"name": "kserve-container", "image": image, **more}]}, weight)


@dataclass
class Cluster:
    """One API server with the chart and its guard in the namespace ``models``."""

    api: ApiServer
    made: int = 0

    def kubectl(self, *arguments: str, stdin: Spec | None = None, user: str = "admin") -> tuple[int, str]:
        """The exit code and all that a user reads."""
        environment = {
            "KUBECONFIG": str(self.api.kubeconfig(user)),
            "HOME": str(self.api.folder),
            "PATH": "/usr/bin:/bin",
        }
        given = None if stdin is None else json.dumps(stdin)
        command = [program("kubectl"), *arguments]
        done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def install(self, **guard: Any) -> None:
        values = {**PROMETHEUS, "guard": {"enabled": True, "namespaces": ["models"], **guard}}
        words = ("upgrade", "--install", "autocanary", str(CHART), "--namespace", "auto")
        done = helm(*words, given=values, kubeconfig=self.api.kubeconfig())
        assert done.returncode == 0, done.stderr

    def service(self, spec: Spec, namespace: str = "models", *, served: bool = True, mode: str = "") -> str:
        """An InferenceService that serves its revision 00001, as KServe's status says."""
        self.made += 1
        name = f"mnist-{self.made}"
        self.apply(name, spec, namespace)
        components = {part: {"latestRolledoutRevision": f"{name}-{part}-00001"} for part in spec} if served else {}
        status: Spec = {"components": components, **({"deploymentMode": mode} if mode else {})}
        words = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        assert self.kubectl("-n", namespace, "patch", "isvc", name, *words)[0] == 0
        return name

    def document(self, name: str, spec: Spec, namespace: str) -> Spec:
        kind = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
        return {**kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}

    def apply(self, name: str, spec: Spec, namespace: str = "models") -> str:
        return self._write(("apply",), name, spec, namespace)

    def server_side_apply(self, name: str, spec: Spec) -> str:
        return self._write(("apply", "--server-side", "--force-conflicts"), name, spec, "models")

    def replace(self, name: str, spec: Spec, user: str = "admin") -> str:
        return self._write(("replace",), name, spec, "models", user)

    def _write(self, verb: tuple[str, ...], name: str, spec: Spec, namespace: str, user: str = "admin") -> str:
        code, said = self.kubectl(*verb, "-f", "-", stdin=self.document(name, spec, namespace), user=user)
        assert code == 0, said
        return said

    def patch(self, name: str, body: Spec) -> str:
        code, said = self.kubectl("-n", "models", "patch", "isvc", name, "--type=merge", "-p", json.dumps(body))
        assert code == 0, said
        return said

    def weight(self, name: str, component: str = "predictor", namespace: str = "models") -> int | None:
        code, said = self.kubectl("-n", namespace, "get", "isvc", name, "-o", "json")
        assert code == 0, said
        found: int | None = json.loads(said)["spec"][component].get("canaryTrafficPercent")
        return found


def cluster(
    folder: Any, variant: Variant, flags: tuple[str, ...], ready: Callable[[Cluster], bool]
) -> Iterator[Cluster]:
    require_servers("kube-apiserver", "etcd", "kubectl", "helm")
    with ApiServer([SERVICE_ACCOUNT], flags=flags, folder=folder) as api:
        for name in ("auto", "models", "other"):
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        install_inferenceservice_crd(api, variant)
        rule = {"apiGroups": ["serving.kserve.io"], "resources": ["*"], "verbs": ["*"]}
        api.grant(SERVICE_ACCOUNT, [rule], name="services")
        found = Cluster(api)
        found.install()
        deadline = time.monotonic() + 60  # a new policy is in force after some seconds
        while not _is_true(ready, found):
            assert time.monotonic() < deadline, "the guard is not in force"
            time.sleep(0.5)
        yield found


def _is_true(ready: Callable[[Cluster], bool], found: Cluster) -> bool:
    """False also while the server does not know the new definition in its admission: it answers 503 for seconds."""
    try:
        return ready(found)
    except AssertionError as error:
        if "ServiceUnavailable" in str(error):
            return False
        raise


@pytest.fixture(scope="module", params=["minimal", "full"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server with MutatingAdmissionPolicy, as Kubernetes 1.36 is by default."""

    def ready(found: Cluster) -> bool:
        name = found.service(model(V1))
        said = found.apply(name, model(V2))
        return found.weight(name) == 0 and "is held at 0 %" in said

    yield from cluster(tmp_path_factory.mktemp(request.param), request.param, GATE, ready)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server without it: Kubernetes 1.34 with its defaults."""

    def ready(found: Cluster) -> bool:
        return "release it with" in found.apply(found.service(model(V1)), model(V2))

    yield from cluster(tmp_path_factory.mktemp("older"), "minimal", (), ready)


def test_a_release_without_a_weight_is_held_in_the_very_request(guarded: Cluster) -> None:
    """However it is written; the user reads it in kubectl's own output."""
    for write in (guarded.apply, guarded.server_side_apply, guarded.replace):
        for before in (None, 0, 25, 100):
            name = guarded.service(model(V1, before))
            said = write(name, model(V2))
            assert guarded.weight(name) == 0, (write, before)
            assert f"the new predictor of models/{name} is held at 0 % until autocanary rolls it out" in said
    name = guarded.service(model(V1))
    guarded.patch(name, {"spec": {"predictor": {"model": {"storageUri": V2}}}})
    assert guarded.weight(name) == 0


def test_a_newer_release_in_the_middle_of_a_rollout_is_held(guarded: Cluster) -> None:
    """The weight of the one before is not inherited, whether the manifest keeps it or a patch leaves it."""
    name = guarded.service(model(V1))
    guarded.apply(name, model(V2, 25))
    guarded.apply(name, model(V3, 25))
    assert guarded.weight(name) == 0
    guarded.patch(name, {"spec": {"predictor": {"canaryTrafficPercent": 50}}})
    guarded.patch(name, {"spec": {"predictor": {"model": {"storageUri": V1}}}})
    assert guarded.weight(name) == 0


def test_a_weight_that_the_request_sets_is_the_users_decision(guarded: Cluster) -> None:
    """With a new model or alone, up or down."""
    name = guarded.service(model(V1))
    guarded.apply(name, model(V2, 30))
    assert guarded.weight(name) == 30
    for weight in (60, 100, 0, 10):
        guarded.patch(name, {"spec": {"predictor": {"canaryTrafficPercent": weight}}})
        assert guarded.weight(name) == weight


def test_a_weight_that_is_left_out_is_kept(guarded: Cluster) -> None:
    """The last weight of a rollout, the 0 of a rollback: without the field KServe promotes."""
    for write in (guarded.apply, guarded.server_side_apply, guarded.replace):
        for weight in (0, 25, 99):
            name = guarded.service(model(V1, weight))
            write(name, model(V1))
            assert guarded.weight(name) == weight, write
    name = guarded.service(model(V1, 25))
    guarded.patch(name, {"spec": {"predictor": {"canaryTrafficPercent": None}}})
    assert guarded.weight(name) == 25


def test_what_makes_no_revision_is_left_alone(guarded: Cluster) -> None:
    """A 0 here would give all traffic to the revision before the present one."""
    name = guarded.service(model(V1))
    for write in (guarded.apply, guarded.server_side_apply, guarded.replace):
        write(name, model(V1))
        assert guarded.weight(name) is None
    guarded.patch(name, {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}})
    guarded.patch(name, {"spec": {"predictor": {"minReplicas": 3}}})
    assert guarded.weight(name) is None
    promoted = guarded.service(model(V1, 100))
    guarded.replace(promoted, model(V1))
    assert guarded.weight(promoted) is None


def test_what_kserve_has_set_and_the_manifest_lacks_is_no_release(guarded: Cluster) -> None:
    """KServe's defaults come after the guard: a manifest never has them, the stored object always does."""
    defaults: Spec = {
        "runtime": "kserve-sklearnserver",
        "protocolVersion": "v1",
        "runtimeVersion": "1",
        "env": [{"name": "STORAGE", "value": "x"}],
        "args": ["--http_port=8080"],
        "image": "kserve/sklearnserver",
        "resources": {"limits": {"cpu": "1"}},
    }
    for write in (guarded.server_side_apply, guarded.replace):
        name = guarded.service(model(V1, **defaults))
        write(name, model(V1))
        assert guarded.weight(name) is None, write
    name = guarded.service(model(V1))  # the form of a framework, which KServe stores as a model
    guarded.replace(name, predictor({"sklearn": {"storageUri": V1}}))
    assert guarded.weight(name) is None


@pytest.mark.parametrize("framework", ["sklearn", "tensorflow", "pytorch", "triton", "huggingface"])
def test_the_form_of_a_framework_is_a_release_too(guarded: Cluster, framework: str) -> None:
    """Against the model that KServe made of it, and against itself where it was stored so."""
    name = guarded.service(model(V1))
    guarded.replace(name, predictor({framework: {"storageUri": V2}}))
    assert guarded.weight(name) == 0
    name = guarded.service(predictor({framework: {"storageUri": V1}}))
    guarded.apply(name, predictor({framework: {"storageUri": V2}}))
    assert guarded.weight(name) == 0


@pytest.mark.parametrize(
    "after",
    [
        model(V1, args=["--workers=2"]),
        model(V1, env=[{"name": "MODE", "value": "fast"}]),
        model(V1, image="team/server:2"),
        {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storage": {"key": "s3", "path": "mnist/2"}}}},
    ],
    ids=["args", "env", "image", "storage"],
)
def test_each_part_of_a_model_makes_a_revision(guarded: Cluster, after: Spec) -> None:
    """Arguments, environment, image and storage: each is part of the pod."""
    before = model(V1, image="team/server:1")
    if "storage" in after["predictor"]["model"]:
        before = {
            "predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storage": {"key": "s3", "path": "mnist/1"}}}
        }
    name = guarded.service(before)
    guarded.apply(name, after)
    assert guarded.weight(name) == 0


def test_a_container_of_ones_own_is_guarded(guarded: Cluster) -> None:
    """Its image, arguments and environment; a container that is added, as a sidecar may be, is left to autocanary."""
    for after in (
        custom("team/server:2"),
        custom("team/server:1", args=["--fast"]),
        custom("team/server:1", env=[{"name": "MODE", "value": "fast"}]),
    ):
        name = guarded.service(custom("team/server:1"))
        guarded.apply(name, after)
        assert guarded.weight(name) == 0, after
    name = guarded.service(custom("team/server:1"))
    guarded.apply(name, custom("team/server:1"))
    assert guarded.weight(name) is None


def test_components_are_guarded_one_by_one(guarded: Cluster) -> None:
    """A new transformer holds the transformer alone."""
    transformer = {"containers": [{"name": "kserve-container", "image": "team/transformer:1"}]}
    name = guarded.service({**model(V1), "transformer": transformer})
    newer = {"containers": [{"name": "kserve-container", "image": "team/transformer:2"}]}
    said = guarded.apply(name, {**model(V1), "transformer": newer})
    assert (guarded.weight(name), guarded.weight(name, "transformer")) == (None, 0)
    assert "the new transformer of" in said


def test_autocanary_itself_is_not_guarded(guarded: Cluster) -> None:
    """It removes the field of a promoted candidate and puts a spec back: both are its own decisions."""
    name = guarded.service(model(V1, 25))
    guarded.replace(name, model(V2), user=SERVICE_ACCOUNT)
    assert guarded.weight(name) is None


def test_what_autocanary_does_not_roll_out_is_not_guarded(guarded: Cluster) -> None:
    """Another namespace, a Deployment without Knative, a service that has never served, a new service."""
    name = guarded.service(model(V1), "other")
    guarded.apply(name, model(V2), "other")
    assert guarded.weight(name, namespace="other") is None
    for mode, held in (("RawDeployment", None), ("Standard", None), ("Serverless", 0), ("Knative", 0)):
        name = guarded.service(model(V1), mode=mode)
        guarded.apply(name, model(V2))
        assert guarded.weight(name) == held, mode
    name = guarded.service(model(V1), served=False)
    guarded.apply(name, model(V2))
    assert guarded.weight(name) is None


def test_a_server_side_dry_run_shows_it(guarded: Cluster) -> None:
    """What would happen can be read beforehand, and nothing happens."""
    name = guarded.service(model(V1))
    document = guarded.document(name, model(V2), "models")
    code, said = guarded.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=document)
    assert code == 0
    assert '"canaryTrafficPercent": 0' in said
    assert guarded.weight(name) is None


def test_strange_services_are_written_as_they_are(guarded: Cluster) -> None:
    """The guard never refuses: what it does not understand is left to KServe."""
    for before, after in (
        ({"predictor": {}}, {"predictor": {"minReplicas": 1}}),
        (model(V1), {"predictor": {"containers": [{"name": "kserve-container", "image": "a"}]}}),
        (custom("a"), model(V1)),
        (custom("a"), {"predictor": {"containers": []}}),
        (
            {"predictor": {"workerSpec": {"tensorParallelSize": 2}}},
            {"predictor": {"workerSpec": {"tensorParallelSize": 3}}},
        ),
    ):
        name = guarded.service(before)
        guarded.replace(name, after)
        assert guarded.weight(name) is None, after


def _env(*items: Spec, **more: Any) -> Spec:
    return model(V1, env=list(items), **more)


def _read_from(kind: str, **fields: Any) -> Spec:
    return {"name": "A", "valueFrom": {kind: fields}}


def _cpu(**more: str) -> Spec:
    return _read_from("resourceFieldRef", resource="limits.cpu", **more)


SIDECAR = [{"name": "kserve-container", "image": "team/server:1"}, {"name": "sidecar", "image": "team/sidecar:1"}]
NO_RELEASE: dict[str, tuple[Spec, Spec]] = {
    "an empty value": (_env({"name": "A"}), _env({"name": "A", "value": ""})),
    "a divisor by default": (_env(_cpu(divisor="0")), _env(_cpu())),
    "a divisor in another form": (_env(_cpu(divisor="1")), _env(_cpu(divisor="1000m"))),
    "a divisor of ones own container": (custom("a", env=[_cpu(divisor="0")]), custom("a", env=[_cpu()])),
    "an empty prefix": (
        model(V1, envFrom=[{"configMapRef": {"name": "a"}}]),
        model(V1, envFrom=[{"configMapRef": {"name": "a"}, "prefix": ""}]),
    ),
    "env in another order": (
        _env({"name": "A", "value": "1"}, {"name": "B", "value": "1"}),
        _env({"value": "1", "name": "B"}, {"value": "1", "name": "A"}),
    ),
    "containers in another order": (predictor({"containers": SIDECAR}), predictor({"containers": SIDECAR[::-1]})),
    "a tag under a runtime version": (
        model(V1, image="team/server:1", runtimeVersion="5"),
        model(V1, image="team/server:2", runtimeVersion="5"),
    ),
}


@pytest.mark.parametrize("case", NO_RELEASE)
def test_the_same_content_in_another_form_is_no_release(guarded: Cluster, case: str) -> None:
    """KServe stores some items in its own form: each request with the manifest has them in the manifest's."""
    before, after = NO_RELEASE[case]
    name = guarded.service(before)
    guarded.replace(name, after)
    assert guarded.weight(name) is None


RELEASES: dict[str, tuple[Spec, Spec]] = {
    "value": (_env({"name": "A", "value": "1"}), _env({"name": "A", "value": "2"})),
    "value to Secret": (_env({"name": "A", "value": "1"}), _env(_read_from("secretKeyRef", name="s", key="k"))),
    "Secret to value": (_env(_read_from("secretKeyRef", name="s", key="k")), _env({"name": "A", "value": "1"})),
    "key of a Secret": (
        _env(_read_from("secretKeyRef", name="s", key="k")),
        _env(_read_from("secretKeyRef", name="s", key="l")),
    ),
    "Secret to ConfigMap": (
        _env(_read_from("secretKeyRef", name="s", key="k")),
        _env(_read_from("configMapKeyRef", name="s", key="k")),
    ),
    "envFrom": (
        model(V1, envFrom=[{"configMapRef": {"name": "a"}}]),
        model(V1, envFrom=[{"configMapRef": {"name": "b"}}]),
    ),
    "prefix": (
        model(V1, envFrom=[{"secretRef": {"name": "a"}}]),
        model(V1, envFrom=[{"secretRef": {"name": "a"}, "prefix": "X_"}]),
    ),
    "runtime version": (model(V1, runtimeVersion="1"), model(V1, runtimeVersion="2")),
    "the only container, under another name": (
        custom("a"),
        predictor({"containers": [{"name": "mine", "image": "b"}]}),
    ),
    "one env of three hundred": (
        _env(*({"name": f"E{number}", "value": "x"} for number in range(300))),
        _env(*({"name": f"E{number}", "value": "x"} for number in range(299)), {"name": "E299", "value": "y"}),
    ),
}


@pytest.mark.parametrize("case", RELEASES)
def test_a_changed_item_is_a_release(guarded: Cluster, case: str) -> None:
    """By its value and by where it is read from; KServe names an only container itself."""
    before, after = RELEASES[case]
    name = guarded.service(before)
    guarded.replace(name, after)
    assert guarded.weight(name) == 0


def test_lists_of_thousands_cost_the_api_server_nothing(guarded: Cluster) -> None:
    """More than 300 items are not compared: the release is left to autocanary's interception, unless more differs."""
    items = [{"name": f"E{number}", "value": "x"} for number in range(3000)]
    name = guarded.service(_env(*items))
    guarded.replace(name, _env(*items[1:], {"name": "E0", "value": "y"}))
    assert guarded.weight(name) is None
    guarded.patch(name, {"spec": {"predictor": {"model": {"storageUri": V2}}}})
    assert guarded.weight(name) == 0


NULLS: dict[str, tuple[Spec, Spec, int | None]] = {
    "weight, with a release": (model(V1), predictor({**model(V2)["predictor"], "canaryTrafficPercent": None}), 0),
    "weight, without": (model(V1, 25), predictor({**model(V1)["predictor"], "canaryTrafficPercent": None}), 25),
    "a form": (model(V1), predictor({**model(V2)["predictor"], "sklearn": None}), 0),
    "another component": (model(V1), {**model(V2), "transformer": None}, 0),
    "env, args are new": (_env({"name": "A", "value": "1"}), model(V1, env=None, args=["--fast"]), 0),
    "containers": (model(V1), predictor({**model(V2)["predictor"], "containers": None}), 0),
    "a source": (_env({"name": "A", "value": "1"}), _env({"name": "A", "value": "1", "valueFrom": None}), None),
    "runtime version": (model(V1, runtimeVersion="1"), model(V1, runtimeVersion=None), None),
    "storage URI": (model(V1), model(V1, storageUri=None, storage={"key": "a", "path": "b"}), None),
    "deep inside, the weight is kept": (
        model(V1, 25, env=[{"name": "A", "value": "1"}]),
        _env({"name": "A", "value": "1", "valueFrom": {"secretKeyRef": None}}),
        25,
    ),
}


@pytest.mark.parametrize("case", NULLS)
def test_a_null_says_nothing(guarded: Cluster, case: str) -> None:
    """Templates write nulls for empty values; KServe takes them for fields that are left out."""
    before, after, held = NULLS[case]
    name = guarded.service(before)
    guarded.replace(name, after)
    assert guarded.weight(name) == held


def test_unnamed_containers_are_not_confused(guarded: Cluster) -> None:
    """The minimal definition takes them; the full one refuses."""
    containers = [{"name": "kserve-container", "image": "a"}, {"image": "b"}, {"image": "c"}]
    try:
        name = guarded.service(predictor({"containers": containers}))
    except AssertionError as refused:
        assert "name: Required value" in str(refused)  # noqa: PT017
        return
    guarded.patch(name, {"spec": {"predictor": {"minReplicas": 3}}})
    assert guarded.weight(name) is None


def test_the_mode_is_the_one_that_kserve_has_written(guarded: Cluster) -> None:
    """A request that replaces the whole object has no status, or one that a user wrote by hand."""
    name = guarded.service(model(V1), mode="RawDeployment")
    guarded.replace(name, model(V2))
    assert guarded.weight(name) is None
    name = guarded.service(model(V1), mode="Serverless")
    document = {**guarded.document(name, model(V2), "models"), "status": {"deploymentMode": "RawDeployment"}}
    assert guarded.kubectl("replace", "-f", "-", stdin=document)[0] == 0
    assert guarded.weight(name) == 0


def test_an_older_server_warns(older: Cluster) -> None:
    """The request goes through; the user reads what will happen and how to do better."""
    name = older.service(model(V1))
    said = older.apply(name, model(V2))
    assert f"the new predictor of models/{name} gets 100 % of the traffic as soon as it is ready" in said
    assert "release it with spec.predictor.canaryTrafficPercent: 0" in said
    assert older.weight(name) is None
    assert "Warning" not in older.apply(name, model(V3, 0))
    assert f"of models/{name} was 0 and is left out" in older.apply(name, model(V3))
    assert "Warning" not in older.apply(name, model(V3))


def test_an_older_server_denies_where_the_values_say_so(older: Cluster) -> None:
    """By ``guard.fallback: deny``; afterwards it warns again."""
    name = older.service(model(V1))
    older.install(fallback="deny")
    try:
        deadline, version, code, said = time.monotonic() + 60, 1, 0, ""
        document: Spec = {}
        while not code:
            assert time.monotonic() < deadline, "the denial is not in force"
            version += 1
            document = older.document(name, model(f"s3://models/mnist/{version}"), "models")
            code, said = older.kubectl("apply", "-f", "-", stdin=document)
            time.sleep(0.5)
        assert "release it with spec.predictor.canaryTrafficPercent: 0" in said
        document["spec"]["predictor"]["canaryTrafficPercent"] = 0
        assert older.kubectl("apply", "-f", "-", stdin=document)[0] == 0
    finally:
        older.install()


def test_the_guard_needs_namespaces_or_a_selector() -> None:
    """Without a namespace or a selector it would hold services that no policy governs."""
    done = helm("template", "a", str(CHART), given={**PROMETHEUS, "guard": {"enabled": True}})
    assert "guard.enabled needs guard.namespaces or guard.objectSelector" in done.stderr
    assert of_kind(render(), "MutatingAdmissionPolicy") == of_kind(render(), "ValidatingAdmissionPolicy") == []
    none = render({"guard": {"enabled": True, "namespaces": ["models"], "fallback": "none"}})
    assert of_kind(none, "ValidatingAdmissionPolicy") == []


def test_the_guard_holds_where_this_installation_watches() -> None:
    """What it held elsewhere would wait at 0 for ever."""
    guard: Spec = {"enabled": True, "namespaces": ["models", "other"]}
    done = helm("template", "a", str(CHART), given={**PROMETHEUS, "namespaces": ["models"], "guard": guard})
    assert "guard.namespaces has other, which namespaces lacks" in done.stderr
    guard = {"enabled": True, "objectSelector": {"matchLabels": {"team": "a"}}}
    (policy,) = of_kind(render({"namespaces": ["models"], "guard": guard}), "ValidatingAdmissionPolicy")
    found = policy["spec"]["matchConstraints"]
    assert found["namespaceSelector"]["matchExpressions"][0]["values"] == ["models"]
    assert found["objectSelector"] == guard["objectSelector"]


def test_the_service_knows_where_the_guard_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where requests are held, and not where they are only warned of: it names the services without a policy."""
    guard: Spec = {"enabled": True, "namespaces": ["models"], "objectSelector": {"matchLabels": {"team": "a"}}}
    versions = ("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
    done = helm("template", "a", str(CHART), *versions, given={**PROMETHEUS, "guard": guard})
    variables = {each["name"]: each.get("value") for each in container(list(yaml.safe_load_all(done.stdout)))["env"]}
    monkeypatch.setenv("AUTOCANARY_GUARD", variables["AUTOCANARY_GUARD"])
    found = load().guard
    assert found is not None
    assert found.holds("models", {"team": "a"})
    assert not found.holds("models", {})
    assert not found.holds("other", {"team": "a"})
    warned = container(render({"guard": guard}))["env"]
    assert "AUTOCANARY_GUARD" not in {each["name"] for each in warned}


@pytest.mark.parametrize("selector", [{"team": "a"}, {"matchLabels": {}}, {"matchLabels": {"team": 1}}])
def test_a_selector_that_would_select_all_is_refused(selector: Spec) -> None:
    """The API server drops a field that it does not know, and an empty selector takes each service."""
    values = {**PROMETHEUS, "guard": {"enabled": True, "objectSelector": selector}}
    assert "/guard/objectSelector" in helm("template", "a", str(CHART), given=values).stderr
