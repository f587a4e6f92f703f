"""The loop: each tick, for every rollout that is due: gather, judge, plan, act, record, tell.

All state behind it is touched by the one thread that ticks. Whatever blocks (questions, records, writes)
runs in the pool, one piece of work at a time per rollout, and its result is taken up at the next tick; so a
rollout whose call hangs or fails never delays another.
"""

from __future__ import annotations

from collections.abc import Callable

from autocanary.controller.act import Acts
from autocanary.controller.context import Calls, Surroundings
from autocanary.controller.evaluate import Looks
from autocanary.controller.notify import Tellings
from autocanary.controller.start_rollouts import Starts
from autocanary.controller.state import Books
from autocanary.controller.watch_changes import Changes
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.ports import (
    Clock,
    Cluster,
    Gates,
    Leadership,
    Ledger,
    Listener,
    Metrics,
    Notifier,
    Policies,
    Pool,
    WritePool,
)

__all__ = ["Engine"]


class Engine:
    """One per process. ``tick`` is called by the metronome, and soon after ``hurry`` was called.

    See ``Surroundings`` for the arguments.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        ledger: Ledger,
        metrics: Metrics,
        gates: Gates,
        notifier: Notifier,
        policies: Policies,
        leadership: Leadership,
        clock: Clock,
        pool: WritePool,
        askers: Pool,
        hooks: Pool,
        listener: Listener,
        ready: Callable[[], bool] = lambda: True,
        hurry: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
        history_limit: int = 10,
    ) -> None:
        self._around = Surroundings(
            cluster=cluster,
            ledger=ledger,
            metrics=metrics,
            gates=gates,
            notifier=notifier,
            policies=policies,
            leadership=leadership,
            clock=clock,
            pool=pool,
            askers=askers,
            hooks=hooks,
            listener=listener,
            ready=ready,
            hurry=hurry,
            lost=lost,
            history_limit=history_limit,
        )
        self._forget()

    def _forget(self) -> None:
        """Begin with empty books: before the first tick, and when another instance has become leader."""
        around = self._around
        self._loaded = False
        self._books = books = Books()
        self._calls = calls = Calls(around.hurry)
        self._tellings = Tellings(around, books)
        self._starts = Starts(around, books, calls, self._tellings)
        self._changes = Changes(around, books, self._starts, self._tellings)
        self._acts = Acts(around, books, calls, self._tellings, self._starts)
        self._looks = Looks(around, books, calls, self._acts)

    # --- the tick ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at whatever is due. Raises nothing that one rollout caused."""
        now = self._around.clock.now()
        self._calls.take_up()  # judge, plan, act: what was asked, recorded and written has been answered
        if not self._may_go_on():
            return
        self._gather(now)
        self._record_what_was_told(now)
        self._starts.discover(now)
        self._looks.look(now)
        self._calls.take_up()

    def finish(self) -> bool:
        """At the end of the process, instead of a tick: record who has been told, and begin nothing.

        Without it the next instance would tell them again. Returns whether a record is still under way.
        """
        self._calls.take_up()
        if not self._loaded or not self._may_go_on():
            return False
        self._record_what_was_told(self._around.clock.now())
        return any(live.busy for live in self._books.lives.values())

    def _may_go_on(self) -> bool:
        leads = self._around.leadership.is_leader()
        if self._loaded and not leads:
            self._forget()
            self._around.lost()
        return leads and self._around.ready()

    def _gather(self, now: float) -> None:
        if not self._loaded:
            self._changes.load(now)
            self._loaded = True
            self._calls.take_up()
        self._changes.take_up(now)

    def _record_what_was_told(self, now: float) -> None:
        for live in self._tellings.heard():
            self._acts.record(live, now)

    def next_at(self) -> float | None:
        """When the next look is due, by the engine's clock; None when nothing runs."""
        return self._books.agenda.next_at()

    # --- what others may see -----------------------------------------------------------------------------

    def rollouts(self) -> list[Rollout]:
        """The rollouts that are running now (for metrics and views)."""
        return [live.rollout for live in list(self._books.lives.values())]

    def policy_of(self, rollout: Rollout) -> Policy | None:
        """The snapshot that a running rollout is held to."""
        live = self._books.lives.get((rollout.namespace, rollout.name))
        return live.policy if live else None

    def idle(self) -> bool:
        """Whether no call is under way and no message undelivered."""
        return not self._books.starting and not any(
            live.busy or live.asking or live.calling or live.rollout.progress.untold
            for live in self._books.lives.values()
        )
