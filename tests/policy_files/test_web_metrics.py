"""Web metrics in policies: what is written, what it means, and every mistake as a sentence."""

from __future__ import annotations

import pytest
import yaml

from autocanary.limits import NAMESPACE_WEB_METRICS, POLICY_WEB_METRICS
from autocanary.model.measurement import Unit, WebAnswerForm
from autocanary.model.policy import ComparisonPolicy, Metric, Range, WebMetric
from autocanary.policy_files import ActivePolicies
from tests.policy_files.policy_texts import only, problems

HEAD = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: a}\nspec:\n"
PLAIN = HEAD + "  stepWeights: [10, 100]\n  stepDuration: 5m\n  analysis:\n    metrics:\n"
URL = "https://eval.example/score?r={{ revision }}"


def metric(fields: str) -> Metric:
    return only(f"{PLAIN}      - {{name: quality, {fields}}}\n").analysis.metrics[-1]


def test_value() -> None:
    """A number in no unit, held against its range."""
    found = metric(f'web: {{url: "{URL}"}}, thresholdRange: {{min: 0.9}}')
    assert found == Metric("quality", Range(min=0.9), Unit.NUMBER, web=WebMetric(URL))


def test_counts() -> None:
    """The share of bad ones in percent, held against its range and compared."""
    fields = "answer: counts, timeout: 2s, credentialsRef: {name: eval}"
    found = metric(f'web: {{url: "{URL}", {fields}}}, thresholdRange: {{max: 2%}}, compare: {{to: stable}}')
    assert (found.range, found.unit, found.compare, found.objective) == (
        Range(max=2.0),
        Unit.PERCENT,
        ComparisonPolicy(),
        True,
    )
    assert found.web == WebMetric(URL, WebAnswerForm.COUNTS, 2.0, "eval")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ('web: {url: "https://eval.example/"}, thresholdRange: {min: 1}', "does not name {{ revision }}"),
        ('web: {url: "https://e/{{ stableRevision }}"}, thresholdRange: {min: 1}', "does not name {{ revision }}"),
        ('web: {url: "https://e/{{ revison }}"}, thresholdRange: {min: 1}', "unknown placeholder {{ revison }}"),
        ('web: {url: "https://{{ revision }}.e/"}, thresholdRange: {min: 1}', "before the path"),
        ('web: {url: "https://u:p@e/{{ revision }}"}, thresholdRange: {min: 1}', "user name or password"),
        ('web: {url: "ftp://e/{{ revision }}"}, thresholdRange: {min: 1}', "not an http or https URL"),
        ('web: {url: "https://e/a b/{{ revision }}"}, thresholdRange: {min: 1}', "not an http or https URL"),
        ("web: {}, thresholdRange: {min: 1}", "url"),
        (f'web: {{url: "{URL}", answer: percent}}, thresholdRange: {{min: 1}}', "answer"),
        (f'web: {{url: "{URL}", timeout: 11s}}, thresholdRange: {{min: 1}}', "too long for one answer"),
        (f'web: {{url: "{URL}", timeout: 0s}}, thresholdRange: {{min: 1}}', "longer than zero"),
        (f'web: {{url: "{URL}", credentials: eval}}, thresholdRange: {{min: 1}}', "credentials"),
        (f'web: {{url: "{URL}"}}', "nothing says what is acceptable"),
        (f'web: {{url: "{URL}"}}, compare: {{to: stable}}', "a value cannot be compared with stable"),
        (f'web: {{url: "{URL}"}}, query: up, thresholdRange: {{min: 1}}', "a query or a web service, not both"),
        (f'web: {{url: "{URL}"}}, quantile: 0.5, thresholdRange: {{min: 1}}', "itself says which quantile"),
        (f'web: {{url: "{URL}", answer: counts}}, thresholdRange: {{max: 2s}}', "max"),
        (f'web: {{url: "{URL}", answer: counts}}, thresholdRange: {{min: 98}}', "the share of bad ones"),
        (f'web: {{url: "{URL}", jsonPath: "$.x"}}, thresholdRange: {{min: 98}}', "one form of JSON: see answer"),
        (f'web: {{url: "{URL}", timeoutSeconds: 5}}, thresholdRange: {{min: 98}}', "here it is timeout, with its unit"),
        (f'provider: {{web: {{url: "{URL}"}}}}, web: {{url: "{URL}"}}, thresholdRange: {{min: 98}}', "has no provider"),
    ],
)
def test_mistakes(fields: str, words: str) -> None:
    """Each is an error, found offline."""
    found = problems(f"{PLAIN}      - {{name: quality, {fields}}}\n")
    assert len(found) == 1
    assert words in found[0]


def test_preset_is_not_asked_of_a_web_service() -> None:
    """Its name says what it measures."""
    text = f'{PLAIN}      - {{name: error-rate, web: {{url: "{URL}"}}, thresholdRange: {{max: 1%}}}}\n'
    [found] = problems(text)
    assert "error-rate is a preset and has its own query" in found
    assert "leave web out" in found


def many(count: int, name: str = "a") -> str:
    lines = (f'      - {{name: q{each}, web: {{url: "{URL}"}}, thresholdRange: {{min: 1}}}}' for each in range(count))
    return PLAIN.replace("{name: a}", f"{{name: {name}}}") + "\n".join(lines) + "\n"


def test_a_policy_asks_a_bounded_number_of_services() -> None:
    """Those of its steps included."""
    assert len(only(many(POLICY_WEB_METRICS)).web_metrics) == POLICY_WEB_METRICS
    [found] = problems(many(POLICY_WEB_METRICS + 1))
    assert "the policy has 11 web metrics, and at most 10 are asked" in found


def test_a_namespace_asks_a_bounded_number_of_services() -> None:
    """The oldest policies stay in force."""
    active = ActivePolicies([])
    most = NAMESPACE_WEB_METRICS // POLICY_WEB_METRICS
    for number in range(most + 2):
        document = yaml.safe_load(many(POLICY_WEB_METRICS, f"p{number}"))
        document["spec"]["selector"] = {"names": [f"s{number}"]}
        document["metadata"] |= {"namespace": "models", "creationTimestamp": f"2026-01-01T00:00:{number:02}Z"}
        active.apply(document)
    assert len(active.current()) == most
    assert "more than 100 web metrics" in str(active.policy_problems())
