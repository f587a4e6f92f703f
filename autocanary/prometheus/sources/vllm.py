"""vLLM, also behind KServe's Hugging Face server. Seconds; the only source that knows tokens.

``request_success_total`` is misnamed: it counts every request that vLLM finished, by how. "abort" is what it aborted
itself; the request of a client that went away is dropped and counted nowhere. Requests that the HTTP server
turned away are not in it. Time per output token has had two names for one meaning
(``inter_token_latency`` is the new one) and a third for the mean per request.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import Exporter, GaugeMetric, HistogramMetric, RequestCounter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

_BOUNDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)

EXPORTERS = (
    Exporter(
        source=Source.VLLM,
        revision_label_schemes=(RELABELLED, POD_NAME),
        counted=(
            RequestCounter(
                "vllm:request_success_total",
                label="finished_reason",
                bad="error",
                matchers='finished_reason!="abort"',
            ),
        ),
        cancelled=(RequestCounter("vllm:request_success_total", failed=True, matchers='finished_reason="abort"'),),
        measures={
            "request-duration": (HistogramMetric("vllm:e2e_request_latency_seconds", bounds=_BOUNDS),),
            "time-to-first-token": (HistogramMetric("vllm:time_to_first_token_seconds"),),
            "time-per-output-token": (
                HistogramMetric("vllm:inter_token_latency_seconds"),
                HistogramMetric("vllm:time_per_output_token_seconds"),
                HistogramMetric("vllm:request_time_per_output_token_seconds"),
            ),
            "queue-time": (HistogramMetric("vllm:request_queue_time_seconds"),),
            "kv-cache-usage": (
                GaugeMetric("vllm:kv_cache_usage_perc", 100),  # 0..1 in spite of its name
                GaugeMetric("vllm:gpu_cache_usage_perc", 100),  # its name until 0.10
            ),
        },
    ),
)
