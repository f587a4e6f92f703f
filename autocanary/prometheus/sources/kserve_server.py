"""KServe's own python model server (sklearn, xgboost, lightgbm, custom). Seconds, latency only.

It times failed calls like the others and counts no failures, so it can say how many and how slow, not how
good. Explainers time ``request_explain_seconds`` instead.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import RATES, Counted, Histogram, Meter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

_NO_ERRORS = (
    "KServe's python model server counts no errors:"
    " take the rate from knative, knative-otel, istio or kourier"
)


def _meter(histogram: str) -> Meter:
    return Meter(
        source=Source.KSERVE,
        labellings=(RELABELLED, POD_NAME),
        counted=(Counted(f"{histogram}_count"),),
        measures={"request-duration": (Histogram(histogram),)},
        lacks=dict.fromkeys(RATES, _NO_ERRORS),
    )


METERS = (_meter("request_predict_seconds"), _meter("request_explain_seconds"))
