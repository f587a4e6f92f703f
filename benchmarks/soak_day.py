"""What happens in the soak: releases all day long, users, outsiders, and faults, all from one seed.

Nothing here looks at what the product makes of it, but for which rollouts run, as users would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

from autocanary.errors import AutocanaryError
from autocanary.model.measurement import MeasurementKind
from autocanary.model.observation import ConditionStatus
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request, Verb
from autocanary.simulator.pod_behaviour import storage_uri
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.traffic import RequestLoad
from benchmarks.soak_checks import Checks, TrackedRollout, is_bad, kind_of
from benchmarks.soak_world import NAMESPACES, SoakWorld, policies

__all__ = ["RandomEvents"]

RELEASES: Mapping[str, int] = {
    "healthy": 46,
    "slow": 10,  # healthy, and a minute or three until it is ready
    "bad": 13,
    "slow-answers": 5,
    "late": 8,  # bad from 50 % of the traffic on
    "later": 5,  # bad at 100 % only
    "crashes": 5,  # never ready, and says so
    "crashes-later": 4,
    "never": 4,
}
_KINDS = (
    MeasurementKind.OUTAGE,
    MeasurementKind.NOT_A_NUMBER,
    MeasurementKind.STALE,
    MeasurementKind.PARTIAL,
    MeasurementKind.NO_SERIES,
)
_STOP = "serving.kserve.io/stop"
_QUIET = 0.05
"""The share of services that no client calls."""
_HELPLESS = 1200.0
"""Seconds for which a rollback may be without effect before users help themselves."""
_FIRST = "gs://soak/healthy/1/0"


class RandomEvents:
    """``releases_every`` is the mean time between two releases of a service, in seconds."""

    def __init__(self, world: SoakWorld, checks: Checks, *, services: int, releases_every: float, seed: int) -> None:
        self._world, self._checks = world, checks
        self._random = Random(f"day/{seed}")
        self._every = releases_every
        self.events: Counter[str] = world.events
        self.over = False
        self.kill: Callable[[], None] = lambda: None
        self._numbers = 0
        self._variant = 0
        self._away: set[tuple[str, str]] = set()
        self._services = [(NAMESPACES[number % len(NAMESPACES)], f"model-{number:04d}") for number in range(services)]

    # --- before the day ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Every service has its first revision; then it all begins."""
        for number, (namespace, name) in enumerate(self._services):
            if self._random.random() < _QUIET and number:
                self._world.traffic.set_load(namespace, name, RequestLoad(0.02))
                self.events["services that no client calls"] += 1
            self._world.deploy(name, _FIRST, namespace=namespace)
            self._world.after(60 + self._random.uniform(0, self._every), self._release_of(namespace, name))
        often = 500 / max(len(self._services), 1) * min(1.0, self._every / 7200)
        for mean, action in (
            (100.0 * often, self._act_as_user),
            (140.0 * often, self._change_externally),
            (140.0 * often, self._local_fault),
            (75.0 * often, self._metrics_of_one),
            (3600.0, self._metrics_of_all),
            (2400.0, self._cut_watch),
            (1800.0, self._start_api_outage),
            (3600.0, self._stop_notifications),
            (1500.0, self._restart),
            (2400.0, self._lose_leadership),
            (7200.0, self._stop_controllers),
            (5400.0, self._policy_changes),
        ):
            # In a short run the rare ones come as often as in a day's.
            self._repeat(mean, action)
        self._world.after(60.0, self._answer_held_rollouts)

    def _repeat(self, mean: float, action: Callable[[], None]) -> None:
        def again() -> None:
            if not self.over:
                action()
                self._repeat(mean, action)

        self._world.after(self._random.expovariate(1 / mean), again)

    def close(self) -> None:
        """No releases and no faults any more; users still answer what waits for them."""
        self.over = True
        self._world.random_faults.rate = self._world.random_faults.deaths = 0.0
        self._world.random_faults.storm_until = 0.0

    # --- releases ----------------------------------------------------------------------------------------

    def _release_of(self, namespace: str, name: str) -> Callable[[], None]:
        def release() -> None:
            if self.over:
                return
            busy = self._running(namespace, name) is not None
            if busy and self._random.random() < 0.7:
                self._world.after(300.0, release)
                return
            if busy:
                self._checks.touched(namespace, name, "a newer release")
                self.events["release: over a running one"] += 1
            self._deploy(namespace, name)
            self._world.after(self._random.expovariate(1 / self._every), release)

        return release

    def _deploy(self, namespace: str, name: str, kind: str = "") -> None:
        if (namespace, name) in self._away:
            return
        kind = kind or self._random.choices(list(RELEASES), list(RELEASES.values()))[0]
        self._numbers += 1
        ready = self._random.uniform(60, 200) if kind == "slow" else self._random.choice((3, 6, 15, 40))
        weight = self._random.choices((0, 10, None), (75, 10, 15))[0]
        how = "without a weight" if weight is None else f"at {weight} %"
        uri = f"gs://soak/{kind}/{ready:.0f}/{self._numbers}"
        if self._try(lambda: self._world.deploy(name, uri, weight=weight, namespace=namespace)):
            self.events[f"release: {kind}"] += 1
            self.events[f"release: {how}"] += 1

    def _try(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except AutocanaryError:
            self.events["refused by the API server"] += 1
            return False
        return True

    # --- users ------------------------------------------------------------------------------------------

    def _running(self, namespace: str, name: str) -> TrackedRollout | None:
        found = (each for each in self._checks.running.values() if each.key[:2] == (namespace, name))
        return next(found, None)

    def _any(self) -> TrackedRollout | None:
        running = sorted(self._checks.running)
        return self._checks.running[self._random.choice(running)] if running else None

    def _act_as_user(self) -> None:
        what = self._random.choice(("pause", "pause", "promote", "promote-full", "abort", "resume", "retry"))
        if what == "retry":
            self._retry()
            return
        track = self._any()
        if track is None:
            return
        if what == "pause":
            self._ask(track, None, True)
            self._world.after(self._random.uniform(30, 600), lambda: self._ask(track, None, False))
        else:
            self._ask(track, what)

    def _retry(self) -> None:
        ended = [
            each
            for each in self._checks.tracks.values()
            if each.progress is not None and each.progress.phase is Phase.ROLLED_BACK
        ]
        if ended:
            self._ask(self._random.choice(ended), Verb.RETRY.value)

    def _ask(self, track: TrackedRollout, verb: str | None, paused: bool | None = None) -> None:
        if self._checks.tracks.get((track.key.namespace, track.name)) is not track:
            return
        request = None
        if verb is not None:
            self._numbers += 1
            request = Request(f"request-{self._numbers}", verb, "ann")
            track.verbs[request.id] = verb
        where = track.key.namespace, track.name
        if self._try(lambda: self._world.store.write_request(*where, paused=paused, request=request)):
            done = verb if verb is not None else ("pause" if paused else "unpause")
            self.events[f"person: {done}"] += 1

    def _answer_held_rollouts(self) -> None:
        """Users look after what waits for them: sooner when the day is over."""
        patience = 60.0 if self.over else self._random.uniform(300, 1500)
        for track in list(self._checks.running.values()):
            progress = track.progress
            if progress is None or self._world.now() - progress.phase_since < patience:
                continue
            if progress.phase is Phase.PAUSED:
                self._ask(track, None, False)
                verb = self._random.choices(("resume", "abort", "promote"), (60, 25, 15))[0]
                self._ask(track, "abort" if self.over and self._random.random() < 0.3 else verb)
            elif progress.phase is Phase.ROLLING_BACK and self._world.now() - progress.phase_since > _HELPLESS:
                self._by_hand(track)
        self._world.after(60.0, self._answer_held_rollouts)

    def _by_hand(self, track: TrackedRollout) -> None:
        """Nothing helps because stable itself is broken: the service is recreated."""
        namespace, name, _ = track.key
        if (namespace, name) not in self._away:
            self._checks.touched(namespace, name, "put back by hand")
            self.events["user: recreates a broken service"] += 1
            self._try(lambda: self._recreate(namespace, name))

    # --- outsiders ---------------------------------------------------------------------------------------

    def _change_externally(self) -> None:
        track = self._any()
        if track is None:
            return
        namespace, name, _ = track.key
        if (namespace, name) in self._away:
            return
        acts: Mapping[str, tuple[int, Callable[[str, str], None]]] = {
            "weight edited": (6, self._edit_weight),
            "weight removed": (4, self._remove_weight),
            "reverted": (3, self._revert),
            "stopped": (2, self._stop),
            "deleted and recreated": (2, self._recreate),
            "deleted": (1, self._delete),
            "record deleted": (1, lambda *_: self._world.store.remove(track.key.namespace, track.name)),
        }
        what = self._random.choices(list(acts), [each[0] for each in acts.values()])[0]
        self._checks.touched(namespace, name, what)
        self.events[f"outsider: {what}"] += 1
        self._try(lambda: acts[what][1](namespace, name))

    def _patch(self, namespace: str, name: str, weight: int | None) -> None:
        body = {"spec": {"predictor": {"canaryTrafficPercent": weight}}}
        self._world.kserve.patch(namespace, name, body, "kubectl-edit")

    def _edit_weight(self, namespace: str, name: str) -> None:
        self._patch(namespace, name, self._random.choice((0, 5, 10, 30, 60, 100)))

    def _remove_weight(self, namespace: str, name: str) -> None:
        self._patch(namespace, name, None)

    def _revert(self, namespace: str, name: str) -> None:
        uri = self._world.stable_uri(namespace, name) or _FIRST
        self._world.deploy(name, uri, weight=None, namespace=namespace)

    def _annotate(self, namespace: str, name: str, value: str | None) -> None:
        self._checks.touched(namespace, name, "stopped" if value else "started")
        body = {"metadata": {"annotations": {_STOP: value}}}
        self._try(lambda: self._world.kserve.patch(namespace, name, body, "kubectl-annotate"))

    def _stop(self, namespace: str, name: str) -> None:
        model = self._world.kserve.document(namespace, name)["spec"]["predictor"]["model"]["storageUri"]
        if is_bad(kind_of(model)):
            return  # it would be all that there is, once started again
        self._annotate(namespace, name, "true")
        self._world.after(self._random.uniform(60, 600), lambda: self._annotate(namespace, name, None))

    def _recreate(self, namespace: str, name: str) -> None:
        self._delete(namespace, name, self._random.uniform(1, 4))

    def _delete(self, namespace: str, name: str, back_after: float = 900.0) -> None:
        uid = self._world.kserve.document(namespace, name)["metadata"]["uid"]
        self._world.kserve.delete(namespace, name)
        self._away.add((namespace, name))
        self._world.after(2.0, lambda: self._world.store.collect_garbage(uid))

        def back() -> None:
            self._away.discard((namespace, name))
            self._checks.touched(namespace, name, "recreated")
            self._try(lambda: self._world.deploy(name, _FIRST, namespace=namespace))

        self._world.after(back_after, back)

    def _policy_changes(self) -> None:
        self._variant += 1
        self._world.policies.put(*policies(self._variant))
        self._world.policies._known = [*policies(0), *policies(1)]
        self.events["outsider: policies edited"] += 1

    # --- faults ------------------------------------------------------------------------------------------

    def _local_fault(self) -> None:
        track = self._any()
        if track is None or (track.key.namespace, track.key.name) in self._away:
            return
        namespace, name, _ = track.key
        acts: Mapping[str, Callable[[], None]] = {
            "ingress not programmed": lambda: self._hold_ingress(namespace, name),
            "candidate crashes": lambda: self._crash(namespace, name, track.candidate),
            "stable crashes": lambda: self._crash(namespace, name, self._stable(namespace, name)),
            "revisions refused": lambda: self._refuse(namespace, name),
            "status frozen": lambda: self._freeze(namespace, name),
        }
        what = self._random.choice(list(acts))
        self._checks.touched(namespace, name, what)
        self.events[f"fault: {what}"] += 1
        self._quietly(acts[what])

    def _quietly(self, action: Callable[[], None]) -> None:
        """A fault of something that is gone meanwhile is none."""
        try:
            action()
        except (KeyError, AutocanaryError):
            self.events["fault: of something that was gone"] += 1

    def _later(self, low: float, high: float, namespace: str, name: str, action: Callable[[], None]) -> None:
        def act() -> None:
            self._checks.touched(namespace, name, "over")
            self._quietly(action)

        self._world.after(self._random.uniform(low, high), act)

    def _stable(self, namespace: str, name: str) -> str:
        shares = self._world.kserve.split(namespace, name)
        return max(shares, key=lambda each: shares[each], default="")

    def _hold_ingress(self, namespace: str, name: str) -> None:
        self._world.kserve.hold_ingress(namespace, name)
        self._later(10, 200, namespace, name, lambda: self._world.kserve.hold_ingress(namespace, name, held=False))

    def _crash(self, namespace: str, name: str, revision: str) -> None:
        found = self._world.kserve.revisions(namespace, name)[revision]
        if found.ready is not ConditionStatus.TRUE or is_bad(kind_of(storage_uri(found.template[0]))):
            raise KeyError(revision)  # what never served, or crashes on its own, is not made to recover
        self._world.kserve.crash(namespace, name, revision)
        self._later(20, 400, namespace, name, lambda: self._world.kserve.recover(namespace, name, revision))

    def _refuse(self, namespace: str, name: str) -> None:
        self._world.kserve.refuse_revisions(namespace, name)
        self._later(20, 400, namespace, name, lambda: self._world.kserve.refuse_revisions(namespace, name, ""))

    def _freeze(self, namespace: str, name: str) -> None:
        self._world.kserve.controller.freeze((namespace, name))
        self._later(20, 300, namespace, name, lambda: self._world.kserve.controller.freeze((namespace, name), False))

    def _metrics_of_one(self) -> None:
        track = self._any()
        if track is not None:
            self._break_metrics(20, 450, track.key.namespace, track.key.name)

    def _metrics_of_all(self) -> None:
        self._break_metrics(20, 240)

    def _break_metrics(self, low: float, high: float, namespace: str = "", service: str = "") -> None:
        now, kind = self._world.now(), self._random.choice(_KINDS)
        self.events[f"fault: metrics {kind.value}{'' if service else ', of all'}"] += 1
        current = [each for each in self._world.metrics.faults if each.end > now]
        fault = PrometheusFault(kind, now, now + self._random.uniform(low, high), namespace, service)
        self._world.metrics.faults = [*current, fault]

    def _cut_watch(self) -> None:
        namespace = self._random.choice((*NAMESPACES, ""))
        self.events["fault: the watch is cut"] += 1
        self._world.cluster.set_watch_down(namespace=namespace)
        self._world.after(
            self._random.uniform(5, 240),
            lambda: self._world.cluster.set_watch_down(False, namespace=namespace),
        )

    def _start_api_outage(self) -> None:
        self.events["fault: API server away"] += 1
        self._world.random_faults.storm_until = self._world.now() + self._random.uniform(5, 120)

    def _stop_notifications(self) -> None:
        self.events["fault: no channel works"] += 1
        self._world.notifier.down = True
        self._world.after(self._random.uniform(30, 900), self._resume_notifications)

    def _resume_notifications(self) -> None:
        self._world.notifier.down = False

    def _restart(self) -> None:
        self.events["the process is restarted"] += 1
        self.kill()

    def _lose_leadership(self) -> None:
        self.events["leadership is lost"] += 1
        self._world.leadership.leads = False
        self._checks.life += 1
        self._checks.troubled()
        self._world.after(self._random.uniform(2, 90), self._regain_leadership)

    def _regain_leadership(self) -> None:
        self._world.leadership.leads = True
        self._checks.life += 1
        self._checks.troubled()

    def _stop_controllers(self) -> None:
        kserve = self._world.kserve
        part = self._random.choice((kserve.set_kserve_down, kserve.set_knative_down))
        self.events["fault: a controller is away"] += 1
        part()
        self._world.after(self._random.uniform(10, 150), lambda: part(False))
