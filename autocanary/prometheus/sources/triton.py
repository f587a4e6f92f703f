"""NVIDIA Triton (port 8002). Microseconds; quantiles only as summaries, and only when these are turned on.

Counts are per model, and an ensemble counts one request in each of its models and in itself.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, RequestCounter, SummaryMetric
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

EXPORTERS = (
    Exporter(
        source=Source.TRITON,
        revision_label_schemes=(RELABELLED, POD_NAME),
        counted=(
            RequestCounter("nv_inference_request_success"),
            RequestCounter("nv_inference_request_failure", failed=True, matchers='reason!="CANCELED"'),
        ),
        cancelled=(RequestCounter("nv_inference_request_failure", failed=True, matchers='reason="CANCELED"'),),
        model_label="model",
        measures={
            "request-duration": (
                SummaryMetric(
                    "nv_inference_request_summary_us",
                    per_second=1_000_000,
                    hint="Triton has quantiles (0.5, 0.9, 0.95, 0.99 and 0.999 unless configured) only"
                    " when it is started with --metrics-config summary_latencies=true",
                ),
            )
        },
    ),
)
