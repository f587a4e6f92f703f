"""User requests: written once, waited for, answered with the controller's words."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autocanary.cli import backend
from autocanary.errors import Unreachable
from autocanary.model.policy import Component
from autocanary.model.progress import Phase
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from tests.cli.conftest import Invoke
from tests.cli.fake_client import START, FakeController, FakeRolloutClient, rollout

UseClient = Callable[[FakeRolloutClient], None]


@pytest.fixture(autouse=True)
def _user_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "kim")


def controller_answering(request_answer: str, **progress: Any) -> FakeController:
    """A service that answers the request of the rollout it sees."""

    def service(before: Rollout) -> Rollout:
        assert before.request is not None
        return replace(
            before,
            progress=with_stored_fields(
                before.progress,
                {"answered_request_id": before.request.id, "request_answer": request_answer, **progress},
            ),
        )

    return service


def test_promote_asks_and_says_the_answer(invoke: Invoke, cluster: UseClient) -> None:
    """The request has an id, the verb and the user."""
    client = FakeRolloutClient(rollout(), service=controller_answering("going to 50 %", step=2))
    cluster(client)
    result = invoke("promote", "mnist")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "models/mnist-00002: going to 50 %\n", "")
    ((name, paused, request),) = client.asked
    assert (name, paused) == ("mnist-00002", None)
    assert request is not None
    assert (request.verb, request.by, len(request.id)) == ("promote", "kim", 32)
    assert client.closed


def test_promote_full_is_a_request_of_its_own(invoke: Invoke, cluster: UseClient) -> None:
    """A candidate that is not ready will go to 100 % later; that is a yes."""
    client = FakeRolloutClient(rollout(step=-1), service=controller_answering("will go to 100 %", promote_all=True))
    cluster(client)
    result = invoke("promote", "mnist", "--full")
    assert result.exit_code == 0
    assert client.asked[0][2] is not None
    assert client.asked[0][2].verb == "promote-full"


def test_request_without_effect_exits_1(invoke: Invoke, cluster: UseClient) -> None:
    """A script must not go on as if it had been promoted."""
    cluster(FakeRolloutClient(rollout(step=-1), service=controller_answering("it is not ready yet")))
    result = invoke("promote", "mnist")
    assert (result.exit_code, result.stdout) == (
        1,
        "models/mnist-00002: it is not ready yet\n",
    )


def test_promote_in_the_bake_exits_0(invoke: Invoke, cluster: UseClient) -> None:
    """There is no further step, but the rollout is promoted."""
    cluster(
        FakeRolloutClient(rollout(Phase.BAKING, step=3), service=controller_answering("promoted", phase=Phase.PROMOTED))
    )
    assert invoke("promote", "mnist").exit_code == 0


def test_the_answer_is_waited_for(invoke: Invoke, cluster: UseClient, slept: list[float]) -> None:
    """The controller answers once per tick; some reads find nothing new."""
    client = FakeRolloutClient(rollout())
    cluster(client)

    def nothing(before: Rollout) -> Rollout:
        return before

    client.script = [
        nothing,
        nothing,
        nothing,
        controller_answering("rolling back", phase=Phase.ROLLING_BACK),
    ]
    result = invoke("abort", "mnist")
    assert (result.exit_code, result.stdout) == (0, "models/mnist-00002: rolling back\n")
    assert slept == [0.5, 0.5]


def test_timeout_exits_1_with_a_hint(invoke: Invoke, cluster: UseClient, slept: list[float]) -> None:
    """The request stays; the message says what to check."""
    cluster(FakeRolloutClient(rollout()))
    result = invoke("abort", "mnist", "--timeout", "2s")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "models/mnist-00002: no answer within 2s; is autocanary" in result.stderr
    assert sum(slept) == 2.0


def test_no_wait_returns_after_the_write(invoke: Invoke, cluster: UseClient, slept: list[float]) -> None:
    """For scripts that look later."""
    client = FakeRolloutClient(rollout())
    cluster(client)
    result = invoke("abort", "mnist", "--no-wait")
    assert (result.exit_code, len(client.asked), slept) == (0, 1, [])
    assert "requested; the answer" in result.stdout


def test_repeated_command_writes_one_request(invoke: Invoke, cluster: UseClient) -> None:
    """The second command says so, writes nothing, and waits for the same answer."""
    client = FakeRolloutClient(rollout(request=Request("earlier", "abort", "lee")))
    cluster(client)
    client.script = [lambda same: same, controller_answering("rolling back", phase=Phase.ROLLING_BACK)]
    result = invoke("abort", "mnist")
    assert (result.exit_code, client.asked) == (0, [])
    assert result.stderr == "abort was already requested by lee and is not answered yet\n"


def test_an_answered_request_is_no_pending_one(invoke: Invoke, cluster: UseClient) -> None:
    """Promoting step after step asks each time."""
    first = rollout(
        request=Request("earlier", "promote"), answered_request_id="earlier", request_answer="going to 25 %"
    )
    client = FakeRolloutClient(first, service=controller_answering("going to 50 %", step=2))
    cluster(client)
    result = invoke("promote", "mnist")
    assert (result.exit_code, len(client.asked), result.stderr) == (0, 1, "")


def test_new_request_replaces_a_pending_one(invoke: Invoke, cluster: UseClient) -> None:
    """The last request wins, and a notice names the other one."""
    client = FakeRolloutClient(
        rollout(request=Request("earlier", "promote", "lee")),
        service=controller_answering("rolling back", phase=Phase.ROLLING_BACK),
    )
    cluster(client)
    result = invoke("abort", "mnist")
    assert result.exit_code == 0
    assert result.stderr == "this replaces promote by lee, which was not answered yet\n"


def test_stops_waiting_when_the_request_is_replaced(invoke: Invoke, cluster: UseClient) -> None:
    """It would never be answered."""
    cluster(
        FakeRolloutClient(rollout(), service=lambda before: replace(before, request=Request("later", "abort", "lee")))
    )
    result = invoke("promote", "mnist")
    assert result.exit_code == 1
    assert result.stdout == "models/mnist-00002: promote was replaced by abort by lee before it was answered\n"


def test_stops_waiting_when_the_request_is_removed(invoke: Invoke, cluster: UseClient) -> None:
    """Another client edited the object."""
    cluster(FakeRolloutClient(rollout(), service=lambda before: replace(before, request=None)))
    result = invoke("promote", "mnist")
    assert (result.exit_code, "promote was removed before it was answered" in result.stdout) == (1, True)


def test_deleted_rollout_exits_1(invoke: Invoke, cluster: UseClient) -> None:
    """With its service, for example."""
    cluster(FakeRolloutClient(rollout(), service=lambda before: replace(before, uid="deleted")))
    result = invoke("abort", "mnist")
    assert (result.exit_code, result.stdout) == (1, "models/mnist-00002: the rollout was deleted\n")


def test_a_short_absence_of_the_cluster_is_waited_out(invoke: Invoke, cluster: UseClient) -> None:
    """The request is written already; its answer will come."""
    client = FakeRolloutClient(rollout())
    cluster(client)
    client.script = [
        lambda same: same,
        lambda same: same,
        Unreachable("the API server does not answer"),
        controller_answering("rolling back", phase=Phase.ROLLING_BACK),
    ]
    result = invoke("abort", "mnist")
    assert result.exit_code == 0
    assert "trying again" in result.stderr


def test_abort_of_a_rollback_says_that_it_is_on_its_way(invoke: Invoke, cluster: UseClient) -> None:
    """Harmless, and nothing is written."""
    client = FakeRolloutClient(rollout(Phase.ROLLING_BACK))
    cluster(client)
    result = invoke("abort", "mnist")
    assert (result.exit_code, client.asked) == (0, [])
    assert result.stdout == "models/mnist-00002: is already rolling back; nothing was changed\n"


def test_a_rollback_is_not_paused(invoke: Invoke, cluster: UseClient) -> None:
    """Said at once, and nothing is written; neither is it waited for when it begins meanwhile."""
    under_way = FakeRolloutClient(rollout(Phase.ROLLING_BACK))
    cluster(under_way)
    result = invoke("pause", "mnist")
    assert (result.exit_code, under_way.asked) == (1, [])
    assert "is rolling back, which a pause does not stop; nothing was changed" in result.stdout
    began = replace(rollout(Phase.ROLLING_BACK).progress, message="request-duration is 2 s")
    cluster(FakeRolloutClient(rollout(), service=lambda before: replace(before, progress=began)))
    result = invoke("pause", "mnist")
    assert result.exit_code == 1
    assert result.stdout == "models/mnist-00002: is rolling back: request-duration is 2 s\n"


def test_pause_sets_the_field_and_waits_for_the_phase(invoke: Invoke, cluster: UseClient) -> None:
    """The field is what GitOps could set too; the request names the user, and why."""

    def service(before: Rollout) -> Rollout:
        return replace(before, progress=replace(before.progress, phase=Phase.PAUSED, message="paused at 25 %"))

    client = FakeRolloutClient(rollout(), service=service)
    cluster(client)
    result = invoke("pause", "mnist", "--reason", "waiting for the labels")
    ((name, paused, request),) = client.asked
    assert (result.exit_code, name, paused) == (0, "mnist-00002", True)
    assert request is not None
    assert (request.verb, request.by, request.reason) == ("pause", "kim", "waiting for the labels")
    assert result.stdout == "models/mnist-00002: is paused: paused at 25 %\n"


def test_pausing_twice_says_so(invoke: Invoke, cluster: UseClient) -> None:
    """And a pause that is asked for but not yet in force is waited for without asking again."""
    client = FakeRolloutClient(rollout(Phase.PAUSED, paused=True))
    cluster(client)
    result = invoke("pause", "mnist")
    assert (result.exit_code, client.asked) == (0, [])
    assert "is already paused" in result.stdout
    client = FakeRolloutClient(rollout(paused=True))
    client.script = [
        lambda same: same,
        lambda before: replace(before, progress=replace(before.progress, phase=Phase.PAUSED)),
    ]
    cluster(client)
    assert (invoke("pause", "mnist").exit_code, client.asked) == (0, [])


def test_a_rollout_that_ends_before_its_pause_is_a_no(invoke: Invoke, cluster: UseClient) -> None:
    """The pause came too late."""
    ended = rollout(Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION).progress
    cluster(FakeRolloutClient(rollout(), service=lambda before: replace(before, progress=ended)))
    result = invoke("pause", "mnist")
    assert result.exit_code == 1
    assert result.stdout == (
        "models/mnist-00002: this rollout has ended at 2026-01-01T00:12:00Z: RolledBack (MetricViolation); promote, "
        "pause, resume and abort work only while it runs. `autocanary retry mnist -n models` tries it again\n"
    )


@pytest.mark.parametrize(("paused", "written"), [(True, False), (False, None)])
def test_resume_lifts_every_kind_of_pause(
    invoke: Invoke, cluster: UseClient, paused: bool, written: bool | None
) -> None:
    """The field, if it is set, and a request for pauses that no user made."""
    client = FakeRolloutClient(
        rollout(Phase.PAUSED, paused=paused), service=controller_answering("resumed", phase=Phase.PROGRESSING)
    )
    cluster(client)
    result = invoke("resume", "mnist")
    assert (result.exit_code, result.stdout) == (0, "models/mnist-00002: resumed\n")
    ((_, field, request),) = client.asked
    assert field is written
    assert request is not None
    assert request.verb == "resume"


def test_resume_of_a_running_rollout_changes_nothing(invoke: Invoke, cluster: UseClient) -> None:
    """Nothing is written."""
    client = FakeRolloutClient(rollout())
    cluster(client)
    result = invoke("resume", "mnist")
    assert (result.exit_code, client.asked) == (0, [])
    assert "is not paused" in result.stdout


def test_a_resume_that_does_not_resume_is_a_no(invoke: Invoke, cluster: UseClient) -> None:
    """For example because the pause was set again."""
    cluster(FakeRolloutClient(rollout(Phase.PAUSED), service=controller_answering("spec.paused is still true")))
    assert invoke("resume", "mnist").exit_code == 1


def test_a_field_set_after_an_unanswered_resume_is_lifted(invoke: Invoke, cluster: UseClient) -> None:
    """The pending request alone would not lift it."""
    client = FakeRolloutClient(
        rollout(Phase.PAUSED, paused=True, request=Request("earlier", "resume")),
        service=controller_answering("resumed", phase=Phase.PROGRESSING),
    )
    cluster(client)
    assert invoke("resume", "mnist").exit_code == 0
    assert client.asked[0][1] is False


def test_retry_asks_the_newest_rollout_even_if_it_has_ended(invoke: Invoke, cluster: UseClient) -> None:
    """That is the one that was rolled back."""
    old = rollout(Phase.PROMOTED, number=2)
    bad = rollout(Phase.ROLLED_BACK, number=3, started_at=old.created_at + 60)
    client = FakeRolloutClient(old, bad)
    cluster(client)
    client.script = [
        lambda same: same,
        lambda each: controller_answering("started mnist-00003-r2")(each) if each.request else each,
    ]
    result = invoke("retry", "mnist")
    assert (result.exit_code, result.stdout) == (0, "models/mnist-00003: started mnist-00003-r2\n")


def test_a_retry_that_starts_nothing_is_a_no(invoke: Invoke, cluster: UseClient) -> None:
    """The service says why."""
    text = "only a rolled-back rollout can be tried again; this one is Promoted"
    cluster(FakeRolloutClient(rollout(Phase.PROMOTED), service=controller_answering(text)))
    result = invoke("retry", "mnist")
    assert (result.exit_code, result.stdout) == (1, f"models/mnist-00002: {text}\n")


@pytest.mark.parametrize("command", ["promote", "pause", "resume", "abort", "retry"])
def test_an_unknown_name_is_a_no_with_a_hint(invoke: Invoke, cluster: UseClient, command: str) -> None:
    """The namespace that was searched is named."""
    cluster(FakeRolloutClient(rollout()))
    result = invoke(command, "mnits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("there is no rollout of mnits in namespace models; `autocanary status -A`")


@pytest.mark.parametrize("command", ["promote", "pause", "resume", "abort"])
def test_a_finished_rollout_accepts_no_request(invoke: Invoke, cluster: UseClient, command: str) -> None:
    """The command prints its end instead."""
    client = FakeRolloutClient(rollout(Phase.PROMOTED, reason=Reason.PROMOTED))
    cluster(client)
    result = invoke(command, "mnist")
    assert (result.exit_code, client.asked) == (1, [])
    assert "was promoted at 2026-01-01T00:12:00Z; promote, pause, resume and abort work only while it runs" in (
        result.stderr
    )


def test_the_namespace_is_the_flag_s_else_the_context_s(invoke: Invoke, cluster: UseClient) -> None:
    """As in kubectl."""
    elsewhere = rollout(Phase.ROLLING_BACK, namespace="team-a")
    cluster(FakeRolloutClient(elsewhere))
    assert invoke("abort", "mnist").exit_code == 1
    assert invoke("abort", "mnist", "-n", "team-a").exit_code == 0


def test_the_cluster_s_flags_reach_the_seam(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """--context and --kubeconfig are kubectl's."""
    given: list[tuple[str | None, str | None]] = []

    def open_client(kubeconfig: str | None, context: str | None) -> FakeRolloutClient:
        given.append((kubeconfig, context))
        return FakeRolloutClient(rollout(Phase.ROLLING_BACK))

    monkeypatch.setattr(backend, "open_client", open_client)
    for command in ("promote", "pause", "resume", "abort", "retry"):
        invoke(command, "mnist", "--kubeconfig", "/kube", "--context", "prod", "--no-wait")
    assert given == [("/kube", "prod")] * 5


def test_a_user_without_a_name_can_ask(invoke: Invoke, cluster: UseClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container with a numeric user there is no user name."""

    def unknown_user() -> str:
        raise KeyError("uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", unknown_user)
    client = FakeRolloutClient(rollout(), service=controller_answering("rolling back", phase=Phase.ROLLING_BACK))
    cluster(client)
    assert invoke("abort", "mnist").exit_code == 0
    assert client.asked[0][2] is not None
    assert client.asked[0][2].by == ""


@pytest.mark.parametrize("text", ["5 s", "soon", "-1s"])
def test_a_wrong_timeout_is_wrong_usage(invoke: Invoke, text: str) -> None:
    """Nothing is asked of the cluster."""
    result = invoke("abort", "mnist", f"--timeout={text}")
    assert result.exit_code == 2
    assert "autocanary abort: Invalid value for '--timeout': " in result.stderr


def test_ambiguous_component_exits_1(invoke: Invoke, cluster: UseClient) -> None:
    """A request for the predictor does not abort the transformer; the rollout's own name says which."""
    other = replace(
        rollout(started_at=START + 5),
        name="mnist-transformer-00002",
        component=Component.TRANSFORMER,
        candidate="mnist-transformer-00002",
    )
    client = FakeRolloutClient(rollout(), other)
    cluster(client)
    result = invoke("abort", "mnist")
    assert (result.exit_code, client.asked) == (1, [])
    assert "mnist-00002 (predictor), mnist-transformer-00002 (transformer)" in " ".join(result.stderr.split())
    assert invoke("abort", "mnist-transformer-00002", "--no-wait").exit_code == 0
    assert [name for name, _, _ in client.asked] == ["mnist-transformer-00002"]
