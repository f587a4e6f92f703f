"""Scenarios for ``autocanary demo``: what is released when, what goes wrong, and how it must end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Verb
from autocanary.simulator.demo_policy import (
    APPROVAL_POLICY,
    COMPARING_POLICY,
    DEMO_POLICY,
    KFSERVING_NAMESPACE,
    KFSERVING_POLICY,
    KFSERVING_SERVICE,
    NAMESPACE,
    SERVICE,
)
from autocanary.simulator.pod_behaviour import CRASHES, Behaviour, ready_after_seconds
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.response_quality import Quality, from_traffic_weight
from autocanary.simulator.traffic import RequestLoad
from autocanary.simulator.world import World

__all__ = [
    "SCENARIOS",
    "ExpectedResult",
    "KFServingRelease",
    "PlannedAct",
    "PlannedRelease",
    "PrometheusOutage",
    "Scenario",
]

_ROLLOUT, _CANDIDATE = f"{SERVICE}-00002", f"{SERVICE}-predictor-00002"
V1, V2, V3 = (f"gs://models/mnist/{number}" for number in (1, 2, 3))
MNIST, MNIST_2 = (f"pvc://kfserving-models-pvc/models/tensorflow/{name}/" for name in ("mnist", "mnist-2"))


@dataclass(frozen=True, slots=True)
class PlannedRelease:
    """At ``at`` seconds from the start a user applies a manifest with this model.

    ``weight`` None leaves canaryTrafficPercent out of it.
    """

    at: float
    uri: str
    weight: int | None = 0
    service: str = SERVICE


@dataclass(frozen=True, slots=True)
class KFServingRelease:
    """The same with KFServing's default and canary; ``canary`` empty leaves that out."""

    at: float
    default: str
    canary: str = ""
    weight: int | None = None
    service: str = KFSERVING_SERVICE


@dataclass(frozen=True, slots=True)
class PrometheusOutage:
    """Prometheus misbehaves between two instants, in seconds from the start."""

    start: float
    end: float
    kind: MeasurementKind


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    """How a rollout must end."""

    phase: Phase
    reason: Reason


@dataclass(frozen=True, slots=True)
class PlannedAct:
    """What happens to the first release so many seconds from the start: a user's request, or a crash of its pods."""

    at: float
    run: Callable[[World], object]


def _user_request(verb: Verb, by: str, reason: str) -> Callable[[World], object]:
    request = Request("demo-request", verb.value, by, reason=reason)
    return lambda world: world.store.write_request(NAMESPACE, _ROLLOUT, paused=None, request=request)


def _crash(world: World) -> None:
    world.kserve.crash(NAMESPACE, SERVICE, _CANDIDATE)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario with one service. ``horizon``: seconds from the start after which the demo gives up.

    ``expected`` is in the order in which the rollouts begin. ``shown`` is the (namespace, name) of a service
    that is also shown as kubectl prints it.
    """

    name: str
    sentence: str
    expected: tuple[ExpectedResult, ...]
    releases: tuple[PlannedRelease | KFServingRelease, ...]
    behaviours: Mapping[str, Behaviour] = field(default_factory=dict)
    qualities: Mapping[str, Quality] = field(default_factory=dict)
    load: RequestLoad = field(default_factory=RequestLoad)
    prometheus_outages: tuple[PrometheusOutage, ...] = ()
    horizon: float = 1800.0
    policy: Policy = DEMO_POLICY
    shown: tuple[str, str] | None = None
    acts: tuple[PlannedAct, ...] = ()

    def open(self, seed: int = 1) -> World:
        """The world at the scenario's beginning; everything in it happens as time passes."""
        world = World(
            policies=(self.policy,),
            behaviours=self.behaviours,
            qualities=self.qualities,
            load=self.load,
            seed=seed,
        )
        now = world.now()
        world.metrics.faults += [
            PrometheusFault(each.kind, now + each.start, now + each.end) for each in self.prometheus_outages
        ]
        for release in self.releases:
            _plan(world, release)
        for act in self.acts:
            world.after(act.at, partial(act.run, world))
        return world


def _plan(world: World, release: PlannedRelease | KFServingRelease) -> None:
    if isinstance(release, KFServingRelease):
        world.after(
            release.at,
            lambda: world.deploy_kfserving(
                release.service,
                release.default,
                canary=release.canary,
                weight=release.weight,
                namespace=KFSERVING_NAMESPACE,
            ),
        )
        return
    world.after(
        release.at,
        lambda: world.deploy(release.service, release.uri, weight=release.weight, namespace=NAMESPACE),
    )


_SLOW_START = ready_after_seconds(8.0)
_PROMOTED = ExpectedResult(Phase.PROMOTED, Reason.PROMOTED)
_ROLLED_BACK = ExpectedResult(Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
_FIRST = PlannedRelease(0.0, V1, weight=None)

_ALL_SCENARIOS = (
    Scenario(
        name="healthy",
        sentence="A good release goes through 10, 25, 50 and 100 % and is promoted.",
        expected=(_PROMOTED,),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
    ),
    Scenario(
        name="errors",
        sentence="A release that answers every twentieth request with an error is rolled back at 10 %.",
        expected=(_ROLLED_BACK,),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        qualities={V2: Quality(error_percent=5.0)},
    ),
    Scenario(
        name="worse-than-stable",
        sentence="A release with ten times stable's errors is rolled back without any limit.",
        expected=(ExpectedResult(Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE),),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        qualities={V1: Quality(error_percent=0.5), V2: Quality(error_percent=5.0)},
        policy=COMPARING_POLICY,
    ),
    Scenario(
        name="approval",
        sentence="A good release is compared with stable, approved at 10 %, and promoted.",
        expected=(_PROMOTED,),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        policy=APPROVAL_POLICY,
        acts=(PlannedAct(260.0, _user_request(Verb.PROMOTE, "ada", "the numbers are good")),),
    ),
    Scenario(
        name="crash-restored",
        sentence="A release crashes at 25 %; stable's spec is put back, the only way out.",
        expected=(ExpectedResult(Phase.ROLLED_BACK, Reason.REVISION_FAILED),),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        acts=(PlannedAct(240.0, _crash),),
    ),
    Scenario(
        name="slow",
        sentence="A release that answers correctly but ten times as slowly is rolled back.",
        expected=(_ROLLED_BACK,),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        qualities={V2: Quality(latency_seconds=0.8)},
    ),
    Scenario(
        name="late-onset",
        sentence="A release that is good until it gets half of the traffic is rolled back at 50 %.",
        expected=(_ROLLED_BACK,),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        qualities={V2: Quality(error_percent=from_traffic_weight(50, bad=8.0, good=0.1))},
    ),
    Scenario(
        name="no-traffic",
        sentence="No client calls the service: without data nothing passes, and after five minutes it is rolled back.",
        expected=(ExpectedResult(Phase.ROLLED_BACK, Reason.NO_DATA_DEADLINE),),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        load=RequestLoad(0.0),
    ),
    Scenario(
        name="outage",
        sentence="Prometheus is down for four minutes at 25 %: the weight is held, then the rollout goes on.",
        expected=(_PROMOTED,),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: _SLOW_START},
        prometheus_outages=(PrometheusOutage(240.0, 480.0, MeasurementKind.OUTAGE),),
    ),
    Scenario(
        name="crash-loop",
        sentence="The new revision crashes while it loads its model: it never gets a request.",
        expected=(ExpectedResult(Phase.ROLLED_BACK, Reason.REVISION_FAILED),),
        releases=(_FIRST, PlannedRelease(30.0, V2)),
        behaviours={V2: CRASHES},
    ),
    Scenario(
        name="second-release",
        sentence="A second release in the middle of the first replaces it and starts from the bottom.",
        expected=(ExpectedResult(Phase.SUPERSEDED, Reason.NEW_REVISION), _PROMOTED),
        releases=(_FIRST, PlannedRelease(30.0, V2), PlannedRelease(240.0, V3)),
        behaviours={V2: _SLOW_START, V3: _SLOW_START},
    ),
    Scenario(
        name="unstaged",
        sentence="A release applied without canaryTrafficPercent is intercepted before it takes all traffic.",
        expected=(_PROMOTED,),
        releases=(_FIRST, PlannedRelease(30.0, V2, weight=None)),
        behaviours={V2: _SLOW_START},
    ),
    Scenario(
        name="kfserving",
        sentence="On KFServing 0.4 a canary beside default goes from 10 to 100 %, and then becomes default.",
        expected=(_PROMOTED,),
        releases=(KFServingRelease(0.0, MNIST), KFServingRelease(30.0, MNIST, MNIST_2, 10)),
        behaviours={MNIST_2: _SLOW_START},
        policy=KFSERVING_POLICY,
        shown=(KFSERVING_NAMESPACE, KFSERVING_SERVICE),
    ),
    Scenario(
        name="kfserving-errors",
        sentence="On KFServing 0.4 a canary with errors goes back to 0 %, and is kept beside default.",
        expected=(_ROLLED_BACK,),
        releases=(KFServingRelease(0.0, MNIST), KFServingRelease(30.0, MNIST, MNIST_2, 10)),
        behaviours={MNIST_2: _SLOW_START},
        qualities={MNIST_2: Quality(error_percent=5.0)},
        policy=KFSERVING_POLICY,
        shown=(KFSERVING_NAMESPACE, KFSERVING_SERVICE),
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL_SCENARIOS}
