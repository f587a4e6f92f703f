"""How a series says which revision it belongs to: eight forms, because no two exporters agree.

Each form says which matchers select a set of revisions, how a grouped expression keeps them apart, and which
label values stand for which revision in the answer: a label each for namespace and revision
(``_two_labels``), the Envoy cluster ``namespace/revision`` of Kourier's gateway, Istio's host
``revision.namespace.svc.…``, the pod ``<revision>-deployment-<hash>-<five characters>``, or a join with
OpenTelemetry's ``target_info``.

Knative shortens long names with a hash and Kubernetes cuts pod names at 58 characters; both are reproduced
here, as a service name of 30 characters is enough to meet them. (One case is beyond it: pods of a service
that has both such a long name and ``-deployment-`` in it.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autocanary.promql import escape_regex, quote_string

__all__ = [
    "ENVOY_CLUSTER",
    "KNATIVE_LABELS",
    "MESH_DESTINATION",
    "POD_NAME",
    "PRIVATE_SERVICE",
    "PROMOTED",
    "RELABELLED",
    "TARGET_INFO",
    "RevisionLabels",
    "RevisionTarget",
    "any_of_matcher",
    "is_model_of",
    "is_pod_of",
    "targets_by_label_values",
]

_DERIVED_LABEL = "autocanary_revision"
_OWNER_POD = "k8s_pod_name"
_MAX_NAME_LENGTH = 63
_POD_PREFIX_LENGTH = 58  # Kubernetes cuts a generated pod name here and appends five characters


class RevisionTarget(NamedTuple):
    """One revision to ask about."""

    namespace: str
    revision: str


def any_of_matcher(label: str, values: Iterable[str], suffix: str = "") -> str:
    """A matcher for any of the values, with an RE2 ``suffix`` after them."""
    distinct = sorted(set(values))
    if len(distinct) == 1 and not suffix:
        return f"{label}={quote_string(distinct[0])}"
    alternatives = "|".join(escape_regex(value) for value in distinct)
    body = f"(?:{alternatives}){suffix}" if suffix else alternatives
    return f"{label}=~{quote_string(body)}"


def child_name(parent: str, suffix: str) -> str:
    """What Knative calls a revision's child: hashed when too long (knative.dev/pkg/kmeta ChildName)."""
    if len(parent) <= _MAX_NAME_LENGTH - len(suffix):
        return parent + suffix
    digest = hashlib.md5(parent.encode(), usedforsecurity=False).hexdigest()
    return parent[: _MAX_NAME_LENGTH - len(digest) - len(suffix)] + digest + suffix


@dataclass(frozen=True, slots=True, eq=False)  # constants: the same one or another one
class RevisionLabels:
    """One form.

    ``group_labels``: the labels that distinguish revisions once grouped, and ``label_values`` their values for
    one target. ``required_labels``: the labels the series must carry. ``matchers``: what selects the targets'
    series, without braces; may be empty. ``derived``: (label, RE2 pattern) pairs whose first group becomes
    ``_DERIVED_LABEL``, a later match winning. ``needs_target_info``: whether the revision has to be fetched
    from ``target_info``.
    """

    group_labels: tuple[str, ...]
    required_labels: tuple[str, ...]
    label_values: Callable[[RevisionTarget], tuple[str, ...]]
    matchers: Callable[[Sequence[RevisionTarget]], str]
    derived: tuple[tuple[str, str], ...] = ()
    needs_target_info: bool = False

    def group_by_revision(
        self,
        operator: str,
        vector: str,
        targets: Sequence[RevisionTarget],
        window: str,
        keep: Sequence[str] = (),
    ) -> str:
        """``operator by (…)`` over ``vector``: one result per revision and values of the ``keep`` labels."""
        if self.needs_target_info:
            owner = _target_info_owner(targets, window)
            vector = f"{vector} * on (job, instance) group_left ({', '.join(self.group_labels)}) {owner}"
        return self._group(operator, vector, keep)

    def group_by_sole_owner(
        self,
        operator: str,
        vector: str,
        targets: Sequence[RevisionTarget],
        keep: Sequence[str],
        parameter: str = "",
    ) -> str:
        """The same at this instant, for what must never be counted for another revision.

        A scraped target with two owners in ``target_info`` is left out until it has one again.
        """
        if self.needs_target_info:
            labels = ", ".join((*self.group_labels, _OWNER_POD))
            vector = f"{vector} * on (job, instance) group_left ({labels}) {_target_info_sole_owner(targets)}"
        return self._group(operator, vector, keep, parameter)

    def _group(self, operator: str, vector: str, keep: Sequence[str], parameter: str = "") -> str:
        for label, pattern in self.derived:
            vector = f'label_replace({vector}, "{_DERIVED_LABEL}", "$1", "{label}", {quote_string(pattern)})'
        arguments = f"{parameter}, {vector}" if parameter else vector
        return f"{operator} by ({', '.join((*self.group_labels, *keep))}) ({arguments})"


def _two_labels(namespace: str, revision: str, suffix: str = "") -> RevisionLabels:
    """Namespace and revision in a label each; Knative's suffix may follow the revision."""

    def label_values(target: RevisionTarget) -> tuple[str, ...]:
        return (target.namespace, child_name(target.revision, suffix) if suffix else target.revision)

    def matchers(targets: Sequence[RevisionTarget]) -> str:
        keys = [label_values(target) for target in targets]
        namespaces = any_of_matcher(namespace, (first for first, _ in keys))
        return f"{namespaces},{any_of_matcher(revision, (last for _, last in keys))}"

    return RevisionLabels(
        group_labels=(namespace, revision),
        required_labels=(namespace, revision),
        label_values=label_values,
        matchers=matchers,
    )


def _cluster_key(target: RevisionTarget) -> tuple[str, ...]:
    return (f"{target.namespace}/{target.revision}",)


def _cluster_matchers(targets: Sequence[RevisionTarget]) -> str:
    return any_of_matcher("envoy_cluster_name", (_cluster_key(target)[0] for target in targets))


def _host_key(target: RevisionTarget) -> tuple[str, ...]:
    return (f"{target.revision}.{target.namespace}",)


def _host_matchers(targets: Sequence[RevisionTarget]) -> str:
    hosts = (_host_key(target)[0] for target in targets)
    return any_of_matcher("destination_service", hosts, suffix=r"\.svc\..+")  # the cluster's domain may be any


def _pod_key(target: RevisionTarget) -> tuple[str, ...]:
    return (target.namespace, child_name(target.revision, "-deployment")[:_POD_PREFIX_LENGTH])


def _pod_name_prefix(target: RevisionTarget) -> str:
    return f"{child_name(target.revision, '-deployment')}-"[:_POD_PREFIX_LENGTH]


def _pod_matchers(targets: Sequence[RevisionTarget]) -> str:
    namespaces = any_of_matcher("namespace", (target.namespace for target in targets))
    starts = (_pod_name_prefix(target) for target in targets)
    return f"{namespaces},{any_of_matcher('pod', starts, suffix='.+')}"


def _target_info_owner(targets: Sequence[RevisionTarget], window: str) -> str:
    """Which revision each scraped target belonged to within the window; a stopped scrape is still known.

    A target that changed its revision meanwhile (a reused pod address) counts for one of the two; without
    ``topk`` it would fail the whole query.
    """
    return f"topk by (job, instance) (1, last_over_time(target_info{{{PROMOTED.matchers(targets)}}}[{window}]))"


def _target_info_sole_owner(targets: Sequence[RevisionTarget]) -> str:
    sole = "count by (job, instance) (target_info) == 1"
    return f"(target_info{{{PROMOTED.matchers(targets)}}} and on (job, instance) ({sole}))"


def is_pod_of(target: RevisionTarget, pod: str) -> bool:
    """Whether the pod is one of the revision's, by the name that Knative and Kubernetes gave it."""
    return pod.startswith(_pod_name_prefix(target))


def is_model_of(target: RevisionTarget, model: str) -> bool:
    """Whether the service of the revision has the model's name, as KServe's single models do."""
    return (
        bool(model)
        and re.fullmatch(
            rf"{re.escape(model)}-(?:predictor|transformer|explainer)(?:-default|-canary)?-[0-9]+", target.revision
        )
        is not None
    )


KNATIVE_LABELS = _two_labels("namespace_name", "revision_name")
PROMOTED = _two_labels("k8s_namespace_name", "kn_revision_name")
RELABELLED = _two_labels("namespace", "revision_name")
PRIVATE_SERVICE = _two_labels("namespace", "service", "-private")
ENVOY_CLUSTER = RevisionLabels(
    group_labels=("envoy_cluster_name",),
    required_labels=("envoy_cluster_name",),
    label_values=_cluster_key,
    matchers=_cluster_matchers,
)
MESH_DESTINATION = RevisionLabels(
    group_labels=(_DERIVED_LABEL,),
    required_labels=("destination_service",),
    label_values=_host_key,
    matchers=_host_matchers,
    derived=(("destination_service", r"([^.]+\.[^.]+)\..+"),),
)
POD_NAME = RevisionLabels(
    group_labels=("namespace", _DERIVED_LABEL),
    required_labels=("namespace", "pod"),
    label_values=_pod_key,
    matchers=_pod_matchers,
    derived=(("pod", f"(.{{{_POD_PREFIX_LENGTH}}}).{{5}}"), ("pod", "(.+-deployment)-.+")),
)
TARGET_INFO = RevisionLabels(
    group_labels=PROMOTED.group_labels,
    required_labels=("job", "instance", "target_info"),
    label_values=PROMOTED.label_values,
    matchers=lambda _targets: "",
    needs_target_info=True,
)


def targets_by_label_values(
    revision_labels: RevisionLabels, targets: Iterable[RevisionTarget]
) -> Mapping[tuple[str, ...], RevisionTarget]:
    """The targets by the label values that stand for them."""
    return {revision_labels.label_values(target): target for target in targets}
