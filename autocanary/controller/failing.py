"""What is said of a failure, and how long to wait after one."""

from __future__ import annotations

from typing import Any

from autocanary.errors import AutocanaryError, NotLeader
from autocanary.logs import logger
from autocanary.model.observation import ServiceKey

__all__ = ["RETRY_LAST", "log_failure", "pause"]

_RETRY_FIRST, RETRY_LAST = 1.0, 30.0

_log = logger("engine")


def log_failure(event: str, key: ServiceKey, error: BaseException | None, **more: Any) -> None:
    """A warning; with a traceback if it is not an error of ours, and only news if we do not lead."""
    known = isinstance(error, AutocanaryError) or error is None
    level = _log.info if isinstance(error, NotLeader) else (_log.warning if known else _log.error)
    extra = {} if known else {"exc_info": error}
    level(
        event,
        namespace=key.namespace,
        service=key.name,
        error=str(error) if error else "",
        **more,
        **extra,
    )


def pause(failures: int) -> float:
    """Seconds before the next try: 1, 2, 4 … 30."""
    return min(RETRY_LAST, _RETRY_FIRST * 2.0 ** min(failures - 1, 10))
