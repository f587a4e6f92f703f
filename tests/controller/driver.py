"""The driver of the controller's tests: a world, the unchanged controller over it, and time that goes by at will.

Over 300 lines because it is one vocabulary: what happens to a service, and what can be read of it after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from enum import Enum
from itertools import count, groupby
from typing import Any, TypeVar

from autocanary.app.demo_run import controller_on
from autocanary.controller import Controller
from autocanary.decide.detection import UNCHANGED_SECONDS
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.measurement import Unit
from autocanary.model.policy import Analysis, ComparisonPolicy, Metric, Policy, Range, Selector, Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout, Verb
from autocanary.simulator.fakes import RecordingNotifier
from autocanary.simulator.fault_injection import FaultInjector, FaultTiming
from autocanary.simulator.pod_behaviour import HEALTHY, Behaviour
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from autocanary.simulator.world import World

T = TypeVar("T")

V1, V2, V3, V4 = (f"gs://models/mnist/{number}" for number in (1, 2, 3, 4))
FAULTLESS = Quality(error_percent=0.0)
BROKEN = Quality(error_percent=20.0)
COMPARED = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
LATENCY = Metric("request-duration", Range(max=0.5), Unit.SECONDS, quantile=0.99, failure_limit=2)
SUCCESS = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=2)
ANALYSIS = Analysis(metrics=(SUCCESS,), interval=15.0, warmup=15.0, window=30.0, min_requests=20.0)
LONG_STEPS = (Step(10, 3600.0), Step(100, 60.0))
STEPS = (Step(10, 60.0), Step(25, 60.0), Step(50, 60.0), Step(100, 60.0))
_WATCH_LAG = 0.05
_WRITES = frozenset({"create", "update_status", "delete", "weight", "restore", "finalize"})


def policy(name: str = "prod", **changes: Any) -> Policy:
    """10, 25, 50, 100 %, a minute each, judged every 15 s; the document distinguishes the variants."""
    analysis = {key: changes.pop(key) for key in tuple(changes) if key in Analysis.__dataclass_fields__}
    defaults: dict[str, Any] = {
        "name": name,
        "namespace": "",
        "selector": Selector(),
        "steps": STEPS,
        "analysis": replace(ANALYSIS, **analysis),
        "bake": 60.0,
        "progress_deadline": 300.0,
        "digest": f"{name}-digest",
        "document": {"name": name, "variant": repr((sorted(changes), sorted(analysis), changes, analysis))},
    }
    return Policy(**{**defaults, **changes})


class Driver:
    """One world with one engine in it, ticking once a virtual second.

    ``shares`` holds, second by second, what each service's traffic really was (by revision number).
    ``watching``: every change of a service makes the controller tick soon, as the watch does in a cluster;
    without it the second's beat is all there is, which is the slowest that a cluster can be.
    """

    def __init__(
        self,
        *policies: Policy,
        behaviours: Mapping[str, Behaviour] | None = None,
        qualities: Mapping[str, Quality] | None = None,
        history_limit: int = 10,
        world: World | None = None,
        watching: bool = False,
        **more: Any,
    ) -> None:
        good = dict.fromkeys((V1, V2, V3, V4), FAULTLESS)
        self.world = world or World(
            policies=policies or (policy(),),
            behaviours=behaviours,
            qualities={**good, **(qualities or {})},
            **{"load": RequestLoad(50.0), **more},
        )
        self.history_limit = history_limit
        self.shares: dict[tuple[str, str], list[Mapping[str, int]]] = {}
        self.restarted = False
        self.notifiers: Callable[[], RecordingNotifier] = RecordingNotifier
        self._asked = count(1)
        self.counters = ControllerMetrics()
        self.controller = self.new_controller()
        if watching:
            self.world.kserve.objects.watch(lambda *_: self.world.after(_WATCH_LAG, self._on_requeue))

    def _on_requeue(self) -> None:
        self.controller.tick()

    def new_controller(self) -> Controller:
        return controller_on(self.world, self.counters, history_limit=self.history_limit)

    # --- time ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.world.advance(1.0)
        for document in self.world.kserve.documents():
            place = (document["metadata"]["namespace"], document["metadata"]["name"])
            self.shares.setdefault(place, []).append(self.world.split(place[1], namespace=place[0]))
        try:
            self.controller.tick()
        except ProcessCrash:
            self.restart()

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.tick()

    def until(self, condition: Callable[[], object], limit: int = 3600) -> None:
        """Tick until it is so; an AssertionError with the story so far when that never comes."""
        for _ in range(limit):
            if condition():
                return
            self.tick()
        assert condition(), f"not within {limit} s: {self.story()}"

    def until_phase(self, *phases: Phase, name: str = "mnist-00002", limit: int = 3600) -> Rollout:
        self.until(lambda: self.has_rollout(name) and self.phase(name) in phases, limit)
        return self.rollout(name)

    def until_reason(self, reason: Reason, name: str = "mnist-00002", limit: int = 3600) -> Rollout:
        self.until(lambda: self.has_rollout(name) and self.rollout(name).progress.reason is reason, limit)
        return self.rollout(name)

    def until_weight(self, weight: int | None, service: str = "mnist", limit: int = 3600) -> None:
        """Until this weight is in the field and the traffic follows it."""
        key = self.world.key(service)

        def so() -> bool:
            seen = self.world.cluster.observe(key)
            live = [each for each in self.world.store.rollouts() if each.service == service]
            verified = any(each.progress.step.verified_at is not None for each in live if not each.is_final)
            return seen is not None and seen.weight == weight and (verified or not weight)

        self.until(so, limit)

    def finish(self, name: str = "mnist-00002", limit: int = 3600) -> Rollout:
        """Until the rollout has ended and its notifications are delivered."""
        self.until(lambda: self.has_rollout(name) and self.rollout(name).is_final, limit)
        self.until(lambda: not self.rollout(name).progress.outbox.pending, 300)
        return self.rollout(name)

    # --- what users do ------------------------------------------------------------------------------

    def deploy_stable(self, name: str = "mnist", uri: str = V1, *, namespace: str = "models") -> None:
        """A first revision that has all the traffic, seen by the controller."""
        self.world.deploy(name, uri, namespace=namespace)
        key = self.world.key(name, namespace=namespace)

        def at_rest() -> bool:
            seen = self.world.cluster.observe(key)
            return seen is not None and bool(seen.rolled_out) and seen.rolled_out == seen.created

        self.until(at_rest, 60)
        self.run(UNCHANGED_SECONDS + 2)

    def release(self, uri: str = V2, weight: int | None = 0, *, name: str = "mnist") -> None:
        self.world.deploy(name, uri, weight=weight)

    def patch_weight(self, weight: int | None, by: str = "kubectl-edit", name: str = "mnist") -> None:
        """A user sets the field (or removes it) by hand."""
        body = {"spec": {"predictor": {"canaryTrafficPercent": weight}}}
        self.world.kserve.patch("models", name, body, by)

    def write(self, verb: Verb | str, name: str = "mnist-00002", *, by: str = "ann") -> str:
        """Put a user's request into the rollout store; the id of it."""
        id_ = f"wish-{next(self._asked)}"
        text = verb.value if isinstance(verb, Verb) else verb
        self.world.store.write_request("models", name, paused=None, request=Request(id_, text, by))
        return id_

    def ask(self, verb: Verb | str, name: str = "mnist-00002", *, within: int = 2) -> str:
        """Ask, and wait for the answer."""
        id_ = self.write(verb, name)
        self.until(lambda: self.rollout(name).progress.requests.answered_id == id_, within)
        return self.rollout(name).progress.requests.answer

    def pause(self, paused: bool = True, name: str = "mnist-00002") -> None:
        self.world.store.write_request("models", name, paused=paused, request=None)
        self.run(2)

    def restart(self) -> None:
        """The process ends and another begins: what was only in memory is gone, messages on their way too."""
        self.restarted = True
        fresh = self.notifiers()
        fresh.messages = self.world.notifier.messages
        self.world.notifier = fresh
        self.controller = self.new_controller()

    # --- what has happened ---------------------------------------------------------------------------

    def has_rollout(self, name: str) -> bool:
        return any(each.name == name for each in self.world.store.rollouts())

    def rollout(self, name: str = "mnist-00002") -> Rollout:
        return next(each for each in self.world.store.rollouts() if each.name == name)

    def rollout_names(self) -> list[str]:
        return [each.name for each in self.world.store.rollouts()]

    def phase(self, name: str = "mnist-00002") -> Phase:
        return self.rollout(name).progress.phase

    def phase_and_reason(self, name: str = "mnist-00002") -> tuple[Phase, Reason]:
        progress = self.rollout(name).progress
        return progress.phase, progress.reason

    def weights(self, service: str = "mnist") -> list[int | None]:
        """Every weight that was written to the service, in order."""
        writes = (each for each in self.world.cluster.writes if each.key.name == service)
        return [each.weight for each in writes if not each.finalized]

    def finalized(self, service: str = "mnist") -> list[str]:
        """What was finalized by a write after the promotion, in order."""
        return [each.finalized for each in self.world.cluster.writes if each.key.name == service and each.finalized]

    def phases(self, name: str = "mnist-00002") -> list[str]:
        """The phases as they were recorded, each once in a row."""
        phases = (each.phase for each in self.world.store.writes if each.verb == "update_status" and each.name == name)
        return [phase for phase, _ in groupby(phases)]

    def events(self, name: str = "mnist-00002") -> list[str]:
        """What was notified, each transition once; without a restart none may come twice."""
        ids = [each.notification.id for each in self.world.notifier.messages]
        if not self.restarted:
            assert len(ids) == len(set(ids)), f"notified twice: {ids}"
        return self.world.notifier.events(name)

    def messages_of(self, event: str, name: str = "mnist-00002") -> list[str]:
        """The messages of an event."""
        notified = {
            each.notification.id: each.notification.message
            for each in self.world.notifier.messages
            if each.notification.event == event and each.rollout.name == name
        }
        return list(notified.values())

    def share(self, number: str, service: str = "mnist") -> list[int]:
        """What a revision's share of the traffic was, second by second, from its first second on."""
        return [each.get(number, 0) for each in self.shares.get(("models", service), [])]

    def story(self) -> str:
        notified = [
            f"{each.name}: {each.progress.phase.value}/{each.progress.reason.value} at {each.progress.step.index} "
            f"({each.progress.message})"
            for each in self.world.store.rollouts()
        ]
        return f"{notified}, written {[(w.at - 1_767_225_600, w.weight) for w in self.world.cluster.writes]}"


def healthy_start(*policies: Policy, **more: Any) -> Driver:
    """``mnist`` serves v1, and v2 has just been applied at 0 %."""
    driver = Driver(*policies, **more)
    driver.deploy_stable()
    driver.release()
    return driver


class ProcessCrash(BaseException):
    """The process ends here: nothing in the product may catch it."""


class FaultPoint(str, Enum):
    BEFORE = "before"
    BETWEEN = "between"
    AFTER = "after"


class WriteFaults(FaultInjector):
    """Watches every write to a port; ``timing`` says what happens to the n-th (counted from 1)."""

    def __init__(self, timing: Callable[[int, str], tuple[FaultPoint, BaseException] | None]) -> None:
        super().__init__()
        self.timing = timing
        self.verbs: list[str] = []
        self.reads: list[str] = []

    def run_with_faults(self, verb: str, name: str, first: Callable[[], None], second: Callable[[], T]) -> T:
        if verb not in _WRITES:
            self.reads.append(verb)
            return super().run_with_faults(verb, name, first, second)
        self.verbs.append(verb)
        found = self.timing(len(self.verbs), verb)
        if found is None:
            return super().run_with_faults(verb, name, first, second)
        when, error = found
        if when is FaultPoint.BEFORE:
            raise error
        first()
        if when is FaultPoint.BETWEEN:
            raise error
        second()
        raise error

    def watch(self, world: World) -> None:
        world.store.faults = world.cluster.faults = self


class SlowPool:
    """A pool whose work takes ``seconds`` of virtual time; nothing is done in the caller's thread."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world, self._seconds = world, seconds
        self.under_way = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self.under_way += 1

        def do() -> None:
            self.under_way -= 1
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - a future carries whatever the work raised
                future.set_exception(error)
            else:
                future.set_result(result)

        self._world.after(self._seconds, do)
        return future

    submit_urgent = submit


def fast_policy(name: str = "prod", **changes: Any) -> Policy:
    """10, 50, 100 % and an evaluation every 10 s: a whole rollout in about two virtual minutes."""
    defaults: dict[str, Any] = {
        "steps": (Step(10, 20.0), Step(50, 20.0), Step(100, 20.0)),
        "interval": 10.0,
        "warmup": 5.0,
    }
    return policy(name, **{**defaults, **changes})


def without_repeats(values: list[int | None]) -> list[int | None]:
    """Without identical neighbours: a repeated identical write is no other weight."""
    return [value for value, _ in groupby(values)]


__all__ = [
    "BROKEN",
    "FAULTLESS",
    "HEALTHY",
    "SUCCESS",
    "V1",
    "V2",
    "V3",
    "V4",
    "Driver",
    "FaultPoint",
    "FaultTiming",
    "ProcessCrash",
    "SlowPool",
    "WriteFaults",
    "fast_policy",
    "healthy_start",
    "policy",
    "without_repeats",
]
