"""The controllers come up, and do what KServe's documentation says of a rollout by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kserve_ground.cluster import KServeCluster
from tests.real.manifests import service_document
from tests.testbed import setup
from tests.testbed.servers import ApiServer, require_servers, wait_until

pytestmark = [pytest.mark.real, pytest.mark.kserve, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, KServeCluster]]:
    require_servers(*(server.name for server in setup.SERVERS), *setup.CONTROLLERS)
    folder = tmp_path_factory.mktemp("cluster")
    with ApiServer(folder=folder / "api") as api, KServeCluster(api, folder) as cluster:
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}})
        yield api, cluster


def test_a_weight_moves_the_traffic(cluster: tuple[ApiServer, KServeCluster]) -> None:
    """Two versions, 10 %, then 0: the Ingress object that Knative writes has this split."""
    api, world = cluster

    def split() -> dict[str, int]:
        routed = world.split().get(("models", "mnist"), {})
        return {revision: percent for revision, percent in routed.items() if percent}

    for version, weight, expected in (
        ("v1", None, {"mnist-predictor-00001": 100}),
        ("v2", 10, {"mnist-predictor-00002": 10, "mnist-predictor-00001": 90}),
        ("v2", 0, {"mnist-predictor-00001": 100}),
    ):
        document = service_document("models", "mnist", version, weight)
        api.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        wait_until(lambda expected=expected: split() == expected, seconds=60, what=f"{expected}, not {split()}")  # type: ignore[misc]
