"""Following one rollout to its end: a live picture or lines, and the outcome as an exit code.

A pipeline asks right after ``kubectl apply``, when the rollout that it means has not begun and the one
before it is still there. So the InferenceService is looked at, too: a rollout of something else than what is
applied now is not the one that is meant.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import RenderableType
from rich.live import Live

from autocanary.cli import backend, exits, finding, patience, printing
from autocanary.cli.rollout_view import Shown, panel
from autocanary.cli.trail import Trail
from autocanary.model import value_wording
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import iso

__all__ = ["EVERY", "Screen", "follow", "in_", "now", "picture", "shown"]

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
    tolerance = patience.Tolerance()
    search = _Search(ledger, where, name)
    rollout: Rollout | None = None
    with Screen() as screen:
        for left in patience.looks(EVERY, timeout):
            ledger.limit(left)
            found = tolerance.look(partial(_look, search, rollout))
            if tolerance.away:
                continue
            if found is None and rollout is not None:
                printing.tell(f"{value_wording.headline(rollout)}: the rollout was deleted meanwhile")
                return exits.NO
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
    return exits.NO


class _Search:
    """For the rollout that is meant; says once what it waits for."""

    def __init__(self, ledger: backend.OpenLedger, where: str, name: str) -> None:
        self.ledger, self._where, self._name = ledger, where, name
        self._told: set[str] = set()

    def find(self) -> Rollout | None:
        rollout = finding.find(self.ledger.rollouts(self._where), self._name)
        if rollout is None:
            self._tell(f"waiting for a rollout of {self._name} {in_(self._where)}")
            return None
        if rollout.name == self._name or finding.is_of_now(rollout, self.ledger.observe(rollout)):
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
    return exits.DONE if progress.phase is Phase.PROMOTED else exits.NO


def _tell_late(rollout: Rollout | None, name: str, timeout: float) -> None:
    within = value_wording.duration(timeout)
    if rollout is None:
        printing.tell(f"no rollout of {name} has begun within {within}; does a policy select the service?")
        return
    phase, waits = rollout.progress.phase, value_wording.waits_for(rollout, backend.policy_of(rollout), now())
    printing.tell(
        f"{value_wording.headline(rollout)}: not ended within {within}: {phase.value}, waits for {waits}"
    )
