"""``undo``: a former model as a new release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import Conflict
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from tests.cli.conftest import Invoke
from tests.cli.fake_client import START, FakeRolloutClient, observation, rollout

UseClient = Callable[[FakeRolloutClient], None]
V1, V2, V3 = ({"model": {"storageUri": f"gs://b/v{number}"}} for number in (1, 2, 3))


def past(number: int, phase: Phase = Phase.PROMOTED, **changes: Any) -> Rollout:
    made = rollout(phase, number=number, reason=Reason.PROMOTED, started_at=START + 1000 * number)
    specs = {"stable_spec": (V1, V2, V3)[number - 2], "candidate_spec": (V1, V2, V3)[number - 1]}
    digests = {"stable_digest": f"v{number - 1}", "candidate_digest": f"v{number}"}
    return replace(made, **{**specs, **digests, **changes})


def started(of: Rollout) -> Rollout:
    return rollout(Phase.STAGING, number=9, started_at=START + 99_000, namespace=of.namespace)


def client_with(*rollouts: Rollout) -> FakeRolloutClient:
    client = FakeRolloutClient(*rollouts)
    client.user = "ada"
    client.on_release = started
    return client


def test_undo_releases_the_model_before_the_last_promotion(invoke: Invoke, cluster: UseClient) -> None:
    """Staged like any other release, by the user's name, with the reason."""
    client = client_with(past(2), past(3))
    cluster(client)
    result = invoke("undo", "isvc/mnist", "--reason", "wrong labels")
    assert result.exit_code == 0, result.stderr
    assert client.released == [("mnist", V2, "ada", "wrong labels")]
    assert result.stdout.splitlines() == [
        "models/mnist: gs://b/v2 is released again at 0 %. Your manifest still has gs://b/v3: change it.",
        "models/mnist: models/mnist: mnist-predictor-00009 instead of mnist-predictor-00008 started (mnist-00009)",
    ]
    assert client.asked == []


def test_undo_to_a_number_takes_the_model_of_that_rollout(invoke: Invoke, cluster: UseClient) -> None:
    """The numbers of ``history``."""
    client = client_with(past(2), past(3))
    cluster(client)
    assert invoke("undo", "mnist", "--to", "1").exit_code == 0
    assert client.released[0][1] == V2


def test_undo_now_passes_all_steps(invoke: Invoke, cluster: UseClient) -> None:
    """One more request, to the new rollout."""
    client = client_with(past(2))
    cluster(client)
    invoke("undo", "mnist", "--now", "--no-wait")
    ((name, _, request),) = client.asked
    assert name == "mnist-00009"
    assert request is not None
    assert (request.verb, request.by) == ("promote-full", "ada")


@pytest.mark.parametrize(
    ("rollouts", "arguments", "said"),
    [
        ([past(2), past(3, Phase.PROGRESSING)], [], "`autocanary abort mnist -n models` rolls it back"),
        (
            [past(2), past(3, Phase.ROLLED_BACK)],
            [],
            "was not promoted (RolledBack): mnist-predictor-00002 (gs://b/v2) serves",
        ),
        ([past(2), past(3, Phase.ROLLED_BACK)], ["--to", "2"], "so its spec gets no traffic"),
        ([past(2)], ["--to", "7"], "numbers them from 1 to 1"),
        ([past(2, stable_spec=None)], [], "the spec of mnist-predictor-00001 is not recorded"),
        ([], [], "there is no rollout of mnist in namespace models"),
    ],
)
def test_undo_says_why_there_is_nothing_to_undo(
    invoke: Invoke, cluster: UseClient, rollouts: list[Rollout], arguments: list[str], said: str
) -> None:
    """Nothing is written, and the exit code is 1."""
    client = client_with(*rollouts)
    cluster(client)
    result = invoke("undo", "mnist", *arguments)
    assert (result.exit_code, client.released) == (1, [])
    assert said in result.stderr


def test_undo_of_what_is_applied_already_writes_nothing(invoke: Invoke, cluster: UseClient) -> None:
    """The user reverted the manifest before."""
    client = client_with(past(2))
    client.observations["mnist"] = replace(observation(past(2), 100), spec_digest="v1")
    cluster(client)
    result = invoke("undo", "mnist")
    assert (result.exit_code, client.released) == (1, [])
    assert "the applied spec is that of mnist-predictor-00001 (gs://b/v1) already" in result.stderr


def test_undo_without_a_running_service_says_so(invoke: Invoke, cluster: UseClient) -> None:
    """The spec is applied; no rollout starts."""
    client = client_with(past(2))
    client.on_release = None
    cluster(client)
    result = invoke("undo", "mnist", "--timeout", "2s")
    assert result.exit_code == 1
    assert "no rollout of it started within 2s" in result.stderr


def test_a_change_at_the_same_time_is_a_no(invoke: Invoke, cluster: UseClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and no traceback."""
    client = client_with(past(2))

    def refuse(*_: Any, **__: Any) -> None:
        raise Conflict("the spec of models/mnist was changed at the same time; nothing was applied")

    monkeypatch.setattr(client, "release", refuse)
    cluster(client)
    result = invoke("undo", "mnist")
    assert result.exit_code == 1
    assert "changed at the same time" in result.stderr


def test_abort_of_a_promoted_rollout_offers_undo(invoke: Invoke, cluster: UseClient) -> None:
    """It names the command and when it was promoted."""
    cluster(FakeRolloutClient(past(2)))
    result = invoke("abort", "mnist")
    assert result.exit_code == 1
    assert "mnist-predictor-00002 was promoted at 2026-01-01T00:45:20Z" in result.stderr
    assert "To go back: `autocanary undo mnist -n models`" in result.stderr
