"""``promote``, ``pause``, ``resume``, ``abort``, ``retry``: what a person asks of a rollout.

The wish is written to the CanaryRollout's ``spec``, where kubectl could write it too; the service answers
within a tick, and the command waits for that and says it.
"""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer

from autocanary.cli import backend, follow, printing
from autocanary.cli.printing import Context, Kubeconfig, Namespace, duration, usual
from autocanary.model import value_wording
from autocanary.model.progress import Phase
from autocanary.model.rollout import RETRY_STARTED, Request, Rollout, Verb

__all__ = ["abort", "pause", "promote", "resume", "retry"]

_EVERY, _PATIENCE = 0.5, 30.0

Outcome = tuple[str, int]
"""A sentence and an exit code."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="An InferenceService or a CanaryRollout.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the service's answer.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration,
        show_default=False,
        help=f"How long to wait.{usual(value_wording.duration(_PATIENCE))}",
    ),
]


def promote(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Pass all steps, not only the present one.")] = False,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = _PATIENCE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Pass the present step of a rollout, or all of them."""
    verb = Verb.PROMOTE_FULL if full else Verb.PROMOTE
    _command(name, namespace, (kubeconfig, context), lambda w: w.request(verb), wait, timeout)


def pause(
    name: Name,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = _PATIENCE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Hold a rollout where it is; a breach still rolls it back."""
    _command(name, namespace, (kubeconfig, context), lambda w: w.pause(), wait, timeout)


def resume(
    name: Name,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = _PATIENCE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a paused rollout go on."""
    _command(name, namespace, (kubeconfig, context), lambda w: w.resume(), wait, timeout)


def abort(
    name: Name,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = _PATIENCE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Roll a rollout back."""
    _command(name, namespace, (kubeconfig, context), lambda w: w.abort(), wait, timeout)


def retry(
    name: Name,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = _PATIENCE,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Try a candidate again that was rolled back."""
    _command(
        name, namespace, (kubeconfig, context), lambda w: w.request(Verb.RETRY), wait, timeout, finished=True
    )


def _command(
    name: str,
    namespace: str | None,
    cluster: tuple[str | None, str | None],
    wish: Callable[[_Wish], int],
    wait: bool,
    timeout: float,
    *,
    finished: bool = False,
) -> None:
    with closing(backend.open_ledger(*cluster)) as ledger:
        if wait:
            ledger.limit(timeout)
        where = namespace or ledger.namespace
        rollouts = ledger.rollouts(where)
        rivals = follow.rivals(rollouts, name)
        if rivals:
            which = ", ".join(f"{each.name} ({each.component.value})" for each in rivals)
            printing.tell(f"several components of {name} are being rolled out; say which is meant: {which}")
            raise typer.Exit(printing.NO)
        rollout = follow.find(rollouts, name)
        if rollout is None:
            printing.tell(
                f"there is no rollout of {name} in namespace {where}; "
                "`autocanary status -A` lists all there are"
            )
            raise typer.Exit(printing.NO)
        if rollout.is_final and not finished:
            printing.tell(
                f"{value_wording.headline(rollout)}: {_ended(rollout)}; there is nothing to ask of it"
            )
            raise typer.Exit(printing.NO)
        raise typer.Exit(wish(_Wish(ledger, rollout, timeout if wait else None)))


def _ended(rollout: Rollout) -> str:
    return f"this rollout has ended: {rollout.progress.phase.value} ({rollout.progress.reason.value})"


def _pausing(rollout: Rollout) -> Outcome | None:
    if rollout.is_final:
        return _ended(rollout), printing.NO
    if rollout.progress.phase is Phase.ROLLING_BACK:
        return f"is rolling back: {rollout.progress.message}", printing.NO
    if rollout.progress.phase is Phase.PAUSED:
        return f"is paused: {rollout.progress.message}", printing.DONE
    return None


class _Wish:
    """One wish about one rollout; ``timeout`` None: the answer is not waited for."""

    def __init__(self, ledger: backend.OpenLedger, rollout: Rollout, timeout: float | None) -> None:
        self._ledger, self._rollout, self._timeout = ledger, rollout, timeout

    def request(self, verb: Verb, *, paused: bool | None = None) -> int:
        pending = self._pending()
        if pending is not None and pending.verb == verb.value and paused is None:
            printing.tell(f"{pending.verb} has been asked for already{_by(pending)} and is not answered yet")
            return self._wait_for(pending.id, verb)
        if pending is not None:
            printing.tell(f"this replaces {pending.verb}{_by(pending)}, which was not answered yet")
        asked = Request(uuid.uuid4().hex, verb.value, _user())
        self._ledger.ask(self._rollout.namespace, self._rollout.name, paused=paused, request=asked)
        return self._wait_for(asked.id, verb)

    def abort(self) -> int:
        if self._rollout.progress.phase is Phase.ROLLING_BACK:
            return self._say("is rolling back already; nothing was changed")
        return self.request(Verb.ABORT)

    def pause(self) -> int:
        rollout = self._rollout
        if rollout.progress.phase is Phase.ROLLING_BACK:
            return self._say("is rolling back, which a pause does not stop; nothing was changed", printing.NO)
        if rollout.paused and rollout.progress.phase is Phase.PAUSED:
            return self._say("is paused already; nothing was changed")
        if not rollout.paused:
            self._ledger.ask(rollout.namespace, rollout.name, paused=True, request=None)
        return self._wait(_pausing)

    def resume(self) -> int:
        rollout = self._rollout
        if not rollout.paused and rollout.progress.phase is not Phase.PAUSED:
            return self._say("is not paused; nothing was changed")
        return self.request(Verb.RESUME, paused=False if rollout.paused else None)

    def _pending(self) -> Request | None:
        request = self._rollout.request
        return request if request is not None and request.id != self._rollout.progress.answered else None

    def _wait_for(self, request_id: str, verb: Verb) -> int:
        before = self._rollout

        def outcome(now: Rollout) -> Outcome | None:
            if now.progress.answered == request_id:
                return now.progress.answer, printing.DONE if _granted(verb, before, now) else printing.NO
            if now.request is None or now.request.id != request_id:
                other = (
                    f"{now.request.verb}{_by(now.request)}" if now.request is not None else "nobody's wish"
                )
                return f"{verb.value} was replaced by {other} before it was answered", printing.NO
            return None

        return self._wait(outcome)

    def _wait(self, outcome: Callable[[Rollout], Outcome | None]) -> int:
        """Says what ``outcome`` makes of the rollout, as soon as it makes something of it."""
        namespace, name = self._rollout.namespace, self._rollout.name
        if self._timeout is None:
            return self._say("has been asked; the service answers in its status")
        tolerance = follow.Tolerance()
        for left in follow.looks(_EVERY, self._timeout):
            self._ledger.limit(left)
            now = tolerance.look(lambda: self._ledger.read(namespace, name))
            if tolerance.away:
                continue
            result = outcome(now) if now is not None else ("the rollout was deleted meanwhile", printing.NO)
            if result is not None:
                return self._say(*result)
        if tolerance.error is not None:
            raise tolerance.error
        printing.tell(
            f"{namespace}/{name}: the service has not answered within {value_wording.duration(self._timeout)}"
            "; is autocanary running and watching this namespace? The wish stays and is answered when it is"
        )
        return printing.NO

    def _say(self, text: str, code: int = printing.DONE) -> int:
        printing.say(f"{self._rollout.namespace}/{self._rollout.name}: {text}")
        return code


def _granted(verb: Verb, before: Rollout, now: Rollout) -> bool:
    """Whether the answer was a yes: seen from what the rollout did, not from the sentence."""
    was, progress = before.progress, now.progress
    if verb is Verb.ABORT:
        return progress.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    if verb is Verb.RESUME:
        return progress.phase is not Phase.PAUSED
    if verb is Verb.RETRY:
        return progress.answer.startswith(RETRY_STARTED)  # the new attempt is another object
    return progress.step > was.step or progress.promote_all or progress.phase is Phase.PROMOTED


def _by(request: Request) -> str:
    return f" by {request.by}" if request.by else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return ""
