"""``promote``, ``pause``, ``resume``, ``abort``, ``retry``: user requests about rollouts.

A request is written to the CanaryRollout's ``spec``, as kubectl could write it. autocanary answers within a tick; the
command waits for the answer and prints it. ``undo`` shares the flags and the wait.

Over 300 lines because each user request is one command with its own sentences.
"""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Annotated

import typer

from autocanary.cli import backend, follow, printing
from autocanary.cli.object_names import ObjectName, parse_names
from autocanary.cli.printing import Context, Kubeconfig, Namespace, default_text, duration_option
from autocanary.errors import Refused
from autocanary.model import value_wording
from autocanary.model.progress import Phase
from autocanary.model.rollout import RETRY_STARTED, Request, Rollout, Verb
from autocanary.model.time_format import format_time

__all__ = [
    "Names",
    "Reason",
    "RequestTimeout",
    "UserRequest",
    "Wait",
    "abort",
    "find_named",
    "pause",
    "promote",
    "resume",
    "retry",
    "user_name",
]

_POLL_SECONDS, DEFAULT_TIMEOUT_SECONDS = 0.5, 30.0

CommandResult = tuple[str, int]
"""A sentence about the rollout, and an exit code."""

Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="InferenceServices or CanaryRollouts: mnist, isvc/mnist, models/mnist."),
]
Reason = Annotated[
    str,
    typer.Option(
        "--reason", metavar="TEXT", help="Why; shown in messages, Events and the history.", show_default=False
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the service's answer.")]
RequestTimeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_option,
        show_default=False,
        help=f"How long to wait.{default_text(value_wording.format_duration(DEFAULT_TIMEOUT_SECONDS))}",
    ),
]


def promote(
    names: Names,
    full: Annotated[bool, typer.Option("--full", help="Pass all steps, not only the present one.")] = False,
    reason: Reason = "",
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: RequestTimeout = DEFAULT_TIMEOUT_SECONDS,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Pass the present step of a rollout, or all of them; this approves a step that waits for approval."""
    verb = Verb.PROMOTE_FULL if full else Verb.PROMOTE
    _command(names, namespace, (kubeconfig, context), lambda w: w.request(verb), wait, timeout, reason)


def _request_command(
    name: str, description: str, send: Callable[[UserRequest], int], *, finished: bool = False
) -> Callable[..., None]:
    """A command with the options that all requests have. ``finished``: also for a rollout that has ended."""

    def command(
        names: Names,
        reason: Reason = "",
        namespace: Namespace = None,
        wait: Wait = True,
        timeout: RequestTimeout = DEFAULT_TIMEOUT_SECONDS,
        context: Context = None,
        kubeconfig: Kubeconfig = None,
    ) -> None:
        _command(names, namespace, (kubeconfig, context), send, wait, timeout, reason, finished=finished)

    command.__name__, command.__doc__ = name, description
    return command


pause = _request_command(
    "pause", "Hold a rollout at its weight; a failed metric still rolls it back.", lambda w: w.pause()
)
resume = _request_command(
    "resume",
    "Continue a paused rollout; promote, not resume, approves a step that waits for approval.",
    lambda w: w.resume(),
)
abort = _request_command("abort", "Roll a rollout back.", lambda w: w.abort())
retry = _request_command(
    "retry", "Start a rolled-back candidate again.", lambda w: w.request(Verb.RETRY), finished=True
)


def _command(
    texts: Sequence[str],
    namespace: str | None,
    cluster: tuple[str | None, str | None],
    send: Callable[[UserRequest], int],
    wait: bool,
    timeout: float,
    reason: str,
    *,
    finished: bool = False,
) -> None:
    """Each name in turn; one that fails does not stop the others. FAILURE when any failed."""
    names = parse_names(texts, namespace)
    code = printing.SUCCESS
    with closing(backend.open_client(*cluster)) as client:
        if wait:
            client.set_timeout(timeout)
        for name in names:
            rollout = _rollout_to_change(client, name, namespace, finished=finished)
            if rollout is None:
                code = printing.FAILURE
                continue
            code = send(UserRequest(client, rollout, timeout if wait else None, reason)) or code
    raise typer.Exit(code)


def find_named(client: backend.RolloutClient, name: ObjectName, namespace: str | None) -> tuple[str, list[Rollout]]:
    """The namespace that is searched, and the rollouts of that name in it, the oldest first."""
    where = name.namespace or namespace or client.namespace
    return where, name.matching(client.rollouts(where))


def _rollout_to_change(
    client: backend.RolloutClient, name: ObjectName, namespace: str | None, *, finished: bool
) -> Rollout | None:
    """The one that is running, else the newest; None, and why on stderr, when there is none to change."""
    where, rollouts = find_named(client, name, namespace)
    ambiguous = follow.ambiguous(rollouts, name.name)
    if ambiguous:
        which = ", ".join(f"{each.name} ({each.component.value})" for each in ambiguous)
        printing.print_notice(f"{name.name} has rollouts of several components; name one of them: {which}")
        return None
    rollout = follow.find_rollout(rollouts, name.name)
    if rollout is None:
        printing.print_notice(
            f"there is no rollout of {name.name} in namespace {where}; `autocanary status -A` lists all rollouts"
        )
        return None
    if rollout.is_final and not finished:
        printing.print_notice(f"{value_wording.rollout_title(rollout)}: {ended_text(rollout)}")
        return None
    return rollout


def ended_text(rollout: Rollout) -> str:
    """How a rollout ended, and which command helps now."""
    progress = rollout.progress
    when = format_time(progress.finished_at)
    at = f" at {when}" if when else ""
    place = f"{rollout.service} -n {rollout.namespace}"
    if progress.phase in (Phase.PROMOTED, Phase.MISSED):
        verb = "promoted" if progress.phase is Phase.PROMOTED else "released without a canary"
        return (
            f"{rollout.candidate} was {verb}{at}; promote, pause, resume and abort work only while it runs. "
            f"To go back: `autocanary undo {place}`"
        )
    reason = f" ({progress.reason.value})" if progress.reason.value != progress.phase.value else ""
    text = (
        f"this rollout has ended{at}: {progress.phase.value}{reason}; "
        "promote, pause, resume and abort work only while it runs"
    )
    return f"{text}. `autocanary retry {place}` tries it again" if progress.phase is Phase.ROLLED_BACK else text


def _pause_result(rollout: Rollout) -> CommandResult | None:
    if rollout.is_final:
        return ended_text(rollout), printing.FAILURE
    if rollout.progress.phase is Phase.ROLLING_BACK:
        return f"is rolling back: {rollout.progress.message}", printing.FAILURE
    if rollout.progress.phase is Phase.PAUSED:
        return f"is paused: {rollout.progress.message}", printing.SUCCESS
    return None


def user_name(client: backend.RolloutClient) -> str:
    """The user as the API server sees it; the login name where it does not say."""
    return client.user_name() or _login_name()


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user of a container may have no name
        return ""


class UserRequest:
    """One user request about one rollout; ``timeout`` None: do not wait for the answer."""

    def __init__(
        self, client: backend.RolloutClient, rollout: Rollout, timeout: float | None, reason: str = ""
    ) -> None:
        self._client, self._rollout, self._timeout, self._reason = client, rollout, timeout, reason.strip()

    def request(self, verb: Verb, *, paused: bool | None = None) -> int:
        pending = self._pending()
        if pending is not None and pending.verb == verb.value and paused is None:
            printing.print_notice(
                f"{pending.verb} was already requested{_requested_by(pending)} and is not answered yet"
            )
            return self._wait_for(pending.id, verb)
        if pending is not None:
            printing.print_notice(f"this replaces {pending.verb}{_requested_by(pending)}, which was not answered yet")
        new_request = self._new_request(verb)
        self._client.write_request(self._rollout.namespace, self._rollout.name, paused=paused, request=new_request)
        return self._wait_for(new_request.id, verb)

    def _new_request(self, verb: Verb) -> Request:
        weight = self._rollout.progress.step.weight if verb is Verb.PROMOTE else None
        return Request(uuid.uuid4().hex, verb.value, user_name(self._client), weight, self._reason)

    def abort(self) -> int:
        if self._rollout.progress.phase is Phase.ROLLING_BACK:
            return self._print("is already rolling back; nothing was changed")
        return self.request(Verb.ABORT)

    def pause(self) -> int:
        rollout = self._rollout
        if rollout.progress.phase is Phase.ROLLING_BACK:
            return self._print("is rolling back, which a pause does not stop; nothing was changed", printing.FAILURE)
        if rollout.paused and rollout.progress.phase is Phase.PAUSED:
            return self._print("is already paused; nothing was changed")
        if not rollout.paused:
            self._write_pause()
        return self._wait(_pause_result)

    def _write_pause(self) -> None:
        """With the user and the reason; without where another request waits, or where the definition is older."""
        rollout = self._rollout
        request = self._new_request(Verb.PAUSE) if self._pending() is None else None
        try:
            self._client.write_request(rollout.namespace, rollout.name, paused=True, request=request)
        except Refused:
            if request is None:
                raise
            self._client.write_request(rollout.namespace, rollout.name, paused=True, request=None)

    def resume(self) -> int:
        rollout = self._rollout
        if not rollout.paused and rollout.progress.phase is not Phase.PAUSED:
            return self._print("is not paused; nothing was changed")
        return self.request(Verb.RESUME, paused=False if rollout.paused else None)

    def _pending(self) -> Request | None:
        request = self._rollout.request
        return request if request is not None and request.id != self._rollout.progress.requests.answered_id else None

    def _wait_for(self, request_id: str, verb: Verb) -> int:
        before = self._rollout

        def outcome(now: Rollout) -> CommandResult | None:
            if now.progress.requests.answered_id == request_id:
                return now.progress.requests.answer, printing.SUCCESS if _was_accepted(
                    verb, before, now
                ) else printing.FAILURE
            if now.request is None or now.request.id != request_id:
                if now.request is None:
                    return f"{verb.value} was removed before it was answered", printing.FAILURE
                other = f"{now.request.verb}{_requested_by(now.request)}"
                return f"{verb.value} was replaced by {other} before it was answered", printing.FAILURE
            return None

        return self._wait(outcome)

    def _wait(self, outcome: Callable[[Rollout], CommandResult | None]) -> int:
        """Print the result of ``outcome`` as soon as it is not None, or that no answer came in time."""
        namespace, name = self._rollout.namespace, self._rollout.name
        if self._timeout is None:
            return self._print("requested; the answer appears in its status")
        tolerance = follow.OutageTolerance()
        for left in follow.poll(_POLL_SECONDS, self._timeout):
            self._client.set_timeout(left)
            now = tolerance.attempt(lambda: self._client.read(namespace, name))
            if tolerance.is_unreachable:
                continue
            result = outcome(now) if now is not None else ("the rollout was deleted", printing.FAILURE)
            if result is not None:
                return self._print(*result)
        if tolerance.error is not None:
            raise tolerance.error
        printing.print_notice(
            f"{namespace}/{name}: no answer within {value_wording.format_duration(self._timeout)}; "
            "is autocanary running and watching this namespace? The request stays and is answered when it is"
        )
        return printing.FAILURE

    def _print(self, text: str, code: int = printing.SUCCESS) -> int:
        printing.print_result(f"{self._rollout.namespace}/{self._rollout.name}: {text}")
        return code


def _was_accepted(verb: Verb, before: Rollout, now: Rollout) -> bool:
    """Whether the request had its effect: read from the rollout's state, not from the sentence."""
    was, progress = before.progress, now.progress
    if verb is Verb.ABORT:
        return progress.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    if verb is Verb.RESUME:
        return progress.phase is not Phase.PAUSED
    if verb is Verb.RETRY:
        return progress.requests.answer.startswith(RETRY_STARTED)  # the new attempt is another object
    return progress.step.index > was.step.index or progress.requests.promote_all or progress.phase is Phase.PROMOTED


def _requested_by(request: Request) -> str:
    return f" by {request.by}" if request.by else ""
