"""One set of real servers per test module; each test works in a namespace of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.real.installation import Installation
from tests.testbed.servers import require_servers


@pytest.fixture(scope="module")
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The servers; ``CRD`` (a module's variable) chooses KServe's minimal or full definition, and ``KFSERVING``
    adds KFServing's v1alpha2 beside it."""
    require_servers()
    crd = getattr(request.module, "CRD", "minimal")
    kfserving = getattr(request.module, "KFSERVING", False)
    with Installation(tmp_path_factory.mktemp("stage"), crd=crd, kfserving=kfserving) as installation:
        yield installation


@pytest.fixture
def namespace(installation: Installation, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace, named after the test; what ran for it is ended afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")
    installation.namespace(name)
    yield name
    installation.end_all()
