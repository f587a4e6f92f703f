"""vLLM, also behind KServe's Hugging Face server. Seconds; the only source that knows tokens.

``request_success_total`` is misnamed: it counts every request that ended, by how. Requests that the HTTP
server turned away are not in it. Time per output token has had two names for one meaning
(``inter_token_latency`` is the new one) and a third for the mean per request.
"""

from autocanary.model.measurement import Source
from autocanary.prometheus.presets import Counted, Gauge, Histogram, Meter
from autocanary.prometheus.revision_labels import POD_NAME, RELABELLED

METERS = (
    Meter(
        source=Source.VLLM,
        labellings=(RELABELLED, POD_NAME),
        counted=(Counted("vllm:request_success_total", label="finished_reason", bad="abort|error"),),
        measures={
            "request-duration": (Histogram("vllm:e2e_request_latency_seconds"),),
            "time-to-first-token": (Histogram("vllm:time_to_first_token_seconds"),),
            "time-per-output-token": (
                Histogram("vllm:inter_token_latency_seconds"),
                Histogram("vllm:time_per_output_token_seconds"),
                Histogram("vllm:request_time_per_output_token_seconds"),
            ),
            "queue-time": (Histogram("vllm:request_queue_time_seconds"),),
            "kv-cache-usage": (
                Gauge("vllm:kv_cache_usage_perc", 100),  # 0..1 in spite of its name
                Gauge("vllm:gpu_cache_usage_perc", 100),  # its name until 0.10
            ),
        },
    ),
)
