"""What is doubtful about a set of policies, offline."""

from __future__ import annotations

import pytest

from autocanary.policy_files import lint, load_text
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, named


def messages(*texts: str) -> list[str]:
    """What is said about policies, each in a file of its own: p0.yaml, p1.yaml …"""
    loaded = [load_text(text, f"p{at}.yaml") for at, text in enumerate(texts)]
    assert [each.errors for each in loaded] == [()] * len(texts)
    return [str(each) for each in lint([document for each in loaded for document in each.documents])]


def query(text: str) -> str:
    return MINIMAL_POLICY + f"      - name: x\n        query: {text}\n        thresholdRange: {{max: 1}}\n"


def test_valid_policies_have_no_problems() -> None:
    """No warning without a reason."""
    assert messages(MINIMAL_POLICY, FULL_POLICY) == []


def test_promql_is_parsed_with_its_placeholders_filled() -> None:
    """The problem is at the query, and Prometheus decides."""
    (message,) = messages(query("sum(rate(x{a='{{ revision }}'}[{{ window }}])"))
    assert message.startswith("p0.yaml:13:16: spec.analysis.metrics[1].query: not valid PromQL: ")
    assert message.endswith("let Prometheus decide with --prometheus-url)")
    assert messages(query("sum(rate(x{a='{{ revision }}'}[{{ window }}]))")) == []


def test_a_query_must_answer_a_number() -> None:
    """Ranges and text cannot be held against a limit."""
    assert "answers a range of samples, not a number" in messages(query("x[1m]"))[0]
    assert "answers text, not a number" in messages(query("'\"x\"'"))[0]


def test_empty_selector_is_a_warning() -> None:
    """It is allowed, and seldom meant."""
    (message,) = messages(MINIMAL_POLICY.replace("  selector: {names: [mnist]}\n", ""))
    assert message == (
        "p0.yaml:4:1: warning: spec: the policy governs every InferenceService in every watched namespace "
        "(narrow it with a selector if that is not meant)"
    )
    in_namespace = MINIMAL_POLICY.replace("  selector: {names: [mnist]}\n", "").replace("small", "small, namespace: a")
    assert messages(in_namespace) == []


@pytest.mark.parametrize(
    ("analysis", "words"),
    [
        (
            "interval: 10m\n    window: 10m",
            "spec.analysis.interval: the interval 10m is longer than the shortest step (5m)",
        ),
        (
            "interval: 2m\n    window: 1m",
            "the window 1m is shorter than the interval 2m: some requests are not evaluated",
        ),
        ("window: 20s", "spec.analysis.window: the window 20s may hold a single scrape of Prometheus"),
        ("minRequests: 0", "spec.analysis.minRequests: with minRequests 0 a single request can fail or pass"),
    ],
)
def test_interval_and_window_warnings(analysis: str, words: str) -> None:
    """Warnings, at the value that is doubtful."""
    (message,) = messages(MINIMAL_POLICY.replace("    metrics:", f"    {analysis}\n    metrics:"))
    assert "warning: " in message
    assert words in message


@pytest.mark.parametrize(("least", "deadline", "doubtful"), [(30, "5m", True), (20, "5m", False), (30, "10m", False)])
def test_more_evaluations_in_a_row_than_a_step_has_time_for(least: int, deadline: str, doubtful: bool) -> None:
    """Steps of 5m, evaluations every 30 s: 30 of them take 15m."""
    text = MINIMAL_POLICY.replace("    metrics:", "    interval: 30s\n    metrics:")
    text = text.replace("  selector:", f"  progressDeadline: {deadline}\n  selector:") + (
        f"        consecutiveSuccessLimit: {least}\n"
    )
    found = messages(text)
    assert bool(found) == doubtful
    for message in found:
        assert "spec.analysis.metrics[0].consecutiveSuccessLimit: 30 evaluations take 15m, longer than" in message
        assert "the shortest step (5m) and progressDeadline (5m): no step can pass" in message


def test_the_name_of_a_prometheus_server_has_no_dot() -> None:
    """The setting takes none, so a policy with one could never be measured."""
    loaded = load_text(MINIMAL_POLICY.replace("    metrics:", "    prometheusRef: {name: a.b}\n    metrics:"), "p.yaml")
    (error,) = loaded.errors
    assert "spec.analysis.prometheusRef.name" in str(error)
    assert "use lower case letters, digits and -" in str(error)


def test_a_compared_step_without_a_hold_lasts_two_minutes() -> None:
    """As the reference says; a step whose metrics are not compared has no such least time."""
    steps = "steps: [{setWeight: 10}, {setWeight: 50, analysis: {minRequests: 90}}, {setWeight: 100}]"
    compared = MINIMAL_POLICY.split("  analysis:")[0].replace("stepWeights: [10, 100]\n  stepDuration: 5m", steps)
    assert not messages(compared)
    thresholds = "{metrics: [{name: error-rate, thresholdRange: {max: 1}}]}"
    (message,) = messages(compared.replace("{minRequests: 90}", thresholds))
    assert "longer than the shortest step (0s)" in message


@pytest.mark.parametrize(
    ("steps", "analysis", "where"),
    [
        ("stepWeights: [100]", "", "spec.stepWeights"),
        (
            "steps: [{setWeight: 10}, {pause: {duration: 5m}}, {setWeight: 100, analysis: {metrics: [COMPARED]}}]",
            "  analysis: {metrics: [THRESHOLD]}",
            "spec.steps[2].analysis.metrics[0]",
        ),
        (
            "steps: [{setWeight: 10, analysis: {metrics: [COMPARED]}}, {pause: {duration: 5m}}, {setWeight: 100}]",
            "  analysis: {metrics: [THRESHOLD]}",
            "",
        ),
        ("stepWeights: [50]", "", ""),
    ],
)
def test_a_comparison_that_begins_at_100_percent_is_a_warning(steps: str, analysis: str, where: str) -> None:
    """It was valid without a word, and a candidate that fails 60 % was held at 100 % without an end."""
    text = MINIMAL_POLICY.split("  analysis:")[0]
    text = text.replace("stepWeights: [10, 100]\n  stepDuration: 5m", steps) + analysis
    text = text.replace("COMPARED", "{name: error-rate, compare: {to: stable}}")
    found = messages(text.replace("THRESHOLD", "{name: request-success-rate, thresholdRange: {min: 90}}"))
    assert bool(found) == bool(where)
    assert all(f"{where}: the comparison of " in each and "begins at 100 %" in each for each in found)


def test_a_step_without_a_hold_is_shorter_than_any_interval() -> None:
    """A forgotten pause; a step that waits for a user has none to forget."""
    steps = "steps: [{setWeight: 10}, {setWeight: 50}, {pause: {}}]"
    (message,) = messages(MINIMAL_POLICY.replace("stepWeights: [10, 100]\n  stepDuration: 5m", steps))
    assert "longer than the shortest step (0s)" in message
    assert (
        messages(
            MINIMAL_POLICY.replace("stepWeights: [10, 100]\n  stepDuration: 5m", steps.replace("{setWeight: 10}, ", ""))
        )
        == []
    )


def test_the_window_of_one_metric() -> None:
    """Named by the metric."""
    (message,) = messages(MINIMAL_POLICY.replace("{min: 99}", "{min: 99}\n        window: 10s"))
    assert "spec.analysis.metrics[0].window: the window 10s" in message


def test_unreachable_threshold_is_a_warning() -> None:
    """{min: 0} of a percentage limits nothing."""
    (message,) = messages(MINIMAL_POLICY.replace("min: 99", "max: 100%"))
    assert "every percentage is within 0 to 100, so request-success-rate can never be violated" in message


def test_times_without_quotes() -> None:
    """09:00 is text, 17:00 is a number."""
    line = '  windows: [{from: 09:00, to: "17:00", timezone: UTC}]\n'
    (message,) = messages(MINIMAL_POLICY + line)
    assert message == (
        "p0.yaml:12:20: warning: spec.windows[0].from: 09:00 without quotes is text only by its digits: "
        'YAML 1.1 reads 17:00 as the number 1020 (write "09:00")'
    )


def test_two_policies_of_one_name() -> None:
    """Only the first is in force; in another namespace the name is free."""
    (message,) = messages(named("a"), named("a", service="iris"))
    assert message == (
        "p1.yaml:3:18: metadata.name: the name a is already used at p0.yaml:1, "
        "and only that policy is in force (each policy needs its own name)"
    )
    assert messages(named("a"), named("a, namespace: x", service="iris")) == []


def test_policies_that_always_tie_are_an_error() -> None:
    """Both are named with their places."""
    (message,) = messages(named("a", service="x, mnist"), named("b"))
    assert message == (
        "p1.yaml:5:3: spec.selector: b (p1.yaml:1) and a (p0.yaml:1) select the same services equally "
        "specifically, so neither would be applied to them "
        "(make one selector more specific, for example by naming the service)"
    )
    without = MINIMAL_POLICY.replace("  selector: {names: [mnist]}\n", "").replace(
        "name: small", "name: a, namespace: n"
    )
    (message,) = messages(without, without.replace("name: a", "name: b"))
    assert message.startswith("p1.yaml:4:1: spec: b (p1.yaml:1) and a (p0.yaml:1) select the same services")


def test_many_policies_that_tie_are_named_once_each() -> None:
    """Not once for every pair of them."""
    found = messages(named("a"), named("b"), named("c"), named("d"))
    assert [each.split(" ")[2] for each in found] == ["b", "c", "d"]
    assert all("and a (p0.yaml:1)" in each for each in found)


def test_policies_that_may_tie_are_a_warning() -> None:
    """Whether such a service exists is not known offline."""
    (message,) = messages(named("a", service='"mn*"'), named("b", service='"*st"'))
    assert message.startswith("p1.yaml:5:3: warning: spec.selector: b (p1.yaml:1) and a (p0.yaml:1) may select")
    labels = MINIMAL_POLICY.replace("{names: [mnist]}", "{matchLabels: {tier: prod}}")
    (message,) = messages(labels, labels.replace("name: small", "name: b").replace("tier: prod", "team: x"))
    assert "may select one service" in message


def test_disjoint_selectors_have_no_problem() -> None:
    """Different names, or one more specific than the other."""
    assert messages(named("a"), named("b", service="iris"), named("c", service='"mn*"')) == []


def test_error_hides_no_warning() -> None:
    """A document that is no policy yet is examined; what cannot be read is not guessed."""
    doubtful = MINIMAL_POLICY.replace("    metrics:", "    minRequests: 0\n    metrics:").replace("5m", "5")
    load_result = load_text(doubtful, "p.yaml")
    assert load_result.errors
    assert [problem.message for problem in lint(load_result.documents)] == [
        "spec.analysis.minRequests: with minRequests 0 a single request can fail or pass a step"
    ]


def test_problems_are_in_the_order_of_files_and_lines() -> None:
    """As a compiler lists them."""
    doubtful = MINIMAL_POLICY.replace("    metrics:", "    minRequests: 0\n    window: 20s\n    metrics:")
    places = [each.split(": ")[0] for each in messages(doubtful, doubtful.replace("small", "b"))]
    assert places == ["p0.yaml:9:18", "p0.yaml:10:13", "p1.yaml:5:3", "p1.yaml:9:18", "p1.yaml:10:13"]
