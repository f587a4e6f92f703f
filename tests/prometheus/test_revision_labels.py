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
    RevisionLabels,
    RevisionTarget,
    any_of_matcher,
    child_name,
    is_pod_of,
    targets_by_label_values,
)

ALL = [each for each in vars(revision_labels).values() if isinstance(each, RevisionLabels)]
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?-predictor-[0-9]{5}", fullmatch=True)
TARGETS = st.lists(st.builds(RevisionTarget, st.sampled_from(["models", "team-a"]), NAMES), min_size=1, max_size=5)


def test_matcher_uses_regex_for_several_values() -> None:
    """Prometheus looks plain alternatives up like single values."""
    assert any_of_matcher("a", ["x", "x"]) == 'a="x"'
    assert any_of_matcher("a", ["y", "x.z"]) == 'a=~"x[.]z|y"'
    assert any_of_matcher("a", ["x"], suffix=".+") == 'a=~"(?:x).+"'


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


def _derived(labelling: RevisionLabels, value: str) -> str:
    """What the label_replace calls of a form make of a label value."""
    found = ""
    for _, pattern in labelling.derived:
        if match := re.fullmatch(pattern, value):
            found = match[1]
    return found


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=63), st.booleans())
def test_pod_name_maps_to_its_revision(length: int, tricky: bool) -> None:
    """For every length of name the pod's key is its revision's; also for services called like deployments."""
    longest = 46 if tricky else 63
    revision = ("x-deployment-" * 5 if tricky else "y" * 63)[: min(length, longest)].rstrip("-")
    target = RevisionTarget("models", revision)
    pod = _pods_of(revision)
    assert len(pod) <= 63
    assert _derived(POD_NAME, pod) == POD_NAME.label_values(target)[1]
    pattern = re.search(r'pod=~"(.*)"$', POD_NAME.matchers([target]))
    assert pattern is not None
    assert re.fullmatch(pattern[1], pod)
    assert not re.fullmatch(pattern[1], _pods_of("another-predictor-00001"))


def test_host_of_any_cluster_domain_maps_to_its_revision() -> None:
    """The domain need not be cluster.local; a host that only begins alike is another's."""
    target = RevisionTarget("models", "mnist-predictor-00001")
    host = "mnist-predictor-00001.models.svc.corp.example"
    assert (_derived(MESH_DESTINATION, host),) == MESH_DESTINATION.label_values(target)
    pattern = re.search(r'destination_service=~"(.*)"$', MESH_DESTINATION.matchers([target]))
    assert pattern is not None
    regex = pattern[1].replace("\\\\", "\\")
    assert re.fullmatch(regex, host)
    assert not re.fullmatch(regex, "mnist-predictor-00001.models-too.svc.cluster.local")


@pytest.mark.parametrize("labelling", ALL)
@settings(deadline=None, max_examples=40)
@given(targets=TARGETS)
def test_every_label_scheme_selects_and_groups(labelling: RevisionLabels, targets: list[RevisionTarget]) -> None:
    """The matchers and the grouping parse, and distinct revisions keep distinct keys."""
    query = labelling.group_by_revision("sum", f"m{{{labelling.matchers(targets)}}}", targets, "1m", keep=("le",))
    assert isinstance(promql_parser.parse(query), promql_parser.AggregateExpr)
    assert len(targets_by_label_values(labelling, targets)) == len(set(targets))
    assert all(len(labelling.label_values(target)) == len(labelling.group_labels) for target in targets)


@settings(deadline=None)
@given(st.sampled_from(ALL), TARGETS)
def test_every_label_scheme_groups_by_sole_owner(labelling: RevisionLabels, targets: list[RevisionTarget]) -> None:
    """With an operator's parameter, too; a joined one only through targets that have one owner."""
    query = labelling.group_by_sole_owner("count_values", "m", targets, ["pod"], '"at"')
    promql_parser.parse(query)
    assert query.startswith(f"count_values by ({', '.join(labelling.group_labels)}, pod) (")
    assert ("== 1" in query) == labelling.needs_target_info
    assert "topk" not in query


def test_pod_belongs_to_revision_by_name() -> None:
    """Cut and hashed names included; another revision's and unknown ones are not."""
    target = RevisionTarget("models", "mnist-predictor-00002")
    assert is_pod_of(target, "mnist-predictor-00002-deployment-5d8f9c7b6-x2x4z")
    assert not is_pod_of(target, "mnist-predictor-00001-deployment-5d8f9c7b6-x2x4z")
    assert not is_pod_of(target, "activator-7c8d-x2x4z")
    assert not is_pod_of(target, "")
    long = RevisionTarget("models", "a-service-with-a-name-of-some-length-predictor-00002")
    pod = f"{child_name(long.revision, '-deployment')}-5d8f9c7b6-"[:58] + "x2x4z"
    assert is_pod_of(long, pod)
