"""TensorFlow Serving (/monitoring/prometheus/metrics, needs its monitoring configuration). Microseconds.

Every status but OK is a failure: its statuses do not tell the client's faults from the server's. The histogram has
the status too, since ``servables/tensorflow/util.cc`` records it; where it does not yet, failures are subtracted.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

_BOUNDS = tuple(10 * 1.8**power for power in range(33))

EXPORTERS = (
    Exporter(
        source=Source.TENSORFLOW_SERVING,
        revision_label_schemes=(RELABELLED, POD_NAME),
        counted=(
            RequestCounter(
                ":tensorflow:serving:request_count", label="status", good="OK", matchers='status!="CANCELLED"'
            ),
        ),
        cancelled=(RequestCounter(":tensorflow:serving:request_count", failed=True, matchers='status="CANCELLED"'),),
        measures={
            "request-duration": (
                HistogramMetric(
                    ":tensorflow:serving:request_latency",
                    per_second=1_000_000,
                    matchers='status!="CANCELLED"',
                    label="status",
                    bad="[^O].*|O[^K].*|OK.+",
                    bounds=_BOUNDS,
                ),
            )
        },
    ),
)
