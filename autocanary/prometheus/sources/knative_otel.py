"""Knative's queue-proxy from 1.19 on (OpenTelemetry). Seconds; off unless config-observability turns it on.

Three generations of names, and five ways for the revision to reach a series, as it is a resource attribute
and no label: by relabelling (recommended), promoted, as the private service of a ServiceMonitor, in the pod's
name, or only on target_info. ``http_server_request_duration_seconds`` comes last: user containers and the
activator export that name, too.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Counted, Histogram, Meter
from autocanary.prometheus.revision_labels import POD_NAME, PRIVATE_SERVICE, PROMOTED, RELABELLED, TARGET_INFO


def _meter(histogram: str, ceiling: float | None, *, also: str = "") -> Meter:
    status, bad = "http_response_status_code", "5.."
    return Meter(
        source=Source.KNATIVE_OTEL,
        labellings=(RELABELLED, PROMOTED, PRIVATE_SERVICE, POD_NAME, TARGET_INFO),
        counted=(Counted(f"{histogram}_count", label=status, bad=bad),),
        measures={"request-duration": (Histogram(histogram, ceiling=ceiling, label=status, bad=bad),)},
        also=also,
    )


METERS = (
    _meter("kn_serving_invocation_duration_seconds", 10.0),  # 1.19.8, 1.20.1, 1.21 and later
    _meter("kn_queueproxy_app_duration_seconds", 10.0),  # 1.19.0 to 1.19.7 and 1.20.0
    _meter("http_server_request_duration_seconds", 10.0, also="the activator"),  # all of them
)
