"""Kourier's gateway (Envoy, port 9000, /stats/prometheus). Milliseconds; one Envoy cluster per revision."""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import ENVOY_BOUNDS, Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import ENVOY_CLUSTER

EXPORTERS = (
    Exporter(
        source=Source.KOURIER,
        revision_label_schemes=(ENVOY_CLUSTER,),
        counted=(RequestCounter("envoy_cluster_upstream_rq", label="envoy_response_code", bad="5.."),),
        measures={
            "request-duration": (
                HistogramMetric("envoy_cluster_upstream_rq_time", per_second=1000, bounds=ENVOY_BOUNDS),
            )
        },
    ),
)
