"""``undo``: release a former model again, staged like any other release."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from autocanary.cli import backend, follow, printing
from autocanary.cli.object_names import parse_name
from autocanary.cli.printing import Context, Kubeconfig, Namespace
from autocanary.cli.requests import (
    DEFAULT_TIMEOUT_SECONDS,
    Reason,
    RequestTimeout,
    UserRequest,
    Wait,
    find_named,
    user_name,
)
from autocanary.model import value_wording
from autocanary.model.rollout import Rollout, Verb
from autocanary.views import UndoTarget, find_undo_target

__all__ = ["undo"]

_POLL_SECONDS = 0.5


def undo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An InferenceService: mnist, isvc/mnist, models/mnist.")],
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", help="The model of rollout N of `history`; default: before the last promotion."
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Pass all steps: 100 % as soon as it is ready.")] = False,
    reason: Reason = "",
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: RequestTimeout = DEFAULT_TIMEOUT_SECONDS,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Release a former model again, as a new release with the steps of the policy.

    It writes the recorded spec to the InferenceService with your rights, at 0 %. autocanary then rolls it out like any
    other release. While a rollout runs, abort it instead.

    Your manifest is not changed: a GitOps tool or the next apply brings the present model back.
    """
    wanted = parse_name(name, namespace)
    with closing(backend.open_client(kubeconfig, context)) as client:
        client.set_timeout(timeout)
        where, rollouts = find_named(client, wanted, namespace)
        components = sorted({each.component.value for each in rollouts})
        if not rollouts or len(components) > 1:
            printing.print_notice(
                f"{wanted.name} has rollouts of several components ({', '.join(components)}): name one of its rollouts"
                if rollouts
                else f"there is no rollout of {wanted.name} in namespace {where}, so no former model is known"
            )
            raise typer.Exit(printing.FAILURE)
        last = rollouts[-1]
        service = [each for each in client.rollouts(where) if each.key == last.key]
        observation = client.observe(last)
        current = [each for each in service if observation is None or each.service_uid == observation.uid]
        target = find_undo_target(current, observation.spec_digest if observation is not None else "", to)
        if isinstance(target, str):
            printing.print_notice(f"{where}/{last.service}: {target}")
            raise typer.Exit(printing.FAILURE)
        raise typer.Exit(_release(client, target, {each.name for each in service}, reason, wait, timeout, now=now))


def _release(
    client: backend.RolloutClient,
    target: UndoTarget,
    known: set[str],
    reason: str,
    wait: bool,
    timeout: float,
    *,
    now: bool,
) -> int:
    rollout = target.undone
    client.release(rollout, target.spec, by=user_name(client), reason=reason.strip())
    place = f"{rollout.namespace}/{rollout.service}"
    model = target.model or f"the spec of {target.revision}"
    manifest = f" Your manifest still has {target.present_model}: change it." if target.present_model else ""
    printing.print_result(f"{place}: {model} is released again at 0 %.{manifest}")
    if not wait and not now:
        return printing.SUCCESS
    started = _wait_for_rollout(client, rollout, known, timeout)
    if started is None:
        printing.print_notice(
            f"{place}: no rollout of it started within {value_wording.format_duration(timeout)}; "
            "is autocanary running, and does a policy select the service?"
        )
        return printing.FAILURE
    printing.print_result(f"{place}: {value_wording.rollout_title(started)} started ({started.name})")
    if not now or started.is_final:
        return printing.SUCCESS if not started.is_final else printing.FAILURE
    return UserRequest(client, started, timeout if wait else None, reason).request(Verb.PROMOTE_FULL)


def _wait_for_rollout(
    client: backend.RolloutClient, rollout: Rollout, known: set[str], timeout: float
) -> Rollout | None:
    tolerance = follow.OutageTolerance()
    for left in follow.poll(_POLL_SECONDS, timeout):
        client.set_timeout(left)
        found = tolerance.attempt(lambda: client.rollouts(rollout.namespace)) or ()
        fresh = follow.newest(each for each in found if each.key == rollout.key and each.name not in known)
        if fresh is not None:
            return fresh
    if tolerance.error is not None:
        raise tolerance.error
    return None
