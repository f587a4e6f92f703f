"""Following one rollout to its end: a live picture or lines, and the outcome as an exit code.

A pipeline asks right after ``kubectl apply``, when the rollout that it means has not begun and the one
before it is still there. So the InferenceService is looked at, too: a rollout of something else than what is
applied now is not the one that is meant.

Which rollout is meant by a name: that of an InferenceService, or of one of its CanaryRollouts.

Waiting for something that others do: look, sleep, look again, until a deadline.

``monotonic`` and ``sleep`` are here by name so that tests can replace them.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from rich.console import RenderableType
from rich.live import Live

from autocanary.cli import backend, printing
from autocanary.cli.rollout_view import Shown, panel
from autocanary.cli.trail import Trail
from autocanary.errors import Busy, Unreachable
from autocanary.model import value_wording
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import iso

__all__ = [
    "BLIP",
    "EVERY",
    "Screen",
    "Tolerance",
    "current",
    "find",
    "follow",
    "in_",
    "is_of_now",
    "looks",
    "monotonic",
    "named",
    "newest",
    "now",
    "picture",
    "rivals",
    "shown",
    "sleep",
]


def _age_order(rollout: Rollout) -> tuple[float, float, int, str]:
    return (rollout.created_at, rollout.progress.started_at, rollout.attempt, rollout.name)


def newest(rollouts: Iterable[Rollout]) -> Rollout | None:
    return max(rollouts, key=_age_order, default=None)


def named(rollouts: Iterable[Rollout], name: str) -> list[Rollout]:
    """The rollouts that a name may mean, the oldest first; a CanaryRollout's own name wins."""
    every = sorted(rollouts, key=_age_order)
    return [each for each in every if each.name == name] or [each for each in every if each.service == name]


def find(rollouts: Iterable[Rollout], name: str) -> Rollout | None:
    """The one that is running, else the newest."""
    meant = named(rollouts, name)
    return newest(each for each in meant if not each.is_final) or newest(meant)


def rivals(rollouts: Iterable[Rollout], name: str) -> Sequence[Rollout]:
    """The rollouts that a service's name means equally: several components of it are being rolled out."""
    running = [each for each in named(rollouts, name) if not each.is_final and each.name != name]
    return running if len({each.component for each in running}) > 1 else []


def current(rollouts: Iterable[Rollout]) -> Sequence[Rollout]:
    """For each service what runs now, or else what ran last, by namespace and name."""
    of: dict[ServiceKey, list[Rollout]] = {}
    for each in rollouts:
        of.setdefault(each.key, []).append(each)
    shown: list[Rollout] = []
    for _, group in sorted(of.items()):
        running = sorted((each for each in group if not each.is_final), key=_age_order)
        shown += running or [max(group, key=_age_order)]
    return shown


def is_of_now(rollout: Rollout, seen: Observation | None) -> bool:
    """Whether a rollout is about what its service is to run now, and not about something before that.

    Without a look at the service (it is gone, or may not be read) there is nothing newer to wait for.
    """
    if seen is None or seen.deleting or seen.stopped:
        return True
    if seen.uid != rollout.service_uid:
        return False
    if rollout.progress.restored and seen.spec_digest == rollout.stable_digest:
        return True  # the rollback put the stable spec back, which made a revision that is no release
    if seen.beside is not None and not seen.beside.has_candidate:
        return rollout.progress.phase is not Phase.SUPERSEDED
    if rollout.candidate_digest and seen.spec_digest != rollout.candidate_digest:
        return False  # told by the spec, for the status lags behind it
    return seen.created in (rollout.candidate, "")


T = TypeVar("T")

monotonic: Callable[[], float] = time.monotonic
sleep: Callable[[float], None] = time.sleep

BLIP = 30.0
"""Seconds for which a cluster that answered before may be away while a command waits."""


def looks(every: float, timeout: float | None) -> Iterator[float]:
    """The seconds left at each look, ``every`` seconds apart; the last one is at the deadline."""
    start = monotonic()
    left = math.inf if timeout is None else timeout
    while True:
        yield max(0.0, left)
        left = math.inf if timeout is None else start + timeout - monotonic()
        if left <= 0:
            return
        sleep(min(every, left))
        left = math.inf if timeout is None else start + timeout - monotonic()


class Tolerance:
    """Lets a short absence of the API server pass: a pipeline must not fail for a restart of it."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._answered = False
        self.error: Unreachable | Busy | None = None
        """What the last look ended with, while the cluster is away."""

    @property
    def away(self) -> bool:
        """Whether the last look found nobody."""
        return self.error is not None

    def look(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; None while the cluster is away; its error when that lasts, or comes first."""
        try:
            result = read()
        except (Unreachable, Busy) as error:
            if not self._answered:
                raise
            self.error = error
            if self._away_since is None:
                self._away_since = monotonic()
                printing.tell(f"{error}; trying again for {BLIP:.0f} s")
            if monotonic() - self._away_since >= BLIP:
                raise
            return None
        self._answered, self._away_since, self.error = True, None, None
        return result


EVERY = 2.0
"""Seconds between two looks."""

now = time.time


def in_(where: str | None) -> str:
    return "in any namespace" if where is None else f"in namespace {where}"


def shown(rollout: Rollout) -> Shown:
    return Shown(rollout, backend.policy_of(rollout))


def picture(rollout: Rollout) -> RenderableType:
    return panel(shown(rollout), now())


class Screen:
    """A live picture on a terminal; elsewhere, a line per transition."""

    def __init__(self) -> None:
        console = printing.console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._trail = Trail()

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, rollouts: Sequence[Rollout], draw: Callable[[], RenderableType]) -> None:
        if self._live is not None:
            self._live.update(draw(), refresh=True)
            return
        for line in self._trail.news(rollouts):
            printing.say(line.text(iso(line.at) or ""))
        sys.stdout.flush()


def follow(ledger: backend.OpenLedger, where: str, name: str, timeout: float | None) -> int:
    """One rollout to its end; the exit code of its outcome, or NO when it is not in time.

    ClusterError when the cluster cannot be reached, or when it is away as the time ends: then nothing is
    known of the outcome.
    """
    tolerance = Tolerance()
    search = _Search(ledger, where, name)
    rollout: Rollout | None = None
    with Screen() as screen:
        for left in looks(EVERY, timeout):
            ledger.limit(left)
            found = tolerance.look(partial(_look, search, rollout))
            if tolerance.away:
                continue
            if found is None and rollout is not None:
                printing.tell(f"{value_wording.headline(rollout)}: the rollout was deleted meanwhile")
                return printing.NO
            rollout = found
            if rollout is not None:
                screen.show([rollout], partial(picture, rollout))
                if rollout.is_final:
                    break
    if tolerance.error is not None:
        raise tolerance.error
    if rollout is not None and rollout.is_final:
        return _outcome(rollout)
    _tell_late(rollout, name, timeout or 0.0)
    return printing.NO


class _Search:
    """For the rollout that is meant; says once what it waits for."""

    def __init__(self, ledger: backend.OpenLedger, where: str, name: str) -> None:
        self.ledger, self._where, self._name = ledger, where, name
        self._told: set[str] = set()

    def find(self) -> Rollout | None:
        rollout = find(self.ledger.rollouts(self._where), self._name)
        if rollout is None:
            self._tell(f"waiting for a rollout of {self._name} {in_(self._where)}")
            return None
        if rollout.name == self._name or is_of_now(rollout, self.ledger.observe(rollout)):
            return rollout
        self._tell(
            f"the rollout of {rollout.candidate} is {rollout.progress.phase.value}, and something newer has "
            f"been applied to {self._name}: waiting for its rollout"
        )
        return None

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            printing.tell(text)


def _look(search: _Search, before: Rollout | None) -> Rollout | None:
    """Once it is found it stays the one that is followed, whatever begins after it."""
    return search.find() if before is None else search.ledger.read(before.namespace, before.name)


def _outcome(rollout: Rollout) -> int:
    progress = rollout.progress
    why = progress.message or progress.reason.value
    printing.tell(f"{value_wording.headline(rollout)}: {progress.phase.value}: {why}")
    return printing.DONE if progress.phase is Phase.PROMOTED else printing.NO


def _tell_late(rollout: Rollout | None, name: str, timeout: float) -> None:
    within = value_wording.duration(timeout)
    if rollout is None:
        printing.tell(f"no rollout of {name} has begun within {within}; does a policy select the service?")
        return
    phase, waits = rollout.progress.phase, value_wording.waits_for(rollout, backend.policy_of(rollout), now())
    printing.tell(
        f"{value_wording.headline(rollout)}: not ended within {within}: {phase.value}, waits for {waits}"
    )
