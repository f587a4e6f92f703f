"""An API server in memory for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autocanary import logs
from tests.kube.fake_api import FakeApi


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


@pytest.fixture
def captured() -> Iterator[logs.CapturedLogs]:
    with logs.capture() as kept:
        yield kept
