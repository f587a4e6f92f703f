"""The metrics of every exporter as real ones write them, for as many revisions as a test needs.

Each function gives the exposition text of one revision. ``Load`` says what the revision went through since
it started; the numbers are far above zero so that ``increase`` extrapolates all series alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """Requests since the start: good ones, failed ones, and how many took at most each bound (seconds)."""

    good: int
    failed: int
    bucket_counts: tuple[tuple[float, int], ...]

    @property
    def total(self) -> int:
        return self.good + self.failed


def line(metric: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"{metric}{{{inside}}} {value}\n"


def histogram(metric: str, labels: Mapping[str, str], load: Load, unit: float) -> str:
    """A classic histogram of the load's latencies, whose bounds are in ``unit`` of a second."""
    text = f"# TYPE {metric} histogram\n"
    for bound, count in load.bucket_counts:
        text += line(f"{metric}_bucket", {**labels, "le": f"{bound * unit:g}"}, count)
    text += line(f"{metric}_bucket", {**labels, "le": "+Inf"}, load.total)
    return text + line(f"{metric}_sum", labels, load.total * unit) + line(f"{metric}_count", labels, load.total)


def knative(namespace: str, revision: str, load: Load) -> str:
    """Queue-proxy up to Knative 1.18."""
    labels = {
        "namespace_name": namespace,
        "service_name": revision.rpartition("-")[0],
        "configuration_name": revision.rpartition("-")[0],
        "revision_name": revision,
        "pod_name": f"{revision}-deployment-5d8f-abcde",
        "container_name": "queue-proxy",
        "route_tag": "",
    }
    ok = {**labels, "response_code": "200", "response_code_class": "2xx"}
    bad = {**labels, "response_code": "503", "response_code_class": "5xx"}
    text = line("revision_request_count", ok, load.good)
    if load.failed:
        text += line("revision_request_count", bad, load.failed)
    return text + histogram("revision_request_latencies", ok, load, 1000)


def knative_otel(histogram_name: str, located: Mapping[str, str], load: Load) -> str:
    """Queue-proxy from Knative 1.19 on: one histogram, whose count carries the status code.

    The failed requests are the slowest, so that both series together are the load's own histogram.
    """
    good, bad = _split(load)
    text = histogram(histogram_name, {**located, "http_response_status_code": "200"}, good, 1)
    if load.failed:
        text += histogram(histogram_name, {**located, "http_response_status_code": "500"}, bad, 1)
    return text


def _split(load: Load) -> tuple[Load, Load]:
    """The good and the failed requests, which are the slowest: both together are the load's own histogram."""
    slowest = load.bucket_counts[-1][0]
    bad = tuple((bound, load.failed if bound == slowest else 0) for bound, _ in load.bucket_counts)
    good = tuple((bound, count - slow) for (bound, count), (_, slow) in zip(load.bucket_counts, bad, strict=True))
    return Load(load.good, 0, good), Load(0, load.failed, bad)


def istio(namespace: str, revision: str, load: Load) -> str:
    """The gateway's side of a call, and the receiving sidecar's, which must not be counted again."""
    text = ""
    for reporter in ("source", "destination"):
        labels = {
            "reporter": reporter,
            "source_workload": "istio-ingressgateway",
            "destination_workload": "unknown",
            "destination_canonical_revision": "latest",
            "destination_service": f"{revision}.{namespace}.svc.cluster.local",
            "destination_service_name": revision,
        }
        text += line("istio_requests_total", {**labels, "response_code": "200", "response_flags": "-"}, load.good)
        text += line("istio_requests_total", {**labels, "response_code": "0", "response_flags": "DC"}, load.total)
        if load.failed:
            half = load.failed // 2
            text += line("istio_requests_total", {**labels, "response_code": "0", "response_flags": "UC"}, half)
            text += line("istio_requests_total", {**labels, "response_code": "503"}, load.failed - half)
        text += histogram("istio_request_duration_milliseconds", {**labels, "response_code": "200"}, load, 1000)
    return text


def kourier(namespace: str, revision: str, load: Load) -> str:
    labels = {"envoy_cluster_name": f"{namespace}/{revision}"}
    text = line("envoy_cluster_upstream_rq", {**labels, "envoy_response_code": "200"}, load.good)
    if load.failed:
        text += line("envoy_cluster_upstream_rq", {**labels, "envoy_response_code": "500"}, load.failed)
    return text + histogram("envoy_cluster_upstream_rq_time", labels, load, 1000)


def kserve(metric: str, located: Mapping[str, str], load: Load) -> str:
    return histogram(metric, {**located, "model_name": "mnist"}, load, 1)


def vllm(located: Mapping[str, str], load: Load, *, new_names: bool = True) -> str:
    labels = {**located, "model_name": "llama", "engine": "0"}
    token = "inter_token_latency_seconds" if new_names else "time_per_output_token_seconds"
    cache = "kv_cache_usage_perc" if new_names else "gpu_cache_usage_perc"
    text = line("vllm:request_success_total", {**labels, "finished_reason": "stop"}, load.good)
    text += line("vllm:request_success_total", {**labels, "finished_reason": "length"}, 5000)
    # Clients that went away are neither requests nor failures.
    text += line("vllm:request_success_total", {**labels, "finished_reason": "abort"}, load.total)
    if load.failed:
        text += line("vllm:request_success_total", {**labels, "finished_reason": "error"}, load.failed)
    for name in (
        "e2e_request_latency_seconds",
        "time_to_first_token_seconds",
        "request_queue_time_seconds",
        token,
    ):
        text += histogram(f"vllm:{name}", labels, load, 1)
    return text + line(f"vllm:{cache}", labels, 0.4)


def triton(located: Mapping[str, str], load: Load, *, quantiles: Sequence[tuple[str, float]] = ()) -> str:
    """An ensemble: each request is counted by it, by its classifier and by the step before."""
    labels = {**located, "model": "mnist", "version": "1"}
    text = ""
    for model, good, failed in (
        ("preprocess", load.total, 0),
        ("classifier", load.good, load.failed),
        ("mnist", load.good, load.failed),
    ):
        own = {**labels, "model": model}
        text += line("nv_inference_request_success", own, good)
        text += line("nv_inference_request_failure", {**own, "reason": "OTHER"}, failed)
        text += line("nv_inference_request_failure", {**own, "reason": "CANCELED"}, load.total)
    text += line("nv_inference_request_duration_us", labels, load.total * 1000)
    for quantile, seconds in quantiles:
        text += line("nv_inference_request_summary_us", {**labels, "quantile": quantile}, seconds * 1_000_000)
    return text


def tensorflow_serving(located: Mapping[str, str], load: Load) -> str:
    labels = {**located, "model_name": "mnist"}
    text = line(":tensorflow:serving:request_count", {**labels, "status": "OK"}, load.good)
    if load.failed:
        text += line(":tensorflow:serving:request_count", {**labels, "status": "INVALID_ARGUMENT"}, load.failed)
    text += line(":tensorflow:serving:request_count", {**labels, "status": "CANCELLED"}, load.total)
    timed = {**labels, "API": "Predict", "entrypoint": "REST"}
    for status, part in zip(("OK", "INVALID_ARGUMENT"), _split(load), strict=True):
        if part.total:
            text += histogram(":tensorflow:serving:request_latency", {**timed, "status": status}, part, 1_000_000)
    return text


def torchserve(located: Mapping[str, str], load: Load) -> str:
    labels = {**located, "Level": "Host", "Hostname": "pod"}
    text = line("Requests2XX", labels, load.good) + line("Requests4XX", labels, 7000)
    return text + (line("Requests5XX", labels, load.failed) if load.failed else "")


def mlserver(located: Mapping[str, str], load: Load) -> str:
    labels = {**located, "model": "mnist", "version": "v1"}
    text = line("model_infer_request_success_total", labels, load.good)
    text += line("model_infer_request_failure_total", labels, load.failed)
    served = {**located, "app_name": "mlserver", "method": "POST", "status_code": "200"}
    text += histogram("rest_server_request_duration_seconds", {**served, "path": "/v2/models/mnist/infer"}, load, 1)
    ready = Load(90_000, 0, ((0.001, 90_000),))
    return text + histogram("rest_server_request_duration_seconds", {**served, "path": "/v2/health/ready"}, ready, 1)
