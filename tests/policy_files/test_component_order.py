"""Policies that wait for each other, or for no policy."""

from __future__ import annotations

import pytest

from autocanary.policy_files import lint, load_text

FORM = """\
apiVersion: autocanary.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: NAME}
spec:
  selector: SELECTOR
  component: COMPONENT
  after: AFTER
  stepWeights: [10, 100]
  stepDuration: 5m
"""


def written(
    component: str, after: str = "[]", selector: str = "{names: [mnist]}", name: str = "", namespace: str = ""
) -> str:
    metadata = f"{name or component}, namespace: {namespace}" if namespace else name or component
    text = FORM.replace("NAME", metadata).replace("COMPONENT", component)
    return text.replace("SELECTOR", selector).replace("AFTER", after)


def messages(*texts: str) -> list[str]:
    """About policies that are each in a file of its own: p0.yaml, p1.yaml …"""
    loaded = [load_text(text, f"p{at}.yaml") for at, text in enumerate(texts)]
    return [str(each) for each in lint([document for each in loaded for document in each.documents])]


def errors(*texts: str) -> list[str]:
    return [each for each in messages(*texts) if "warning" not in each]


def test_two_component_cycle_is_reported_on_both() -> None:
    """Each at its own place, with the other's."""
    assert messages(written("predictor", "[transformer]"), written("transformer", "[predictor]")) == [
        "p0.yaml:7:10: spec.after: the predictor waits for the transformer, which waits for the predictor by "
        "transformer (p1.yaml:1): none of them can go first (leave after out of one of them)",
        "p1.yaml:7:10: spec.after: the transformer waits for the predictor, which waits for the transformer by "
        "predictor (p0.yaml:1): none of them can go first (leave after out of one of them)",
    ]


def test_three_component_cycle() -> None:
    """No two of them name each other, and all wait for ever."""
    ring = [
        written("predictor", "[transformer]"),
        written("transformer", "[explainer]"),
        written("explainer", "[predictor]"),
    ]
    found = errors(*ring)
    assert [each.split(": ")[0] for each in found] == ["p0.yaml:7:10", "p1.yaml:7:10", "p2.yaml:7:10"]
    assert (
        "the transformer waits for the explainer, which waits for the predictor by explainer (p2.yaml:1), "
        "which waits for the transformer by predictor (p0.yaml:1): none of them can go first" in found[1]
    )
    assert errors(*ring[:2], written("explainer")) == []


def test_each_policy_gets_one_cycle_problem() -> None:
    """Whatever number of circles it is in."""
    everything = [
        written("predictor", "[transformer, explainer]"),
        written("transformer", "[predictor, explainer]"),
        written("explainer", "[predictor, transformer]"),
    ]
    assert len(errors(*everything)) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{names: [mnist]}", "{}"),
        ("{names: [mnist, iris]}", '{names: ["mni*"]}'),
        ('{names: ["fraud-*"]}', '{names: ["*"]}'),
        ('{names: ["mnis?"]}', "{namespaces: [models]}"),
        ('{namespaces: ["team-*"]}', "{namespaces: [team-a]}"),
        ("{matchLabels: {tier: prod}}", "{matchLabels: {tier: prod, team: a}}"),
    ],
)
def test_cycle_where_policies_share_a_service(one: str, other: str) -> None:
    """However each of them selects the service."""
    assert len(errors(written("predictor", "[transformer]", one), written("transformer", "[predictor]", other))) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{names: [mnist]}", "{names: [iris]}"),
        ("{namespaces: [a]}", "{namespaces: [b]}"),
        ("{matchLabels: {tier: prod}}", "{matchLabels: {tier: test}}"),
    ],
)
def test_no_cycle_without_a_shared_service(one: str, other: str) -> None:
    """Different services may have different orders."""
    assert messages(written("predictor", "[transformer]", one), written("transformer", "[predictor]", other)) == []


def test_policies_in_different_namespaces_have_no_cycle() -> None:
    """The namespace of the policy is part of its reach."""
    at_home = [
        written("predictor", "[transformer]", namespace="a"),
        written("transformer", "[predictor]", namespace="b"),
    ]
    assert messages(*at_home) == []
    assert len(errors(at_home[0], written("transformer", "[predictor]", namespace="a"))) == 2


def test_more_specific_policy_breaks_the_cycle() -> None:
    """The general order is not in force where another one is."""
    general = written("predictor", "[transformer]", "{}", name="general")
    transformer = written("transformer", "[predictor]")
    assert len(errors(general, transformer)) == 2
    assert errors(general, transformer, written("predictor", name="special")) == []


def test_cycle_with_disjoint_labels_is_a_warning() -> None:
    """Whether such a service exists is not known offline."""
    found = messages(
        written("predictor", "[transformer]", "{matchLabels: {tier: prod}}"),
        written("transformer", "[predictor]", "{matchLabels: {team: a}}"),
    )
    assert [each.split(" ")[1] for each in found] == ["warning:", "warning:"]
    assert "where a service has the labels of all of them, the predictor waits for the transformer" in found[0]


def test_cycle_is_found_despite_other_errors() -> None:
    """Repairing those must not reveal it only then; a misspelt field is read as what was meant."""
    broken = written("predictor", "[transformer]").replace("5m", "5").replace("after", "aftr")
    found = messages(broken, written("transformer", "[predictor]"))
    assert [each.split(": ")[0] for each in found] == ["p0.yaml:7:9", "p1.yaml:7:10"]


def test_a_component_that_no_policy_rolls_out_is_a_warning() -> None:
    """Its policy may be in another file; alone, nothing would be waited for."""
    assert messages(written("predictor", "[transformer]")) == [
        "p0.yaml:7:10: warning: spec.after: none of these policies rolls out the transformer, so there is "
        "nothing that the predictor could wait for (check both policies together)"
    ]
    assert messages(written("predictor", "[transformer]"), written("transformer")) == []
