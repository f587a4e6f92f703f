"""``autocanary validate``: offline, all faults at once; with Prometheus, what it says of the queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autocanary.cli import backend
from autocanary.cli.measured_services import ProbedPolicies
from autocanary.errors import ClusterError, MetricsUnreachable, Problem
from autocanary.model.policy import Policy
from tests.cli.conftest import Invoke
from tests.cli.fake_client import FakeRolloutClient, observation, rollout
from tests.policy_files.policy_texts import named

GOOD = named("prod")
UseClient = Callable[[FakeRolloutClient], None]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD, "utf-8")
    return path


def test_valid_policy_exits_0_and_prints_nothing_to_stdout(invoke: Invoke, policy: Path) -> None:
    """stdout holds the faults, and there are none."""
    result = invoke("validate", str(policy))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "1 policy is valid\n")


def test_prints_all_errors_with_their_positions(invoke: Invoke, policy: Path) -> None:
    """file:line:column: message, in the order of the file."""
    policy.write_text(GOOD.replace("5m", "5").replace("selector", "selektor"), "utf-8")
    result = invoke("validate", str(policy))
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 2
    assert lines[0].startswith(f"{policy}:5:3: ")
    assert lines[1].startswith(f"{policy}:7:")
    assert result.stderr == "2 errors: not valid\n"


def test_warnings_do_not_fail(invoke: Invoke, policy: Path) -> None:
    """A doubtful policy works."""
    policy.write_text(GOOD.replace("  selector: {names: [mnist]}\n", ""), "utf-8")
    result = invoke("validate", str(policy))
    assert result.exit_code == 0
    assert "warning: spec: the policy governs every InferenceService" in result.stdout


def test_checks_policies_against_each_other(invoke: Invoke, policy: Path, tmp_path: Path) -> None:
    """Over all files that are given."""
    other = tmp_path / "other.yaml"
    other.write_text(GOOD, "utf-8")
    result = invoke("validate", str(policy), str(other))
    assert result.exit_code == 1
    assert "the name prod is already used" in result.stdout


def test_a_path_that_does_not_exist_is_a_fault(invoke: Invoke, tmp_path: Path) -> None:
    """In the same form as the others."""
    result = invoke("validate", str(tmp_path / "none.yaml"))
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path}/none.yaml: there is no such file or folder (check the path)\n"


def test_no_policy_exits_1(invoke: Invoke, tmp_path: Path) -> None:
    """A pipeline that points to the wrong folder must not be green."""
    result = invoke("validate", str(tmp_path))
    assert result.exit_code == 1
    assert "no RolloutPolicy was found" in result.stderr


def test_without_a_path_it_is_wrong_usage(invoke: Invoke) -> None:
    """There is no default folder."""
    assert invoke("validate").exit_code == 2


def test_prometheus_is_asked_only_when_it_is_named(
    invoke: Invoke, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it says is printed with the rest; its warnings are no faults, its errors are."""
    asked: list[tuple[str, int]] = []
    severity = "warning"

    def probe(url: str, policies: Sequence[Policy]) -> ProbedPolicies:
        asked.append((url, len(policies)))
        problem = Problem("policy.yaml", 0, 0, "request-success-rate: no data", severity=severity)
        return ProbedPolicies([problem], ["prod: models/mnist: request-success-rate of mnist-00002: 99 %"])

    monkeypatch.setattr(backend, "probe", probe)
    assert invoke("validate", str(policy)).exit_code == 0
    assert asked == []
    result = invoke("validate", str(policy), "--prometheus-url", "http://prometheus:9090")
    assert asked == [("http://prometheus:9090", 1)]
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "policy.yaml: warning: request-success-rate: no data",
        "prod: models/mnist: request-success-rate of mnist-00002: 99 %",
    ]
    severity = "error"
    result = invoke("validate", str(policy), "--prometheus-url", "http://prometheus:9090")
    assert (result.exit_code, result.stderr) == (1, "1 error: not valid\n")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(url: str, policies: Sequence[Policy]) -> ProbedPolicies:
        raise MetricsUnreachable(f"{url} refuses the connection")

    monkeypatch.setattr(backend, "probe", probe)


ASKING = ("--prometheus-url", "http://prometheus:9090")


@pytest.mark.usefixtures("away")
def test_unreachable_prometheus_exits_3(invoke: Invoke, policy: Path) -> None:
    """What is known offline is said all the same, and what to do about the rest."""
    policy.write_text(GOOD.replace("  selector: {names: [mnist]}\n", ""), "utf-8")
    result = invoke("validate", str(policy), *ASKING)
    assert result.exit_code == 3
    assert "warning: spec: the policy governs every InferenceService" in result.stdout
    verdict, advice = result.stderr.splitlines()
    assert verdict == "1 policy is valid"
    assert advice.startswith("autocanary validate: http://prometheus:9090 refuses the connection; the queries were")
    assert "leave out --prometheus-url" in advice


@pytest.mark.usefixtures("away")
def test_invalid_policy_exits_1_even_without_prometheus(invoke: Invoke, policy: Path, tmp_path: Path) -> None:
    """What is certain counts more than what is not known."""
    (tmp_path / "other.yaml").write_text(GOOD.replace("prod", "b").replace("mnist", "iris").replace("5m", "5"), "utf-8")
    result = invoke("validate", str(policy), str(tmp_path / "other.yaml"), *ASKING)
    assert result.exit_code == 1
    assert result.stderr.startswith("1 error: not valid\n")
    assert "refuses the connection" in result.stderr


def test_errors_and_warnings_are_reported_together(invoke: Invoke, policy: Path) -> None:
    """A query that does not parse, a misspelt preset, a limit the wrong way round, and a doubtful number."""
    policy.write_text(
        GOOD.replace("request-success-rate", "request-sucess-rate")
        .replace("{min: 99}", "{min: 99, max: 9}")
        .replace("    metrics:", "    minRequests: 0\n    metrics:")
        + "      - {name: own, query: \"sum(x{r='{{ revison }}'}\", thresholdRange: {max: 1}}\n",
        "utf-8",
    )
    result = invoke("validate", str(policy))
    words = ["with minRequests 0", "no preset", "min 99 is more", "unknown placeholder", "not valid PromQL"]
    lines = result.stdout.splitlines()
    assert [any(word in line for line in lines) for word in words] == [True] * 5
    assert (len(lines), result.stderr) == (5, "4 errors: not valid\n")


def test_names_the_services_that_the_guard_holds_without_a_policy(
    invoke: Invoke, cluster: UseClient, policy: Path
) -> None:
    """Neither these policies nor those of the cluster select them; a warning, since the policies are valid."""
    client = FakeRolloutClient()
    for name in ("mnist", "iris", "fraud"):
        client.observations[name] = observation(rollout(service=name), 10)
    spec = {"selector": {"names": ["iris"]}, "stepWeights": [10, 100], "stepDuration": "5m"}
    analysis = {"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}
    kind = {"apiVersion": "autocanary.dev/v1alpha1", "kind": "RolloutPolicy"}
    metadata = {"name": "iris", "namespace": "models"}
    client.policy_objects = [{**kind, "metadata": metadata, "spec": {**spec, "analysis": analysis}}]
    cluster(client)
    result = invoke("validate", str(policy), "--guarded-namespace", "models")
    assert result.exit_code == 0
    assert result.stdout == (
        "models/fraud: warning: the guard holds its releases at 0 %: no policy selects models/fraud\n"
    )


def test_an_unreachable_cluster_does_not_hide_the_errors(
    invoke: Invoke, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3, after what is wrong with the policies."""

    def unreachable(*_: object) -> None:
        raise ClusterError("the API server does not answer")

    monkeypatch.setattr(backend, "open_client", unreachable)
    result = invoke("validate", str(policy), "--guarded-namespace", "models")
    assert result.exit_code == 3
    assert "1 policy is valid" in result.stderr
    assert "the API server does not answer; the guarded services were not checked" in result.stderr
    policy.write_text(GOOD.replace("5m", "5"), "utf-8")
    assert invoke("validate", str(policy), "--guarded-namespace", "models").exit_code == 1
