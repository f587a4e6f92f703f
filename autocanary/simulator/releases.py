"""Releases as ``simulate`` plays them: how the two revisions answer, and their requests without a cluster.

What is counted, scraped and read is what the whole world has; left out is how a weight comes to be in effect,
which takes as long as it does there. The same seed gives the same requests here and there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from autocanary.model.observation import Mode, Observation, ServiceKey, Trinary
from autocanary.model.policy import Component
from autocanary.simulator.cluster import KServe
from autocanary.simulator.demo_policy import NAMESPACE, SERVICE
from autocanary.simulator.knative_controller import Revision, Routed, Target
from autocanary.simulator.pod_behaviour import HEALTHY
from autocanary.simulator.prometheus_server import SimMetrics
from autocanary.simulator.response_quality import Level, Moment, Quality
from autocanary.simulator.traffic import Load, Traffic
from autocanary.simulator.virtual_clock import START, VirtualClock

__all__ = [
    "CANDIDATE",
    "FIRST_STEP",
    "RELEASED",
    "STABLE",
    "STANDARD",
    "Pair",
    "Release",
    "seeds_of",
    "start_of",
]

STABLE, CANDIDATE = (f"{SERVICE}-predictor-{number:05d}" for number in (1, 2))

RELEASED, FIRST_STEP = 40.0, 43.0
"""Seconds after the beginning at which the candidate is applied, and at which its first step can be taken."""

_CREATED, _WARM, _SERVES = 0.4, 1.4, 1.6
"""Seconds from a manifest to its revision, to its pods, and to a route to it."""
_PROGRAMMED, _SEEN = 0.4, 2.0
"""Seconds from a written weight to the traffic, and to the look that sees it in the status."""
_URIS = ("stable", "candidate")
_ALL = 100
_SEED_BITS = 48
_PHASES = 60  # seconds by which runs begin apart, against the grids of scrapes and looks


@dataclass(frozen=True, slots=True)
class Release:
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
    def load(self) -> Load:
        return Load(self.rps, bursts=self.bursts)

    def qualities(self, start: float) -> tuple[Quality, Quality]:
        """Of stable and the candidate, in a world that begins at ``start``."""
        since = start + FIRST_STEP + self.onset

        def from_onset(before: float, after: float) -> Level:
            def now(moment: Moment) -> float:
                return after if moment.at >= since else before

            return now if self.onset > 0 else after

        stable = Quality(self.base_error, self.base_latency)
        return stable, Quality(
            from_onset(self.base_error, self.canary_error),
            from_onset(self.base_latency, self.canary_latency),
        )


STANDARD = (
    Release("healthy"),
    Release("slightly-worse", canary_error=0.6),
    Release("twice-as-bad", canary_error=1.0),
    Release("broken", canary_error=50.0),
    Release("slow", canary_latency=0.16),
    Release("late", canary_error=5.0, onset=300.0),
    Release("bursty", bursts=True),
    Release("little-traffic", rps=2.0),
    Release("little-traffic-bad", rps=2.0, canary_error=5.0),
)
"""What is simulated when no release is described: what users release, and what happens to them."""


def seeds_of(seed: int, release: Release, runs: int) -> list[int]:
    """One seed per run, whoever plays it and whatever policy it is played by."""
    return [Random(f"{seed}/{release.name}/{run}").getrandbits(_SEED_BITS) for run in range(runs)]


def start_of(seed: int) -> float:
    """When the world of this seed begins."""
    return START + Random(f"start/{seed}").randrange(_PHASES)


@dataclass(slots=True)
class _Split:
    """The programmed ingress of one service."""

    revisions: Mapping[str, Revision]
    programmed: tuple[Target, ...] = ()


@dataclass(slots=True)
class Pair:
    """Two revisions behind one ingress, their requests and what Prometheus scrapes of them.

    Time passes in ``advance_to``, in seconds since the epoch.
    """

    release: Release
    seed: int
    start: float = START
    clock: VirtualClock = field(init=False)
    metrics: SimMetrics = field(init=False)
    seen: Observation = field(init=False)
    _traffic: Traffic = field(init=False)
    _split: _Split = field(init=False)
    _served: Callable[[tuple[str, str], Component, Routed], None] = field(init=False)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.start)
        nowhere = KServe(self.clock)
        qualities = dict(zip(_URIS, self.release.qualities(self.start), strict=True))
        self._traffic = Traffic(
            nowhere,
            quality_of=lambda spec: qualities[spec["storageUri"]],
            load=self.release.load,
            seed=self.seed,
        )
        # What the controllers would call, of any two revisions: no controller runs here.
        self._served = nowhere.controller.served
        self.metrics = SimMetrics(self._traffic, self.clock)
        self._begin()

    def _begin(self) -> None:
        """Stable has all the traffic for a while, then the candidate is there at 0 %."""
        stable = _revision(STABLE, 1, _URIS[0], self.start)
        self._split = _Split({STABLE: stable})
        self.clock.advance_to(self.start + _CREATED)
        self._tell()
        self.clock.advance_to(self.start + _SERVES)
        self._split.programmed = (Target(False, STABLE, _ALL),)
        self._tell()
        candidate = _revision(CANDIDATE, 2, _URIS[1], self.start + RELEASED)
        self._split.revisions = {STABLE: stable, CANDIDATE: candidate}
        self.clock.advance_to(self.start + RELEASED + _SERVES)
        self._program(0)
        self.clock.advance_to(self.start + FIRST_STEP)
        self.seen = Observation(
            key=ServiceKey(NAMESPACE, SERVICE),
            uid="simulated",
            api_version="serving.kserve.io/v1beta1",
            resource_version="",
            labels={},
            mode=Mode.KNATIVE,
            weight=0,
            traffic={STABLE: _ALL, CANDIDATE: 0},
            rolled_out=STABLE,
            previous="",
            ready=CANDIDATE,
            created=CANDIDATE,
            route_ready=Trinary.TRUE,
            service_ready=Trinary.TRUE,
            latest_ready=Trinary.TRUE,
        )

    def write(self, weight: int) -> float:
        """``canaryTrafficPercent``, written now; when the status shows it in effect."""
        now = self.clock.now()
        self.clock.call_at(now + _PROGRAMMED, lambda: self._program(weight))
        self.clock.call_at(now + _SEEN, lambda: self._show(weight))
        self.seen = _with(self.seen, weight, self.seen.traffic)
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
        if weight == _ALL:
            self._split.programmed = (Target(True, CANDIDATE, _ALL),)
        else:
            self._split.programmed = (Target(True, CANDIDATE, weight), Target(False, STABLE, _ALL - weight))
        self._tell()

    def _tell(self) -> None:
        self._served((NAMESPACE, SERVICE), Component.PREDICTOR, self._split)

    def _show(self, weight: int) -> None:
        self.seen = _with(self.seen, self.seen.weight, {STABLE: _ALL - weight, CANDIDATE: weight})


def _with(seen: Observation, weight: int | None, traffic: Mapping[str, int]) -> Observation:
    rolled_out = CANDIDATE if traffic[CANDIDATE] == _ALL else STABLE
    return replace(seen, weight=weight, traffic=traffic, rolled_out=rolled_out)


def _revision(name: str, number: int, uri: str, applied_at: float) -> Revision:
    return Revision(
        name,
        number,
        ({"storageUri": uri}, {}, {}, ""),
        HEALTHY,
        created_at=applied_at + _CREATED,
        ready=Trinary.TRUE,
        warm_at=applied_at + _WARM,
    )
