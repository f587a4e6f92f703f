"""One set of real servers per test module; each test works in a namespace of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.real.stage import Stage
from tests.testbed.servers import require_servers


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The servers; ``CRD`` (a module's variable) chooses KServe's minimal or full definition, and ``KFSERVING``
    adds KFServing's v1alpha2 beside it."""
    require_servers()
    crd = getattr(request.module, "CRD", "minimal")
    kfserving = getattr(request.module, "KFSERVING", False)
    with Stage(tmp_path_factory.mktemp("stage"), crd=crd, kfserving=kfserving) as stage:
        yield stage


@pytest.fixture
def namespace(stage: Stage, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace, named after the test; what ran for it is ended afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")
    stage.namespace(name)
    yield name
    stage.end_all()
