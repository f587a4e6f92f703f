"""Kourier's gateway (Envoy, port 9000, /stats/prometheus). Milliseconds; one Envoy cluster per revision."""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Counted, Histogram, Meter
from autocanary.prometheus.revision_labels import ENVOY_CLUSTER

METERS = (
    Meter(
        source=Source.KOURIER,
        labellings=(ENVOY_CLUSTER,),
        counted=(Counted("envoy_cluster_upstream_rq", label="envoy_response_code", bad="5.."),),
        measures={"request-duration": (Histogram("envoy_cluster_upstream_rq_time", per_second=1000),)},
    ),
)
