"""Five whole courses that a rollout can take, to be played undisturbed and then disturbed at every write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from autocanary.sim.behaviour import starts_in
from tests.engine.play import BROKEN, V2, V3, Doom, Play, When, once, quick

__all__ = ["COURSES", "Outcome", "Strike", "disturbed", "undisturbed"]

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


def _play(course: str, doom: Doom) -> Play:
    play = Play(
        quick(min_requests=1.0),
        qualities={V2: BROKEN} if course == "rollback" else None,
        behaviours={V2: starts_in(4.0), V3: starts_in(4.0)},
        scrape_seconds=2.0,
    )
    play.serve()
    doom.watch(play.world)
    COURSES[course](play)
    return play


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


def disturbed(course: str, strike: Strike) -> tuple[Outcome, Play]:
    """The same course with what ``strike`` says happening to its writes."""
    doom = Doom(strike)
    play = _play(course, doom)
    return _outcome(play, doom), play
