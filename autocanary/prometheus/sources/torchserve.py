"""TorchServe (port 8082, metrics_mode=prometheus). Its latency is a running total: a mean, no quantile."""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Counted, Meter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

METERS = (
    Meter(
        source=Source.TORCHSERVE,
        labellings=(RELABELLED, POD_NAME),
        counted=(
            Counted("Requests2XX"),
            Counted("Requests4XX"),
            Counted("Requests5XX", failed=True),
        ),
        lacks={
            "request-duration": "TorchServe only sums its latencies up, so it has no quantile: take"
            " request-duration from knative, knative-otel, istio or kourier"
        },
    ),
)
