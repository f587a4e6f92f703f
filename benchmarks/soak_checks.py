"""The invariants of the soak, held against what was written and against what was really so.

They trust nothing that the product says of itself: what a candidate is worth is known from its model, what
the traffic was from the ingress, what was measured from the answers to the questions, what users and
outsiders did from the script that did it. Every write to the rollout store and to a service is checked when it is
made, and nothing changes but by a write, so this is as good as looking after every second.

Over 300 lines because it is one account: a rollout's, from its first record to its last.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autocanary.decide.decision_input import BY_USER
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout, Verb

__all__ = ["Checks", "ExternalChange", "TrackedRollout", "is_bad", "kind_of"]

BLAMING_REASONS = frozenset({Reason.METRIC_VIOLATION, Reason.REVISION_FAILED, Reason.ABORTED_BY_USER, Reason.KNOWN_BAD})
SINGLE_EVENTS = frozenset({"rollout_started", "rollout_promoted", "rollout_rolled_back", "rollout_ended"})
ROLLBACK_PHASES = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})
DEADLINE_REASONS = frozenset({Reason.NO_DATA_DEADLINE, Reason.OUTAGE_DEADLINE})
ROLLBACK_REASONS = DEADLINE_REASONS | {
    Reason.PROGRESS_DEADLINE_EXCEEDED,
    Reason.METRIC_VIOLATION,
    Reason.ABORTED_BY_USER,
}
PROMOTING_VERBS = frozenset({Verb.PROMOTE.value, Verb.PROMOTE_FULL.value, Verb.RESUME.value})
WEIGHT_CHANGES = frozenset({"weight edited", "weight removed", "a newer release", "reverted", "put back by hand"})
"""What outsiders do that brings a weight with it."""
MAX_MEASUREMENT_AGE = 20.0
"""Seconds from an evaluation to the decision made from it, at most: answers and writes take a while."""
EXTERNAL_CHANGE_WINDOW = 180.0
"""Seconds for which what an outsider did to a service still shows in a rollout that starts after it."""


def kind_of(uri: str) -> str:
    """What a model is, as its place says it: ``gs://soak/healthy/5/17``."""
    return uri.split("/")[3] if uri.startswith("gs://soak/") else ""


def is_bad(kind: str) -> bool:
    """Whether a candidate of this kind must never be promoted on its own."""
    return kind not in ("healthy", "slow")


@dataclass(frozen=True, slots=True)
class ExternalChange:
    """Something was done to a service, by a client that is neither autocanary nor KServe."""

    at: float
    what: str


@dataclass(slots=True)
class TrackedRollout:
    """One rollout as the checks know it. ``looks`` are its measured looks, and whether all was in range."""

    key: ServiceKey
    name: str
    candidate: str
    kind: str
    policy: Policy
    began: float
    weight_at_start: int | None
    progress: Progress | None = None
    weight_since: float = 0.0
    looks: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=600))
    paused: bool = False
    verbs: dict[str, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    delivered_notifications: set[str] = field(default_factory=set)
    events: Counter[str] = field(default_factory=Counter)
    newest: tuple[object, ...] = ()

    def asked(self, *verbs: str) -> bool:
        return any(verb in verbs for verb in self.verbs.values())


class Checks:
    """``truth`` says the field's weight of a service and whether a revision is or was ready."""

    def __init__(self, history_limit: int) -> None:
        self._limit = history_limit
        self.now: Callable[[], float] = lambda: 0.0
        self.policies: dict[str, Policy] = {}
        self.field: Callable[[ServiceKey], int | None] = lambda _: None
        self.was_ready: Callable[[ServiceKey, str], bool] = lambda *_: True
        self.leads: Callable[[], bool] = lambda: True
        self.after: Callable[[float, Callable[[], None]], None] = lambda *_: None
        self.tracks: dict[tuple[str, str], TrackedRollout] = {}
        self.running: dict[tuple[str, str, str], TrackedRollout] = {}
        self.life = 0
        self.violations: list[str] = []
        self.looked_at: Counter[str] = Counter()
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        self.causes: Counter[tuple[str, str]] = Counter()
        self.durations: list[float] = []
        self._touches: dict[tuple[str, str], deque[ExternalChange]] = {}
        self._shares: dict[tuple[str, str], deque[tuple[float, Mapping[str, int]]]] = {}
        self._bad_models: set[tuple[ServiceKey, str]] = set()
        self._sent: dict[str, int] = {}
        self._finals: dict[ServiceKey, dict[str, float]] = {}
        self._troubled_at = 0.0
        self._struck_at: dict[str, float] = {}
        self._meant: dict[tuple[str, str], Reason] = {}

    def fail(self, rule: str, text: str) -> None:
        self.violations.append(f"{rule}, at {self.now():.1f}: {text}")

    def _must(self, rule: str, holds: bool, track: TrackedRollout, text: str) -> None:
        self.looked_at[rule] += 1
        if not holds:
            touches = [each.what for each in self._touches_of(track)]
            self.fail(rule, f"{track.key}/{track.name} ({track.kind}, touched {touches}): {text}")

    # --- what the script says ----------------------------------------------------------------------------

    def touched(self, namespace: str, name: str, what: str) -> None:
        self._touches.setdefault((namespace, name), deque(maxlen=12)).append(ExternalChange(self.now(), what))

    def troubled(self) -> None:
        """The process or its leadership has just ended, or a deletion has failed: pruning may be late."""
        self._troubled_at = self.now()

    def on_decision(self, rollout: Rollout, reason: Reason) -> None:
        """The controller means to do something for that reason, whether or not its record arrives."""
        if reason in ROLLBACK_REASONS:
            self._meant[rollout.namespace, rollout.name] = reason

    def struck(self, verb: str, name: str) -> None:
        """A call has failed; which channels were notified is known only when the record of that is made up for."""
        if verb == "delete":
            self.troubled()
        elif verb == "update_status":
            self._struck_at[name] = self.now()

    def _touches_of(self, track: TrackedRollout) -> list[ExternalChange]:
        found = self._touches.get((track.key.namespace, track.key.name), ())
        return [each for each in found if each.at >= track.began - EXTERNAL_CHANGE_WINDOW]

    # --- what is really so -------------------------------------------------------------------------------

    def on_traffic_change(self, namespace: str, name: str, shares: Mapping[str, int]) -> None:
        """The ingress sends the traffic there from now on."""
        kept = self._shares.setdefault((namespace, name), deque(maxlen=24))
        if not kept or kept[-1][1] != shares:
            kept.append((self.now(), dict(shares)))

    def _share(self, track: TrackedRollout, at: float) -> tuple[int, float]:
        """The candidate's share then, and since when it was that."""
        share, since = 0, track.began
        for when, shares in self._shares.get((track.key.namespace, track.key.name), ()):
            if when > at:
                break
            found = shares.get(track.candidate, 0)
            if found != share:
                share, since = found, when
        return share, since

    def measured(self, measurements: Mapping[MetricQuery, Measurement]) -> None:
        """What was answered, held against the policy's ranges by the most direct way."""
        verdicts: dict[tuple[str, str, str], bool] = {}
        for question, measurement in measurements.items():
            place = (question.namespace, question.service, question.revision)
            track = self.running.get(place)
            if track is None:
                continue
            analysis = track.policy.analysis
            metric = next(each for each in analysis.metrics if each.name == question.metric)
            enough = measurement.requests is not None and measurement.requests >= analysis.min_requests
            good = measurement.is_value and measurement.value is not None and metric.range.contains(measurement.value)
            verdicts[place] = verdicts.get(place, True) and good and enough
        for place, good in verdicts.items():
            self.running[place].looks.append((self.now(), good))

    # --- writes to services ------------------------------------------------------------------------------

    def written(self, key: ServiceKey, weight: int | None, restored: bool) -> None:
        self.looked_at["written by the leader"] += 1
        if not self.leads():
            self.fail("written by the leader", f"{key} was set to {weight} by an instance that does not lead")
        if weight == 0:
            return
        track = next((each for each in self.running.values() if each.key == key), None)
        if track is None or track.progress is None:
            if restored and weight is None and self._noted_as_wrong(key):
                return
            self.fail("recorded first", f"{key} was set to {weight}, and no rollout of it runs")
            return
        if restored and self._record_was_lost(track):
            return  # a rollback does not wait for its record
        same = track.progress.step.weight == weight
        self._must("recorded first", same, track, f"{track.progress.step.weight} is recorded, {weight} written")
        if restored:
            back = track.progress.phase is Phase.ROLLING_BACK
            self._must("recorded first", back, track, "the spec was restored, and it does not roll back")

    def _record_was_lost(self, track: TrackedRollout) -> bool:
        """A rollback was decided, and the injected fault took its record a moment ago."""
        meant = (track.key.namespace, track.name) in self._meant
        return meant and self.now() - self._struck_at.get(track.name, -math.inf) < 1.0

    def _noted_as_wrong(self, key: ServiceKey) -> bool:
        """KServe undid a promotion; said in the record of that, and then put right."""
        kept = (each.progress for each in self.tracks.values() if each.key == key)
        said = Reason.WRONG_STABLE.value
        return any(each is not None and any(w.startswith(said) for w in each.outbox.warnings_sent) for each in kept)

    # --- writes to the rollout store ----------------------------------------------------------------------------

    def kept(self, before: Rollout | None, after: Rollout, verb: str) -> None:
        """A rollout was written; ``before`` as it was until then."""
        if verb in ("write_request", "edit"):
            return
        if not self.leads():
            self.fail("written by the leader", f"{after.name}: {verb} by an instance that does not lead")
        id_ = (after.namespace, after.name)
        if before is None:
            self.tracks[id_] = self._track(after)
        track = self.tracks[id_]
        if not after.has_status:
            return
        was, is_ = track.progress, after.progress
        track.progress, track.paused = is_, after.paused
        if was is None:
            self.running[self._place(track)] = track
            track.weight_since = self.now()
            allowed = (0, track.weight_at_start, *self._recent_weights(track))
            gone = track.weight_at_start is None and "deleted" in {each.what for each in self._touches_of(track)}
            # begun in the moment in which the service went, or without steps over a revision that was rolled back
            fits = (
                is_.step.weight in allowed
                or gone
                or (is_.step.weight == 100 and self._replaces_bad(track, after.stable))
            )
            self._must("begins where it was", fits, track, f"begins at {is_.step.weight}")
            if is_.phase is Phase.ROLLING_BACK:
                self._rolled_back(track, is_, is_)
        else:
            self._compared(track, was, is_)
        self._check_notifications(track, is_)
        if is_.phase.is_final and (was is None or not was.phase.is_final):
            self._ended(track, is_)

    def _replaces_bad(self, track: TrackedRollout, stable: str) -> bool:
        """KServe promoted a rolled-back candidate and gives this release everything: its field is absent or 100."""
        if track.weight_at_start not in (None, 100):
            return False
        kept = (each for each in self.tracks.values() if each.key == track.key and each.candidate == stable)
        newest = max(kept, key=lambda each: each.began, default=None)
        return newest is not None and newest.progress is not None and newest.progress.phase is Phase.ROLLED_BACK

    def dropped(self, rollout: Rollout) -> None:
        """A record is gone: pruned, deleted by hand or with its service."""
        track = self.tracks.pop((rollout.namespace, rollout.name), None)
        if track is not None:
            self._forget(track)
            self._struck_at.pop(track.name, None)
            self._meant.pop((track.key.namespace, track.name), None)
            self._finals.get(track.key, {}).pop(track.name, None)

    def _track(self, rollout: Rollout) -> TrackedRollout:
        model = (rollout.candidate_spec or {}).get("model", {})
        policy = self.policies[rollout.policy_document["variant"]]
        now = self.now()
        uri = str(model.get("storageUri", ""))
        return TrackedRollout(
            rollout.key, rollout.name, rollout.candidate, kind_of(uri), policy, now, self.field(rollout.key)
        )

    def _recent_weights(self, track: TrackedRollout) -> list[int]:
        """Weights that were in the field lately: the evaluation is a moment older than the record."""
        return [10, 100] if self._touches_of(track) else [10]

    @staticmethod
    def _place(track: TrackedRollout) -> tuple[str, str, str]:
        return track.key.namespace, track.key.name, track.candidate

    def _forget(self, track: TrackedRollout) -> None:
        if self.running.get(self._place(track)) is track:
            del self.running[self._place(track)]

    def _compared(self, track: TrackedRollout, was: Progress, is_: Progress) -> None:
        if was.phase.is_final:
            same = is_.phase is was.phase and is_.reason is was.reason and is_.step.weight == was.step.weight
            self._must("final stays final", same, track, f"{was.phase.value} became {is_.phase.value}")
            return
        if is_.step.weight != was.step.weight:
            self._check_transition(track, was, is_)
            track.weight_since = self.now()
        if (
            is_.phase in ROLLBACK_PHASES and was.phase not in ROLLBACK_PHASES
        ):  # what could not be recorded may be over by now
            self._rolled_back(track, was, is_)
        if is_.phase is Phase.PROMOTED:
            self._promoted(track, was, is_)

    def _check_transition(self, track: TrackedRollout, was: Progress, is_: Progress) -> None:
        """A weight goes to the next step, to 0, or to what another client set."""
        if is_.step.weight == 0:
            return
        if is_.phase is Phase.ROLLING_BACK:
            self._must("next step, 0 or back", is_.rollback.repairing, track, f"rolling back at {is_.step.weight}")
            return
        if is_.reason is Reason.EXTERNAL_CHANGE:
            done = any(each.what in WEIGHT_CHANGES for each in self._touches_of(track))
            self._must("next step, 0 or back", done, track, f"no request set the weight to {is_.step.weight}")
            return
        at = 100 if was.step.weight is None else was.step.weight
        up = next((each.weight for each in track.policy.steps if each.weight > at), 100)
        person = is_.reason is Reason.PROMOTED_BY_USER or is_.requests.promote_all
        legal = is_.step.weight == up or (person and is_.step.weight == 100 and track.asked(Verb.PROMOTE_FULL.value))
        self._must("next step, 0 or back", legal, track, f"from {was.step.weight} to {is_.step.weight}")
        if person:
            self._must("only with a pass", track.asked(*PROMOTING_VERBS), track, f"no user asked for {is_.step.weight}")
        elif was.step.index < 0 or was.step.weight == 0:  # a candidate at 0 % has no requests to pass with
            self._must("only with a pass", not self._stopped(track, was, is_), track, f"{is_.step.weight} while paused")
            ready = self.was_ready(track.key, track.candidate)
            self._must("only with a pass", ready, track, "the first step of a candidate that is not ready")
        else:
            self._must("only with a pass", not self._stopped(track, was, is_), track, f"{is_.step.weight} while paused")
            self._passed(track, was, is_.step.started_at or self.now())

    @staticmethod
    def _stopped(track: TrackedRollout, was: Progress, is_: Progress) -> bool:
        """Whether it was paused, and no user has resumed it."""
        freed = (was.hold.paused_by == BY_USER and not track.paused) or (
            is_.requests.answered_id != was.requests.answered_id and is_.requests.answered_id in track.verbs
        )
        return was.phase is Phase.PAUSED and not freed

    def _passed(self, track: TrackedRollout, was: Progress, on_decision: float) -> None:
        """At the weight that the candidate really had, for the step's time, and at the last evaluation before."""
        evaluation = next(((at, good) for at, good in reversed(track.looks) if at <= on_decision), None)
        share, since = self._share(track, on_decision)
        hold = track.policy.steps[max(was.step.index, 0)].hold
        seen = evaluation is not None and evaluation[1] and on_decision - evaluation[0] <= MAX_MEASUREMENT_AGE
        self._must(
            "only with a pass",
            seen,
            track,
            f"up from {was.step.weight} at {on_decision:.1f}, last evaluation {evaluation}",
        )
        if any(each.at > since - 5 for each in self._touches_of(track)):
            return  # what the traffic was in between is not known from a share alone
        for_long = (
            share == was.step.weight
            and on_decision - since >= hold - 1
            and evaluation is not None
            and evaluation[0] > since
        )
        said = f"up from {was.step.weight} at {on_decision:.1f}; the share was {share} since {since:.1f}"
        self._must("only with a pass", for_long, track, said)

    def _promoted(self, track: TrackedRollout, was: Progress, is_: Progress) -> None:
        person = track.asked(*PROMOTING_VERBS) and (is_.requests.promote_all or is_.reason is Reason.PROMOTED_BY_USER)
        self._must("bad is not promoted", person or not is_bad(track.kind), track, f"{is_.reason.value}")
        if not person:
            self._passed(track, was, is_.finished_at or self.now())
        self.causes["promoted", "a user" if person else "passed"] += 1

    # --- rollbacks, by cause -----------------------------------------------------------------------------

    def _rolled_back(self, track: TrackedRollout, was: Progress, is_: Progress) -> None:
        cause = self._cause(track, was, is_)
        self.causes["rolled back, " + ("bad" if is_bad(track.kind) else "healthy"), cause] += 1
        fair = bool(cause) and (is_bad(track.kind) or cause != "the candidate")
        said = f"{is_.reason.value}: {is_.message}; looks {list(track.looks)[-4:]}"
        self._must("healthy is not rolled back", fair, track, said)

    def _cause(self, track: TrackedRollout, was: Progress, is_: Progress) -> str:
        now, reason = is_.phase_since, is_.reason
        if reason is Reason.ROLLBACK_UNRECORDED:
            reason = self._meant.get((track.key.namespace, track.name), reason)  # what its lost record said
        if reason is Reason.ABORTED_BY_USER:
            return "a user" if track.asked(Verb.ABORT.value) else ""
        if reason in DEADLINE_REASONS:
            analysis = track.policy.analysis
            grace = analysis.on_no_data if reason is Reason.NO_DATA_DEADLINE else analysis.on_outage
            early = any(good and at > now - grace.hold + analysis.interval for at, good in track.looks)
            return "" if early else "a deadline"
        if reason is Reason.PROGRESS_DEADLINE_EXCEEDED:
            began = [each for each in (was.hold.since, was.step.started_at) if each is not None]
            waited = now - min(began, default=now)
            return "a deadline" if waited >= track.policy.progress_deadline else ""
        if reason is Reason.KNOWN_BAD:
            return "rolled back before" if self._has_cause(track) else ""
        if reason is Reason.METRIC_VIOLATION:
            return "the candidate"
        touched = self._touches_of(track)
        if is_bad(track.kind):
            return "the candidate" if reason is Reason.REVISION_FAILED or not touched else "an outsider"
        return f"an outsider: {reason.value}" if touched else ""

    def _has_cause(self, track: TrackedRollout) -> bool:
        return any(
            past.key == track.key and _had_cause(past.progress) for past in self.tracks.values() if past is not track
        )

    # --- notifications ----------------------------------------------------------------------------

    def _check_notifications(self, track: TrackedRollout, is_: Progress) -> None:
        waiting = {each.id for each in is_.outbox.pending}
        for entry in is_.outbox.pending:
            if entry.id in track.ids:
                continue
            track.ids.add(entry.id)
            track.events[entry.event] += 1
            again = entry.event in SINGLE_EVENTS and track.events[entry.event] > 1
            same = (entry.event, entry.step, entry.weight, entry.reason, entry.message)
            repeated = entry.event != "rollout_held" and same == track.newest
            self._must("notified once", not again and not repeated, track, f"{entry.event} was noted twice")
            track.newest = same
        back = waiting & track.delivered_notifications
        self._must("notified once", not back, track, f"notified, and to be notified again: {sorted(back)}")
        gone = track.ids - track.delivered_notifications - waiting
        lost = gone - set(is_.outbox.delivered)
        self._must("notified once", not lost, track, f"never notified: {sorted(lost)}")
        track.delivered_notifications |= gone

    def sent(self, notification_id: str) -> None:
        """A message is on its way; one process sends each once."""
        self.looked_at["sent once by a process"] += 1
        if self._sent.get(notification_id) == self.life:
            self.fail("sent once by a process", notification_id)
        self._sent[notification_id] = self.life
        if len(self._sent) > 5000:
            self._sent = dict(list(self._sent.items())[-1000:])

    # --- the end -----------------------------------------------------------------------------------------

    def _ended(self, track: TrackedRollout, is_: Progress) -> None:
        self._forget(track)
        self.outcomes[track.kind, is_.phase.value, is_.reason.value] += 1
        self.durations.append(self.now() - track.began)
        at = self.now()
        self._finals.setdefault(track.key, {})[track.name] = at
        self.after(60.0, lambda: self._pruned(track, at))

    def _pruned(self, track: TrackedRollout, at: float) -> None:
        """A minute after an end whose notification is delivered, unless something got in the way."""
        if self._troubled_at >= at - 5 or self.tracks.get((track.key.namespace, track.name)) is not track:
            return
        if track.progress is None or track.progress.outbox.pending:
            return
        since = self.now() - self._struck_at.get(track.name, 0.0)
        if since < 60.0:
            self.after(60.0 - since, lambda: self._pruned(track, at))
            return
        kept = sum(ended <= at for ended in self._finals.get(track.key, {}).values())
        self._must("history is kept short", kept <= self._limit, track, f"{kept} finished ones are kept")

    def at_the_end(self) -> None:
        """When nothing happens any more, everything has ended and is notified."""
        for track in self.tracks.values():
            is_ = track.progress
            phase = is_.phase.value if is_ is not None else "no status"
            ended = is_ is not None and is_.phase.is_final
            message = is_.message if is_ is not None else ""
            self._must("every rollout ends", ended, track, f"{phase} since {track.began:.0f}: {message}")
            pending_notifications = [each.id for each in is_.outbox.pending] if is_ is not None else []
            whole = not pending_notifications and track.ids == track.delivered_notifications
            self._must(
                "notified once",
                whole or not ended,
                track,
                f"not notified: {pending_notifications or track.ids - track.delivered_notifications}",
            )


def _had_cause(progress: Progress | None) -> bool:
    """Whether a rollout was rolled back for what its candidate did."""
    return progress is not None and progress.phase is Phase.ROLLED_BACK and progress.reason in BLAMING_REASONS
