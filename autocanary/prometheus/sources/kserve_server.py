"""KServe's own python model server (sklearn, xgboost, lightgbm, custom). Seconds, latency only.

It times failed calls like the others and counts no failures, so it can say how many and how slow, not how
good. Explainers time ``request_explain_seconds`` instead.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import CLIENT_BOUNDS, RATES, Exporter, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

_NO_ERRORS = "KServe's python model server counts no errors: take the rate from knative, knative-otel, istio or kourier"


def _exporter(histogram: str) -> Exporter:
    return Exporter(
        source=Source.KSERVE,
        revision_label_schemes=(RELABELLED, POD_NAME),
        counted=(RequestCounter(f"{histogram}_count", histogram=histogram),),
        measures={"request-duration": (HistogramMetric(histogram, bounds=CLIENT_BOUNDS),)},
        unsupported_presets=dict.fromkeys(RATES, _NO_ERRORS),
    )


EXPORTERS = (_exporter("request_predict_seconds"), _exporter("request_explain_seconds"))
