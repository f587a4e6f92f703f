"""What a person asks: written once, waited for, answered in the service's words."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import pytest

from autocanary.cli import backend
from autocanary.errors import Unreachable
from autocanary.model.policy import Component
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from tests.cli.conftest import Invoke
from tests.cli.fakes import START, FakeLedger, Service, rollout

Cluster = Callable[[FakeLedger], None]


@pytest.fixture(autouse=True)
def _person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "kim")


def answering(answer: str, **progress: object) -> Service:
    """A service that answers the request of the rollout it sees."""

    def service(before: Rollout) -> Rollout:
        assert before.request is not None
        return before.but(progress=before.progress.but(answered=before.request.id, answer=answer, **progress))

    return service


def test_promote_asks_and_says_the_answer(invoke: Invoke, cluster: Cluster) -> None:
    """The wish carries an id, the verb and who asked."""
    ledger = FakeLedger(rollout(), service=answering("going to 50 %", step=2))
    cluster(ledger)
    result = invoke("promote", "mnist")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "models/mnist-00002: going to 50 %\n", "")
    ((name, paused, request),) = ledger.asked
    assert (name, paused) == ("mnist-00002", None)
    assert request is not None
    assert (request.verb, request.by, len(request.id)) == ("promote", "kim", 32)
    assert ledger.closed


def test_promote_full_is_a_wish_of_its_own(invoke: Invoke, cluster: Cluster) -> None:
    """A candidate that is not ready will go to 100 % later; that is a yes."""
    ledger = FakeLedger(rollout(step=-1), service=answering("will go to 100 %", promote_all=True))
    cluster(ledger)
    result = invoke("promote", "mnist", "--full")
    assert result.exit_code == 0
    assert ledger.asked[0][2] is not None
    assert ledger.asked[0][2].verb == "promote-full"


def test_an_answer_that_changed_nothing_is_a_no(invoke: Invoke, cluster: Cluster) -> None:
    """A script must not go on as if it had been promoted."""
    cluster(FakeLedger(rollout(step=-1), service=answering("it is not ready yet")))
    result = invoke("promote", "mnist")
    assert (result.exit_code, result.stdout) == (
        1,
        "models/mnist-00002: it is not ready yet\n",
    )


def test_the_end_of_the_bake_is_a_yes(invoke: Invoke, cluster: Cluster) -> None:
    """There is no further step, but the rollout is promoted."""
    cluster(FakeLedger(rollout(Phase.BAKING, step=3), service=answering("promoted", phase=Phase.PROMOTED)))
    assert invoke("promote", "mnist").exit_code == 0


def test_the_answer_is_waited_for(invoke: Invoke, cluster: Cluster, slept: list[float]) -> None:
    """The service looks once a tick; some reads find nothing new."""
    ledger = FakeLedger(rollout())
    cluster(ledger)

    def nothing(before: Rollout) -> Rollout:
        return before

    ledger.script = [nothing, nothing, nothing, answering("rolling back", phase=Phase.ROLLING_BACK)]
    result = invoke("abort", "mnist")
    assert (result.exit_code, result.stdout) == (0, "models/mnist-00002: rolling back\n")
    assert slept == [0.5, 0.5]


def test_no_answer_in_time_is_a_no_that_says_why(
    invoke: Invoke, cluster: Cluster, slept: list[float]
) -> None:
    """The wish stays; the person learns where to look."""
    cluster(FakeLedger(rollout()))
    result = invoke("abort", "mnist", "--timeout", "2s")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "models/mnist-00002: the service has not answered within 2s; is autocanary" in result.stderr
    assert sum(slept) == 2.0


def test_no_wait_only_asks(invoke: Invoke, cluster: Cluster, slept: list[float]) -> None:
    """For scripts that look later."""
    ledger = FakeLedger(rollout())
    cluster(ledger)
    result = invoke("abort", "mnist", "--no-wait")
    assert (result.exit_code, len(ledger.asked), slept) == (0, 1, [])
    assert "has been asked" in result.stdout


def test_asking_twice_is_one_wish(invoke: Invoke, cluster: Cluster) -> None:
    """The second command says so, writes nothing, and waits for the same answer."""
    ledger = FakeLedger(rollout(request=Request("earlier", "abort", "lee")))
    cluster(ledger)
    ledger.script = [lambda same: same, answering("rolling back", phase=Phase.ROLLING_BACK)]
    result = invoke("abort", "mnist")
    assert (result.exit_code, ledger.asked) == (0, [])
    assert result.stderr == "abort has been asked for already by lee and is not answered yet\n"


def test_an_answered_request_is_no_pending_one(invoke: Invoke, cluster: Cluster) -> None:
    """Promoting step after step asks each time."""
    first = rollout(request=Request("earlier", "promote"), answered="earlier", answer="going to 25 %")
    ledger = FakeLedger(first, service=answering("going to 50 %", step=2))
    cluster(ledger)
    result = invoke("promote", "mnist")
    assert (result.exit_code, len(ledger.asked), result.stderr) == (0, 1, "")


def test_another_wish_replaces_one_that_is_not_answered(invoke: Invoke, cluster: Cluster) -> None:
    """The last wish wins, and the person is told of the other one."""
    ledger = FakeLedger(
        rollout(request=Request("earlier", "promote", "lee")),
        service=answering("rolling back", phase=Phase.ROLLING_BACK),
    )
    cluster(ledger)
    result = invoke("abort", "mnist")
    assert result.exit_code == 0
    assert result.stderr == "this replaces promote by lee, which was not answered yet\n"


def test_a_wish_that_is_replaced_meanwhile_is_not_waited_for(invoke: Invoke, cluster: Cluster) -> None:
    """It would never be answered."""
    cluster(
        FakeLedger(rollout(), service=lambda before: before.but(request=Request("later", "abort", "lee")))
    )
    result = invoke("promote", "mnist")
    assert result.exit_code == 1
    assert (
        result.stdout == "models/mnist-00002: promote was replaced by abort by lee before it was answered\n"
    )


def test_a_wish_that_is_taken_away_meanwhile_is_not_waited_for(invoke: Invoke, cluster: Cluster) -> None:
    """Somebody edited the object."""
    cluster(FakeLedger(rollout(), service=lambda before: before.but(request=None)))
    result = invoke("promote", "mnist")
    assert (result.exit_code, "nobody's wish" in result.stdout) == (1, True)


def test_a_rollout_that_is_deleted_meanwhile_is_a_no(invoke: Invoke, cluster: Cluster) -> None:
    """With its service, for example."""
    cluster(FakeLedger(rollout(), service=lambda before: before.but(uid="deleted")))
    result = invoke("abort", "mnist")
    assert (result.exit_code, result.stdout) == (1, "models/mnist-00002: the rollout was deleted meanwhile\n")


def test_a_short_absence_of_the_cluster_is_waited_out(invoke: Invoke, cluster: Cluster) -> None:
    """The wish is written already; its answer will come."""
    ledger = FakeLedger(rollout())
    cluster(ledger)
    ledger.script = [
        lambda same: same,
        lambda same: same,
        Unreachable("the API server does not answer"),
        answering("rolling back", phase=Phase.ROLLING_BACK),
    ]
    result = invoke("abort", "mnist")
    assert result.exit_code == 0
    assert "trying again" in result.stderr


def test_abort_of_a_rollback_says_that_it_is_on_its_way(invoke: Invoke, cluster: Cluster) -> None:
    """Harmless, and nothing is written."""
    ledger = FakeLedger(rollout(Phase.ROLLING_BACK))
    cluster(ledger)
    result = invoke("abort", "mnist")
    assert (result.exit_code, ledger.asked) == (0, [])
    assert result.stdout == "models/mnist-00002: is rolling back already; nothing was changed\n"


def test_a_rollback_is_not_paused(invoke: Invoke, cluster: Cluster) -> None:
    """Said at once, and nothing is written; neither is it waited for when it begins meanwhile."""
    under_way = FakeLedger(rollout(Phase.ROLLING_BACK))
    cluster(under_way)
    result = invoke("pause", "mnist")
    assert (result.exit_code, under_way.asked) == (1, [])
    assert "is rolling back, which a pause does not stop; nothing was changed" in result.stdout
    began = rollout(Phase.ROLLING_BACK).progress.but(message="request-duration is 2 s")
    cluster(FakeLedger(rollout(), service=lambda before: before.but(progress=began)))
    result = invoke("pause", "mnist")
    assert result.exit_code == 1
    assert result.stdout == "models/mnist-00002: is rolling back: request-duration is 2 s\n"


def test_pause_sets_the_field_and_waits_for_the_phase(invoke: Invoke, cluster: Cluster) -> None:
    """No request: the field is what GitOps could set too."""

    def service(before: Rollout) -> Rollout:
        return before.but(progress=before.progress.but(phase=Phase.PAUSED, message="paused at 25 %"))

    ledger = FakeLedger(rollout(), service=service)
    cluster(ledger)
    result = invoke("pause", "mnist")
    assert (result.exit_code, ledger.asked) == (0, [("mnist-00002", True, None)])
    assert result.stdout == "models/mnist-00002: is paused: paused at 25 %\n"


def test_pausing_twice_says_so(invoke: Invoke, cluster: Cluster) -> None:
    """And a pause that is asked for but not yet in force is waited for without asking again."""
    ledger = FakeLedger(rollout(Phase.PAUSED, paused=True))
    cluster(ledger)
    result = invoke("pause", "mnist")
    assert (result.exit_code, ledger.asked) == (0, [])
    assert "is paused already" in result.stdout
    ledger = FakeLedger(rollout(paused=True))
    ledger.script = [
        lambda same: same,
        lambda before: before.but(progress=before.progress.but(phase=Phase.PAUSED)),
    ]
    cluster(ledger)
    assert (invoke("pause", "mnist").exit_code, ledger.asked) == (0, [])


def test_a_rollout_that_ends_while_it_is_to_be_paused_is_a_no(invoke: Invoke, cluster: Cluster) -> None:
    """The pause came too late."""
    ended = rollout(Phase.ROLLED_BACK, reason=Reason.METRIC_BREACH).progress
    cluster(FakeLedger(rollout(), service=lambda before: before.but(progress=ended)))
    result = invoke("pause", "mnist")
    assert result.exit_code == 1
    assert result.stdout == "models/mnist-00002: this rollout has ended: RolledBack (MetricBreach)\n"


@pytest.mark.parametrize(("paused", "written"), [(True, False), (False, None)])
def test_resume_lifts_every_kind_of_pause(
    invoke: Invoke, cluster: Cluster, paused: bool, written: bool | None
) -> None:
    """The field, if it is set, and a request for pauses that nobody asked for."""
    ledger = FakeLedger(
        rollout(Phase.PAUSED, paused=paused), service=answering("resumed", phase=Phase.PROGRESSING)
    )
    cluster(ledger)
    result = invoke("resume", "mnist")
    assert (result.exit_code, result.stdout) == (0, "models/mnist-00002: resumed\n")
    ((_, field, request),) = ledger.asked
    assert field is written
    assert request is not None
    assert request.verb == "resume"


def test_resume_of_what_runs_says_so(invoke: Invoke, cluster: Cluster) -> None:
    """Nothing is written."""
    ledger = FakeLedger(rollout())
    cluster(ledger)
    result = invoke("resume", "mnist")
    assert (result.exit_code, ledger.asked) == (0, [])
    assert "is not paused" in result.stdout


def test_a_resume_that_does_not_resume_is_a_no(invoke: Invoke, cluster: Cluster) -> None:
    """For example because the pause was set again."""
    cluster(FakeLedger(rollout(Phase.PAUSED), service=answering("spec.paused is still true")))
    assert invoke("resume", "mnist").exit_code == 1


def test_a_field_set_after_an_unanswered_resume_is_lifted(invoke: Invoke, cluster: Cluster) -> None:
    """The pending wish alone would not lift it."""
    ledger = FakeLedger(
        rollout(Phase.PAUSED, paused=True, request=Request("earlier", "resume")),
        service=answering("resumed", phase=Phase.PROGRESSING),
    )
    cluster(ledger)
    assert invoke("resume", "mnist").exit_code == 0
    assert ledger.asked[0][1] is False


def test_retry_asks_the_newest_rollout_even_if_it_has_ended(invoke: Invoke, cluster: Cluster) -> None:
    """That is the one that was rolled back."""
    old = rollout(Phase.PROMOTED, number=2)
    bad = rollout(Phase.ROLLED_BACK, number=3, started_at=old.created_at + 60)
    ledger = FakeLedger(old, bad)
    cluster(ledger)
    ledger.script = [
        lambda same: same,
        lambda each: answering("started mnist-00003-r2")(each) if each.request else each,
    ]
    result = invoke("retry", "mnist")
    assert (result.exit_code, result.stdout) == (0, "models/mnist-00003: started mnist-00003-r2\n")


def test_a_retry_that_starts_nothing_is_a_no(invoke: Invoke, cluster: Cluster) -> None:
    """The service says why."""
    text = "only a rolled-back rollout can be tried again; this one is Promoted"
    cluster(FakeLedger(rollout(Phase.PROMOTED), service=answering(text)))
    result = invoke("retry", "mnist")
    assert (result.exit_code, result.stdout) == (1, f"models/mnist-00002: {text}\n")


@pytest.mark.parametrize("command", ["promote", "pause", "resume", "abort", "retry"])
def test_an_unknown_name_is_a_no_with_a_hint(invoke: Invoke, cluster: Cluster, command: str) -> None:
    """The namespace that was searched is named."""
    cluster(FakeLedger(rollout()))
    result = invoke(command, "mnits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "there is no rollout of mnits in namespace models; `autocanary status -A`"
    )


@pytest.mark.parametrize("command", ["promote", "pause", "resume", "abort"])
def test_nothing_is_asked_of_a_finished_rollout(invoke: Invoke, cluster: Cluster, command: str) -> None:
    """Its end is told instead."""
    ledger = FakeLedger(rollout(Phase.PROMOTED, reason=Reason.PROMOTED))
    cluster(ledger)
    result = invoke(command, "mnist")
    assert (result.exit_code, ledger.asked) == (1, [])
    assert "this rollout has ended: Promoted (Promoted); there is nothing to ask of it" in result.stderr


def test_the_namespace_is_the_flag_s_else_the_context_s(invoke: Invoke, cluster: Cluster) -> None:
    """As in kubectl."""
    elsewhere = rollout(Phase.ROLLING_BACK, namespace="team-a")
    cluster(FakeLedger(elsewhere))
    assert invoke("abort", "mnist").exit_code == 1
    assert invoke("abort", "mnist", "-n", "team-a").exit_code == 0


def test_the_cluster_s_flags_reach_the_seam(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """--context and --kubeconfig are kubectl's."""
    given: list[tuple[str | None, str | None]] = []

    def open_ledger(kubeconfig: str | None, context: str | None) -> FakeLedger:
        given.append((kubeconfig, context))
        return FakeLedger(rollout(Phase.ROLLING_BACK))

    monkeypatch.setattr(backend, "open_ledger", open_ledger)
    for command in ("promote", "pause", "resume", "abort", "retry"):
        invoke(command, "mnist", "--kubeconfig", "/kube", "--context", "prod", "--no-wait")
    assert given == [("/kube", "prod")] * 5


def test_a_user_without_a_name_can_ask(
    invoke: Invoke, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container with a numeric user there is nobody to name."""

    def nobody() -> str:
        raise KeyError("uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nobody)
    ledger = FakeLedger(rollout(), service=answering("rolling back", phase=Phase.ROLLING_BACK))
    cluster(ledger)
    assert invoke("abort", "mnist").exit_code == 0
    assert ledger.asked[0][2] is not None
    assert ledger.asked[0][2].by == ""


@pytest.mark.parametrize("text", ["5 s", "soon", "-1s"])
def test_a_wrong_timeout_is_wrong_usage(invoke: Invoke, text: str) -> None:
    """Nothing is asked of the cluster."""
    result = invoke("abort", "mnist", f"--timeout={text}")
    assert result.exit_code == 2
    assert "autocanary abort: Invalid value for '--timeout': " in result.stderr


def test_a_name_that_means_two_components_is_asked_back(invoke: Invoke, cluster: Cluster) -> None:
    """Nobody aborts a transformer that meant the predictor; the rollout's own name says which."""
    other = rollout(started_at=START + 5).but(
        name="mnist-transformer-00002", component=Component.TRANSFORMER, candidate="mnist-transformer-00002"
    )
    ledger = FakeLedger(rollout(), other)
    cluster(ledger)
    result = invoke("abort", "mnist")
    assert (result.exit_code, ledger.asked) == (1, [])
    assert "mnist-00002 (predictor), mnist-transformer-00002 (transformer)" in " ".join(result.stderr.split())
    assert invoke("abort", "mnist-transformer-00002", "--no-wait").exit_code == 0
    assert [name for name, _, _ in ledger.asked] == ["mnist-transformer-00002"]
