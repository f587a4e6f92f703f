"""Queries of web metrics for the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autocanary.model.measurement import MetricQuery, Source, WebAnswerForm, WebQuestion


def web_query(origin: str, *, compared: bool = False, **changed: Any) -> MetricQuery:
    """About mnist-predictor-00002 in models; ``form``, ``timeout`` and ``credentials`` are those of the question."""
    url = f"{origin}/score?revision="
    of_question = {name: changed.pop(name) for name in ("form", "timeout", "credentials") if name in changed}
    stable_url = f"{url}mnist-predictor-00001" if compared else ""
    question = WebQuestion(f"{url}mnist-predictor-00002", stable_url, WebAnswerForm.VALUE, 2.0)
    query = MetricQuery(
        namespace="models",
        service="mnist",
        component="predictor",
        revision="mnist-predictor-00002",
        stable="mnist-predictor-00001",
        source=Source.AUTO,
        window=60.0,
        counters=compared,
        web=replace(question, **of_question),
    )
    return replace(query, **changed)
