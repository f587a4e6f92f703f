"""Istio's gateway or sidecars, from the sending side. Milliseconds; sees 503 and 504 that pods do not.

Response code 0 is a connection that broke without an answer: a failure. There is no label for the revision
(``destination_canonical_revision`` is always "latest"), but every revision has a host of its own; only that
hop is counted, not the one from the service's host to the gateway.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import MESH_DESTINATION

EXPORTERS = (
    Exporter(
        source=Source.ISTIO,
        revision_label_schemes=(MESH_DESTINATION,),
        matchers='reporter="source"',
        counted=(RequestCounter("istio_requests_total", label="response_code", bad="5..|0"),),
        measures={
            "request-duration": (
                HistogramMetric(
                    "istio_request_duration_milliseconds",
                    per_second=1000,
                    label="response_code",
                    bad="5..|0",
                ),
            )
        },
    ),
)
