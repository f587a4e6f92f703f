"""Istio's gateway or sidecars, from the sending side. Milliseconds; sees 503 and 504 that pods do not.

Response code 0 is a connection that broke without an answer: a failure, unless the client ended it. There is no label
for the revision (``destination_canonical_revision`` is always "latest"), but every revision has a host of its
own; only that hop is counted, not the one from the service's host to the gateway.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import ENVOY_BOUNDS, Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import MESH_DESTINATION

_NOT_CANCELLED = 'response_flags!~"DC|DR"'
"""Envoy's flags of a client that closed or reset its connection before the answer."""

EXPORTERS = (
    Exporter(
        source=Source.ISTIO,
        revision_label_schemes=(MESH_DESTINATION,),
        matchers='reporter="source"',
        cancelled=(RequestCounter("istio_requests_total", failed=True, matchers='response_flags=~"DC|DR"'),),
        counted=(RequestCounter("istio_requests_total", label="response_code", bad="5..|0", matchers=_NOT_CANCELLED),),
        measures={
            "request-duration": (
                HistogramMetric(
                    "istio_request_duration_milliseconds",
                    per_second=1000,
                    matchers=_NOT_CANCELLED,
                    label="response_code",
                    bad="5..|0",
                    bounds=ENVOY_BOUNDS,
                ),
            )
        },
    ),
)
