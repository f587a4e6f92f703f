"""The world of the soak: a simulated cluster with every port watched, slow writes, and weather over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from random import Random
from typing import Any, TypeVar

from autocanary.errors import AutocanaryError, Busy, Conflict, Forbidden, NotFound, NotLeader, Unreachable
from autocanary.model.measurement import Measurement, MetricQuery, Unit
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import (
    Analysis,
    Component,
    Metric,
    Policy,
    Range,
    Selector,
    Step,
    Timeout,
    TimeoutAction,
)
from autocanary.model.rollout import Rollout
from autocanary.ports import Message
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.fakes import RecordingNotifier
from autocanary.simulator.fault_injection import FaultInjector
from autocanary.simulator.knative_controller import Revision, RoutedRevisions
from autocanary.simulator.memory_inference_services import InMemoryCluster
from autocanary.simulator.memory_rollout_store import InMemoryRolloutStore
from autocanary.simulator.pod_behaviour import (
    CRASHES,
    NEVER_READY,
    Behaviour,
    ready_after_seconds,
    storage_uri,
)
from autocanary.simulator.prometheus_server import SimulatedMetrics
from autocanary.simulator.response_quality import Quality, from_traffic_weight
from autocanary.simulator.traffic import RequestLoad
from autocanary.simulator.world import World
from benchmarks.soak_checks import Checks, kind_of

__all__ = ["NAMESPACES", "ProcessKilled", "RandomFaults", "SoakWorld", "policies"]

T = TypeVar("T")

NAMESPACES = ("fast", "thorough", "patient")
HISTORY_LIMIT = 2
_ENGINES = frozenset({"create", "update_status", "delete", "read", "weight", "restore", "finalize", "refresh"})
_SUCCESS = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=2)
_LATENCY = Metric("request-duration", Range(max=0.5), Unit.SECONDS, quantile=0.9, failure_limit=3)


class ProcessKilled(BaseException):
    """The process ends in the middle of a write: nothing in the product may catch it."""


def policies(variant: int) -> tuple[Policy, ...]:
    """One for each namespace; another variant differs in its steps, as a policy that a user edits."""
    more = (Step(5, 45.0),) if variant % 2 else ()
    return (
        _policy("fast", variant, (*more, Step(10, 60.0), Step(50, 60.0), Step(100, 60.0)), 15.0),
        _policy("thorough", variant, (*more, *(Step(w, 60.0) for w in (10, 25, 50, 75)), Step(100, 120.0)), 15.0),
        _policy("patient", variant, (*more, Step(10, 180.0), Step(50, 180.0), Step(100, 240.0)), 30.0),
    )


def _policy(name: str, variant: int, steps: tuple[Step, ...], interval: float) -> Policy:
    analysis = Analysis(
        metrics=(_SUCCESS, _LATENCY),
        interval=interval,
        warmup=interval,
        window=45.0,
        min_requests=20.0,
        on_no_data=Timeout(300.0, TimeoutAction.ROLLBACK),
        on_outage=Timeout(600.0, TimeoutAction.ROLLBACK if name == "fast" else TimeoutAction.HOLD),
    )
    return Policy(
        name=name,
        namespace="",
        selector=Selector(namespaces=(name,)),
        steps=steps,
        analysis=analysis,
        bake=60.0,
        progress_deadline=420.0,
        digest=f"{name}-{variant % 2}",
        document={"name": name, "variant": f"{name}-{variant % 2}"},
    )


def behaviour_of(spec: Mapping[str, Any]) -> Behaviour:
    """``gs://soak/<kind>/<seconds until ready>/<number>``."""
    kind, _, rest = storage_uri(spec).removeprefix("gs://soak/").partition("/")
    seconds = float(rest.partition("/")[0] or 1)
    if kind == "never":
        return NEVER_READY
    if kind == "crashes":
        return CRASHES
    if kind == "crashes-later":
        return Behaviour(ready_after=seconds, crashes_after=25.0)
    return ready_after_seconds(seconds)


_QUALITIES: Mapping[str, Quality] = {
    "bad": Quality(error_percent=20.0),
    "slow-answers": Quality(error_percent=0.0, latency_seconds=2.0),
    "late": Quality(error_percent=from_traffic_weight(50, 20.0, 0.0)),
    "later": Quality(error_percent=from_traffic_weight(100, 20.0, 0.0)),
}
_GOOD = Quality(error_percent=0.0)


def quality_of(revision: Mapping[str, Any]) -> Quality:
    return _QUALITIES.get(kind_of(storage_uri(revision)), _GOOD)


class RandomFaults(FaultInjector):
    """Errors at random at the controller's calls, more of them in a storm; the users' own calls are spared."""

    def __init__(self, random: Random, now: Callable[[], float], events: Counter[str]) -> None:
        super().__init__()
        self._random, self._now, self._events = random, now, events
        self.rate, self.deaths = 0.02, 0.0005
        self.storm_until = 0.0
        self.struck: Callable[[str, str], None] = lambda *_: None

    def run_with_faults(self, verb: str, name: str, first: Callable[[], None], second: Callable[[], T]) -> T:
        if verb not in _ENGINES:
            return super().run_with_faults(verb, name, first, second)
        error = self._error()
        if error is None:
            return super().run_with_faults(verb, name, first, second)
        self._events[f"fault: {type(error).__name__} at a {'write' if verb != 'read' else 'read'}"] += 1
        self.struck(verb, name)
        late = isinstance(error, Unreachable | ProcessKilled) or self._random.random() < 0.2
        when = self._random.random() if late and not isinstance(error, Conflict | NotFound) else 0.0
        if when < 0.4:
            raise error
        first()
        if when < 0.6:
            raise error
        second()
        raise error

    def _error(self) -> BaseException | None:
        if self._now() < self.storm_until:
            return Unreachable("connection refused")
        chance = self._random.random()
        if chance < self.deaths:
            return ProcessKilled()
        if chance > self.rate:
            return None
        made: AutocanaryError = self._random.choice(
            (
                Busy("etcdserver: request timed out", status=500),
                Busy("the server is currently unable to handle the request", status=503),
                Unreachable("read timed out"),
                Unreachable("connection reset by peer"),
                Conflict("the object has been modified", status=409),
                Forbidden("forbidden: the token has expired", status=403),
                NotFound("the server could not find the requested resource", status=404),
            )
        )
        return made


class DelayedPool:
    """A pool whose work lasts up to two virtual seconds; what a dead process had begun is never done."""

    def __init__(self, world: World, random: Random) -> None:
        self._world, self._random = world, random
        self.alive = True

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def do() -> None:
            if not self.alive:
                return
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - a future carries whatever the work raised
                future.set_exception(error)
            else:
                future.set_result(result)

        self._world.after(min(2.0, self._random.expovariate(8.0)), do)
        return future

    submit_urgent = submit


class WatchedCluster(InMemoryCluster):
    def __init__(self, kserve: KServeCluster, checks: Checks) -> None:
        super().__init__(kserve)
        self._checks = checks

    def set_weight(self, observation: Observation, weight: int) -> Observation:
        try:
            return super().set_weight(observation, weight)
        finally:
            self._tell()

    def restore(self, observation: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation:
        try:
            return super().restore(observation, spec, weight)
        finally:
            self._tell()

    def _tell(self) -> None:
        for write in self.writes:
            self._checks.written(write.key, write.weight, write.restored)
        self.writes.clear()


class WatchedRolloutStore(InMemoryRolloutStore):
    """As the real one it refuses to write for an instance that does not lead."""

    def __init__(self, world: World, checks: Checks) -> None:
        super().__init__(world.clock)
        self._world, self._checks = world, checks

    def create(self, rollout: Rollout) -> Rollout:
        self._ask_leadership()
        return super().create(rollout)

    def update_status(self, rollout: Rollout) -> Rollout:
        self._ask_leadership()
        return super().update_status(rollout)

    def delete(self, rollout: Rollout) -> None:
        self._ask_leadership()
        super().delete(rollout)

    def _ask_leadership(self) -> None:
        if not self._world.leadership.is_leader():
            raise NotLeader("this instance is not the leader")

    def _store(self, id_: tuple[str, str], document: dict[str, Any], verb: str) -> Rollout:
        before = self._rollouts.get(id_)
        after = super()._store(id_, document, verb)
        self.writes.clear()
        self._checks.kept(before, after, verb)
        return after

    def _delete_stored(self, id_: tuple[str, str]) -> None:
        rollout = self._rollouts[id_]
        super()._delete_stored(id_)
        self.writes.clear()
        self._checks.dropped(rollout)


class WatchedMetrics(SimulatedMetrics):
    checks: Checks

    def query(self, questions: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        measurements = super().query(questions)
        self.checks.measured(measurements)
        return measurements


class WatchedNotifier(RecordingNotifier):
    def __init__(self, checks: Checks) -> None:
        super().__init__()
        self._checks = checks

    def notify(self, message: Message) -> None:
        super().notify(message)
        self.messages.clear()
        self._checks.sent(message.notification.id)


class SoakWorld(World):
    """Its ports may be replaced by ports with a fault, to see that the checks notice."""

    def __init__(self, seed: int, checks: Checks, events: Counter[str]) -> None:
        super().__init__(policies=policies(0), load=RequestLoad(20.0), seed=seed)
        self.random = Random(f"world/{seed}")
        self.checks, self.events = checks, events
        self.random_faults = RandomFaults(self.random, self.now, events)
        self.random_faults.struck = checks.struck
        self.kserve.controller.behaviour_of = behaviour_of
        self.traffic.quality_of = quality_of
        self.cluster = WatchedCluster(self.kserve, checks)
        self.store = WatchedRolloutStore(self, checks)
        metrics = WatchedMetrics(self.traffic, self.clock)
        metrics.checks = checks
        self.metrics = metrics
        self.cluster.faults = self.store.faults = self.random_faults
        self._connect_checks(checks)
        self.late_pool = DelayedPool(self, self.random)
        self.restart_process()

    def _connect_checks(self, checks: Checks) -> None:
        on_traffic_change = self.kserve.controller.on_traffic_change

        def heard(name: tuple[str, str], component: Component, child: Any) -> None:
            on_traffic_change(name, component, child)
            checks.on_traffic_change(*name, _shares(child))

        self.kserve.controller.on_traffic_change = heard
        checks.policies = {str(each.document["variant"]): each for v in (0, 1) for each in policies(v)}
        checks.now = self.now
        checks.field = self.field
        checks.was_ready = self.was_ready
        checks.leads = self.leadership.is_leader
        checks.after = lambda seconds, action: self.after(seconds, action)

    def restart_process(self) -> None:
        """Another process: what the one before it had in memory and under way is gone."""
        self.late_pool.alive = False
        self.late_pool = DelayedPool(self, self.random)
        self.pool = self.late_pool  # type: ignore[assignment]
        down = self.notifier.down
        self.notifier = WatchedNotifier(self.checks)
        self.notifier.down = down
        self.metrics.restart()
        self.checks.life += 1
        self.checks.troubled()

    # --- what is really so -------------------------------------------------------------------------------

    def field(self, key: ServiceKey) -> int | None:
        document = self.kserve.objects.find((key.namespace, key.name))
        weight = document["spec"]["predictor"].get("canaryTrafficPercent") if document is not None else None
        return int(weight) if weight is not None else None

    def was_ready(self, key: ServiceKey, revision: str) -> bool:
        """Whether its pods have served at least once."""
        found = self.kserve.revisions(key.namespace, key.name).get(revision)
        return found is None or found.warm_at is not None or found.crash_planned or found.ready.value != "Unknown"

    def stable_uri(self, namespace: str, name: str) -> str:
        """The model of the revision with the most traffic."""
        shares = self.kserve.split(namespace, name)
        revisions = self.kserve.revisions(namespace, name)
        best = max(shares, key=lambda each: shares[each], default="")
        found: Revision | None = revisions.get(best)
        return storage_uri(found.template[0]) if found is not None else ""

    def sweep(self) -> None:
        """What a cluster forgets in time: revisions that serve nothing, and the series of those gone."""
        for document in self.kserve.documents():
            name = (document["metadata"]["namespace"], document["metadata"]["name"])
            child = self.kserve.controller.children(name).get(Component.PREDICTOR)
            if child is None:
                continue
            kept = sorted(child.revisions)[-3:]
            routed = {target.revision for target in (*child.programmed, *child.traffic)}
            wanted = {*kept, *routed, *(each.revision for each in child.wanted), child.ready, child.created}
            for each in [each for each in child.revisions if each not in wanted]:
                child.revisions.pop(each).deleted = True
            stream = self.traffic._streams.get((name, Component.PREDICTOR))
            if stream is not None:
                serving = {each.revision.name for each in stream._serving}
                for each in [each for each in stream.series if each not in {*child.revisions, *serving}]:
                    del stream.series[each]


def _shares(child: RoutedRevisions) -> dict[str, int]:
    shares: dict[str, int] = {}
    for target in child.programmed:
        revision = child.revisions.get(target.revision)
        if revision is not None:
            shares[target.revision] = shares.get(target.revision, 0) + target.percent
    return shares
