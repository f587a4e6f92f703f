"""The definitions of InferenceService that users have: KServe's minimal and full ones, and KFServing's."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

from tests.testbed.servers.apiserver import ApiServer
from tests.testbed.servers.process import wait_until

FOLDER = Path(__file__).resolve().parent.parent / "crds"

Variant = Literal["minimal", "full"]


def install_inferenceservice_crd(api: ApiServer, variant: Variant = "minimal") -> None:
    """Install KServe's `inferenceservices.serving.kserve.io` (v1beta1) and wait until it is served."""
    if variant == "full":
        packed = FOLDER / "kserve-v0.20-inferenceservice-full.yaml.gz"
        manifest = gzip.decompress(packed.read_bytes()).decode()
    else:
        manifest = (FOLDER / "kserve-v0.20-inferenceservice-minimal.yaml").read_text()
    _install(api, manifest, group="serving.kserve.io", version="v1beta1")


def install_kubeflow_crd(api: ApiServer) -> None:
    """Install what KFServing 0.5 had: KServe's minimal definition in the group `serving.kubeflow.org`."""
    manifest = (FOLDER / "kserve-v0.20-inferenceservice-minimal.yaml").read_text()
    group = "serving.kubeflow.org"
    _install(api, manifest.replace("serving.kserve.io", group), group=group, version="v1beta1")


def install_kfserving_crd(api: ApiServer) -> None:
    """Install KFServing's `inferenceservices.serving.kubeflow.org` (v1alpha2) and wait until it is served."""
    manifest = (FOLDER / "kfserving-v1alpha2.yaml").read_text()
    _install(api, manifest, group="serving.kubeflow.org", version="v1alpha2")


def _install(api: ApiServer, manifest: str, *, group: str, version: str) -> None:
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    wait_served(api, group, version, "inferenceservices")


def wait_served(api: ApiServer, group: str, version: str, plural: str) -> None:
    """Wait until a custom resource answers on its path and is listed by discovery."""
    # Not `kubectl wait --for=condition=Established`: it fails at once while there are no conditions yet,
    # and Established comes a moment before the server answers.
    path = f"/apis/{group}/{version}"

    def answers() -> bool:
        try:
            return api.request(f"{path}/{plural}", seconds=30)[0] == 200 == api.request(path, seconds=30)[0]
        except OSError:  # a server that takes in megabytes of definitions may need its time
            return False

    wait_until(answers, seconds=180, what=f"{plural}.{group} served")
