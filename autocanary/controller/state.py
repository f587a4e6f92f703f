"""What is known: which rollouts run and ran, what each service looked like, and when to look at what."""

from __future__ import annotations

from itertools import count

from autocanary.controller.running_rollout import Live, RolloutId
from autocanary.decide.detection import Memory
from autocanary.logs import logger
from autocanary.model.observation import ServiceKey
from autocanary.model.rollout import Rollout
from autocanary.scheduler.due_queue import SIZE, Agenda, Groups

__all__ = ["Books"]

_log = logger("engine")


class Books:
    """In memory only; made anew from the ledger after a start and on becoming leader.

    ``lives`` are the rollouts that run, or of which people have still to hear; ``active`` names the one that
    runs for a service. ``memory`` is what was seen of a service, to tell a release from a restart;
    ``look_at`` says when to see whether one has begun there; ``starting`` are those for which that is being
    recorded. ``agenda`` says when to look at which rollout.
    """

    def __init__(self) -> None:
        self.lives: dict[RolloutId, Live] = {}
        self.active: dict[ServiceKey, RolloutId] = {}
        self.memory: dict[ServiceKey, Memory] = {}
        self.look_at: dict[ServiceKey, float] = {}
        self.starting: set[ServiceKey] = set()
        self.agenda: Agenda[RolloutId] = Agenda()
        self._history: dict[ServiceKey, dict[str, Rollout]] = {}
        self._groups: Groups[RolloutId] = Groups(SIZE)
        self._serials = count()

    def is_current(self, live: Live) -> bool:
        """Whether this is still what is known of its rollout: not deleted, nor made anew, meanwhile."""
        return self.lives.get(live.id) is live

    # --- rollouts ----------------------------------------------------------------------------------------

    def note(self, rollout: Rollout) -> None:
        self._history.setdefault(rollout.key, {})[rollout.name] = rollout

    def history(self, key: ServiceKey) -> list[Rollout]:
        """All recorded rollouts of a service, running ones included."""
        return list(self._history.get(key, {}).values())

    def finished(self) -> list[Rollout]:
        """The finished rollouts of all services."""
        return [each for kept in self._history.values() for each in kept.values() if each.is_final]

    def begin(self, live: Live, now: float) -> None:
        """A recorded rollout is to be looked at from now on."""
        self._quit(self.lives.get(live.id))
        live.serial = next(self._serials)
        live.offset = self._groups.join(live.id, live.interval)
        self.lives[live.id] = live
        if not live.rollout.is_final:
            self.active[live.key] = live.id
        self.agenda.at(live.id, now)

    def end(self, live: Live, now: float) -> bool:
        """The rollout no longer runs: its service may start another. Whether that is news."""
        if self.active.get(live.key) != live.id:
            return False
        del self.active[live.key]
        self.look_at[live.key] = now
        return True

    def look(self, live: Live, when: float) -> None:
        """The next look is then, unless the rollout has ended."""
        if live.id in self.lives:
            self.agenda.at(live.id, when)

    def close(self, live: Live) -> None:
        """It has ended and everybody knows it."""
        self._quit(self.lives.pop(live.id, None))
        self.agenda.drop(live.id)

    def _quit(self, live: Live | None) -> None:
        if live is not None:
            self._groups.leave(live.id)

    def vanished(self, id_: RolloutId, now: float) -> None:
        """The record was deleted: the service is looked at anew, and adopted at the weight it has."""
        live = self.lives.pop(id_, None)
        for key in [key for key in self._history if key.namespace == id_[0]]:
            self.discard(key, id_[1])
        if live is not None:
            self._quit(live)
            self.agenda.drop(id_)
            if self.active.get(live.key) == id_:
                del self.active[live.key]
            self.look_at[live.key] = now
            _log.warning("rollout_record_deleted", namespace=id_[0], rollout=id_[1])

    def discard(self, key: ServiceKey, name: str) -> None:
        """A rollout is no longer part of its service's history."""
        kept = self._history.get(key, {})
        kept.pop(name, None)
        if not kept:
            self._history.pop(key, None)

    # --- services ----------------------------------------------------------------------------------------

    def learn(self, key: ServiceKey, taught: Memory | None) -> None:
        if taught is None:
            self.memory.pop(key, None)
        else:
            self.memory[key] = taught

    def is_taken(self, key: ServiceKey) -> bool:
        """Whether a rollout of the service runs or is being started."""
        return key in self.active or key in self.starting
