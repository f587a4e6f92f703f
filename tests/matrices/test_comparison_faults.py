"""Every cell of the matrix of metric faults under a policy that compares with stable."""

from __future__ import annotations

import pytest

from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.simulator.prometheus_server import LostScrapes, PrometheusFault
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad, Scraping
from tests.controller.comparison_policies import comparison_policy
from tests.controller.driver import V1, V2, Driver, healthy_start
from tests.matrices.comparison_faults import FAULTS, POSITIONS, ComparisonFault, rows

LASTS = 420.0
KNOWN_AFTER = 105.0
"""Seconds until a revision without samples is known to be silent: 90 s, and an evaluation."""
ONE_PERCENT = Quality(error_percent=1.0)


def reached(weight: int) -> Driver:
    """A healthy release that is analysed at this weight, of which each revision is scraped at its own phase."""
    driver = healthy_start(
        comparison_policy(bake=600.0),
        qualities={V1: ONE_PERCENT, V2: ONE_PERCENT},
        load=RequestLoad(100.0),
        scraping=Scraping(staggered=True),
    )
    driver.until_weight(weight)
    driver.until(lambda: driver.rollout().progress.step.verified_at is not None)
    driver.run(75)
    return driver


def strike(driver: Driver, fault: ComparisonFault) -> None:
    now = driver.world.now()
    if fault.kind is not None:
        driver.world.metrics.faults.append(PrometheusFault(fault.kind, now, now + LASTS))
    for number in fault.lost:
        driver.world.metrics.lost_scrapes.append(LostScrapes(f"mnist-predictor-{number:05d}", now, now + LASTS))


@pytest.mark.parametrize("place", POSITIONS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_moves_nothing_and_the_rollout_goes_on_after_it(fault: ComparisonFault, place: str) -> None:
    """No rollback and no step while nothing is known, the stated reason, and a promotion in the end."""
    driver = reached(POSITIONS[place])
    strike(driver, fault)
    driver.run(KNOWN_AFTER)
    written, goes_on = driver.weights(), fault.bake_goes_on and place == "bake"
    seen: set[Reason] = set()
    for _ in range(int(LASTS - KNOWN_AFTER - 15.0)):
        driver.tick()
        assert driver.phase() is not Phase.ROLLING_BACK
        assert driver.weights() == written
        seen.add(driver.phase_and_reason()[1])
    if goes_on:
        assert not seen & {Reason.METRICS_STALE, Reason.NO_DATA, Reason.METRICS_OUTAGE}
    else:
        assert seen <= fault.reasons, (seen, driver.story())
        assert driver.phase() is Phase.HOLDING
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 50, 100]


def test_the_printed_table_is_the_tested_one() -> None:
    """A row for each fault, and a cell for each position."""
    head, *body = rows()
    assert [row[0] for row in body] == [fault.name for fault in FAULTS]
    assert {len(row) for row in body} == {len(head)} == {2 + len(POSITIONS)}
