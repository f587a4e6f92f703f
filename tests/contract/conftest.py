"""The same test in every world: in memory and on real servers, with each definition of a service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.forms import FORMS, KSERVE
from tests.contract.place import Place
from tests.contract.real import RealPlace, Site
from tests.contract.simulated import SimPlace
from tests.contract.worlds import KFSERVING_WORLDS, KSERVE_WORLDS
from tests.testbed.servers import require_servers


@pytest.fixture(scope="session", params=[*KSERVE_WORLDS, *KFSERVING_WORLDS])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site | SimPlace]:
    """What many tests of one world share: the servers, where there are any."""
    where, _, what = request.param.partition("-")
    if where == "sim":
        yield _simulated(what)
        return
    require_servers("etcd", "kube-apiserver", "kubectl")
    with Site(tmp_path_factory.mktemp("site"), what) as site:
        yield site


@pytest.fixture
def place(site: Site | SimPlace) -> Iterator[Place]:
    """A place that nobody else acts in."""
    if isinstance(site, SimPlace):
        yield SimPlace(minimal_crd=site.world.kserve.objects.minimal_crd, form=site.form)
        return
    with RealPlace(site, f"t-{uuid.uuid4().hex[:8]}") as place:
        yield place


def _simulated(what: str) -> SimPlace:
    return SimPlace(minimal_crd=what in ("minimal", "kubeflow"), form=FORMS.get(what, KSERVE))
