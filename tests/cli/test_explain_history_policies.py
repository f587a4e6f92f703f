"""``explain``, ``history`` and ``policies``: the views in a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from autocanary.cli import backend, follow
from autocanary.model.rollout import Rollout
from tests.cli.conftest import Invoke
from tests.cli.fake_client import START, FakeRolloutClient, observation, rollout
from tests.controller.driver import V1, V2, healthy_start
from tests.controller.driver import policy as driver_policy

UseClient = Callable[[FakeRolloutClient], None]
PLAN = driver_policy()


@cache
def at_25_percent() -> tuple[Rollout, float]:
    driver = healthy_start(PLAN)
    driver.until_weight(25)
    driver.run(40)
    return driver.rollout(), driver.world.clock.now()


@pytest.fixture
def running(cluster: UseClient, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    found, now = at_25_percent()
    monkeypatch.setattr(backend, "policy_of", lambda _: PLAN)
    monkeypatch.setattr(follow, "now", lambda: now)
    cluster(FakeRolloutClient(found))
    return found


@pytest.mark.usefixtures("running")
def test_explain_says_why_not_now_and_what_comes_next(invoke: Invoke) -> None:
    """The model, the sentence, the rule, the evidence, the next step and the policy."""
    result = invoke("explain", "isvc/mnist")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for part in (
        "models/mnist: mnist-predictor-00002 instead of mnist-predictor-00001",
        "Progressing at 25 % · step 2 of 4",
        f"Model {V1} → {V2}",
        "Why not now the step at 25 % lasts 1m:",
        "Rule StepPassed: The step passed: raise the weight",
        "rules before it did not apply",
        "success rate 100 % needs 99 % 0 of 2",
        "50 % of the traffic to mnist-predictor-00002, if the analysis passes",
        "Policy prod steps 10 % 1m → 25 % 1m",
    ):
        assert part in text, text
    assert max(map(len, result.stdout.splitlines())) <= 110


@pytest.mark.usefixtures("running")
def test_explain_wide_shows_the_policy_and_every_rule(invoke: Invoke) -> None:
    """As declared and as in force."""
    text = " ".join(invoke("explain", "mnist", "-o", "wide").stdout.split())
    assert "onNoData rollback after 10m" in text
    assert "As declared name: prod" in text
    assert "no AnalysisFailed The analysis fails the candidate" in text
    assert "applied StepPassed" in text


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("number", ["-1", "2"])
def test_a_decision_is_made_again(invoke: Invoke, number: str) -> None:
    """The same inputs, the same answer: exit code 0."""
    result = invoke("explain", "mnist", "--decision", number)
    assert result.exit_code == 0, result.stdout
    assert "Made again the same: the same inputs give the same decision" in " ".join(result.stdout.split())
    assert "Input traffic" in result.stdout


def test_a_decision_that_this_version_makes_otherwise_exits_1(
    invoke: Invoke, cluster: UseClient, running: Rollout
) -> None:
    """For example because a client changed the record."""
    *earlier, newest = running.progress.decisions
    altered = replace(running.progress, decisions=(*earlier, {**newest, "weight": 7}))
    cluster(FakeRolloutClient(replace(running, progress=altered)))
    result = invoke("explain", "mnist", "--decision", "-1")
    assert result.exit_code == 1
    assert "DIFFERENT: this version decides otherwise: weight" in result.stdout


@pytest.mark.usefixtures("running")
def test_a_decision_that_is_not_there_says_which_are(invoke: Invoke) -> None:
    """Exit code 1."""
    result = invoke("explain", "mnist", "--decision", "99")
    assert result.exit_code == 1
    assert "has no decision 99; decisions 1 to " in result.stderr


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "arguments", [["explain", "mnist"], ["explain", "mnist", "--decision", "-1"], ["history", "mnist"]]
)
def test_json_holds_the_whole_view(invoke: Invoke, arguments: list[str]) -> None:
    """Parsable, with the fields of the views."""
    found: dict[str, Any] = json.loads(invoke(*arguments, "-o", "json").stdout)
    assert found.get("wait", {}).get("missing") == "time" or found.get("is_same") or found["items"][0]["number"] == 1


def test_explain_of_an_unknown_name_exits_1(invoke: Invoke, cluster: UseClient) -> None:
    """And names the command that says why."""
    cluster(FakeRolloutClient())
    result = invoke("explain", "mnist")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "`autocanary policies` shows whether a policy selects it" in result.stderr


@pytest.mark.usefixtures("running")
def test_history_shows_outcome_duration_and_models(invoke: Invoke) -> None:
    """One entry per rollout, the newest first."""
    result = invoke("history", "mnist")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "models/mnist"
    assert lines[1].split() == ["#", "STARTED", "(UTC)", "OUTCOME", "TOOK", "MODEL"]
    assert lines[2].startswith("1  2026-01-01 00:")
    assert f"{V1} → {V2}" in lines[2]


def test_several_names_are_shown_and_a_missing_one_fails(invoke: Invoke, cluster: UseClient) -> None:
    """The others are shown all the same."""
    cluster(FakeRolloutClient(rollout(), rollout(service="iris")))
    result = invoke("history", "mnist", "iris", "fraud")
    assert result.exit_code == 1
    assert "models/mnist" in result.stdout
    assert "models/iris" in result.stdout
    assert "there is no rollout of fraud" in result.stderr


def policy_object(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": name, "namespace": "models"},
        "spec": {"selector": {"names": ["mnist"]}, "stepWeights": [10, 100], "stepDuration": "5m", **spec},
    }


def test_policies_shows_who_governs_what(invoke: Invoke, cluster: UseClient, tmp_path: Any) -> None:
    """A custom resource, a file, an invalid one, and a service that none selects."""
    client = FakeRolloutClient(replace(rollout(service="iris"), policy_name="file-policy"))
    analysis = {"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}
    client.policy_objects = [
        policy_object("prod", analysis=analysis),
        policy_object("broken", stepWeights=[0]),
    ]
    for name in ("mnist", "iris", "fraud"):
        client.observations[name] = observation(rollout(service=name), 10)
    cluster(client)
    without = invoke("policies")
    assert without.exit_code == 0
    assert "began with policies that are not here: file-policy" in without.stderr
    file = tmp_path / "policy.yaml"
    document = policy_object("file-policy", analysis=analysis)
    document["metadata"].pop("namespace")
    document["spec"]["selector"] = {"names": ["iris"]}
    file.write_text(json.dumps(document), "utf-8")
    result = invoke("policies", "--policies", str(file))
    assert result.stderr == ""
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert ["models/prod", "yes", "1", "–", "10", "→", "100"] in rows
    assert ["file-policy", "yes", "1", "–", "10", "→", "100"] in rows
    assert any(row[:2] == ["models/broken", "no"] for row in rows)
    assert ["mnist", "prod"] in rows
    assert ["iris", "file-policy"] in rows
    assert any(row[:2] == ["fraud", "none"] for row in rows)
    found = json.loads(invoke("policies", "--policies", str(file), "-o", "json").stdout)
    assert {row["service"]: row["policy"] for row in found["services"]} == {
        "mnist": "prod",
        "iris": "file-policy",
        "fraud": "",
    }


def test_several_names_of_status_have_a_line_each(invoke: Invoke, cluster: UseClient) -> None:
    """In the given order; one that is missing fails."""
    cluster(FakeRolloutClient(rollout(), rollout(service="iris"), rollout(service="fraud")))
    result = invoke("status", "isvc/iris", "mnist")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["SERVICE", "iris", "mnist"]
    assert invoke("status", "iris", "nothing").exit_code == 1
    assert invoke("status", "iris", "mnist", "--timeout", "5s").exit_code == 2


def test_the_api_server_names_the_user(invoke: Invoke, cluster: UseClient) -> None:
    """Not the login name of the machine."""
    client = FakeRolloutClient(rollout(started_at=START))
    client.user = "ada@example.com"
    cluster(client)
    invoke("abort", "mnist", "--no-wait", "--reason", "wrong model")
    ((_, _, request),) = client.asked
    assert request is not None
    assert (request.by, request.reason) == ("ada@example.com", "wrong model")


def test_acts_take_several_names(invoke: Invoke, cluster: UseClient) -> None:
    """One that fails does not stop the others."""
    client = FakeRolloutClient(rollout(), rollout(service="iris"))
    cluster(client)
    result = invoke("abort", "nothing", "mnist", "models/iris", "--no-wait")
    assert result.exit_code == 1
    assert [name for name, _, _ in client.asked] == ["mnist-00002", "iris-00002"]
