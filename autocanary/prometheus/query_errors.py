"""Why Prometheus gave no answer that can be used, in words: refused, too long, unreachable, or another server."""

from __future__ import annotations

import os
import re
import ssl
from typing import Any

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.model.foreign_text import clean_text
from autocanary.prometheus.connection_settings import PrometheusConfig

__all__ = [
    "REFUSED_STATUSES",
    "QueryTimedOut",
    "connection_error_text",
    "describe_body",
    "error_from_payload",
    "size_hint",
    "status_hint",
    "was_connection_dropped",
]
REFUSED_STATUSES = frozenset({400, 413, 414, 422, 431})
_STORE_UNAVAILABLE = re.compile(r"rpc error: code = (?:Unavailable|Aborted|DeadlineExceeded|Canceled)\b")
_MAX_ERROR_TEXT = 300


class QueryTimedOut(MetricsUnreachable):
    """Prometheus is there and gave up on this one query; a lighter one may well be answered."""


def error_from_payload(base_url: str, status: int, payload: dict[str, Any]) -> MetricsError:
    kind = str(payload.get("errorType") or "")
    text = clean_text(str(payload.get("error") or "no reason given"), _MAX_ERROR_TEXT)
    if kind == "timeout" or (status == 503 and "timed out" in text):
        return QueryTimedOut(f"{base_url} gave up on the query: {text}")
    if _STORE_UNAVAILABLE.search(text):  # of Thanos, which calls it a failed execution
        return MetricsUnreachable(f"{base_url} answers HTTP {status}: {text}")
    if status in REFUSED_STATUSES or (status == 200 and kind in ("bad_data", "execution")):
        return MetricsRefused(f"{base_url} refuses the query: {text}")
    return MetricsUnreachable(f"{base_url} answers HTTP {status}: {text}")


def size_hint(status: int) -> str:
    return ": it is too long for a proxy on the way" if status in (413, 414, 431) else ""


def status_hint(status: int) -> str:
    if status in (401, 403):
        return ": the credentials are missing, expired or not allowed to query"
    if status == 404:
        return ": no Prometheus API there; is a path prefix missing from the URL?"
    if status == 429:
        return ": it is asked too often"
    return ""


def describe_body(headers: CaseInsensitiveDict[str], body: bytes) -> str:
    if not body:
        return "an empty body"
    if b"<html" in body[:2000].lower() or "html" in headers.get("Content-Type", ""):
        return "a web page (a login?)"
    return "cut or foreign text"


def _cause_chain(error: BaseException) -> list[BaseException]:
    """The error and its causes: requests and urllib3 wrap the cause in arguments and fields."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found


def was_connection_dropped(error: BaseException) -> bool:
    return any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in _cause_chain(error))


def connection_error_text(error: BaseException, config: PrometheusConfig) -> str:
    """What went wrong, after the address, in words of our own: foreign texts may quote headers and URLs."""
    chain = _cause_chain(error)

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    # urllib3 derives "not resolved" and "refused" from its timeout, so the narrow ones come first.
    if caused_by(urllib3.exceptions.NameResolutionError):
        return "cannot be reached: its name does not resolve"
    if caused_by(ConnectionRefusedError):
        return "refuses the connection: nothing listens there"
    if caused_by(TimeoutError, requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
        return f"did not answer within {config.timeout:g} s"
    if caused_by(ssl.SSLError, urllib3.exceptions.SSLError):
        reason = next((cause.reason for cause in chain if isinstance(cause, ssl.SSLError) and cause.reason), "")
        words = reason.replace("_", " ").lower() or "handshake failed"
        return f"cannot be trusted (TLS: {words}); is the CA file right?"
    if caused_by(ConnectionResetError, BrokenPipeError, urllib3.exceptions.IncompleteRead):
        return "cut the connection before its answer was whole"
    if config.ca_file and not os.access(config.ca_file, os.R_OK):
        return f"was not asked: the CA file {config.ca_file} cannot be read"
    return f"cannot be reached ({type(chain[-1]).__name__})"
