"""What has changed since the last tick, in the ledger and in the cluster."""

from __future__ import annotations

from autocanary.controller.context import Surroundings
from autocanary.controller.notify import Tellings
from autocanary.controller.running_rollout import Live, RolloutId
from autocanary.controller.start_rollouts import Starts
from autocanary.controller.state import Books
from autocanary.model.rollout import Rollout

__all__ = ["Changes"]

_RESYNC_SECONDS = 300.0


class Changes:
    """A change only says what to look at: everything is read anew where it is decided about."""

    def __init__(self, around: Surroundings, books: Books, starts: Starts, tellings: Tellings) -> None:
        self._around, self._books, self._starts, self._tellings = around, books, starts, tellings
        self._resync_at = 0.0

    def load(self, now: float) -> None:
        """After a start, or on becoming leader: everything is read from the ledger and the cluster."""
        for rollout in self._around.ledger.rollouts():
            if not rollout.has_status:
                continue  # a crash between create and the first status: discovery takes it up
            self._books.note(rollout)
            if not rollout.is_final or rollout.progress.untold:
                self._starts.adopt(rollout, now)
        self._around.cluster.changed()
        self._around.ledger.changed()
        self._look_at_all_services(now)
        for past in self._books.finished():
            self._starts.retry_if_asked(past, now)

    def take_up(self, now: float) -> None:
        """What somebody else has done since."""
        self._in_the_ledger(now)
        self._in_the_cluster(now)

    def _in_the_ledger(self, now: float) -> None:
        """A person's wish, or an object that was deleted by hand."""
        for id_ in self._around.ledger.changed():
            fresh, live = self._around.ledger.known(*id_), self._books.lives.get(id_)
            if fresh is None:
                self._books.vanished(id_, now)
            elif live is None:
                self._of_no_live(fresh, now)
            elif live.busy:
                live.again = True
            else:
                self._of_a_live(live, fresh, now)

    def _of_no_live(self, fresh: Rollout, now: float) -> None:
        if not fresh.has_status or fresh.key in self._books.starting:
            return  # being made, by us
        self._books.note(fresh)
        if not fresh.is_final:
            self._starts.adopt(fresh, now)
        else:
            self._starts.retry_if_asked(fresh, now)

    def _of_a_live(self, live: Live, fresh: Rollout, now: float) -> None:
        id_: RolloutId = live.id
        if fresh.progress != live.recorded:  # somebody has written the status: it counts
            live.recorded = fresh.progress
            live.rollout = live.rollout.but(progress=fresh.progress)
            self._tellings.again(live)
        live.rollout = live.rollout.but(
            paused=fresh.paused, request=fresh.request, resource_version=fresh.resource_version
        )
        self._books.note(live.rollout)
        self._books.agenda.at(id_, now)
        if live.rollout.is_final:
            self._starts.retry_if_asked(live.rollout, now)

    def _in_the_cluster(self, now: float) -> None:
        for key in self._around.cluster.changed():
            self._books.look_at[key] = now
            active = self._books.active.get(key)
            if active is not None:
                self._books.agenda.bring_forward(active, now)
        if self._around.policies.current() is not self._starts.in_force or now >= self._resync_at:
            self._look_at_all_services(now)

    def _look_at_all_services(self, now: float) -> None:
        """Other policies may select others; and now and then, in case a watch has missed something."""
        self._starts.in_force = self._around.policies.current()
        self._resync_at = now + _RESYNC_SECONDS
        self._books.look_at = {seen.key: now for seen in self._around.cluster.services()}
