"""Releases as ``simulate`` runs them: how the two revisions answer, and their requests without a cluster.

What is counted, scraped and read is what the whole world has; left out is how a weight comes to be in effect,
which takes as long as it does there. The same seed gives the same requests here and there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import FULL_WEIGHT, Component
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.demo_policy import NAMESPACE, SERVICE
from autocanary.simulator.knative_controller import Revision, RoutedRevisions, StatusTarget
from autocanary.simulator.pod_behaviour import HEALTHY
from autocanary.simulator.prometheus_server import LostScrapes, SimulatedMetrics
from autocanary.simulator.response_quality import Quality, TrafficMoment, ValueOverTime, value_at
from autocanary.simulator.traffic import RequestLoad, Scraping, Traffic
from autocanary.simulator.virtual_clock import START, VirtualClock

__all__ = [
    "CANDIDATE",
    "FIRST_STEP_AFTER",
    "RELEASE_AFTER",
    "STABLE",
    "STANDARD_RELEASES",
    "RevisionPair",
    "SimulatedRelease",
    "seeds_of",
    "start_of",
]

STABLE, CANDIDATE = (f"{SERVICE}-predictor-{number:05d}" for number in (1, 2))

RELEASE_AFTER, FIRST_STEP_AFTER = 40.0, 42.0
"""Seconds after the beginning at which the candidate is applied, and at which its first step can be taken."""

_CREATED, _WARM, _SERVES = 0.4, 1.4, 1.6
"""Seconds from a manifest to its revision, to its pods, and to a route to it."""
_PROGRAMMED, _SEEN = 0.4, 1.0
"""Seconds from a written weight to the traffic, and to the evaluation that sees it in the status."""
_URIS = ("stable", "candidate")
_SEED_BITS = 48
_PHASES = 60  # seconds by which runs start apart, against the grids of scrapes and evaluations


@dataclass(frozen=True, slots=True)
class SimulatedRelease:
    """Errors are in percent of the requests, latencies are medians in seconds.

    ``rps`` are the requests per second of both revisions. The candidate answers like stable until ``onset``
    seconds after its first request, or after it has all the traffic where ``in_bake``. ``bursts``: the errors of both
    come and go together.

    ``missed`` is the percent of scrapes that fail. ``silent`` revision (stable or candidate) is not scraped for
    ``silent_seconds`` from ``silent_from`` on; both fail all requests for ``outage_seconds`` from ``outage_from``
    on; the candidate's latency is ``cold_latency`` in its first ``cold_seconds``. All times count from the
    candidate's first request.
    """

    name: str
    rps: float = 20.0
    base_error: float = 0.5
    canary_error: float = 0.5
    base_latency: float = 0.08
    canary_latency: float = 0.08
    onset: float = 0.0
    bursts: bool = False
    in_bake: bool = False
    missed: float = 0.0
    silent: str = ""
    silent_from: float = 600.0
    silent_seconds: float = 0.0
    outage_from: float = 420.0
    outage_seconds: float = 0.0
    cold_seconds: float = 0.0
    cold_latency: float = 0.12

    @property
    def scraping(self) -> Scraping:
        """Each revision at a phase of its own, as Prometheus scrapes."""
        return Scraping(staggered=True, missed=self.missed / 100.0)

    def lost_scrapes(self, start: float) -> list[LostScrapes]:
        """Of the silent revision, in a world that begins at ``start``."""
        if not self.silent or self.silent_seconds <= 0:
            return []
        began = start + FIRST_STEP_AFTER + self.silent_from
        revision = CANDIDATE if self.silent == "candidate" else STABLE
        return [LostScrapes(revision, began, began + self.silent_seconds)]

    @property
    def load(self) -> RequestLoad:
        return RequestLoad(self.rps, bursts=self.bursts)

    def qualities(self, start: float) -> tuple[Quality, Quality]:
        """Of stable and the candidate, in a world that begins at ``start``."""
        first_request = start + FIRST_STEP_AFTER
        began = _Onset(first_request + self.onset, self.onset if self.in_bake else None)

        def from_onset(before: float, after: float) -> ValueOverTime:
            if not (self.onset > 0 or self.in_bake):
                return after
            return lambda moment: after if began.is_over(moment) else before

        def in_outage(value: ValueOverTime) -> ValueOverTime:
            if self.outage_seconds <= 0:
                return value
            since = first_request + self.outage_from
            until = since + self.outage_seconds
            return lambda moment: 100.0 if since <= moment.at < until else value_at(value, moment)

        def when_cold(value: ValueOverTime) -> ValueOverTime:
            if self.cold_seconds <= 0:
                return value
            until = first_request + self.cold_seconds
            return lambda moment: self.cold_latency if moment.at < until else value_at(value, moment)

        stable = Quality(in_outage(self.base_error), self.base_latency)
        return stable, Quality(
            in_outage(from_onset(self.base_error, self.canary_error)),
            when_cold(from_onset(self.base_latency, self.canary_latency)),
        )


@dataclass(slots=True)
class _Onset:
    """When the harm begins: at a time, or so many seconds after the candidate has all the traffic."""

    at: float
    after_full_weight: float | None

    def is_over(self, moment: TrafficMoment) -> bool:
        if self.after_full_weight is not None and moment.weight >= FULL_WEIGHT:
            self.at, self.after_full_weight = moment.at + self.after_full_weight, None
        return self.after_full_weight is None and moment.at >= self.at


STANDARD_RELEASES = (
    SimulatedRelease("healthy"),
    SimulatedRelease("slightly-worse", canary_error=0.6),
    SimulatedRelease("twice-as-bad", canary_error=1.0),
    SimulatedRelease("broken", canary_error=50.0),
    SimulatedRelease("slow", canary_latency=0.16),
    SimulatedRelease("late-15m", canary_error=5.0, onset=900.0),
    SimulatedRelease("late-40m", canary_error=5.0, onset=2400.0),
    SimulatedRelease("late-in-bake", canary_error=5.0, onset=60.0, in_bake=True),
    SimulatedRelease("bursty", bursts=True),
    SimulatedRelease("little-traffic", rps=2.0),
    SimulatedRelease("little-traffic-bad", rps=2.0, canary_error=5.0),
    SimulatedRelease("missed-scrapes", missed=10.0),
    SimulatedRelease("not-scraped", silent="candidate", silent_seconds=480.0),
    SimulatedRelease("shared-outage", outage_seconds=180.0),
    SimulatedRelease("cold-start", cold_seconds=300.0),
)
"""What is simulated when no release is described: what users release, and what happens to them."""


def seeds_of(seed: int, release: SimulatedRelease, runs: int) -> list[int]:
    """One seed per run, independent of the process that runs it and of its policy."""
    return [Random(f"{seed}/{release.name}/{run}").getrandbits(_SEED_BITS) for run in range(runs)]


def start_of(seed: int) -> float:
    """When the world of this seed begins."""
    return START + Random(f"start/{seed}").randrange(_PHASES)


@dataclass(slots=True)
class _Split:
    """The programmed ingress of one service."""

    revisions: Mapping[str, Revision]
    programmed: tuple[StatusTarget, ...] = ()


@dataclass(slots=True)
class RevisionPair:
    """Two revisions behind one ingress, their requests and what Prometheus scrapes of them.

    Time passes in ``advance_to``, in seconds since the epoch.
    """

    release: SimulatedRelease
    seed: int
    start: float = START
    clock: VirtualClock = field(init=False)
    metrics: SimulatedMetrics = field(init=False)
    observation: Observation = field(init=False)
    _traffic: Traffic = field(init=False)
    _split: _Split = field(init=False)
    _on_traffic_change: Callable[[tuple[str, str], Component, RoutedRevisions], None] = field(init=False)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.start)
        nowhere = KServeCluster(self.clock)
        qualities = dict(zip(_URIS, self.release.qualities(self.start), strict=True))
        self._traffic = Traffic(
            nowhere,
            quality_of=lambda spec: qualities[spec["storageUri"]],
            load=self.release.load,
            seed=self.seed,
            scraping=self.release.scraping,
        )
        # What the controllers would call, of any two revisions: no controller runs here.
        self._on_traffic_change = nowhere.controller.on_traffic_change
        self.metrics = SimulatedMetrics(self._traffic, self.clock)
        self.metrics.lost_scrapes = self.release.lost_scrapes(self.start)
        self._begin()

    def _begin(self) -> None:
        """Stable has all the traffic for a while, then the candidate is there at 0 %."""
        stable = _revision(STABLE, 1, _URIS[0], self.start)
        self._split = _Split({STABLE: stable})
        self.clock.advance_to(self.start + _CREATED)
        self._report_routing()
        self.clock.advance_to(self.start + _SERVES)
        self._split.programmed = (StatusTarget(False, STABLE, FULL_WEIGHT),)
        self._report_routing()
        candidate = _revision(CANDIDATE, 2, _URIS[1], self.start + RELEASE_AFTER)
        self._split.revisions = {STABLE: stable, CANDIDATE: candidate}
        self.clock.advance_to(self.start + RELEASE_AFTER + _SERVES)
        self._program(0)
        self.clock.advance_to(self.start + FIRST_STEP_AFTER)
        self.observation = Observation(
            key=ServiceKey(NAMESPACE, SERVICE),
            uid="simulated",
            api_version="serving.kserve.io/v1beta1",
            resource_version="",
            labels={},
            mode=DeploymentMode.KNATIVE,
            weight=0,
            traffic={STABLE: FULL_WEIGHT, CANDIDATE: 0},
            rolled_out=STABLE,
            previous="",
            ready=CANDIDATE,
            created=CANDIDATE,
            route_ready=ConditionStatus.TRUE,
            service_ready=ConditionStatus.TRUE,
            latest_ready=ConditionStatus.TRUE,
        )

    def write(self, weight: int) -> float:
        """``canaryTrafficPercent``, written now; when the status shows it in effect."""
        now = self.clock.now()
        self.clock.call_at(now + _PROGRAMMED, lambda: self._program(weight))
        self.clock.call_at(now + _SEEN, lambda: self._update_status(weight))
        self.observation = _with_weight(self.observation, weight, self.observation.traffic)
        return now + _SEEN

    def advance_to(self, moment: float) -> None:
        self.clock.advance_to(moment)

    def failed(self) -> int:
        """Requests that the candidate had answered with an error when a weight written now was in effect.

        It is the last thing that can be asked.
        """
        self.clock.advance(_PROGRAMMED)
        self._program(0)
        return self._traffic.series(NAMESPACE, SERVICE, Component.PREDICTOR)[CANDIDATE].errors

    def _program(self, weight: int) -> None:
        if weight == FULL_WEIGHT:
            self._split.programmed = (StatusTarget(True, CANDIDATE, FULL_WEIGHT),)
        else:
            self._split.programmed = (
                StatusTarget(True, CANDIDATE, weight),
                StatusTarget(False, STABLE, FULL_WEIGHT - weight),
            )
        self._report_routing()

    def _report_routing(self) -> None:
        self._on_traffic_change((NAMESPACE, SERVICE), Component.PREDICTOR, self._split)

    def _update_status(self, weight: int) -> None:
        self.observation = _with_weight(
            self.observation, self.observation.weight, {STABLE: FULL_WEIGHT - weight, CANDIDATE: weight}
        )


def _with_weight(observation: Observation, weight: int | None, traffic: Mapping[str, int]) -> Observation:
    rolled_out = CANDIDATE if traffic[CANDIDATE] == FULL_WEIGHT else STABLE
    return replace(observation, weight=weight, traffic=traffic, rolled_out=rolled_out)


def _revision(name: str, number: int, uri: str, applied_at: float) -> Revision:
    return Revision(
        name,
        number,
        ({"storageUri": uri}, {}, {}, ""),
        HEALTHY,
        created_at=applied_at + _CREATED,
        ready=ConditionStatus.TRUE,
        warm_at=applied_at + _WARM,
    )
