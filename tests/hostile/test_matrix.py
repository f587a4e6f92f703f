"""Every class of attack, with siblings, while running, at start and at takeover: the victim is rolled back in time.

All hostile objects of one moment are there together, on a real API server and Prometheus, beside ``autocanary run``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.hostile.cases import CASES, Case, apply_all, prepare
from tests.hostile.world import INTERVAL, MOMENTS, Evidence, HostileWorld
from tests.testbed.servers import require_servers
from tests.testbed.setup import FAKETIME

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

SCRAPE, SLACK_SECONDS = 1.0, 30.0
"""Until the errors are in Prometheus, and what a machine with more processes than cores adds: a dozen of them share two
cores here, and 4 to 13 s were seen. What is silenced by a hostile object stays so for minutes, or for ever."""
ROLLED_BACK_WITHIN = 2 * INTERVAL + SCRAPE + SLACK_SECONDS
MEMORY_LIMIT = 512 * 1024 * 1024


@dataclass
class HostileRun:
    world: HostileWorld
    moments: dict[str, Evidence]


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileRun]:
    """All moments, run once."""
    require_servers(FAKETIME)
    with ExitStack() as stack:
        world = HostileWorld(tmp_path_factory.mktemp("hostile"), stack)
        prepare(world)
        yield HostileRun(world, world.run(apply_all))


@pytest.mark.parametrize("moment", MOMENTS)
def test_victim_is_rolled_back_within_two_evaluations(hostile_run: HostileRun, moment: str) -> None:
    """Its message is delivered, its neighbour's webhook is called, and memory stays under the chart's limit."""
    evidence = hostile_run.moments[moment]
    print(  # noqa: T201
        f"{moment}: rolled back after {evidence.rolled_back_after:.1f} s, notified after {evidence.notified_after:.1f} s, "
        f"gate passed after {evidence.gate_after:.1f} s, peak {evidence.peak_bytes / 2**20:.0f} MiB, "
        f"slowest probe {evidence.slowest_probe:.2f} s, {len(evidence.log_text)} bytes of log"
    )
    assert evidence.rolled_back_after <= ROLLED_BACK_WITHIN
    assert evidence.notified_after <= ROLLED_BACK_WITHIN + 15
    assert evidence.gate_after <= 30
    assert evidence.peak_bytes < MEMORY_LIMIT


@pytest.mark.parametrize("moment", MOMENTS)
def test_readiness_and_metrics_are_true(hostile_run: HostileRun, moment: str) -> None:
    """Ready, because every watch is whole; what is left out and what is overdue is counted."""
    evidence = hostile_run.moments[moment]
    assert evidence.healthy == 200
    status, text = evidence.ready
    assert status == 200, text
    assert "cannot be read" in text
    assert evidence.metrics["autocanary_leader"] == 1
    for kind in ("InferenceService", "CanaryRollout", "RolloutPolicy"):
        assert evidence.metrics[f'autocanary_watch_healthy{{kind="{kind}"}}'] == 1
        assert evidence.metrics[f'autocanary_objects_skipped{{kind="{kind}"}}'] >= 1
    if moment != "running":
        assert evidence.metrics["autocanary_rollouts_overdue"] >= 1  # the records that were set aside


@pytest.mark.parametrize("moment", MOMENTS)
def test_log_is_bounded(hostile_run: HostileRun, moment: str) -> None:
    """Lines of bounded length without control characters, and not many of them."""
    text = hostile_run.moments[moment].log_text
    assert max(len(line) for line in text.splitlines()) < 20_000
    assert len(text) < 4_000_000
    assert "\x1b" not in text


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_object_hurts_its_own_rollout_alone(hostile_run: HostileRun, case: Case, moment: str) -> None:
    case.check(hostile_run.world, hostile_run.moments[moment])
