"""Find a rollout by name, and follow it to its end: a live view or lines, and the outcome as an exit code.

A name is that of an InferenceService or of a CanaryRollout. A pipeline follows right after ``kubectl apply``, when its
rollout has not started and the previous one still exists. Therefore the InferenceService is read too: a rollout of
another spec than the applied one is not followed. ``monotonic`` and ``sleep`` are names here so that tests can replace
them.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

from rich.console import RenderableType
from rich.live import Live

from autocanary.cli import backend, printing
from autocanary.cli.event_log import EventLog
from autocanary.cli.rollout_view import RolloutView, rollout_panel
from autocanary.errors import Busy, Unreachable
from autocanary.model import value_wording
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import format_time

__all__ = [
    "OUTAGE_TOLERANCE_SECONDS",
    "POLL_SECONDS",
    "NameMatcher",
    "OutageTolerance",
    "Screen",
    "ambiguous",
    "find_rollout",
    "follow",
    "in_namespace",
    "latest_by_service",
    "matches_applied_spec",
    "matching",
    "monotonic",
    "newest",
    "now",
    "poll",
    "render_rollout",
    "sleep",
    "view_of",
]


def _by_age(rollout: Rollout) -> tuple[float, float, int, str]:
    return (rollout.created_at, rollout.progress.started_at, rollout.attempt, rollout.name)


def newest(rollouts: Iterable[Rollout]) -> Rollout | None:
    return max(rollouts, key=_by_age, default=None)


def matching(rollouts: Iterable[Rollout], name: str) -> list[Rollout]:
    """The rollouts with that name or of that service, the oldest first; a CanaryRollout's own name wins."""
    every = sorted(rollouts, key=_by_age)
    return [each for each in every if each.name == name] or [each for each in every if each.service == name]


def find_rollout(rollouts: Iterable[Rollout], name: str) -> Rollout | None:
    """The one that is running, else the newest."""
    meant = matching(rollouts, name)
    return newest(each for each in meant if not each.is_final) or newest(meant)


def ambiguous(rollouts: Iterable[Rollout], name: str) -> Sequence[Rollout]:
    """The running rollouts of several components of one service, which its name does not distinguish."""
    running = [each for each in matching(rollouts, name) if not each.is_final and each.name != name]
    return running if len({each.component for each in running}) > 1 else []


def latest_by_service(rollouts: Iterable[Rollout]) -> Sequence[Rollout]:
    """The running rollouts of each service, or else its last one, by namespace and name."""
    of: dict[ServiceKey, list[Rollout]] = {}
    for each in rollouts:
        of.setdefault(each.key, []).append(each)
    shown: list[Rollout] = []
    for _, group in sorted(of.items()):
        running = sorted((each for each in group if not each.is_final), key=_by_age)
        shown += running or [max(group, key=_by_age)]
    return shown


def matches_applied_spec(rollout: Rollout, observation: Observation | None) -> bool:
    """Whether a rollout releases its service's present spec, and not an earlier one.

    Without an observation (the service is gone, or may not be read) there is nothing newer to wait for.
    """
    if observation is None or observation.deleting or observation.stopped:
        return True
    if observation.uid != rollout.service_uid:
        return False
    if rollout.progress.rollback.restored and observation.spec_digest == rollout.stable_digest:
        return True  # the rollback put the stable spec back, which made a revision that is no release
    if observation.default_endpoint is not None and not observation.default_endpoint.has_candidate:
        return rollout.progress.phase is not Phase.SUPERSEDED
    if rollout.candidate_digest and observation.spec_digest != rollout.candidate_digest:
        return False  # by the spec, because the status is updated later
    return observation.created in (rollout.candidate, "")


T = TypeVar("T")

monotonic: Callable[[], float] = time.monotonic
sleep: Callable[[float], None] = time.sleep

OUTAGE_TOLERANCE_SECONDS = 30.0
"""Seconds for which an API server that answered before may be unreachable while a command waits."""


def poll(interval: float, timeout: float | None) -> Iterator[float]:
    """The seconds left, every ``interval`` seconds; the last time is at the deadline."""
    start = monotonic()
    left = math.inf if timeout is None else timeout
    while True:
        yield max(0.0, left)
        left = math.inf if timeout is None else start + timeout - monotonic()
        if left <= 0:
            return
        sleep(min(interval, left))
        left = math.inf if timeout is None else start + timeout - monotonic()


class OutageTolerance:
    """Tolerates a short outage of the API server: a pipeline must not fail because of a restart."""

    def __init__(self) -> None:
        self._unreachable_since: float | None = None
        self._answered = False
        self.error: Unreachable | Busy | None = None
        """The error of the last attempt, while the API server is unreachable."""

    @property
    def is_unreachable(self) -> bool:
        """Whether the last attempt got no answer."""
        return self.error is not None

    def attempt(self, read: Callable[[], T]) -> T | None:
        """The result of ``read``; None during an outage; its error when the outage lasts, or at the first attempt."""
        try:
            result = read()
        except (Unreachable, Busy) as error:
            if not self._answered:
                raise
            self.error = error
            if self._unreachable_since is None:
                self._unreachable_since = monotonic()
                printing.print_notice(f"{error}; trying again for {OUTAGE_TOLERANCE_SECONDS:.0f} s")
            if monotonic() - self._unreachable_since >= OUTAGE_TOLERANCE_SECONDS:
                raise
            return None
        self._answered, self._unreachable_since, self.error = True, None, None
        return result


POLL_SECONDS = 2.0
"""Seconds between two reads."""

now = time.time


def in_namespace(scope: str | None) -> str:
    return "in any namespace" if scope is None else f"in namespace {scope}"


def view_of(rollout: Rollout) -> RolloutView:
    return RolloutView(rollout, backend.policy_of(rollout))


def render_rollout(rollout: Rollout) -> RenderableType:
    return rollout_panel(view_of(rollout), now())


class Screen:
    """A live view on a terminal; elsewhere, a line per transition."""

    def __init__(self) -> None:
        console = printing.console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._event_log = EventLog()

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
        for line in self._event_log.new_lines(rollouts):
            printing.print_result(line.text(format_time(line.at) or ""))
        sys.stdout.flush()


class NameMatcher(Protocol):
    """What names the rollout to follow; ``ObjectName`` is one."""

    @property
    def name(self) -> str: ...
    def matching(self, rollouts: Iterable[Rollout]) -> list[Rollout]: ...


def follow(client: backend.RolloutClient, scope: str, wanted: NameMatcher, timeout: float | None) -> int:
    """Follow one rollout to its end; the exit code of its outcome, or FAILURE when it does not end in time.

    ClusterError when the cluster cannot be reached, or is unreachable at the deadline: then the outcome is unknown.
    """
    tolerance = OutageTolerance()
    search = _Search(client, scope, wanted)
    rollout: Rollout | None = None
    with Screen() as screen:
        for left in poll(POLL_SECONDS, timeout):
            client.set_timeout(left)
            found = tolerance.attempt(partial(_read_followed, search, rollout))
            if tolerance.is_unreachable:
                continue
            if found is None and rollout is not None:
                printing.print_notice(f"{value_wording.rollout_title(rollout)}: the rollout was deleted")
                return printing.FAILURE
            rollout = found
            if rollout is not None:
                screen.show([rollout], partial(render_rollout, rollout))
                if rollout.is_final:
                    break
    if tolerance.error is not None:
        raise tolerance.error
    if rollout is not None and rollout.is_final:
        return _outcome(rollout)
    _print_timeout(rollout, wanted.name, timeout or 0.0)
    return printing.FAILURE


class _Search:
    """Finds the rollout to follow; prints once what it waits for."""

    def __init__(self, client: backend.RolloutClient, scope: str, wanted: NameMatcher) -> None:
        self.client, self._where, self._wanted = client, scope, wanted
        self._name = wanted.name
        self._printed: set[str] = set()

    def find_rollout(self) -> Rollout | None:
        rollout = find_rollout(self._wanted.matching(self.client.rollouts(self._where)), self._name)
        if rollout is None:
            self._print_once(f"waiting for a rollout of {self._name} {in_namespace(self._where)}")
            return None
        if rollout.name == self._name or matches_applied_spec(rollout, self.client.observe(rollout)):
            return rollout
        self._print_once(
            f"the rollout of {rollout.candidate} is {rollout.progress.phase.value}; a newer spec was applied to "
            f"{self._name}: waiting for its rollout"
        )
        return None

    def _print_once(self, text: str) -> None:
        if text not in self._printed:
            self._printed.add(text)
            printing.print_notice(text)


def _read_followed(search: _Search, before: Rollout | None) -> Rollout | None:
    """The first rollout that was found is followed to its end, even when a newer one starts."""
    return search.find_rollout() if before is None else search.client.read(before.namespace, before.name)


def _outcome(rollout: Rollout) -> int:
    progress = rollout.progress
    why = progress.message or progress.reason.value
    printing.print_notice(f"{value_wording.rollout_title(rollout)}: {progress.phase.value}: {why}")
    return printing.SUCCESS if progress.phase is Phase.PROMOTED else printing.FAILURE


def _print_timeout(rollout: Rollout | None, name: str, timeout: float) -> None:
    within = value_wording.format_duration(timeout)
    if rollout is None:
        printing.print_notice(f"no rollout of {name} started within {within}; does a policy select the service?")
        return
    phase, waits = (
        rollout.progress.phase,
        value_wording.describe_wait(rollout, backend.policy_of(rollout), now()),
    )
    printing.print_notice(
        f"{value_wording.rollout_title(rollout)}: did not end within {within}: {phase.value}, waits for {waits}"
    )
