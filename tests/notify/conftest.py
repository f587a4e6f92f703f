"""Fixtures shared by the tests of notify."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autocanary import logs
from autocanary.notify.http import Http
from tests.notify.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def http() -> Http:
    return Http(connect=2.0, read=5.0)


@pytest.fixture
def logged() -> Iterator[logs.Captured]:
    with logs.capture() as captured:
        yield captured
