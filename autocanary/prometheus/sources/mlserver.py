"""MLServer (port 8082). Seconds; model calls are counted by outcome, REST calls timed in a histogram.

A call of a model that it does not have counts as a failure of that model's name (``mlserver/handlers/dataplane.py``),
so the model that the service names counts alone. A call whose client goes away runs on and counts by its outcome.

The histogram covers every REST path, so only inference is selected; calls by gRPC are counted but not timed.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import CLIENT_BOUNDS, Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

EXPORTERS = (
    Exporter(
        source=Source.MLSERVER,
        revision_label_schemes=(RELABELLED, POD_NAME),
        counted=(
            RequestCounter("model_infer_request_success_total"),
            RequestCounter("model_infer_request_failure_total", failed=True),
        ),
        model_label="model",
        models_add=True,
        measures={
            "request-duration": (
                HistogramMetric(
                    "rest_server_request_duration_seconds",
                    matchers='path=~".+/(?:infer|generate).*"',
                    label="status_code",
                    bad="5..",
                    bounds=CLIENT_BOUNDS,
                ),
            )
        },
    ),
)
