"""Translation between InferenceService documents and the model, one module per API generation.

Shared by ``kube`` and ``simulator``. Documents are plain mappings.
Must never be here: I/O, a clock, a decision, or a third-party package.
"""

from __future__ import annotations

from autocanary.errors import InputError
from autocanary.kserve.api_generation import Dialect
from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.kserve.v1beta1 import V1Beta1

__all__ = ["DIALECTS", "Dialect", "dialect_for", "dialects_with_author"]

DIALECTS: tuple[Dialect, ...] = (V1Beta1(), V1Beta1(group="serving.kubeflow.org"), V1Alpha2())
"""Every API generation that autocanary speaks, the newest first: of those in which an API server serves one
and the same object, the first one drives it."""


def dialects_with_author(annotation: str) -> tuple[Dialect, ...]:
    """The same, where services name the author of their spec in an annotation."""
    return (
        V1Beta1(author_annotation=annotation),
        V1Beta1(group="serving.kubeflow.org", author_annotation=annotation),
        V1Alpha2(author_annotation=annotation),
    )


def dialect_for(api_version: str) -> Dialect:
    """The dialect of an ``apiVersion``; InputError for one that this version does not speak."""
    for dialect in DIALECTS:
        if dialect.api_version == api_version:
            return dialect
    known = ", ".join(dialect.api_version for dialect in DIALECTS)
    raise InputError(
        f"InferenceServices of apiVersion {api_version!r} are not supported; this autocanary speaks {known}"
    )
