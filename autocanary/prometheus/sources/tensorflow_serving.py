"""TensorFlow Serving (/monitoring/prometheus/metrics, needs its monitoring configuration). Microseconds.

Every status but OK is a failure: its statuses do not tell the client's faults from the server's.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Counted, Histogram, Meter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

METERS = (
    Meter(
        source=Source.TENSORFLOW_SERVING,
        labellings=(RELABELLED, POD_NAME),
        counted=(Counted(":tensorflow:serving:request_count", label="status", good="OK"),),
        measures={
            "request-duration": (Histogram(":tensorflow:serving:request_latency", per_second=1_000_000),)
        },
    ),
)
