"""One table per exporter: what it calls its requests, failures and latencies, and in which units.

Must never be here: PromQL beyond a label pattern, I/O, or decisions.

The order below is the order in which ``source: auto`` prefers them: first those that see every request of
a revision from outside the model server (its queueing, its timeouts, its crashes), queue-proxy before the
gateways because it names the revision; then the model servers, the ones that count failures before
KServe's, which does not.
"""

from __future__ import annotations

from functools import cache

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, ExporterVariant
from autocanary.prometheus.sources import (
    istio,
    knative,
    knative_otel,
    kourier,
    kserve_server,
    mlserver,
    tensorflow_serving,
    torchserve,
    triton,
    vllm,
)

__all__ = ["EXPORTERS", "exporter_variants"]

EXPORTERS: tuple[Exporter, ...] = (
    *knative.EXPORTERS,
    *knative_otel.EXPORTERS,
    *istio.EXPORTERS,
    *kourier.EXPORTERS,
    *vllm.EXPORTERS,
    *triton.EXPORTERS,
    *tensorflow_serving.EXPORTERS,
    *torchserve.EXPORTERS,
    *mlserver.EXPORTERS,
    *kserve_server.EXPORTERS,
)

_VARIANTS = tuple(
    ExporterVariant(exporter, revision_labels)
    for exporter in EXPORTERS
    for revision_labels in exporter.revision_label_schemes
)


@cache
def exporter_variants(source: Source) -> tuple[ExporterVariant, ...]:
    """Every variant of the source (of all sources for AUTO), the preferred one first."""
    return tuple(variant for variant in _VARIANTS if source in (Source.AUTO, variant.source))
