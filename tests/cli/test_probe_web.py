"""Tests of autocanary.cli.probe_web: web metrics asked before a rollout, of a real service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autocanary.cli.probe_web import probe_web
from autocanary.errors import InputError
from autocanary.model.measurement import Unit, WebAnswerForm
from autocanary.model.policy import Analysis, ComparisonPolicy, Metric, Policy, Range, WebMetric
from tests.cli.conftest import Invoke
from tests.cli.fake_client import POLICY
from tests.web_metrics import evaluation_service as behaviours
from tests.web_metrics.evaluation_service import EvaluationService

CANDIDATE, STABLE = "models/mnist-predictor-00002", "models/mnist-predictor-00001"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[EvaluationService]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AUTOCANARY_WEBHOOK_HOSTS", "127.0.0.1")
    with EvaluationService().running() as running:
        yield running


def asking(service: EvaluationService, form: WebAnswerForm, *, compared: bool = False) -> Policy:
    web = WebMetric(f"{service.origin}/score?r={{{{ revision }}}}", form)
    compare = ComparisonPolicy() if compared else None
    metric = Metric("quality", Range(min=0.9), Unit.NUMBER, compare=compare, web=web)
    return replace(POLICY, analysis=Analysis((metric,)), origin="policy.yaml:1")


def without_times(lines: list[str]) -> list[str]:
    return [line.rpartition("; answered in")[0] for line in lines]


def test_value_is_shown(service: EvaluationService) -> None:
    """With the samples that it is made of."""
    service.behaviour = behaviours.says({"value": 0.97, "samples": 240})
    found = probe_web([CANDIDATE], [asking(service, WebAnswerForm.VALUE)])
    assert found.problems == []
    assert without_times(list(found.lines)) == [
        "prod: models/mnist: quality of mnist-predictor-00002: 0.97, of 240 samples in 1m"
    ]


def test_both_revisions_of_a_comparison_are_asked_about(service: EvaluationService) -> None:
    """The newest is the candidate."""
    service.behaviour = behaviours.says({"bad": 3, "total": 1240})
    found = probe_web([STABLE, CANDIDATE], [asking(service, WebAnswerForm.COUNTS, compared=True)])
    assert without_times(list(found.lines)) == [
        "prod: models/mnist: quality of mnist-predictor-00002: 3 bad of 1,240 since the revision began",
        "prod: models/mnist: quality of mnist-predictor-00001: 3 bad of 1,240 since the revision began",
    ]


@pytest.mark.parametrize(
    ("behaviour", "severity", "words"),
    [
        (behaviours.says({"value": "x"}), "error", 'cannot be used: "value" is not a number'),
        (behaviours.says({"bad": 1, "total": 2}), "error", 'expected {"value": number}'),
        (behaviours.says({}, 503), "warning", "answered 503"),
        (behaviours.says({"value": 1, "at": 1e9}), "warning", "old, older than the window of 1m"),
    ],
)
def test_what_would_hold_every_rollout_is_a_problem(
    service: EvaluationService, behaviour: behaviours.Behaviour, severity: str, words: str
) -> None:
    """An answer that is none is an error of policy and service; one that is missing may come."""
    service.behaviour = behaviour
    [problem] = probe_web([CANDIDATE], [asking(service, WebAnswerForm.VALUE)]).problems
    assert (problem.severity, words in problem.message) == (severity, True)


def test_address_that_the_service_would_refuse(service: EvaluationService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command keeps to the guard of the service, and names the setting."""
    monkeypatch.delenv("AUTOCANARY_WEBHOOK_HOSTS")
    [problem] = probe_web([CANDIDATE], [asking(service, WebAnswerForm.VALUE)]).problems
    assert problem.severity == "error"
    assert "AUTOCANARY_WEBHOOK_HOSTS does not allow it" in problem.message
    assert service.asked == []


def test_policies_that_do_not_apply(service: EvaluationService) -> None:
    """What was not asked is said."""
    of_iris = asking(service, WebAnswerForm.VALUE)
    of_iris = replace(of_iris, selector=replace(of_iris.selector, names=("iris",)))
    assert list(probe_web([CANDIDATE], [of_iris]).lines) == [
        "prod: it selects none of the revisions: its web metrics were not asked"
    ]
    assert list(probe_web([CANDIDATE], [POLICY]).lines) == ["no policy has a web metric: nothing was asked"]


@pytest.mark.parametrize("text", ["mnist-predictor-00002", "models/", "a/b/c"])
def test_revision_has_a_namespace(text: str) -> None:
    """Else the command does not know whose services may use which credentials."""
    with pytest.raises(InputError, match="write NAMESPACE/REVISION"):
        probe_web([text], [])


def test_validate_asks_when_a_revision_is_given(invoke: Invoke, service: EvaluationService, tmp_path: Path) -> None:
    """And not otherwise; the exit code is that of its problems."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: prod}\n"
        "spec:\n  selector: {names: [mnist]}\n  stepWeights: [10]\n  stepDuration: 5m\n  analysis:\n    metrics:\n"
        f'      - {{name: quality, thresholdRange: {{min: 0.9}}, web: {{url: "{service.origin}/{{{{revision}}}}"}}}}\n'
    )
    assert invoke("validate", str(policy)).exit_code == 0
    assert service.asked == []
    done = invoke("validate", str(policy), "--web-revision", CANDIDATE)
    assert (done.exit_code, "quality of mnist-predictor-00002: 1, without samples" in done.stdout) == (0, True)
    service.behaviour = behaviours.says([])
    assert invoke("validate", str(policy), "--web-revision", CANDIDATE).exit_code == 1
    assert invoke("validate", str(policy), "--web-revision", "mnist").exit_code == 2
