"""The most specific policy governs a service; equals are a tie."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.decide.policy_selection import (
    PolicyIndex,
    Tie,
    _CompiledPolicy,
    select_policy,
    select_policy_for,
    selectors_overlap,
)
from autocanary.model.observation import ConditionStatus, DefaultEndpoint, ServiceKey
from autocanary.model.policy import Analysis, Component, Policy, Selector, Step
from tests.decide.builders import make_observation


def policy(
    name: str,
    *,
    namespace: str = "",
    names: tuple[str, ...] = (),
    namespaces: tuple[str, ...] = (),
    component: Component = Component.PREDICTOR,
    **labels: str,
) -> Policy:
    return Policy(
        name=name,
        namespace=namespace,
        selector=Selector(names, namespaces, tuple(sorted(labels.items()))),
        steps=(Step(100, 0.0),),
        analysis=Analysis(()),
        component=component,
        origin=f"{name}.yaml:1",
    )


KEY = ServiceKey("models", "mnist")
LABELS = {"tier": "prod", "team": "vision"}

# From the most specific to the least, as the module's docstring orders them; all match KEY with LABELS.
ORDER = [
    policy("exact-and-label", names=("mnist",), tier="prod"),
    policy("exact-at-home", namespace="models", names=("mnist",)),
    policy("exact-in-namespace", names=("mnist",), namespaces=("models",)),
    policy("exact-in-namespaces", names=("mnist",), namespaces=("mod*",)),
    policy("exact", names=("other", "mnist")),
    policy("glob-and-label", names=("mn*",), tier="prod"),
    policy("glob-at-home", namespace="models", names=("mn*",)),
    policy("glob", names=("mn?st",)),
    policy("two-labels", tier="prod", team="vision"),
    policy("label-at-home", namespace="models", tier="prod"),
    policy("label", tier="prod"),
    policy("home", namespace="models"),
    policy("namespace", namespaces=("models",)),
    policy("namespaces", namespaces=("mo*",)),
    policy("all"),
]


@pytest.mark.parametrize("at", range(len(ORDER)), ids=[each.name for each in ORDER])
def test_each_beats_all_that_follow(at: int) -> None:
    """The documented order holds for every neighbour and every set of less specific policies."""
    assert select_policy(tuple(ORDER[at:]), KEY, LABELS) is ORDER[at]
    assert select_policy(tuple(reversed(ORDER[at:])), KEY, LABELS) is ORDER[at]


@pytest.mark.parametrize(
    "other",
    [
        policy("other-name", names=("iris",)),
        policy("other-glob", names=("iris-*",)),
        policy("other-label", tier="dev"),
        policy("missing-label", zone="a"),
        policy("other-home", namespace="admin"),
        policy("other-namespace", namespaces=("admin",)),
        policy("other-namespaces", namespaces=("adm*",)),
        policy("one-of-two-labels", tier="prod", zone="a"),
        policy("other-component", names=("mnist",), component=Component.TRANSFORMER),
        policy("name-but-label", names=("mnist",), tier="dev"),
        policy("case", names=("MNIST", "Mn*")),
    ],
    ids=lambda each: each.name,
)
def test_every_given_part_must_match(other: Policy) -> None:
    """A selector with one part that does not match selects nothing."""
    assert select_policy((other,), KEY, LABELS) is None


def test_an_exact_name_elsewhere_does_not_hide_the_others() -> None:
    """A policy that names the service but not its namespace leaves it to the next one."""
    named = policy("named", names=("mnist",), namespaces=("admin",))
    all_services = policy("all")
    assert select_policy((named, all_services), KEY, LABELS) is all_services


def test_a_policy_with_both_kinds_of_names_uses_the_better_one() -> None:
    """One list may hold exact names and patterns."""
    both = policy("both", names=("mnist", "iris-*"))
    glob = policy("glob", names=("*",))
    assert select_policy((glob, both), KEY, {}) is both
    assert isinstance(select_policy((glob, both), ServiceKey("models", "iris-2"), {}), Tie)


def test_a_tie_names_every_equal_policy_and_where_it_is() -> None:
    """No guess which of two equal policies was meant."""
    one, other, less = policy("one", names=("mnist",)), policy("other", names=("mnist",)), policy("all")
    tie = select_policy((less, one, other), KEY, LABELS)
    assert isinstance(tie, Tie)
    assert tie.policies == (one, other)
    assert "one (one.yaml:1) and other (other.yaml:1)" in str(tie)


def test_two_policies_for_components_that_share_one_weight_are_a_tie() -> None:
    """Beside stable in one spec they move together: what the one judges, the other would overrule."""
    predictor, transformer = policy("one"), policy("other", component=Component.TRANSFORMER)
    both = tuple(Component)[:2]
    observation = make_observation(
        default_endpoint=DefaultEndpoint({}, "", ConditionStatus.TRUE, True, components=both)
    )
    tie = select_policy_for((predictor, transformer), observation)
    assert isinstance(tie, Tie)
    assert set(tie.policies) == {predictor, transformer}
    assert "one (one.yaml:1) and other (other.yaml:1) select components" in str(tie)
    assert "let only one of them select it" in str(tie)
    alone = make_observation(default_endpoint=DefaultEndpoint({}, "", ConditionStatus.TRUE, True, components=both[:1]))
    assert select_policy_for((predictor, transformer), alone) is predictor, "the service has no transformer"
    assert select_policy_for((predictor, transformer), make_observation()) is predictor, "each has a weight of its own"
    assert select_policy_for((transformer,), observation) is None


def test_nothing_is_selected_from_nothing() -> None:
    """Without policies every service is left alone."""
    assert select_policy((), KEY, LABELS) is None


def test_policy_of_another_component_is_not_selected() -> None:
    """The transformer of a service has a policy of its own."""
    transformer = policy("t", component=Component.TRANSFORMER)
    assert select_policy((policy("p"), transformer), KEY._replace(component=Component.TRANSFORMER), {}) is transformer


def test_another_set_of_policies_is_noticed() -> None:
    """What was prepared for one tuple is not used for the next, nor for a list that was changed in place."""
    first, second = (policy("first"),), (policy("second"),)
    assert select_policy(first, KEY, {}) is first[0]
    assert select_policy(second, KEY, {}) is second[0]
    changing = [policy("a")]
    assert select_policy(changing, KEY, {}) is changing[0]
    changing[0] = policy("b")
    assert select_policy(changing, KEY, {}) is changing[0]


def test_many_services_cost_little() -> None:
    """5,000 services against 500 policies that name theirs: the work does not grow with the policies."""
    policies = (*(policy(f"p{at}", names=(f"s{at}",)) for at in range(500)), policy("all"))
    tried = 0
    selection = PolicyIndex(policies)
    for at in range(5000):
        found = selection.select(ServiceKey("models", f"s{at}"), LABELS)
        assert found is policies[min(at, 500)]
        tried += 1
    assert tried == 5000
    named = selection._by_name
    assert all(len(candidates) == 1 for candidates in named.values())


WORDS = st.text("ab*?", min_size=1, max_size=4)
NAMES = st.lists(WORDS, max_size=2).map(tuple)
POLICIES = st.builds(
    lambda namespace, names, namespaces, labels: policy(
        "p", namespace=namespace, names=names, namespaces=() if namespace else namespaces, **labels
    ),
    st.sampled_from(["", "a", "ab"]),
    NAMES,
    NAMES,
    st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")),
)
KEYS = st.builds(ServiceKey, st.text("ab", min_size=1, max_size=3), st.text("ab", min_size=1, max_size=4))


@given(
    one=POLICIES,
    other=POLICIES,
    key=KEYS,
    labels=st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")),
)
def test_every_tie_is_reported_by_selectors_overlap(
    one: Policy, other: Policy, key: ServiceKey, labels: dict[str, str]
) -> None:
    """``selectors_overlap`` warns of every pair of policies that ever tie, in either order."""
    other = dataclasses.replace(other, name="q")
    if isinstance(select_policy((one, other), key, labels), Tie):
        assert selectors_overlap(one, other)
        assert selectors_overlap(other, one)


@given(
    st.lists(POLICIES, max_size=6),
    KEYS,
    st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")),
)
def test_index_selects_like_a_linear_search(found: list[Policy], key: ServiceKey, labels: dict[str, str]) -> None:
    """What is found through the prepared tables is what trying every policy finds."""
    policies = [dataclasses.replace(each, name=f"p{at}") for at, each in enumerate(found)]
    alone = [(_CompiledPolicy(each).rank(key, labels), each) for each in policies if each.component is key.component]
    ranks = [rank for rank, _ in alone if rank is not None]
    best = {each.name for rank, each in alone if ranks and rank == max(ranks)}
    selected = select_policy(policies, key, labels)
    chosen = selected.policies if isinstance(selected, Tie) else (selected,) if selected else ()
    assert {each.name for each in chosen} == best


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (policy("a", names=("mnist",)), policy("b", names=("mnist",)), True),
        (policy("a", names=("mnist",)), policy("b", names=("iris",)), False),
        (policy("a", names=("mn*",)), policy("b", names=("*st",)), True),
        (policy("a", names=("mn*",)), policy("b", names=("ir*",)), False),
        (policy("a", names=("m?",)), policy("b", names=("*[xy]",)), True),
        (policy("a", names=("mnist",)), policy("b", names=("mn*",)), False),
        (policy("a", names=("mnist",)), policy("b"), False),
        (policy("a"), policy("b"), True),
        (policy("a", tier="prod"), policy("b", team="x"), True),
        (policy("a", tier="prod"), policy("b", tier="dev"), False),
        (policy("a", tier="prod"), policy("b"), False),
        (policy("a", namespace="x"), policy("b", namespace="x"), True),
        (policy("a", namespace="x"), policy("b", namespace="y"), False),
        (policy("a", namespace="x"), policy("b", namespaces=("x",)), False),
        (policy("a", namespaces=("x",)), policy("b", namespaces=("x", "y")), True),
        (policy("a", namespaces=("x*",)), policy("b", namespaces=("x",)), False),
        (policy("a"), policy("b", component=Component.EXPLAINER), False),
    ],
)
def test_overlaps(one: Policy, other: Policy, expected: bool) -> None:
    """Only equally specific selectors that some service could match overlap."""
    assert selectors_overlap(one, other) is expected
    assert selectors_overlap(other, one) is expected
