"""Every trap on the real controllers of KServe and Knative, with autocanary as a process.

They are run at the same time, each in a namespace of its own, fewer than on the status simulator: KServe's
manager has one worker and twenty requests a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from _pytest.mark import ParameterSet

from tests.kserve_ground.installation import KServeInstallation
from tests.kserve_ground.trap_world import REFUSALS, KServeTrapWorld
from tests.testbed import setup
from tests.testbed.servers import require_servers
from tests.traps.real_world import SharedInstallation, shared_installation
from tests.traps.trap_list import TRAPS, Trap

pytestmark = [pytest.mark.real, pytest.mark.kserve, pytest.mark.timeout(2400)]

_AT_ONCE = int(os.environ.get("AUTOCANARY_TEST_AT_ONCE", "8"))

SHORT = (
    "rules-02-changed-without-the-field",
    "rules-03-changed-with-ten-in-one-patch",
    "rules-07-zero-takes-the-traffic-back",
    "rules-08-after-a-rollback-the-field-stays",
    "table-s05e-candidate-crashes-without-an-abort",
    "gotcha-04-kserves-webhook-is-away-during-a-rollback",
)
"""What every change runs: intercepted, healthy, with a violation, field dropped after a rollback, crashed after it was ready,
KServe's webhook away.
"""

IMPOSSIBLE: dict[str, str] = {
    "modes-modelmesh": "ModelMesh's own controller, which makes such a service ready, is not on this ground",
}
"""The traps that this ground cannot set, and why."""


def _run_trap(shared: SharedInstallation, trap: Trap) -> None:
    trap.run(KServeTrapWorld(shared, trap.name))


@pytest.fixture(scope="module")
def running_traps(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[None]]]:
    """The traps of the tests that were selected, under way."""
    require_servers(*(server.name for server in setup.SERVERS), *setup.CONTROLLERS)
    names = [item.name for item in request.session.items if item.path == request.path]
    chosen = [trap for trap in TRAPS if f"test_trap[{trap.name}]" in names and trap.name not in IMPOSSIBLE]
    installation = KServeInstallation(tmp_path_factory.mktemp("traps"), crd="full")
    with shared_installation(installation, installation.storage_uri) as shared:
        installation.api.apply(*REFUSALS)
        with ThreadPoolExecutor(_AT_ONCE, "trap") as pool:
            yield {trap.name: pool.submit(_run_trap, shared, trap) for trap in chosen}


def _case(trap: Trap) -> ParameterSet:
    return pytest.param(trap, id=trap.name, marks=[pytest.mark.kserve_short] if trap.name in SHORT else [])


@pytest.mark.parametrize("trap", [_case(trap) for trap in TRAPS])
def test_trap(trap: Trap, request: pytest.FixtureRequest) -> None:
    """What the trap's own sentence says."""
    if trap.name in IMPOSSIBLE:
        pytest.skip(IMPOSSIBLE[trap.name])
    running: dict[str, Future[None]] = request.getfixturevalue("running_traps")
    running[trap.name].result()
