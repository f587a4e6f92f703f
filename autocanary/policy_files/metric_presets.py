"""The metrics that need no query: what each measures, in which unit, and whether a quantile applies.

How each is asked of a source (Knative's queue-proxy, Istio, vLLM …) is the metrics adapter's knowledge;
here is only what a policy must know to read its thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

from autocanary.model.measurement import Unit

__all__ = ["COMPARABLE", "PRESETS", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """``one_is_ratio``: a bare threshold of 1 more likely means 100 % than 1 %, so it is refused too."""

    unit: Unit
    meaning: str
    example: str
    one_is_ratio: bool = False

    @property
    def has_quantile(self) -> bool:
        return self.unit is Unit.SECONDS


COMPARABLE = ("error-rate", "request-success-rate", "request-duration")
"""The presets whose requests are counted one by one on both revisions, which a comparison needs."""

PRESETS: dict[str, Preset] = {
    "request-success-rate": Preset(
        Unit.PERCENT, "Share of requests that were answered without a server error (5xx).", "{min: 99}", True
    ),
    "error-rate": Preset(
        Unit.PERCENT,
        "Share of requests that were answered with a server error (5xx).",
        "{max: 0.5%}",
    ),
    "request-duration": Preset(
        Unit.SECONDS, "How long a request takes, as a quantile of all requests.", "{max: 500ms}"
    ),
    "request-count": Preset(Unit.REQUESTS, "Requests that the revision completed within the window.", "{min: 100}"),
    "time-to-first-token": Preset(
        Unit.SECONDS, "LLM servers: time from the request to the first token, as a quantile.", "{max: 2s}"
    ),
    "time-per-output-token": Preset(
        Unit.SECONDS, "LLM servers: time between two tokens, as a quantile.", "{max: 80ms}"
    ),
    "queue-time": Preset(
        Unit.SECONDS, "How long a request waits before the model works on it, as a quantile.", "{max: 1s}"
    ),
    "kv-cache-usage": Preset(Unit.PERCENT, "LLM servers: how full the key-value cache is.", "{max: 95}", True),
}
