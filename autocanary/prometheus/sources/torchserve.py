"""TorchServe (port 8082, metrics_mode=prometheus). Its latency is a running total: a mean, no quantile."""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, RequestCounter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

EXPORTERS = (
    Exporter(
        source=Source.TORCHSERVE,
        revision_label_schemes=(RELABELLED, POD_NAME),
        counted=(
            RequestCounter("Requests2XX"),
            RequestCounter("Requests4XX"),
            RequestCounter("Requests5XX", failed=True),
        ),
        unsupported_presets={
            "request-duration": "TorchServe only sums its latencies up, so it has no quantile: take"
            " request-duration from knative, knative-otel, istio or kourier"
        },
    ),
)
