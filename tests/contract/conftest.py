"""The same test in every world: in memory and on real servers, with each definition of a service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.backend import Backend
from tests.contract.backends import KFSERVING_WORLDS, KSERVE_WORLDS
from tests.contract.real import ApiServerSite, RealBackend
from tests.contract.service_specs import FORMS, KSERVE
from tests.contract.simulated import SimulatedBackend
from tests.testbed.servers import require_servers


@pytest.fixture(scope="session", params=[*KSERVE_WORLDS, *KFSERVING_WORLDS])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServerSite | SimulatedBackend]:
    """What many tests of one world share: the servers, where there are any."""
    where, _, what = request.param.partition("-")
    if where == "sim":
        yield _simulated(what)
        return
    require_servers("etcd", "kube-apiserver", "kubectl")
    with ApiServerSite(tmp_path_factory.mktemp("site"), what) as site:
        yield site


@pytest.fixture
def backend(site: ApiServerSite | SimulatedBackend) -> Iterator[Backend]:
    """A place that no other client acts in."""
    if isinstance(site, SimulatedBackend):
        yield SimulatedBackend(minimal_crd=site.world.kserve.objects.minimal_crd, manifest_format=site.manifest_format)
        return
    with RealBackend(site, f"t-{uuid.uuid4().hex[:8]}") as backend:
        yield backend


def _simulated(what: str) -> SimulatedBackend:
    return SimulatedBackend(minimal_crd=what in ("minimal", "kubeflow"), manifest_format=FORMS.get(what, KSERVE))
