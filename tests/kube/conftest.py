"""Servers for the tests of this room: one in memory for each test, and a real one for all that need it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from autocanary.kube import crds
from autocanary.kube.rbac import rbac_rules
from tests.kube.fake_api import FakeApi
from tests.testbed.servers import ApiServer, install_inferenceservice_crd, require_servers
from tests.testbed.servers.crds import wait_served

SERVICE_USER = "autocanary"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


@pytest.fixture(scope="package")
def cluster() -> Iterator[ApiServer]:
    """A real API server with our definitions, KServe's minimal one, and a user with exactly our rights."""
    require_servers("etcd", "kube-apiserver", "kubectl")
    with ApiServer([SERVICE_USER]) as server:
        server.kubectl("apply", "-f", "-", stdin=crds.manifest())
        for plural in ("canaryrollouts", "rolloutpolicies"):
            wait_served(server, "autocanary.dev", "v1alpha1", plural)
        install_inferenceservice_crd(server, "minimal")
        server.grant(SERVICE_USER, rbac_rules())
        yield server


@pytest.fixture
def namespace(cluster: ApiServer) -> str:
    """A new namespace on the real server."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    return name
