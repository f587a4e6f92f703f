"""Knative's queue-proxy up to 1.18 (OpenCensus, port 9091). Milliseconds; probes are not counted.

``request_*`` rather than ``app_request_*``: only the former see overflowing queues and queue-proxy's own
timeouts. gRPC failures are HTTP 200 here, as in every HTTP-level source.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import KNATIVE_LABELS

_BOUNDS = (
    *(5, 10, 20, 40, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900),
    *(1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000),
)

EXPORTERS = (
    Exporter(
        source=Source.KNATIVE,
        revision_label_schemes=(KNATIVE_LABELS,),
        counted=(RequestCounter("revision_request_count", label="response_code_class", bad="5xx"),),
        measures={
            "request-duration": (
                HistogramMetric(
                    "revision_request_latencies",
                    per_second=1000,
                    ceiling=100.0,
                    bounds=_BOUNDS,
                    label="response_code_class",
                    bad="5xx",
                ),
            )
        },
    ),
)
