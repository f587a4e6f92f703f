"""Whole weeks of a platform team, on the real controllers of KServe and Knative with autocanary as a process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.kserve_ground.installation import KServeInstallation
from tests.kserve_ground.trap_world import KServeTrapWorld
from tests.testbed import setup
from tests.testbed.servers import require_servers
from tests.traps.real_world import SharedInstallation, shared_installation
from tests.traps.weeks import WEEKS, Week

pytestmark = [pytest.mark.real, pytest.mark.kserve, pytest.mark.timeout(1800)]

_AT_ONCE = 5


def _run_week(shared: SharedInstallation, week: Week) -> None:
    week.run(KServeTrapWorld(shared, week.name))


@pytest.fixture(scope="module")
def running_weeks(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[None]]]:
    """The weeks of the tests that were selected, under way."""
    require_servers(*(server.name for server in setup.SERVERS), *setup.CONTROLLERS)
    names = [item.name for item in request.session.items if item.path == request.path]
    chosen = [week for week in WEEKS if f"test_week[{week.name}]" in names]
    installation = KServeInstallation(tmp_path_factory.mktemp("weeks"), crd="full")
    with (
        shared_installation(installation, installation.storage_uri) as shared,
        ThreadPoolExecutor(_AT_ONCE, "week") as pool,
    ):
        yield {week.name: pool.submit(_run_week, shared, week) for week in chosen}


@pytest.mark.parametrize("week", WEEKS, ids=lambda week: week.name)
def test_week(week: Week, running_weeks: dict[str, Future[None]]) -> None:
    """What the week's own sentence says."""
    running_weeks[week.name].result()
