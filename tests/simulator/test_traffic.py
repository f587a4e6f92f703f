"""Requests follow the split that is really programmed, wait for cold pods, and are lost without pods."""

from __future__ import annotations

from itertools import pairwise

import pytest

from autocanary.model.policy import Component
from autocanary.simulator.pod_behaviour import ready_after_seconds
from autocanary.simulator.response_quality import (
    Quality,
    TrafficMoment,
    from_revision_age,
    from_traffic_weight,
)
from autocanary.simulator.traffic import RequestLoad, RevisionSeries, Scraping
from autocanary.simulator.world import World

V1, V2 = "iris-predictor-00001", "iris-predictor-00002"


def world(quality: Quality | None = None, load: RequestLoad | None = None, seed: int = 1) -> World:
    """A service at its first release, with 100 requests per second."""
    made = World(load=load or RequestLoad(100.0), seed=seed)
    made.model("v2", ready_after_seconds(5), quality or Quality())
    made.deploy("iris", "v1")
    made.advance(60)
    return made


def series(made: World, revision: str) -> RevisionSeries:
    return made.traffic.series("models", "iris", Component.PREDICTOR)[revision]


def counted(made: World, revision: str, seconds: float) -> tuple[int, int]:
    """Requests and errors that scrapes see in that time."""
    before = series(made, revision)
    requests, errors = before.requests, before.errors
    made.advance(seconds)
    after = series(made, revision)
    return after.requests - requests, after.errors - errors


def test_requests_are_split_by_weight() -> None:
    """Ten percent of 100 per second for ten minutes are about 6,000."""
    made = world()
    made.deploy("iris", "v2", weight=10)
    made.advance(60)
    canary, _ = counted(made, V2, 600)
    stable, _ = counted(made, V1, 600)
    assert canary == pytest.approx(6_000, rel=0.06)
    assert stable == pytest.approx(54_000, rel=0.03)


def test_a_revision_at_zero_percent_gets_nothing() -> None:
    """Its counters do not exist before its first request."""
    made = world()
    made.deploy("iris", "v2", weight=0)
    made.advance(120)
    assert series(made, V2).requests == 0
    assert len(series(made, V2).samples) == 0


def test_errors_are_a_share_of_requests() -> None:
    """Two percent of a revision's requests fail, and none of the other's."""
    made = world(Quality(error_percent=2.0))
    made.deploy("iris", "v2", weight=50)
    made.advance(60)
    requests, errors = counted(made, V2, 1200)
    assert errors / requests == pytest.approx(0.02, rel=0.1)


def test_errors_start_at_the_given_weight() -> None:
    """Good below half of the traffic, bad from there on."""
    made = world(Quality(error_percent=from_traffic_weight(50, bad=20.0, good=0.0)))
    made.deploy("iris", "v2", weight=25)
    made.advance(60)
    assert counted(made, V2, 300)[1] == 0
    made.deploy("iris", "v2", weight=50)
    made.advance(60)
    requests, errors = counted(made, V2, 300)
    assert errors / requests == pytest.approx(0.2, rel=0.1)


def test_errors_start_at_the_given_age() -> None:
    """from_age reads how old the revision is."""
    level = from_revision_age(60.0, bad=5.0, good=1.0)
    assert callable(level)
    assert [level(TrafficMoment(0.0, age, 10)) for age in (0.0, 59.0, 60.0, 100.0)] == [1.0, 1.0, 5.0, 5.0]


def test_requests_wait_while_pods_are_cold() -> None:
    """After a rollback onto a cold revision no client is answered until its pods are up; then all, slowly."""
    made = World(load=RequestLoad(100.0))
    made.model("v1", ready_after_seconds(60))
    made.deploy("iris", "v1")
    made.advance(120)
    made.deploy("iris", "v2", weight=100)
    made.advance(120)
    before = series(made, V1)
    requests, slow = before.requests, sum(before.buckets[20:])
    made.deploy("iris", "v2", weight=0)
    made.advance(45)
    assert series(made, V1).requests == requests
    made.advance(60)
    after = series(made, V1)
    assert after.requests - requests == pytest.approx(10_000, rel=0.1)
    assert sum(after.buckets[20:]) - slow > 5_000


def test_crashing_pods_lose_requests_and_are_scraped_for_a_minute() -> None:
    """The counters stop at once; the samples go on until the autoscaler takes the pods of the failed revision away."""
    made = world()
    made.deploy("iris", "v2", weight=50)
    made.advance(120)
    made.kserve.crash("models", "iris", V2)
    made.advance(16)
    before = series(made, V2)
    requests, samples = before.requests, len(before.samples)
    made.advance(75)
    assert (series(made, V2).requests, len(series(made, V2).samples)) == (requests, samples + 3)
    made.advance(300)
    assert (series(made, V2).requests, len(series(made, V2).samples)) == (requests, samples + 3)


def test_pods_that_recover_are_not_taken_away() -> None:
    """Within the minute; a later crash has a minute of its own."""
    made = world()
    made.deploy("iris", "v2", weight=50)
    made.advance(120)
    made.kserve.crash("models", "iris", V2)
    made.advance(30)
    made.kserve.recover("models", "iris", V2)
    made.advance(30)
    requests = series(made, V2).requests
    made.advance(120)
    assert series(made, V2).requests > requests
    made.kserve.crash("models", "iris", V2)
    made.advance(16)
    samples = len(series(made, V2).samples)
    made.advance(30)
    assert len(series(made, V2).samples) == samples + 2


def test_load_can_change() -> None:
    """By hand, or as a function of time."""
    made = world()
    made.traffic.set_load("models", "iris", RequestLoad(0.0))
    assert counted(made, V1, 300)[0] < 1500  # the rest of the interval that was being served
    made.advance(15)
    assert counted(made, V1, 300)[0] == 0
    since = made.now()
    made.traffic.set_load("models", "iris", RequestLoad(lambda at: 10.0 if at >= since + 300 else 0.0))
    assert counted(made, V1, 300)[0] == 0
    assert counted(made, V1, 300)[0] == pytest.approx(3000, rel=0.1)


def test_a_load_may_be_given_before_the_service_exists() -> None:
    """It is used from the first request on."""
    made = World(load=RequestLoad(0.0))
    made.traffic.set_load("models", "iris", RequestLoad(50.0))
    made.deploy("iris", "v1")
    made.advance(120)
    assert series(made, V1).requests > 3000


def test_bursts_hit_all_revisions_at_once() -> None:
    """The factor has mean 1, and minutes differ much more than chance alone would make them."""
    made = World(load=RequestLoad(200.0, bursts=True))
    for uri in ("v1", "v2"):
        made.model(uri, quality=Quality(error_percent=2.0))
    made.deploy("iris", "v1")
    made.advance(60)
    made.deploy("iris", "v2", weight=50)
    made.advance(60)
    minutes = []
    for _ in range(200):
        requests, errors = counted(made, V2, 60)
        minutes.append(errors / requests)
    mean = sum(minutes) / len(minutes)
    assert mean == pytest.approx(0.02, rel=0.35)
    assert max(minutes) > 3 * mean
    assert min(minutes) < mean / 3


def test_counters_do_not_depend_on_read_frequency() -> None:
    """Reading disturbs nothing; another seed is another world."""

    def run(seed: int, reads: int) -> list[tuple[float, int, int]]:
        made = world(Quality(error_percent=3.0), seed=seed)
        made.deploy("iris", "v2", weight=10)
        for _ in range(reads):
            made.advance(600 / reads)
            series(made, V2)
        return [(sample.at, sample.requests, sample.errors) for sample in series(made, V2).samples]

    assert run(1, 1) == run(1, 40)
    assert run(1, 1) != run(2, 1)


def test_long_gap_between_reads_loses_no_requests() -> None:
    """A week is served in one go, except for what a window may still ask for."""
    made = world()
    made.advance(7 * 86400)
    found = series(made, V1)
    assert found.requests == pytest.approx(100 * 7 * 86400, rel=0.01)
    assert 100 < len(found.samples) < 200


def test_recreated_service_counts_from_zero() -> None:
    """A namesake's revisions have the same names and other counters."""
    made = world()
    made.advance(600)
    before = series(made, V1).requests
    made.kserve.delete("models", "iris")
    made.advance(5)
    made.deploy("iris", "v1")
    made.advance(60)
    assert series(made, V1).requests < before / 4


def scraped(scraping: Scraping, revision: str = V1, seed: int = 1) -> list[float]:
    """When a revision's samples were scraped, in a world of two revisions."""
    made = World(load=RequestLoad(100.0), seed=seed, scraping=scraping)
    made.deploy("iris", "v1")
    made.advance(60)
    made.deploy("iris", "v2", weight=50)
    made.advance(1200)
    return [sample.at for sample in series(made, revision).samples]


def test_scrapes_are_aligned_unless_staggered() -> None:
    """At once by default; else each revision at a phase of its own, every 15 s all the same."""
    assert {at % 15.0 for at in scraped(Scraping())} == {at % 15.0 for at in scraped(Scraping(), V2)} == {0.0}
    staggered = Scraping(staggered=True)
    phases = {
        (seed, name): {at % 15.0 for at in scraped(staggered, name, seed)} for seed in (1, 2) for name in (V1, V2)
    }
    assert all(len(each) == 1 for each in phases.values())
    assert len({phase for each in phases.values() for phase in each}) > 2
    at = scraped(staggered, V2)
    assert {round(later - earlier, 6) for earlier, later in pairwise(at)} == {15.0}


def test_missed_scrapes_lose_samples_and_no_requests() -> None:
    """A quarter of the samples is missing, and what they would have read is in the next one."""
    whole, holed = scraped(Scraping()), scraped(Scraping(missed=0.25))
    assert set(holed) < set(whole)
    assert 0.6 * len(whole) < len(holed) < 0.9 * len(whole)
    made, other = (
        World(load=RequestLoad(100.0), scraping=scraping) for scraping in (Scraping(), Scraping(missed=0.25))
    )
    for each in (made, other):
        each.deploy("iris", "v1")
        each.advance(600)
    assert series(made, V1).requests == series(other, V1).requests


def test_staggered_sides_are_read_up_to_a_scrape_apart() -> None:
    """One side shows an outage of both before the other does: never more than an interval earlier."""
    made = World(load=RequestLoad(100.0), seed=2, scraping=Scraping(staggered=True))
    made.deploy("iris", "v1")
    made.advance(60)
    made.deploy("iris", "v2", weight=50)
    made.advance(300)
    newest = [series(made, name).samples[-1].at for name in (V1, V2)]
    assert 0.0 < abs(newest[0] - newest[1]) < 15.0
