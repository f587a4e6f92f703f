"""Exit codes: what a shell or a pipeline can tell apart."""

from __future__ import annotations

from autocanary.errors import (
    AutocanaryError,
    ClusterError,
    Conflict,
    InputError,
    MetricsUnreachable,
    PolicyError,
    Refused,
)

__all__ = ["BROKEN_PIPE", "DONE", "INTERRUPTED", "NO", "UNREACHABLE", "USAGE", "code_of"]

DONE = 0
NO = 1  # the answer is "no": invalid policy, rolled back, no such rollout, not in time
USAGE = 2
UNREACHABLE = 3  # no usable cluster or Prometheus: away, overloaded, without rights, without our definitions
INTERRUPTED = 130  # as shells say it: 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


def code_of(error: AutocanaryError) -> int:
    """A missing right is not a "no": a pipeline must not take it for a rolled-back release."""
    if isinstance(error, PolicyError | Conflict | Refused):
        return NO
    if isinstance(error, InputError):
        return USAGE
    return UNREACHABLE if isinstance(error, ClusterError | MetricsUnreachable) else NO
