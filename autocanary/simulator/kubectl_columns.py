"""A service as ``kubectl get inferenceservice`` prints it, in KFServing's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.model.time_format import parse_time

__all__ = ["kubectl_get"]

_HEAD = ("NAME", "URL", "READY", "DEFAULT TRAFFIC", "CANARY TRAFFIC", "AGE")


def kubectl_get(document: Mapping[str, Any], now: float) -> tuple[str, str]:
    """The head and the row; an empty cell is a field that the status does not have."""
    status = document.get("status") or {}
    ready = {each["type"]: each["status"] for each in status.get("conditions", ())}.get("Ready", "")
    made = parse_time(document["metadata"].get("creationTimestamp"))
    row = (
        document["metadata"]["name"],
        status.get("url", ""),
        ready,
        str(status.get("traffic", "")),
        str(status.get("canaryTraffic", "")),
        _age(now - made) if made is not None else "",
    )
    widths = [max(len(head), len(cell)) for head, cell in zip(_HEAD, row, strict=True)]
    head, cells = (
        "   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (_HEAD, row)
    )
    return head, cells


def _age(seconds: float) -> str:
    """As kubectl shortens it: seconds up to two minutes, minutes with seconds up to ten, then minutes."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes < 10 and rest else f"{minutes}m"
