"""What is wrong with a policy is said at its place, in one sentence, and all at once."""

from __future__ import annotations

import pytest
import yaml

from autocanary.policy_files import load_text, validate
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, document, problems

HEAD = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: a}\nspec:\n"
STEPS = "  stepWeights: [10, 100]\n  stepDuration: 5m\n"
METRICS = "  analysis:\n    metrics:\n"
SUCCESS = "      - {name: request-success-rate, thresholdRange: {min: 99}}\n"
GOOD = HEAD + STEPS + METRICS + SUCCESS


def spec(*lines: str) -> str:
    """A good policy with more lines in its spec; the first of them is line 10."""
    return GOOD + "".join(f"  {line}\n" for line in lines)


def metric(text: str) -> str:
    """A policy whose second metric is ``text``, on line 10; its text begins in column 9."""
    return GOOD + f"      - {text}\n"


CASES: dict[str, tuple[str, str]] = {
    # the document
    "unknown version": (
        GOOD.replace("v1alpha1", "v1"),
        "1:13: apiVersion: 'autocanary.dev/v1' is not known here (did you mean autocanary.dev/v1alpha1?)",
    ),
    "no version": (
        GOOD.replace("apiVersion: autocanary.dev/v1alpha1\n", ""),
        "1:1: apiVersion is missing (add apiVersion: autocanary.dev/v1alpha1)",
    ),
    "no metadata": (GOOD.replace("metadata: {name: a}\n", ""), "1:1: metadata is missing"),
    "no name": (GOOD.replace("{name: a}", "{}"), "3:11: metadata: name is missing (add name: prod-models)"),
    "bad name": (GOOD.replace("name: a}", "name: A_b}"), "3:18: metadata.name: 'A_b' is not a name"),
    "number as name": (
        GOOD.replace("name: a}", "name: 5}"),
        '3:18: metadata.name: 5 is not text, and a name is (write it in quotes: "5")',
    ),
    "unknown top": (
        GOOD + "status2: {}\n",
        "10:1: status2: unknown field (known: apiVersion, kind, metadata, spec)",
    ),
    "spec is a list": (
        HEAD.replace("spec:", "spec: [1]"),
        "4:7: spec: a list is not a mapping (with the fields selector,",
    ),
    "spec is empty": (HEAD, "4:6: spec: there is no value here (give it a value, or leave the line out)"),
    # selector
    "unknown field": (
        spec("selector: {name: [x]}"),
        "10:14: spec.selector.name: unknown field (did you mean names?)",
    ),
    "label as number": (
        spec("selector: {matchLabels: {tier: 1}}"),
        '10:34: spec.selector.matchLabels.tier: 1 is not text, and a label\'s value is (write it in quotes: "1")',
    ),
    "name not in a list": (
        spec("selector: {names: mnist}"),
        "10:21: spec.selector.names: mnist is not a list (write [mnist])",
    ),
    "bad glob": (
        spec('selector: {names: ["a[bc]"]}'),
        "10:22: spec.selector.names[0]: 'a[bc]' is not a name or pattern",
    ),
    "namespaces twice": (
        spec("selector: {namespaces: [x]}").replace("{name: a}", "{name: a, namespace: b}"),
        "10:14: spec.selector.namespaces: this policy already applies to the namespace b alone",
    ),
    # steps
    "no steps": (HEAD + METRICS + SUCCESS, "4:1: spec: the policy has no steps (for example stepWeights"),
    "both forms": (
        spec("steps: [{setWeight: 5}]"),
        "10:3: spec.steps: steps and stepWeights say the same thing twice (keep one",
    ),
    "no duration": (
        GOOD.replace("  stepDuration: 5m\n", ""),
        "5:3: spec.stepWeights: stepDuration is missing (add stepDuration: 5m",
    ),
    "duration of the other form": (
        GOOD.replace("stepWeights: [10, 100]", "steps: [{setWeight: 10}]"),
        "6:3: spec.stepDuration: stepDuration belongs to stepWeights, not to steps",
    ),
    "weights fall": (
        GOOD.replace("[10, 100]", "[10, 50, 50, 100]"),
        "5:25: spec.stepWeights[2]: the weight 50 follows 50 (each step gives the candidate more",
    ),
    "weight 0": (
        GOOD.replace("[10,", "[0,"),
        "5:17: spec.stepWeights[0]: the weight 0 is not within 1 and 100 percent (a candidate starts at 0 anyway)",
    ),
    "weight 101": (
        GOOD.replace("100]", "101]"),
        "5:21: spec.stepWeights[1]: the weight 101 is not within 1 and 100",
    ),
    "ratio as weight": (
        GOOD.replace("[10,", "[0.1,"),
        "5:17: spec.stepWeights[0]: 0.1 is not a whole number (KServe's canaryTrafficPercent",
    ),
    "percent as weight": (
        GOOD.replace("[10,", "[10%,"),
        "5:17: spec.stepWeights[0]: 10% is not a whole number",
    ),
    "empty weights": (GOOD.replace("[10, 100]", "[]"), "5:16: spec.stepWeights: the list is empty"),
    "no unit": (
        GOOD.replace("5m", "5"),
        "6:17: spec.stepDuration: the duration 5 has no unit (write 5s, 5m or 5ms",
    ),
    "zero": (GOOD.replace("5m", "0s"), "6:17: spec.stepDuration: the duration must be longer than zero"),
    "Flagger's words": (
        spec("stepWeight: 10"),
        "10:3: spec.stepWeight: Flagger's stepWeight is not available in this version",
    ),
    # components
    "waits for itself": (
        spec("after: [transformer, predictor]"),
        "10:24: spec.after[1]: the predictor's rollout cannot wait for itself (name another component)",
    ),
    "waits for itself, not the default": (
        spec("component: transformer", "after: [transformer]"),
        "11:11: spec.after[0]: the transformer's rollout cannot wait for itself",
    ),
    "waits twice": (
        spec("after: [transformer, transformer]"),
        "10:24: spec.after[1]: transformer is listed twice (keep one)",
    ),
    "waits for what is no component": (
        spec("after: [router]"),
        "10:11: spec.after[0]: 'router' is not one of predictor, transformer, explainer",
    ),
    # analysis
    "empty metrics": (
        HEAD + STEPS + "  analysis: {metrics: []}\n",
        "7:23: spec.analysis.metrics: the policy has no metric",
    ),
    "only dryRun": (
        GOOD.replace("{min: 99}}", "{min: 99}, dryRun: true}"),
        "8:5: spec.analysis.metrics: every metric is dryRun",
    ),
    "field of analysis": (
        spec("interval: 15s"),
        "10:3: spec.interval: unknown field (it belongs under spec.analysis)",
    ),
    "field of many places": (spec("hold: 15s"), "10:3: spec.hold: unknown field (known: selector, component"),
    "renamed": (
        GOOD.replace("analysis:\n", "analysis:\n    threshold: 5\n"),
        "8:5: spec.analysis.threshold: unknown field (here it is failureLimit, in each metric)",
    ),
    # comparisons
    "compared with what": (
        metric("{name: error-rate, compare: {to: previous}}"),
        "10:42: spec.analysis.metrics[1].compare.to: 'previous' is not known here (known: stable)",
    ),
    "bare comparison": (
        metric("{name: error-rate, compare: stable}"),
        "10:37: spec.analysis.metrics[1].compare: stable is not a mapping (with the fields to, margin, ",
    ),
    "empty comparison": (
        metric("{name: error-rate, compare: }"),
        "10:36: spec.analysis.metrics[1].compare: there is no value here (write compare: {to: stable})",
    ),
    "field of a comparison": (
        metric("{name: error-rate, compare: {margn: 1%}}"),
        "10:38: spec.analysis.metrics[1].compare.margn: unknown field (did you mean margin?)",
    ),
    "margin as a ratio": (
        metric("{name: error-rate, compare: {margin: 0.005}}"),
        "10:46: spec.analysis.metrics[1].compare.margin: 0.005 looks like a ratio, and this is in percent "
        "(write 0.5% if 0.5 percent is meant, or 0.005% if that is)",
    ),
    "margin of nothing": (
        metric("{name: error-rate, compare: {margin: 0%}}"),
        "10:46: spec.analysis.metrics[1].compare.margin: the margin must be more than zero (no number of",
    ),
    "margin of almost all": (
        metric("{name: error-rate, compare: {margin: 60}}"),
        "10:46: spec.analysis.metrics[1].compare.margin: a margin of 60 would let almost everything pass",
    ),
    "confidence as a ratio": (
        metric("{name: error-rate, compare: {confidence: 0.99}}"),
        "10:50: spec.analysis.metrics[1].compare.confidence: 0.99 looks like a ratio",
    ),
    "full confidence": (
        metric("{name: error-rate, compare: {confidence: 100%}}"),
        "10:50: spec.analysis.metrics[1].compare.confidence: 100% is no confidence that a comparison can have "
        "(write 80% to 99.999%; nothing finite is certain",
    ),
    "preset of a comparison": (
        metric("{name: error-rate, compare: {preset: robst}}"),
        "10:46: spec.analysis.metrics[1].compare.preset: 'robst' is not known here (did you mean robust?)",
    ),
    "preset of all": (
        GOOD.replace("    metrics", "    preset: slow\n    metrics"),
        "8:13: spec.analysis.preset: 'slow' is not one of fast, default, robust, strict",
    ),
    "what has no counts": (
        metric("{name: kv-cache-usage, compare: {to: stable}}"),
        "10:32: spec.analysis.metrics[1].compare: kv-cache-usage cannot be compared with stable: it does not "
        "count good and bad requests (use thresholdRange; error-rate, request-success-rate and "
        "request-duration can be compared)",
    ),
    "a query compared": (
        metric("{name: x, query: up, compare: {to: stable}, thresholdRange: {max: 1}}"),
        "10:30: spec.analysis.metrics[1].compare: the answer of a query cannot be compared with stable",
    ),
    "the same compared twice": (
        metric("{name: error-rate, compare: {to: stable}}").replace("thresholdRange: {min: 99}", "compare: {}"),
        "10:28: spec.analysis.metrics[1].compare: error-rate and request-success-rate compare the same "
        "requests (keep compare in one of the two; the other may have a thresholdRange)",
    ),
    "violations of nothing": (
        metric("{name: error-rate, compare: {}, failureLimit: 2}"),
        "10:41: spec.analysis.metrics[1].failureLimit: there is no thresholdRange whose violations could be "
        "counted (leave it out: a comparison decides by its confidence)",
    ),
    "timeout before the end": (
        spec("stepTimeout: 1m"),
        "10:16: spec.stepTimeout: 1m is shorter than the stepDuration, so the step could never pass",
    ),
    "timeout before the end of a pause": (
        GOOD.replace(STEPS, "  steps: [{setWeight: 5}, {pause: {duration: 1h}}, {pause: {duration: 1h}}]\n")
        + "  stepTimeout: 90m\n",
        "9:16: spec.stepTimeout: 90m is shorter than the pause, so the step could never pass",
    ),
    "inconclusive": (
        GOOD.replace("    metrics", "    onInconclusive: pause\n    metrics"),
        "8:21: spec.analysis.onInconclusive: 'pause' is not one of hold, promote, rollback",
    ),
    "inconclusive in the wrong place": (
        spec("onInconclusive: hold"),
        "10:3: spec.onInconclusive: unknown field (it belongs under spec.analysis)",
    ),
    "Argo's inconclusive": (
        spec("inconclusiveLimit: 3"),
        "10:3: spec.inconclusiveLimit: unknown field (here it is stepTimeout, with analysis.onInconclusive)",
    ),
    "ratio": (
        metric("{name: error-rate, thresholdRange: {max: 0.01}}"),
        "10:50: spec.analysis.metrics[1].thresholdRange.max: 0.01 looks like a ratio",
    ),
    "success ratio of 1": (
        GOOD.replace("min: 99", "min: 1"),
        "9:60: spec.analysis.metrics[0].thresholdRange.min: 1 looks like a ratio",
    ),
    "latency without unit": (
        metric("{name: request-duration, thresholdRange: {max: 500}}"),
        "10:56: spec.analysis.metrics[1].thresholdRange.max: the duration 500 has no unit (write 500s, 500m or 500ms",
    ),
    "unit of a query": (
        metric("{name: x, query: up, thresholdRange: {max: 1%}}"),
        "10:52: spec.analysis.metrics[1].thresholdRange.max: '1%' is not a plain number",
    ),
    "threshold is a list": (
        metric("{name: error-rate, thresholdRange: {max: [1]}}"),
        "10:50: spec.analysis.metrics[1].thresholdRange.max: a list is not a threshold",
    ),
    "no range": (
        metric("{name: error-rate}"),
        "10:9: spec.analysis.metrics[1]: nothing says what is acceptable (add thresholdRange: {max: 0.5%}, or "
        "compare: {to: stable})",
    ),
    "no range of a gauge": (
        metric("{name: kv-cache-usage}"),
        "10:9: spec.analysis.metrics[1]: nothing says what is acceptable (add thresholdRange: {max: 95})",
    ),
    "empty range": (
        metric("{name: error-rate, thresholdRange: {}}"),
        "10:44: spec.analysis.metrics[1].thresholdRange: the range has neither min nor max (for example "
        "thresholdRange: {max: 0.5%})",
    ),
    "swapped range": (
        metric("{name: request-duration, thresholdRange: {min: 2s, max: 500ms}}"),
        "10:50: spec.analysis.metrics[1].thresholdRange: min 2s is more than max 500ms, so every value is a "
        "violation (swap them)",
    ),
    "misspelt preset": (
        metric("{name: request-duraton, thresholdRange: {max: 1s}}"),
        "10:16: spec.analysis.metrics[1].name: there is no preset 'request-duraton', and no query (did you "
        "mean request-duration?",
    ),
    "unknown preset": (
        metric("{name: zzz, thresholdRange: {max: 1}}"),
        "10:16: spec.analysis.metrics[1].name: there is no preset 'zzz', and no query (presets: request-success-rate,",
    ),
    "preset with query": (
        metric("{name: error-rate, query: up, thresholdRange: {max: 1}}"),
        "10:16: spec.analysis.metrics[1].name: error-rate is a preset and has its own query",
    ),
    "twice": (
        metric("{name: request-success-rate, thresholdRange: {min: 98}}"),
        "10:16: spec.analysis.metrics[1].name: the metric request-success-rate is listed twice",
    ),
    "empty query": (
        metric('{name: x, query: " ", thresholdRange: {max: 1}}'),
        "10:26: spec.analysis.metrics[1].query: the query is empty",
    ),
    "unknown placeholder": (
        metric("{name: x, query: 'up{a=\"{{ revison }}\"}', thresholdRange: {max: 1}}"),
        "10:26: spec.analysis.metrics[1].query: unknown placeholder {{ revison }}: did you mean {{ revision }}?",
    ),
    "bare placeholder": (
        metric("{name: x, query: '{{ revision }}', thresholdRange: {max: 1}}"),
        "10:26: spec.analysis.metrics[1].query: {{ revision }} is outside quotes",
    ),
    "malformed placeholder": (
        metric("{name: x, query: 'up{{', thresholdRange: {max: 1}}"),
        "10:26: spec.analysis.metrics[1].query: malformed placeholder",
    ),
    "quantile of a rate": (
        metric("{name: error-rate, quantile: 0.9, thresholdRange: {max: 1}}"),
        "10:28: spec.analysis.metrics[1].quantile: error-rate has no quantile (leave it out)",
    ),
    "quantile of a query": (
        metric("{name: x, query: up, quantile: 0.9, thresholdRange: {max: 1}}"),
        "10:30: spec.analysis.metrics[1].quantile: the query itself says which quantile",
    ),
    "quantile in percent": (
        metric("{name: request-duration, quantile: 99, thresholdRange: {max: 1s}}"),
        "10:44: spec.analysis.metrics[1].quantile: the quantile 99 is not between 0 and 1 (write 0.99)",
    ),
    "quantile p99": (
        metric("{name: request-duration, quantile: p99, thresholdRange: {max: 1s}}"),
        "10:44: spec.analysis.metrics[1].quantile: p99 is not a quantile",
    ),
    "failureLimit 0": (
        metric("{name: error-rate, failureLimit: 0, thresholdRange: {max: 1}}"),
        "10:42: spec.analysis.metrics[1].failureLimit: 0 is less than 1",
    ),
    "failureLimit huge": (
        metric("{name: error-rate, failureLimit: 9999999, thresholdRange: {max: 1}}"),
        "10:42: spec.analysis.metrics[1].failureLimit: 9999999 is more than 1000000",
    ),
    "not a bool": (
        metric('{name: error-rate, dryRun: "true", thresholdRange: {max: 1}}'),
        "10:36: spec.analysis.metrics[1].dryRun: true is not true or false",
    ),
    "minRequests as text": (
        GOOD.replace("    metrics", '    minRequests: "5"\n    metrics'),
        "8:18: spec.analysis.minRequests: 5 is not a whole number (write it as 50)",
    ),
    "unknown source": (
        GOOD.replace("    metrics", "    source: vlm\n    metrics"),
        "8:13: spec.analysis.source: 'vlm' is not known here (did you mean vllm?)",
    ),
    "unknown then": (
        GOOD.replace("    metrics", "    onNoData: {then: explode}\n    metrics"),
        "8:22: spec.analysis.onNoData.then: 'explode' is not one of hold, rollback, pause",
    ),
    "then is a number": (
        GOOD.replace("    metrics", "    onNoData: {then: 5}\n    metrics"),
        "8:22: spec.analysis.onNoData.then: 5 is not one of hold, rollback, pause",
    ),
    # the rest of the spec
    "bare word": (
        spec("onFailure: rollback"),
        "10:14: spec.onFailure: rollback is not a mapping (with the fields action, candidate)",
    ),
    "enum": (
        spec("onFailure: {action: rolback}"),
        "10:23: spec.onFailure.action: 'rolback' is not known here (did you mean rollback?)",
    ),
    "YAML 1.1": (
        spec("onUnstaged: off"),
        "10:15: spec.onUnstaged: YAML 1.1 reads the bare word off as false",
    ),
    "null": (spec("bake:"), "10:8: spec.bake: there is no value here"),
    "window time": (
        spec('windows: [{from: "09:00", to: 17:00, timezone: UTC}]'),
        '10:33: spec.windows[0].to: YAML 1.1 reads 17:00 without quotes as the number 1020 (write "17:00")',
    ),
    "window zone": (
        spec('windows: [{from: "09:00", to: "17:00", timezone: Asia/Seol}]'),
        "10:52: spec.windows[0].timezone: there is no time zone 'Asia/Seol' (did you mean Asia/Seoul?)",
    ),
    "window zone path": (
        spec('windows: [{from: "09:00", to: "17:00", timezone: /etc/passwd}]'),
        "10:52: spec.windows[0].timezone: there is no time zone '/etc/passwd'",
    ),
    "window without zone": (
        spec('windows: [{from: "09:00", to: "17:00"}]'),
        "10:13: spec.windows[0]: timezone is missing (add timezone: Asia/Seoul)",
    ),
    "window day": (
        spec('windows: [{days: [monday], from: "09:00", to: "17:00", timezone: UTC}]'),
        "10:21: spec.windows[0].days[0]: 'monday' is not known here (did you mean mon?)",
    ),
    "window day twice": (
        spec('windows: [{days: [mon, mon], from: "09:00", to: "17:00", timezone: UTC}]'),
        "10:26: spec.windows[0].days[1]: mon is listed twice",
    ),
    "webhook type": (
        spec("webhooks: [{name: x, type: pre_rollout, url: http://x}]"),
        "10:30: spec.webhooks[0].type: 'pre_rollout' is not known here (did you mean pre-rollout?)",
    ),
    "webhook type of Flagger": (
        spec("webhooks: [{name: x, type: event, url: http://x}]"),
        "10:30: spec.webhooks[0].type: 'event' is not one of pre-rollout, rollout",
    ),
    "webhook url": (
        spec("webhooks: [{name: x, type: rollout, url: ftp://x}]"),
        "10:44: spec.webhooks[0].url: 'ftp://x' is not an http or https URL",
    ),
    "webhook url port": (
        spec('webhooks: [{name: x, type: rollout, url: "http://x:99999/"}]'),
        "10:44: spec.webhooks[0].url: 'http://x:99999/' is not an http",
    ),
    "webhook secret": (
        spec('webhooks: [{name: x, type: rollout, url: "http://u:p@x/"}]'),
        "10:44: spec.webhooks[0].url: the URL holds a user name or password",
    ),
    "webhook names": (
        spec("webhooks: [{name: x, type: rollout, url: http://x}, {name: x, type: rollback, url: http://y}]"),
        "10:62: spec.webhooks[1].name: the webhook x is listed twice",
    ),
    "webhook metadata": (
        spec("webhooks: [{name: x, type: rollout, url: http://x, metadata: {a: 1}}]"),
        '10:68: spec.webhooks[0].metadata.a: 1 is not text (write it in quotes: "1")',
    ),
    "event": (
        spec('notifications: [{slack: {channel: "#a"}, events: [roledback]}]'),
        "10:53: spec.notifications[0].events[0]: 'roledback' is not known here (did you mean rolled-back?)",
    ),
    "two places": (
        spec('notifications: [{slack: {channel: "#a"}, webhook: {url: http://x}}]'),
        "10:19: spec.notifications[0]: an entry has one receiver (write slack and webhook as two entries)",
    ),
    "mention by name": (
        spec('notifications: [{slack: {channel: "#a", mention: [ann]}}]'),
        "10:53: spec.notifications[0].slack.mention[0]: 'ann' is not a mention that Slack knows (write a "
        "member's ID (U012AB3CD), a user group's (S012AB3CD), here or channel; names do not work)",
    ),
    "no place": (spec("notifications: [{}]"), "10:19: spec.notifications[0]: the entry is empty"),
    "channel": (
        spec('notifications: [{slack: {channel: "ml ops"}}]'),
        "10:37: spec.notifications[0].slack.channel: 'ml ops' is not a Slack channel (write the name with its #",
    ),
    "commented channel": (
        spec("notifications:", "  - slack:", "      channel: #ml-ops"),
        "12:17: spec.notifications[0].slack.channel: there is no value here (without quotes a # starts a "
        'comment: write "#ml-ops")',
    ),
    "too many": (spec(f"windows: [{', '.join(['{}'] * 51)}]"), "10:12: spec.windows: more than 50 entries"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_each_problem_has_its_position(text: str, expected: str) -> None:
    """File, line, column, field, what is wrong and what to do."""
    found = problems(text)
    assert found[0].startswith(f"p.yaml:{expected}")
    assert len(found) == 1


LONG = """\
    - pause: {duration: 5m}
    - setWeight: 10
      pause: {}
    - setWeight: 5
    - pause: 5m
    - pause:
    - analysis: {}
    - {}
    - setWeight: 50
    - pause: {duration: 5}
"""


def test_the_long_form_names_every_fault_of_every_step() -> None:
    """Steps are checked one by one and against each other."""
    text = HEAD + "  steps:\n" + LONG + METRICS + SUCCESS
    assert [each.removeprefix("p.yaml:") for each in problems(text)] == [
        "6:7: spec.steps[0]: a pause before the first setWeight has no candidate traffic to analyse "
        "(begin with - setWeight; to start later use windows or a pre-rollout webhook)",
        "7:7: spec.steps[1]: a step is either setWeight or pause (write them as two steps, each with its own -)",
        "9:18: spec.steps[2].setWeight: the weight 5 follows 10 "
        "(each step gives the candidate more traffic than the one before)",
        "10:14: spec.steps[3].pause: 5m is not a mapping (with the fields duration)",
        "11:13: spec.steps[4].pause: there is no value here "
        "(write pause: {} to wait for autocanary promote, or pause: {duration: 5m})",
        "12:7: spec.steps[5].analysis: this step sets no weight "
        "(write analysis beside the - setWeight from which it holds)",
        "13:7: spec.steps[6]: the step is empty (write - setWeight: 10 or - pause: {duration: 5m})",
        "15:25: spec.steps[8].pause.duration: the duration 5 has no unit (write 5s, 5m or 5ms, as you mean it)",
    ]


def test_steps_without_a_weight() -> None:
    """Pauses alone roll nothing out."""
    found = problems(HEAD + "  steps: [{pause: {}}]\n" + METRICS + SUCCESS)
    assert "p.yaml:5:10: spec.steps: no step sets a weight (begin with - setWeight: 10)" in found


def test_all_problems_are_reported_in_order() -> None:
    """One round of corrections is enough, whatever kinds of problems there are."""
    text = (
        FULL_POLICY.replace("name: prod-models", "name: Prod")
        .replace("component: transformer", "componnent: x")
        .replace("[10, 25, 50, 100]", "[10, 5, on]")
        .replace("bake: 10m", "bake: 10")
        .replace("min: 99", "min: 0.99")
        .replace("500ms", "500")
        .replace("revision }}", "revison }}")
        .replace('"17:00"', "17:00")
        .replace("Asia/Seoul", "Seoul")
        .replace("promoted,", "promotd,")
    )
    found = problems(text)
    places = [tuple(int(part) for part in each.split(":")[1:3]) for each in found]
    assert places == sorted(places)
    assert [line for line, _ in places] == [3, 8, 8, 9, 9, 11, 21, 25, 30, 39, 39, 48]


def test_a_misspelt_field_is_not_also_missing() -> None:
    """The name that was meant is said once."""
    assert problems(GOOD.replace("stepWeights", "stepWieghts")) == [
        "p.yaml:5:3: spec.stepWieghts: unknown field (did you mean stepWeights?)"
    ]
    assert problems(GOOD.replace("thresholdRange", "tresholdRange")) == [
        "p.yaml:9:38: spec.analysis.metrics[0].tresholdRange: unknown field (did you mean thresholdRange?)"
    ]


def test_problems_beyond_the_limit_are_counted() -> None:
    """A hundred sentences are enough."""
    found = problems(GOOD.replace("[10, 100]", f"[{', '.join(['0'] * 200)}]"))
    assert len(found) == 101
    assert found[-1].endswith("and 100 more problems (repair the first ones)")


def test_a_good_policy_has_no_problems() -> None:
    """The documents that the cases above are made of are valid themselves."""
    for text in (GOOD, MINIMAL_POLICY, FULL_POLICY):
        assert problems(text) == []


def test_custom_resource_problem_has_no_line() -> None:
    """The same schema, without places."""
    broken = document()
    broken["metadata"]["namespace"] = "models"
    broken["spec"]["stepDuration"] = 5
    broken["spec"]["unknown"] = 1
    policy, found = validate(broken)
    assert policy is None
    assert [str(each) for each in found] == [
        "rolloutpolicy models/small: spec.stepDuration: the duration 5 has no unit "
        "(write 5s, 5m or 5ms, as you mean it)",
        "rolloutpolicy models/small: spec.unknown: unknown field (known: selector, component, after, stepWeights, "
        "stepDuration, stepTimeout, steps, bake, progressDeadline, analysis, onFailure, onUnstaged, onWeightRemoved, "
        "windows, webhooks, notifications)",
    ]


def test_a_number_that_was_a_time_is_explained_in_a_custom_resource() -> None:
    """kubectl turned 17:00 into a number before autocanary could see it."""
    broken = document()
    broken["spec"]["windows"] = [{"from": "09:00", "to": 1020, "timezone": "UTC"}]
    _, (problem,) = validate(broken)
    assert 'if 17:00 was meant, write "17:00"' in problem.hint


def test_server_side_metadata_is_allowed() -> None:
    """``kubectl get -o yaml`` gives a usable policy; what a user misspells is still reported."""
    resource = document()
    resource["metadata"] |= {
        "namespace": "models",
        "uid": "1",
        "resourceVersion": "5",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{}],
        "labels": {"a": "b"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    resource["status"] = {"conditions": []}
    policy, found = validate(resource)
    assert found == ()
    assert policy is not None
    assert policy.origin == "rolloutpolicy models/small"
    assert load_text(yaml.safe_dump(resource), "p.yaml").errors == ()
    resource["metadata"]["namepace"] = "x"
    _, (problem,) = validate(resource)
    assert problem.message == "metadata.namepace: unknown field"
    assert problem.hint == "did you mean namespace?"


@pytest.mark.parametrize("value", [{}, {"metadata": None}, {"metadata": {"name": 5}, "spec": []}])
def test_any_object_can_be_offered(value: dict[str, object]) -> None:
    """Nothing is raised, however little the object resembles a policy."""
    policy, found = validate(value)
    assert policy is None
    assert found
