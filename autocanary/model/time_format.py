"""Instants as Kubernetes writes them, and as this program counts them: seconds since the epoch."""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["epoch", "iso"]


def iso(at: float | None) -> str | None:
    """Epoch seconds as Kubernetes writes times (UTC, whole seconds)."""
    if at is None:
        return None
    return datetime.fromtimestamp(int(at), tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str | None) -> float | None:
    """The inverse of ``iso``; None for None."""
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
