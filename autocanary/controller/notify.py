"""Telling people: what the ledger holds and they have not heard, and who has heard what."""

from __future__ import annotations

from autocanary.analysis.forecast import outlook
from autocanary.controller.context import Surroundings, log_failure
from autocanary.controller.running_rollout import Live, RolloutId
from autocanary.controller.state import Books
from autocanary.decide.outbox import delivered, received
from autocanary.model.reason import Reason
from autocanary.ports import Delivery, Message

__all__ = ["Tellings"]

_OPEN = frozenset({Reason.INCONCLUSIVE.value, Reason.SUSPICIOUS.value})
"""A comparison that is still open is told with what can be expected of it."""


_HEARD_KEPT = 40


class Tellings:
    """Messages on their way, by rollout; never before they are recorded."""

    def __init__(self, around: Surroundings, books: Books) -> None:
        self._around, self._books = around, books
        self._deliveries: list[Delivery] = []

    def tell(self, live: Live) -> None:
        """Queue what the ledger holds and people have not heard."""
        if live.recorded is None:
            return
        for entry in live.recorded.untold:
            if entry.id in live.queued:
                continue
            live.queued.add(entry.id)
            message = _message(live, entry.id)
            if message is None:
                continue
            wanted = self._around.notifier.channels(message)
            if set(wanted) <= set(entry.done):
                self._deliveries.append(Delivery(live.id[0], live.id[1], entry.id, "", True))
            else:
                self._around.notifier.tell(message)

    def heard(self) -> list[Live]:
        """Note who has been told; the rollouts of which that is now to be recorded.

        One that is being written for is noted at a later tick.
        """
        deliveries = [*self._deliveries, *self._around.notifier.delivered()]
        self._deliveries = []
        touched: dict[RolloutId, Live] = {}
        for delivery in deliveries:
            live = self._books.lives.get((delivery.namespace, delivery.rollout))
            if live is None:
                continue
            if live.busy:
                self._deliveries.append(delivery)
            elif self._note(live, delivery):
                touched[live.id] = live
        return list(touched.values())

    def again(self, live: Live) -> None:
        """Somebody else's record is what counts now: who has been told meanwhile is noted in it anew."""
        self._deliveries.extend(live.heard)
        live.heard = []

    def _note(self, live: Live, delivery: Delivery) -> bool:
        message = _message(live, delivery.telling_id)
        if message is None:
            return False
        live.heard = [*live.heard, delivery][-_HEARD_KEPT:]
        progress = received(live.rollout.progress, delivery.channel, delivery.receipt)
        if delivery.settled:
            if not delivery.ok:
                log_failure("message_given_up", live.key, None, channel=delivery.channel, why=delivery.detail)
            wanted = self._around.notifier.channels(message)
            progress = delivered(progress, delivery.telling_id, delivery.channel, wanted)
        live.rollout = live.rollout.but(progress=progress)
        return True


def _message(live: Live, telling_id: str) -> Message | None:
    for entry in live.rollout.progress.untold:
        if entry.id == telling_id:
            routes = live.policy.notifications if live.policy else ()
            return Message(entry, live.rollout, routes, _forecast(live) if entry.reason in _OPEN else ())
    return None


def _forecast(live: Live) -> tuple[tuple[str, str], ...]:
    """Whether waiting is worth while."""
    text = outlook(live.policy, live.rollout.progress)
    return (("forecast", text),) if text else ()
