"""Every trap on a real API server, with the status simulator, a real Prometheus and autocanary as a process.

They are sprung at the same time, each in a namespace of its own: most of a trap is waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.real.installation import Installation
from tests.testbed.servers import require_servers
from tests.traps.real_world import RealTrapWorld, SharedInstallation, model_by_the_rules, shared_installation
from tests.traps.trap_list import TRAPS, Trap

pytestmark = pytest.mark.timeout(900)

_AT_ONCE = 25


def _run_trap(shared: SharedInstallation, trap: Trap) -> None:
    trap.run(RealTrapWorld(shared, trap.name))


@pytest.fixture(scope="module")
def running_traps(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[None]]]:
    """The traps of the tests that were selected, under way."""
    require_servers()
    names = [item.name for item in request.session.items if item.path == request.path]
    chosen = [trap for trap in TRAPS if f"test_trap[{trap.name}]" in names]
    installation = Installation(tmp_path_factory.mktemp("traps"), crd="full")
    with (
        shared_installation(installation, model_by_the_rules(installation)) as shared,
        ThreadPoolExecutor(_AT_ONCE, "trap") as pool,
    ):
        yield {trap.name: pool.submit(_run_trap, shared, trap) for trap in chosen}


@pytest.mark.real
@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_trap(trap: Trap, running_traps: dict[str, Future[None]]) -> None:
    """What the trap's own sentence says."""
    running_traps[trap.name].result()
