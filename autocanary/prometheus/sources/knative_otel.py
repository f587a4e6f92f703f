"""Knative's queue-proxy from 1.19 on (OpenTelemetry). Seconds; off unless config-observability turns it on.

Two histograms beside each other. ``http_server_request_duration_seconds`` is taken around everything that
queue-proxy does: it has the codes that clients get, queue-proxy's own 503 (queue full) and 504 (timeout) included,
and no probes. ``kn_serving_invocation_duration_seconds`` (and what it was called before) is taken around the model's
container alone, where a request that timed out has code 200. Both in ``pkg/queue/sharedmain/handlers.go`` of
knative.dev/serving; tried on 1.22.

The activator and user containers export the first name, too. Only queue-proxy sets ``kn_route_tag``; where a scrape
drops that label, the name comes last.

Five ways for the revision to reach a series, as it is a resource attribute and no label: by relabelling
(recommended), promoted, as the private service of a ServiceMonitor, in the pod's name, or only on target_info.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import POD_NAME, PRIVATE_SERVICE, PROMOTED, RELABELLED, TARGET_INFO

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's semantic conventions for http.server.request.duration; queue-proxy has them for both."""


def _exporter(histogram: str, ceiling: float | None, *, matchers: str = "", also_exported_by: str = "") -> Exporter:
    status, bad = "http_response_status_code", "5.."
    return Exporter(
        source=Source.KNATIVE_OTEL,
        revision_label_schemes=(RELABELLED, PROMOTED, PRIVATE_SERVICE, POD_NAME, TARGET_INFO),
        counted=(RequestCounter(f"{histogram}_count", label=status, bad=bad, histogram=histogram),),
        measures={
            "request-duration": (HistogramMetric(histogram, ceiling=ceiling, label=status, bad=bad, bounds=_BOUNDS),)
        },
        matchers=matchers,
        also_exported_by=also_exported_by,
    )


EXPORTERS = (
    _exporter("http_server_request_duration_seconds", 10.0, matchers='kn_route_tag!=""'),
    _exporter("kn_serving_invocation_duration_seconds", 10.0),  # 1.19.8, 1.20.1, 1.21 and later
    _exporter("kn_queueproxy_app_duration_seconds", 10.0),  # 1.19.0 to 1.19.7 and 1.20.0
    _exporter("http_server_request_duration_seconds", 10.0, also_exported_by="the activator"),  # all of them
)
