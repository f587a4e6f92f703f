"""What is installed before the controllers start: their own manifests, as far as this ground has use for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import setup
from tests.testbed.servers import ApiServer
from tests.testbed.servers.controllers import KNATIVE_NAMESPACE, KSERVE_NAMESPACE

Document = dict[str, Any]

RUNTIME_IMAGE = "dev.local/sklearnserver:v1"
# Tags are resolved at registries that this machine may not reach: all that the tests name is left as it is.
_SKIPPED_REGISTRIES = "kind.local,ko.local,dev.local,index.docker.io"
_CHANGES = {
    "config-deployment": {
        "queue-sidecar-image": "dev.local/queue:v1",
        "registries-skipping-tag-resolving": _SKIPPED_REGISTRIES,
        "progress-deadline": "120s",
    },
    "config-autoscaler": {"target-burst-capacity": "-1"},
    "config-leader-election": {"lease-duration": "15s", "renew-deadline": "10s", "retry-period": "2s"},
    "config-domain": {"example.com": ""},
}


def namespaces() -> list[Document]:
    names = (KNATIVE_NAMESPACE, KSERVE_NAMESPACE, "istio-system")
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def definition_files(crd: str) -> list[Path]:
    """The files of custom resource definitions; `crd` is KServe's `full` or `minimal` InferenceService."""
    kserve, knative = setup.KSERVE.cache(), setup.KNATIVE.cache()
    kinds = ("clusterservingruntimes", "inferencegraphs", "inferenceservices", "servingruntimes", "trainedmodels")
    theirs = [kserve / "config/crd" / crd / f"serving.kserve.io_{kind}.yaml" for kind in kinds]
    container = "clusterstoragecontainer/serving.kserve.io_clusterstoragecontainers.yaml"
    theirs.append(kserve / "config/crd" / crd / container)
    networking = [
        knative / "networking" / f"{name}.yaml"
        for name in ("certificate", "domain-claim", "ingress", "serverlessservice")
    ]
    serving = sorted((knative / "config/300-resources").glob("*.yaml"))
    return [*theirs, *networking, *serving, knative / "caching/image.yaml"]


def knative_configuration() -> list[Document]:
    """Every ConfigMap of Knative Serving, without its examples, and the webhook's empty Secret."""
    files = sorted((setup.KNATIVE.cache() / "config/configmaps").glob("*.yaml"))
    found = [
        each for file in [*files, setup.KNATIVE.cache() / "networking/config-network.yaml"] for each in _read(file)
    ]
    for each in found:
        name = each["metadata"]["name"]
        kept = {key: value for key, value in (each.get("data") or {}).items() if key != "_example"}
        each["data"] = {**kept, **_CHANGES.get(name, {})}
        each["metadata"] = {"name": name, "namespace": KNATIVE_NAMESPACE}
    return [*found, *_read(setup.KNATIVE.cache() / "config/webhooks/secret.yaml")]


def knative_webhooks(port: int) -> list[Document]:
    """The configurations of Knative's webhook, behind a Service whose name leads to this machine."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "webhook", "namespace": KNATIVE_NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    folder = setup.KNATIVE.cache() / "config/webhooks"
    files = ("configmap-validation.yaml", "defaulting.yaml", "resource-validation.yaml")
    found = [each for file in files for each in _read(folder / file)]
    for configuration in found:
        for webhook in configuration["webhooks"]:
            webhook["clientConfig"]["service"]["port"] = port
    return [service, *found]


def kserve_configuration() -> list[Document]:
    """KServe's ConfigMap as it is shipped, except that no Istio is asked for."""
    [config] = _read(setup.KSERVE.cache() / "config/configmap/inferenceservice.yaml")
    config["data"].pop("_example", None)
    ingress = json.loads(config["data"]["ingress"])
    config["data"]["ingress"] = json.dumps({**ingress, "disableIstioVirtualHost": True})
    return [config]


def kserve_webhooks(url: str, ca: bytes) -> list[Document]:
    """The configurations of KServe's webhooks, called at this address."""
    found = [each for each in _read(setup.KSERVE.cache() / "config/webhook/manifests.yaml") if each]
    for configuration in found:
        configuration["metadata"].pop("creationTimestamp", None)
        for webhook in configuration["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": url + path, "caBundle": base64.b64encode(ca).decode()}
    return found


def kserve_runtime() -> list[Document]:
    """The runtime of scikit-learn models and the container that loads models, as KServe ships them."""
    [runtime] = _read(setup.KSERVE.cache() / "config/runtimes/kserve-sklearnserver.yaml")
    runtime["spec"]["containers"][0]["image"] = RUNTIME_IMAGE
    [container] = _read(setup.KSERVE.cache() / "config/storagecontainers/default.yaml")
    container["spec"]["container"]["image"] = "dev.local/storage-initializer:v1"
    return [runtime, container]


def install_definitions(api: ApiServer, crd: str) -> None:
    """Install the definitions; the files are megabytes, so kubectl reads them."""
    files = [argument for path in definition_files(crd) for argument in ("-f", str(path))]
    api.kubectl("apply", "--server-side", "--force-conflicts", *files, seconds=180)


def _read(file: Path) -> Iterator[Any]:
    return yaml.safe_load_all(file.read_text())
