"""How series name their revision, long names included."""

from __future__ import annotations

import re

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.prometheus import revision_labels
from autocanary.prometheus.revision_labels import (
    MESH_DESTINATION,
    POD_NAME,
    Labelling,
    Target,
    among,
    child_name,
    index,
    own_pod,
)

ALL = [each for each in vars(revision_labels).values() if isinstance(each, Labelling)]
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?-predictor-[0-9]{5}", fullmatch=True)
TARGETS = st.lists(st.builds(Target, st.sampled_from(["models", "team-a"]), NAMES), min_size=1, max_size=5)


def test_one_value_is_compared_and_several_are_matched() -> None:
    """Prometheus looks plain alternatives up like single values."""
    assert among("a", ["x", "x"]) == 'a="x"'
    assert among("a", ["y", "x.z"]) == 'a=~"x[.]z|y"'
    assert among("a", ["x"], suffix=".+") == 'a=~"(?:x).+"'


def test_children_of_long_revisions_are_hashed_as_knative_does() -> None:
    """The values come from knative.dev/pkg/kmeta ChildName: 63 characters, the start kept."""
    assert child_name("mnist-predictor-00001", "-private") == "mnist-predictor-00001-private"
    assert child_name("a" * 55, "-private") == "a" * 55 + "-private"
    hashed = child_name("a" * 56, "-private")
    assert len(hashed) == 63
    assert re.fullmatch(r"a{23}[0-9a-f]{32}-private", hashed)
    assert child_name("a" * 56, "-private") != child_name("a" * 57, "-private")


def _pods_of(revision: str, random: str = "x2x4z", hashed: str = "5d8f9c7b6") -> str:
    """What Kubernetes calls a pod: owner and hash, cut at 58 characters, and five random ones."""
    return f"{child_name(revision, '-deployment')}-{hashed}-"[:58] + random


def _derived(labelling: Labelling, value: str) -> str:
    """What the label_replace calls of a form make of a label value."""
    found = ""
    for _, pattern in labelling.derived:
        if match := re.fullmatch(pattern, value):
            found = match[1]
    return found


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=63), st.booleans())
def test_pods_lead_back_to_their_revision(length: int, tricky: bool) -> None:
    """For every length of name the pod's key is its revision's; also for services called like deployments."""
    longest = 46 if tricky else 63
    revision = ("x-deployment-" * 5 if tricky else "y" * 63)[: min(length, longest)].rstrip("-")
    target = Target("models", revision)
    pod = _pods_of(revision)
    assert len(pod) <= 63
    assert _derived(POD_NAME, pod) == POD_NAME.key(target)[1]
    pattern = re.search(r'pod=~"(.*)"$', POD_NAME.matchers([target]))
    assert pattern is not None
    assert re.fullmatch(pattern[1], pod)
    assert not re.fullmatch(pattern[1], _pods_of("another-predictor-00001"))


def test_hosts_of_any_cluster_domain_lead_back_to_their_revision() -> None:
    """The domain need not be cluster.local; a host that only begins alike is another's."""
    target = Target("models", "mnist-predictor-00001")
    host = "mnist-predictor-00001.models.svc.corp.example"
    assert (_derived(MESH_DESTINATION, host),) == MESH_DESTINATION.key(target)
    pattern = re.search(r'destination_service=~"(.*)"$', MESH_DESTINATION.matchers([target]))
    assert pattern is not None
    regex = pattern[1].replace("\\\\", "\\")
    assert re.fullmatch(regex, host)
    assert not re.fullmatch(regex, "mnist-predictor-00001.models-too.svc.cluster.local")


@pytest.mark.parametrize("labelling", ALL)
@settings(deadline=None, max_examples=40)
@given(targets=TARGETS)
def test_every_form_selects_and_groups(labelling: Labelling, targets: list[Target]) -> None:
    """The matchers and the grouping parse, and distinct revisions keep distinct keys."""
    query = labelling.grouped("sum", f"m{{{labelling.matchers(targets)}}}", targets, "1m", keep=("le",))
    assert isinstance(promql_parser.parse(query), promql_parser.AggregateExpr)
    assert len(index(labelling, targets)) == len(set(targets))
    assert all(len(labelling.key(target)) == len(labelling.by) for target in targets)


@settings(deadline=None)
@given(st.sampled_from(ALL), TARGETS)
def test_every_form_groups_at_an_instant(labelling: Labelling, targets: list[Target]) -> None:
    """With an operator's parameter, too; a joined one only through targets that have one owner."""
    query = labelling.apart("count_values", "m", targets, ["pod"], '"at"')
    promql_parser.parse(query)
    assert query.startswith(f"count_values by ({', '.join(labelling.by)}, pod) (")
    assert ("== 1" in query) == labelling.joined
    assert "topk" not in query


def test_a_pod_is_known_by_its_revisions_name() -> None:
    """Cut and hashed names included; another revision's and nobody's are not."""
    target = Target("models", "mnist-predictor-00002")
    assert own_pod(target, "mnist-predictor-00002-deployment-5d8f9c7b6-x2x4z")
    assert not own_pod(target, "mnist-predictor-00001-deployment-5d8f9c7b6-x2x4z")
    assert not own_pod(target, "activator-7c8d-x2x4z")
    assert not own_pod(target, "")
    long = Target("models", "a-service-with-a-name-of-some-length-predictor-00002")
    pod = f"{child_name(long.revision, '-deployment')}-5d8f9c7b6-"[:58] + "x2x4z"
    assert own_pod(long, pod)
