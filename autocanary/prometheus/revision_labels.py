"""How a series says which revision it belongs to: eight forms, because no two exporters agree.

Each form says which matchers select a set of revisions, how a grouped expression keeps them apart, and which
label values stand for which revision in the answer: a label each for namespace and revision (``_pair``), the
Envoy cluster ``namespace/revision`` of Kourier's gateway, Istio's host ``revision.namespace.svc.…``, the pod
``<revision>-deployment-<hash>-<five characters>``, or a join with OpenTelemetry's ``target_info``.

Knative shortens long names with a hash and Kubernetes cuts pod names at 58 characters; both are reproduced
here, as a service name of 30 characters is enough to meet them. (One case is beyond it: pods of a service
that has both such a long name and ``-deployment-`` in it.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autocanary.promql import literal, quote

__all__ = [
    "ENVOY_CLUSTER",
    "KNATIVE_LABELS",
    "MESH_DESTINATION",
    "POD_NAME",
    "PRIVATE_SERVICE",
    "PROMOTED",
    "RELABELLED",
    "TARGET_INFO",
    "Labelling",
    "Target",
    "among",
    "index",
    "own_pod",
]

_DERIVED = "autocanary_revision"
_OWNER_POD = "k8s_pod_name"
_LONGEST_NAME = 63
_POD_PREFIX = 58  # Kubernetes cuts a generated pod name here and appends five characters


class Target(NamedTuple):
    """One revision to ask about."""

    namespace: str
    revision: str


def among(label: str, values: Iterable[str], prefix: str = "", suffix: str = "") -> str:
    """A matcher for any of the values, with RE2 ``prefix`` and ``suffix`` around them."""
    distinct = sorted(set(values))
    if len(distinct) == 1 and not (prefix or suffix):
        return f"{label}={quote(distinct[0])}"
    alternatives = "|".join(literal(value) for value in distinct)
    body = f"{prefix}(?:{alternatives}){suffix}" if prefix or suffix else alternatives
    return f"{label}=~{quote(body)}"


def child_name(parent: str, suffix: str) -> str:
    """What Knative calls a revision's child: hashed when too long (knative.dev/pkg/kmeta ChildName)."""
    if len(parent) <= _LONGEST_NAME - len(suffix):
        return parent + suffix
    digest = hashlib.md5(parent.encode(), usedforsecurity=False).hexdigest()
    return parent[: _LONGEST_NAME - len(digest) - len(suffix)] + digest + suffix


@dataclass(frozen=True, slots=True, eq=False)  # constants: the same one or another one
class Labelling:
    """One form.

    ``by``: the labels that tell revisions apart once grouped, and ``key`` their values for one target.
    ``needs``: the labels the series must carry. ``matchers``: what selects the targets' series, without
    braces; may be empty. ``derived``: (label, RE2 pattern) pairs whose first group becomes ``_DERIVED``, a
    later match winning. ``joined``: whether the revision has to be fetched from ``target_info``.
    """

    by: tuple[str, ...]
    needs: tuple[str, ...]
    key: Callable[[Target], tuple[str, ...]]
    matchers: Callable[[Sequence[Target]], str]
    derived: tuple[tuple[str, str], ...] = ()
    joined: bool = False

    def grouped(
        self, operator: str, vector: str, targets: Sequence[Target], window: str, keep: Sequence[str] = ()
    ) -> str:
        """``operator by (…)`` over ``vector``: one result per revision and values of the ``keep`` labels."""
        if self.joined:
            vector = (
                f"{vector} * on (job, instance) group_left ({', '.join(self.by)}) {_owner(targets, window)}"
            )
        return self._grouped(operator, vector, keep)

    def apart(
        self, operator: str, vector: str, targets: Sequence[Target], keep: Sequence[str], parameter: str = ""
    ) -> str:
        """The same at this instant, for what must never be counted for another revision.

        A scraped target with two owners in ``target_info`` is left out until it has one again.
        """
        if self.joined:
            labels = ", ".join((*self.by, _OWNER_POD))
            vector = f"{vector} * on (job, instance) group_left ({labels}) {_sole_owner(targets)}"
        return self._grouped(operator, vector, keep, parameter)

    def _grouped(self, operator: str, vector: str, keep: Sequence[str], parameter: str = "") -> str:
        for label, pattern in self.derived:
            vector = f'label_replace({vector}, "{_DERIVED}", "$1", "{label}", {quote(pattern)})'
        arguments = f"{parameter}, {vector}" if parameter else vector
        return f"{operator} by ({', '.join((*self.by, *keep))}) ({arguments})"


def _pair(namespace: str, revision: str, suffix: str = "") -> Labelling:
    """Namespace and revision in a label each; Knative's suffix may follow the revision."""

    def key(target: Target) -> tuple[str, ...]:
        return (target.namespace, child_name(target.revision, suffix) if suffix else target.revision)

    def matchers(targets: Sequence[Target]) -> str:
        keys = [key(target) for target in targets]
        return (
            f"{among(namespace, (first for first, _ in keys))},{among(revision, (last for _, last in keys))}"
        )

    return Labelling(by=(namespace, revision), needs=(namespace, revision), key=key, matchers=matchers)


def _cluster_key(target: Target) -> tuple[str, ...]:
    return (f"{target.namespace}/{target.revision}",)


def _cluster_matchers(targets: Sequence[Target]) -> str:
    return among("envoy_cluster_name", (_cluster_key(target)[0] for target in targets))


def _host_key(target: Target) -> tuple[str, ...]:
    return (f"{target.revision}.{target.namespace}",)


def _host_matchers(targets: Sequence[Target]) -> str:
    hosts = (_host_key(target)[0] for target in targets)
    return among("destination_service", hosts, suffix=r"\.svc\..+")  # the cluster's domain may be any


def _pod_key(target: Target) -> tuple[str, ...]:
    return (target.namespace, child_name(target.revision, "-deployment")[:_POD_PREFIX])


def _pod_start(target: Target) -> str:
    return f"{child_name(target.revision, '-deployment')}-"[:_POD_PREFIX]


def _pod_matchers(targets: Sequence[Target]) -> str:
    namespaces = among("namespace", (target.namespace for target in targets))
    starts = (_pod_start(target) for target in targets)
    return f"{namespaces},{among('pod', starts, suffix='.+')}"


def _owner(targets: Sequence[Target], window: str) -> str:
    """Which revision each scraped target belonged to within the window; a stopped scrape is still known.

    A target that changed its revision meanwhile (a reused pod address) counts for one of the two; without
    ``topk`` it would fail the whole query.
    """
    return (
        f"topk by (job, instance) (1, last_over_time(target_info{{{PROMOTED.matchers(targets)}}}[{window}]))"
    )


def _sole_owner(targets: Sequence[Target]) -> str:
    sole = "count by (job, instance) (target_info) == 1"
    return f"(target_info{{{PROMOTED.matchers(targets)}}} and on (job, instance) ({sole}))"


def own_pod(target: Target, pod: str) -> bool:
    """Whether the pod is one of the revision's, by the name that Knative and Kubernetes gave it."""
    return pod.startswith(_pod_start(target))


KNATIVE_LABELS = _pair("namespace_name", "revision_name")
PROMOTED = _pair("k8s_namespace_name", "kn_revision_name")
RELABELLED = _pair("namespace", "revision_name")
PRIVATE_SERVICE = _pair("namespace", "service", "-private")
ENVOY_CLUSTER = Labelling(
    by=("envoy_cluster_name",), needs=("envoy_cluster_name",), key=_cluster_key, matchers=_cluster_matchers
)
MESH_DESTINATION = Labelling(
    by=(_DERIVED,),
    needs=("destination_service",),
    key=_host_key,
    matchers=_host_matchers,
    derived=(("destination_service", r"([^.]+\.[^.]+)\..+"),),
)
POD_NAME = Labelling(
    by=("namespace", _DERIVED),
    needs=("namespace", "pod"),
    key=_pod_key,
    matchers=_pod_matchers,
    derived=(("pod", f"(.{{{_POD_PREFIX}}}).{{5}}"), ("pod", "(.+-deployment)-.+")),
)
TARGET_INFO = Labelling(
    by=PROMOTED.by,
    needs=("job", "instance", "target_info"),
    key=PROMOTED.key,
    matchers=lambda _targets: "",
    joined=True,
)


def index(labelling: Labelling, targets: Iterable[Target]) -> Mapping[tuple[str, ...], Target]:
    """The targets by the label values that stand for them."""
    return {labelling.key(target): target for target in targets}
