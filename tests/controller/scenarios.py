"""Whole courses that a rollout can take, to be played undisturbed and then disturbed at every write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count

from autocanary.decide.detection import SETTLED_AFTER
from autocanary.model.rollout import Verb
from autocanary.ports import Message
from autocanary.simulator.fakes import RecordingNotifier
from autocanary.simulator.pod_behaviour import starts_in
from tests.controller.driver import BROKEN, V2, V3, Doom, Play, When, once, quick

__all__ = ["COURSES", "MORE", "Outcome", "Strike", "disturbed", "undisturbed"]

Strike = Callable[[int, str], "tuple[When, BaseException] | None"]


@dataclass(frozen=True)
class Outcome:
    """How it ended: final phase and reason by rollout, weights without repetitions, events by rollout.

    ``events`` has each transition once, ``told`` every message by its id.
    """

    endings: Mapping[str, tuple[str, str]]
    weights: tuple[int | None, ...]
    events: Mapping[str, tuple[str, ...]]
    told: tuple[str, ...]
    writes: tuple[str, ...]
    seconds: float


def _promotion(play: Play) -> None:
    play.release(V2, 0)
    play.finish("mnist-00002", 1200)


def _rollback(play: Play) -> None:
    play.release(V2, 0)
    play.finish("mnist-00002", 1200)


def _unstaged(play: Play) -> None:
    play.release(V2, None)
    play.finish("mnist-00002", 1200)


def _adopted(play: Play) -> None:
    play.release(V2, 30)
    play.finish("mnist-00002", 1200)


def _supersede(play: Play) -> None:
    play.release(V2, 0)
    play.until(lambda: 10 in play.weights(), 600)
    play.run(8)
    play.release(V3, 0)
    play.finish("mnist-00003", 1200)
    play.finish("mnist-00002", 1200)


COURSES: Mapping[str, Callable[[Play], None]] = {
    "promotion": _promotion,
    "rollback": _rollback,
    "unstaged": _unstaged,
    "adopted": _adopted,
    "supersede": _supersede,
}


def _escalated(play: Play) -> None:
    """The candidate's pods crash, so the 0 does not arrive: stable's spec is put back."""
    play.release(V2, 0)
    play.until(lambda: 10 in play.weights() and play.known("mnist-00002"), 600)
    play.run(8)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.write(Verb.ABORT)
    play.finish("mnist-00002", 1200)
    play.finish("mnist-00003", 1200)  # what was put back is a new revision, rolled out like any other


def _paused(play: Play) -> None:
    """A person pauses, resumes and, at the next step, aborts."""
    play.release(V2, 0)
    play.until(lambda: 10 in play.weights() and play.known("mnist-00002"), 600)
    play.pause()
    play.run(30)
    play.pause(False)
    play.until(lambda: 50 in play.weights(), 600)
    play.write(Verb.ABORT)
    play.finish("mnist-00002", 1200)


def _pruned(play: Play) -> None:
    """One finished rollout is kept: the older one's record is deleted at the end of the next."""
    play.release(V2, 0)
    play.finish("mnist-00002", 1200)
    play.run(30)
    play.release(V3, 0)
    play.finish("mnist-00003", 1200)
    play.run(60)


def _mended(play: Play) -> None:
    """After a promotion a changed spec makes no revision: KServe gives a share to the one before stable."""
    play.release(V2, 0)
    play.finish("mnist-00002", 1200)
    play.run(30)
    play.world.kserve.refuse_revisions("models", "mnist", "quota exceeded")
    play.release(V3, 10)
    play.until(lambda: play.world.split("mnist") == {"00002": 100}, 600)
    play.run(60)


MORE: Mapping[str, Callable[[Play], None]] = {
    "escalated": _escalated,
    "paused": _paused,
    "pruned": _pruned,
    "mended": _mended,
}
"""With the rarer writes: restoring a spec, answering a person, deleting a record."""


def _play(course: str, doom: Doom, tell: Strike | None = None) -> Play:
    play = Play(
        quick(min_requests=1.0),
        qualities={V2: BROKEN} if course == "rollback" else None,
        behaviours={V2: starts_in(4.0), V3: starts_in(4.0)},
        scrape_seconds=2.0,
        history_limit=1 if course == "pruned" else 10,
    )
    play.serve()
    doom.watch(play.world)
    if tell is not None:
        _watch_messages(play, tell)
    {**COURSES, **MORE}[course](play)
    return play


def _watch_messages(play: Play, strike: Strike) -> None:
    """The same for what people are told: ``strike`` hears the number of the message and its event."""
    numbers = count(1)
    send = RecordingNotifier.tell

    class Doomed(RecordingNotifier):
        def tell(self, message: Message) -> None:
            found = strike(next(numbers), message.telling.event)
            if found is not None and found[0] is When.BEFORE:
                raise found[1]
            send(self, message)
            if found is not None:
                raise found[1]

    play.notifiers = Doomed
    play.restart()
    play.restarted = False
    play.run(SETTLED_AFTER + 2)


def _outcome(play: Play, doom: Doom) -> Outcome:
    names = play.names()
    return Outcome(
        endings={name: (play.phase(name).value, play.rollout(name).progress.reason.value) for name in names},
        weights=tuple(once(play.weights())),
        events={name: tuple(play.world.notifier.events(name)) for name in names},
        told=tuple(each.telling.id for each in play.world.notifier.messages),
        writes=tuple(doom.verbs),
        seconds=play.world.now(),
    )


@cache
def undisturbed(course: str) -> Outcome:
    doom = Doom(lambda *_: None)
    return _outcome(_play(course, doom), doom)


def disturbed(
    course: str,
    strike: Strike,
    tell: Strike | None = None,
    *,
    arm: Callable[[Doom], None] | None = None,
) -> tuple[Outcome, Play]:
    """The same course with what ``strike`` says happening to its writes, and ``tell`` to its messages.

    ``arm`` may have more in store, for calls that are no writes.
    """
    doom = Doom(strike)
    if arm is not None:
        arm(doom)
    play = _play(course, doom, tell)
    return _outcome(play, doom), play
