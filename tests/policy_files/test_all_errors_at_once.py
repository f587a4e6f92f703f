"""All problems at once: no error hides another, whatever their kinds and places."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.policy_files import lint, load_text
from tests.policy_files.policy_texts import FULL_POLICY

TEXT = FULL_POLICY.replace("revision }}", "revision}}")

# (what is written, what is written instead, words of the complaint); no two of one piece of text
ERRORS = [
    ("kind: RolloutPolicy", "kind: RolloutPolcy", "the kind RolloutPolcy is not known"),
    ("\nmetadata:", "\nmetdata:", "metdata: unknown field"),
    ("name: prod-models", "name: Prod_Models", "'Prod_Models' is not a name"),
    ("namespace: models", "namespace: 5", "5 is not text"),
    ("spec:", "spc:", "spc: unknown field"),
    ("  selector:", "  selektor:", "unknown field (did you mean selector?)"),
    ("    names: [mnist,", "    nmaes: [Mnist!,", "unknown field (did you mean names?)"),
    ("tier: prod", "tier: 7", "7 is not text"),
    ("component: transformer", "component: tranformer", "'tranformer' is not known here"),
    ("10, 25, 50, 100", "10, 25, 20, 100", "the weight 20 follows 25"),
    ("stepDuration:", "stepDuraton:", "unknown field (did you mean stepDuration?)"),
    ("    interval: 20s", "    interval: 20", "the duration 20 has no unit"),
    ("warmup: 40s", "warmup: 1:40", "YAML 1.1 reads 1:40"),
    ("analysis:", "anlysis:", "unknown field (did you mean analysis?)"),
    ("source: istio", "source: envoy", "envoy"),
    ("window: 2m", "window: 10s", "warning: "),
    ("minRequests: 60", "minRequests: 0", "with minRequests 0 a single request"),
    ("    metrics:", "    mertics:", "unknown field (did you mean metrics?)"),
    ("name: request-success-rate", "name: request-succes-rate", "there is no preset 'request-succes-rate'"),
    ("{min: 99}", "{min: 99, max: 9}", "min 99 is more than max 9"),
    ("failureLimit: 3", "failureLimt: 3", "unknown field (did you mean failureLimit?)"),
    ("name: request-duration", "name: request-duratoin", "there is no preset 'request-duratoin'"),
    ("quantile: 0.95", "quantile: 95", "the quantile 95 is not between 0 and 1"),
    ("{max: 500ms}", "{max: 500}", "500"),
    ("consecutive: true", "consecutive: on", "YAML 1.1 reads the bare word on as true"),
    ("sum(increase", "sum((increase", "not valid PromQL"),
    ("{{ revision}}", "{{ revison}}", "unknown placeholder {{ revison }}"),
    ("{max: 0}", "{}", "the range has neither min nor max"),
    ("{hold: 5m, then: pause}", "{hold: 5m, than: pause}", "unknown field (did you mean then?)"),
    ("{action: pause, candidate", "{action: stop, candidate", "'stop' is not one of"),
    ("days: [thu, mon]", "days: [thu, thu]", "thu is listed twice"),
    ('from: "09:00"', "from: 09:00", "is text only by its digits"),
    ('to: "17:00"', "to: 17:00", "YAML 1.1 reads 17:00"),
    ("timezone: Asia/Seoul", "timezone: Asia/Sole", "there is no time zone"),
    ("url: http://smoke/run", "url: smoke/run", "is not an http or https URL"),
    ("retries: 2", "retries: 11", "11 is more than 10"),
    ('channel: "#ml-ops"', "channel: ml-ops", "is not a Slack channel"),
    ("promoted,", "promotd,", "'promotd' is not known here"),
]  # fmt: skip
BESIDES = {"    nmaes: [Mnist!,": "'Mnist!' is not a name or pattern"}


def messages(text: str) -> list[tuple[int, str]]:
    """(line, sentence) of everything that validate says."""
    load_result = load_text(text, "p.yaml")
    every = [*load_result.all_problems, *lint(load_result.documents)]
    return sorted((each.line, str(each)) for each in every)


def check(chosen: list[tuple[str, str, str]]) -> None:
    """Each problem is reported once, at its line, and nothing else is."""
    text = TEXT
    expected: list[tuple[int, str]] = []
    for before, after, words in chosen:
        assert text.count(before) == 1
        text = text.replace(before, after)
        line = TEXT[: TEXT.index(before)].count("\n") + 1 + before.startswith("\n")
        expected += [(line, words), *((line, also) for given, also in BESIDES.items() if given == after)]
    found = messages(text)
    for line, words in expected:
        assert [each for at, each in found if at == line and words in each], (line, words, found)
    assert len(found) == len(expected), found


def test_valid_policy_has_no_problems() -> None:
    """Otherwise the counts below would mean nothing."""
    assert messages(TEXT) == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error[1].strip())
def test_each_error_alone_gives_one_problem(error: tuple[str, str, str]) -> None:
    """None has consequences that are reported too."""
    check([error])


def test_all_errors_are_reported_together() -> None:
    """As bad as a document can be."""
    check(ERRORS)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(ERRORS), unique=True, min_size=2, max_size=12))
def test_any_combination_of_errors_is_reported(chosen: list[tuple[str, str, str]]) -> None:
    """k errors, k sentences, each at its line."""
    check(chosen)


def test_misspelt_required_field_is_one_problem() -> None:
    """Its absence is only a consequence of the spelling."""
    assert messages(TEXT.replace("stepDuration:", "stepDuraton:")) == [
        (10, "p.yaml:10:3: spec.stepDuraton: unknown field (did you mean stepDuration?)")
    ]


def test_errors_below_misspelt_field_are_reported() -> None:
    """Both are reported, the value at the name that was written."""
    found = [sentence for _, sentence in messages(TEXT.replace("stepDuration: 5m", "stepDuraton: 5"))]
    assert found == [
        "p.yaml:10:16: spec.stepDuraton: the duration 5 has no unit (write 5s, 5m or 5ms, as you mean it)",
        "p.yaml:10:3: spec.stepDuraton: unknown field (did you mean stepDuration?)",
    ]


def test_misplaced_field_is_validated_at_its_place() -> None:
    """`interval` under spec is read as that of the analysis."""
    text = TEXT.replace("    interval: 20s\n", "").replace("  bake: 10m", "  interval: 20\n  bake: 10m")
    found = [sentence for _, sentence in messages(text)]
    assert [each.split(" (")[0] for each in found] == [
        "p.yaml:11:13: spec.interval: the duration 20 has no unit",
        "p.yaml:11:3: spec.interval: unknown field",
    ]


def test_no_suggestion_when_value_type_differs() -> None:
    """`window` beside `windows` is no list of windows; one sentence is enough."""
    ((_, sentence),) = messages(TEXT.replace("  bake: 10m", "  window: 10m"))
    assert "spec.window: unknown field" in sentence


def test_min_above_max_of_unknown_metric_is_reported() -> None:
    """Whatever their unit may be."""
    for limits in ("{min: 5, max: 1}", "{min: 5s, max: 1ms}", "{min: 5%, max: 1%}"):
        text = TEXT.replace("name: request-success-rate", "name: xyz").replace("{min: 99}", limits)
        found = [sentence for _, sentence in messages(text)]
        assert len(found) == 2
        assert "there is no preset 'xyz'" in found[0]
        assert "so every value is a violation" in found[1]


def test_every_unknown_placeholder_of_a_query_is_named() -> None:
    """And the query is parsed all the same."""
    text = TEXT.replace("{{ revision}}", "{{ revison }}{{ servce }}").replace("[{{ window", "[[{{ windo")
    found = [sentence for _, sentence in messages(text)]
    assert len([each for each in found if "unknown placeholder" in each]) == 3
    assert len([each for each in found if "not valid PromQL" in each]) == 1


def test_invalid_policy_is_checked_for_conflicts() -> None:
    """Its name and its selector are as good as a valid one's."""
    bad = TEXT.replace("[10, 25,", "[0, 25,")
    found = [sentence for _, sentence in messages(f"{bad}---\n{bad}")]
    assert len(found) == 3
    assert any("the name prod-models is already used at p.yaml:1" in each for each in found)
    other = bad.replace("prod-models", "others")
    found = [sentence for _, sentence in messages(f"{bad}---\n{other}")]
    assert any("others (p.yaml:" in each and "select the same services" in each for each in found)


def test_misspelt_kind_is_not_a_policy() -> None:
    """It is examined, not accepted."""
    load_result = load_text(TEXT.replace("kind: RolloutPolicy", "kind: rolloutpolicy"), "p.yaml")
    assert load_result.policies == ()
    assert [each.message for each in load_result.errors] == ["the kind rolloutpolicy is not known"]


def test_other_kinds_are_not_validated() -> None:
    """Argo's Rollout is near in name only."""
    text = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: x}\nspec: {strategy: {}}\n"
    assert len(messages(text)) == 1


def test_unknown_yaml_tag_is_reported_once() -> None:
    """What it was meant to be is not asked again of its text."""
    ((line, sentence),) = messages(TEXT.replace("{min: 99}", "{min: !x 99}"))
    assert line == 21
    assert "the tag !x is not read here" in sentence
