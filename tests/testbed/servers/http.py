"""The testbed's own HTTP calls: never through a proxy of the environment, always with a deadline."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    ca: Path | None = None,
    body: bytes | None = None,
    seconds: float = 5.0,
) -> tuple[int, bytes]:
    """Status and body of one request, error statuses included.

    Raises the socket's own OSError when no answer came, HTTPException when it broke off.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca is not None:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca))))
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 - our own loopback
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=seconds) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read()
    except urllib.error.URLError as wrapped:
        if isinstance(wrapped.reason, OSError):
            raise wrapped.reason from None  # a time-out or a refusal, as the socket reported it
        raise
