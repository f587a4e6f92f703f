"""The report: one HTML file with everything of one rollout, from its record alone. It outlives Prometheus' series."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.page.html_templates import render, static_file
from autocanary.page.page_contexts import rollout_view

__all__ = ["render_report"]


def render_report(
    rollout: Rollout,
    policy: Policy | None,
    now: float,
    *,
    cluster_name: str = "",
    query_text: Callable[[str], str] = lambda _: "",
) -> str:
    """``policy`` is the rollout's snapshot (None: not readable). Of an ended rollout every call gives the same text.

    The file names no other file: its style is inside, allowed by its hash, and it has no script.
    """
    style = static_file("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return render(
        "report.html",
        view=rollout_view(rollout, policy, now, query_text=query_text),
        style=style,
        style_hash=f"sha256-{digest}",
        cluster_name=cluster_name,
        is_report=True,
        base="",
    )
