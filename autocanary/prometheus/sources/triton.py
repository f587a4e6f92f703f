"""NVIDIA Triton (port 8002). Microseconds; quantiles only as summaries, and only when these are turned on."""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Counted, Meter, Summary
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

METERS = (
    Meter(
        source=Source.TRITON,
        labellings=(RELABELLED, POD_NAME),
        counted=(
            Counted("nv_inference_request_success"),
            Counted("nv_inference_request_failure", failed=True),
        ),
        measures={
            "request-duration": (
                Summary(
                    "nv_inference_request_summary_us",
                    per_second=1_000_000,
                    hint="Triton has quantiles (0.5, 0.9, 0.95, 0.99 and 0.999 unless configured) only"
                    " when it is started with --metrics-config summary_latencies=true",
                ),
            )
        },
    ),
)
