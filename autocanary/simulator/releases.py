"""Releases as ``simulate`` runs them: how the two revisions answer, and their requests without a cluster.

What is counted, scraped and read is what the whole world has; left out is how a weight comes to be in effect,
which takes as long as it does there. The same seed gives the same requests here and there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Component
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.demo_policy import NAMESPACE, SERVICE
from autocanary.simulator.knative_controller import Revision, RoutedRevisions, StatusTarget
from autocanary.simulator.pod_behaviour import HEALTHY
from autocanary.simulator.prometheus_server import SimulatedMetrics
from autocanary.simulator.response_quality import Quality, TrafficMoment, ValueOverTime
from autocanary.simulator.traffic import RequestLoad, Traffic
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

RELEASE_AFTER, FIRST_STEP_AFTER = 40.0, 43.0
"""Seconds after the beginning at which the candidate is applied, and at which its first step can be taken."""

_CREATED, _WARM, _SERVES = 0.4, 1.4, 1.6
"""Seconds from a manifest to its revision, to its pods, and to a route to it."""
_PROGRAMMED, _SEEN = 0.4, 2.0
"""Seconds from a written weight to the traffic, and to the evaluation that sees it in the status."""
_URIS = ("stable", "candidate")
_FULL_WEIGHT = 100
_SEED_BITS = 48
_PHASES = 60  # seconds by which runs start apart, against the grids of scrapes and evaluations


@dataclass(frozen=True, slots=True)
class SimulatedRelease:
    """Errors are in percent of the requests, latencies are medians in seconds.

    ``rps`` are the requests per second of both revisions. The candidate answers like stable until ``onset``
    seconds after its first request. ``bursts``: the errors of both come and go together.
    """

    name: str
    rps: float = 20.0
    base_error: float = 0.5
    canary_error: float = 0.5
    base_latency: float = 0.08
    canary_latency: float = 0.08
    onset: float = 0.0
    bursts: bool = False

    @property
    def load(self) -> RequestLoad:
        return RequestLoad(self.rps, bursts=self.bursts)

    def qualities(self, start: float) -> tuple[Quality, Quality]:
        """Of stable and the candidate, in a world that begins at ``start``."""
        since = start + FIRST_STEP_AFTER + self.onset

        def from_onset(before: float, after: float) -> ValueOverTime:
            def now(moment: TrafficMoment) -> float:
                return after if moment.at >= since else before

            return now if self.onset > 0 else after

        stable = Quality(self.base_error, self.base_latency)
        return stable, Quality(
            from_onset(self.base_error, self.canary_error),
            from_onset(self.base_latency, self.canary_latency),
        )


STANDARD_RELEASES = (
    SimulatedRelease("healthy"),
    SimulatedRelease("slightly-worse", canary_error=0.6),
    SimulatedRelease("twice-as-bad", canary_error=1.0),
    SimulatedRelease("broken", canary_error=50.0),
    SimulatedRelease("slow", canary_latency=0.16),
    SimulatedRelease("late", canary_error=5.0, onset=300.0),
    SimulatedRelease("bursty", bursts=True),
    SimulatedRelease("little-traffic", rps=2.0),
    SimulatedRelease("little-traffic-bad", rps=2.0, canary_error=5.0),
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
        )
        # What the controllers would call, of any two revisions: no controller runs here.
        self._on_traffic_change = nowhere.controller.on_traffic_change
        self.metrics = SimulatedMetrics(self._traffic, self.clock)
        self._begin()

    def _begin(self) -> None:
        """Stable has all the traffic for a while, then the candidate is there at 0 %."""
        stable = _revision(STABLE, 1, _URIS[0], self.start)
        self._split = _Split({STABLE: stable})
        self.clock.advance_to(self.start + _CREATED)
        self._report_routing()
        self.clock.advance_to(self.start + _SERVES)
        self._split.programmed = (StatusTarget(False, STABLE, _FULL_WEIGHT),)
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
            traffic={STABLE: _FULL_WEIGHT, CANDIDATE: 0},
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
        if weight == _FULL_WEIGHT:
            self._split.programmed = (StatusTarget(True, CANDIDATE, _FULL_WEIGHT),)
        else:
            self._split.programmed = (
                StatusTarget(True, CANDIDATE, weight),
                StatusTarget(False, STABLE, _FULL_WEIGHT - weight),
            )
        self._report_routing()

    def _report_routing(self) -> None:
        self._on_traffic_change((NAMESPACE, SERVICE), Component.PREDICTOR, self._split)

    def _update_status(self, weight: int) -> None:
        self.observation = _with_weight(
            self.observation, self.observation.weight, {STABLE: _FULL_WEIGHT - weight, CANDIDATE: weight}
        )


def _with_weight(observation: Observation, weight: int | None, traffic: Mapping[str, int]) -> Observation:
    rolled_out = CANDIDATE if traffic[CANDIDATE] == _FULL_WEIGHT else STABLE
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
