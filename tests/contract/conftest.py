"""The same test in every world: in memory and on real servers, with KServe's minimal and full definition."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.place import Place
from tests.contract.real import RealPlace, Site
from tests.contract.simulated import SimPlace
from tests.testbed.servers import require_servers

_WORLDS = [
    "sim-minimal-crd",
    "sim-full-crd",
    pytest.param("real-minimal-crd", marks=pytest.mark.real),
    pytest.param("real-full-crd", marks=pytest.mark.real),
]


@pytest.fixture(scope="session", params=_WORLDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site | SimPlace]:
    """What many tests of one world share: the servers, where there are any."""
    minimal = "minimal" in request.param
    if request.param.startswith("sim"):
        yield SimPlace(minimal_crd=minimal)
        return
    require_servers("etcd", "kube-apiserver", "kubectl")
    with Site(tmp_path_factory.mktemp("site"), "minimal" if minimal else "full") as site:
        yield site


@pytest.fixture
def place(site: Site | SimPlace) -> Iterator[Place]:
    """A place that nobody else acts in."""
    if isinstance(site, SimPlace):
        yield SimPlace(minimal_crd=site.world.kserve.objects.minimal_crd)
        return
    with RealPlace(site, f"t-{uuid.uuid4().hex[:8]}") as place:
        yield place
