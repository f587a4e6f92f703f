"""One query to Prometheus: a deadline, one answer, one sentence when it fails.

The only importer of ``prometheus_api_client``, whose traps are handled in the session below it: the
parameters travel in the body (a grouped query is longer than most proxies' URL limit), nothing is retried
behind our back, warnings and the result's type are kept, and every way to fail becomes MetricsUnreachable
or MetricsRefused in one place. No message holds a credential or a response body.

``trust_env`` is off by decision: ``REQUESTS_CA_BUNDLE``, ``HTTPS_PROXY`` and .netrc of the environment
would override the CA file and send in-cluster queries and their token elsewhere. What is honoured is what
the configuration says; without a CA file, certificates are checked against certifi's roots.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import weakref
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from requests.structures import CaseInsensitiveDict

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.model.foreign_text import clean_text
from autocanary.outbound.deadline import deadline
from autocanary.prometheus.connection_settings import PrometheusConfig, redacted_url
from autocanary.prometheus.http_session import Credentials, DeadlineAdapter
from autocanary.prometheus.query_answer import MalformedResponseError, QueryResponse, parse_response
from autocanary.prometheus.query_plan import OwnQuery
from autocanary.prometheus.response_body import ACCEPTED_ENCODINGS, AnswerBudget, BodyReader, ReservedBytes

__all__ = ["PrometheusClient", "QueryTimedOut"]

_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
_MAX_OWN_RESPONSE_BYTES = 1024 * 1024  # of a policy's own query, which gives one number; some joined ones give 400
_MAX_RESPONSE_BYTES_TOGETHER = 32 * 1024 * 1024  # decoded, JSON takes four to six times as much memory
_MIN_BYTES_PER_CONTAINER = 8
_READ_CHUNK_BYTES = 64 * 1024
_REFUSED_STATUSES = frozenset({400, 413, 414, 422, 431})
_STORE_UNAVAILABLE = re.compile(r"rpc error: code = (?:Unavailable|Aborted|DeadlineExceeded|Canceled)\b")
_MAX_ERROR_TEXT = 300
_MAX_CONNECT_TIMEOUT = 3.0  # per address of the host: a dead one leaves time for the next


class _Received(NamedTuple):
    """A whole answer; ``reserved`` are its bytes of the budget."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes
    reserved: ReservedBytes


class QueryTimedOut(MetricsUnreachable):
    """Prometheus is there and gave up on this one query; a lighter one may well be answered."""


class PrometheusClient:
    """May be used from many threads; ``count`` gets the outcome: "ok", "partial", "refused" or "unreachable"."""

    def __init__(self, config: PrometheusConfig, count: Callable[[str], None] = lambda _outcome: None) -> None:
        self._config = config
        self._count = count
        self._session = _PrometheusSession(config)
        self._connect = PrometheusConnect(
            url=config.base_url,
            headers={"Cache-Control": "no-store", **config.headers},  # for the caches of Mimir, Cortex and Thanos
            auth=Credentials(config),
            session=self._session,
            retry=urllib3.Retry(total=0),
            timeout=(min(config.timeout, _MAX_CONNECT_TIMEOUT), config.timeout),
            method="POST",
        )
        # PrometheusConnect has just mounted an adapter of its own: ten connections, no deadline.
        self._session.mount(config.base_url, DeadlineAdapter(config.connections))
        # The server is to give up a little before we do, so that it can say so.
        # Without nocache, VictoriaMetrics answers as of 30 s ago (-search.latencyOffset).
        self._params = {"nocache": "1", **config.params, "timeout": f"{max(1, round(config.timeout * 900))}ms"}

    def query(self, promql: str) -> QueryResponse:
        """The answer to an instant query, or MetricsUnreachable or MetricsRefused with one sentence."""
        try:
            with deadline(self._config.timeout):
                own = isinstance(promql, OwnQuery)
                self._session.limit_next(_MAX_OWN_RESPONSE_BYTES if own else _MAX_RESPONSE_BYTES)
                self._connect.custom_query(promql, params=self._params)
                response = self._session.pop_response()
        except MalformedResponseError as why:
            self._count("unreachable")
            raise MetricsUnreachable(
                f"{self._config.base_url} answers JSON that is not Prometheus' ({why}): is the URL right?"
            ) from None
        except MetricsError as error:
            self._count("refused" if isinstance(error, MetricsRefused) else "unreachable")
            raise
        self._count("partial" if response.warnings else "ok")
        return response

    def version(self) -> str:
        """The server's version; empty when it is not given (Thanos, VictoriaMetrics, a filtering proxy)."""
        try:
            with deadline(self._config.timeout):
                self._session.request(
                    "GET",
                    f"{self._config.base_url}/api/v1/status/buildinfo",
                    headers=self._connect.headers,
                    auth=self._connect.auth,
                    timeout=self._config.timeout,
                )
            build = self._session.pop_payload().get("data")
        except MetricsError:
            return ""
        return str(build.get("version") or "") if isinstance(build, dict) else ""

    def close(self) -> None:
        """Close the connections; the client is not usable afterwards."""
        self._connect.close()


class _PrometheusSession(requests.Session):
    """Sends, reads within the deadline, judges the answer, and keeps what PrometheusConnect drops.

    What this raises passes through PrometheusConnect untouched, as it is none of the exceptions that it
    knows.
    """

    def __init__(self, config: PrometheusConfig) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = config.ca_file or True
        self._config = config
        self._get_only = False  # learnt from a 405
        self._local = threading.local()
        self._budget = AnswerBudget(_MAX_RESPONSE_BYTES_TOGETHER)
        self._decoding = threading.Lock()

    def limit_next(self, max_bytes: int) -> None:
        """The answer to this thread's next request may be so long."""
        self._local.max_bytes = max_bytes

    def pop_response(self) -> QueryResponse:
        """The result of this thread's latest request, once; its bytes count until the result is collected."""
        received = self._pop_received()
        try:
            with self._decoding:  # decoded JSON takes the most memory: one answer at a time
                response = parse_response(self._payload_or_error(received), _server_time(received.headers))
        except BaseException:
            received.reserved.release()
            raise
        weakref.finalize(response, received.reserved.release)
        return response

    def pop_payload(self) -> dict[str, Any]:
        """The decoded body of this thread's latest request, once."""
        received = self._pop_received()
        try:
            with self._decoding:
                return self._payload_or_error(received)
        finally:
            received.reserved.release()

    def _pop_received(self) -> _Received:
        received: _Received = self._local.received
        del self._local.received
        return received

    def request(  # type: ignore[override]  # prometheus_api_client passes everything by keyword
        self, method: str, url: str, **kwargs: Any
    ) -> requests.Response:
        kwargs.update(stream=True, allow_redirects=False)
        kwargs["verify"] = self.verify
        kwargs["headers"] = {**(kwargs.get("headers") or {}), "Accept-Encoding": ACCEPTED_ENCODINGS}
        self._local.received = self._send(method, url, kwargs)
        return _EmptyResponse()

    def _send(self, method: str, url: str, kwargs: dict[str, Any]) -> _Received:
        """The answer to a POST with the parameters in its body, or to a GET where POST is not allowed."""
        if method == "POST" and not self._get_only:
            received = self._send_once("POST", url, {**kwargs, "data": kwargs.get("params"), "params": None})
            if received.status != 405:
                return received
            received.reserved.release()
            self._get_only = True
        return self._send_once("GET", url, kwargs)

    def _send_once(self, method: str, url: str, kwargs: dict[str, Any]) -> _Received:
        """One request; MetricsUnreachable when there is no whole answer."""
        try:
            try:
                return self._read(super().request(method, url, **kwargs))
            except requests.ConnectionError as error:
                if not _was_connection_dropped(error):
                    raise
                # A connection kept open may be closed by the other end just as it is used again.
                return self._read(super().request(method, url, **kwargs))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise MetricsUnreachable(
                f"{self._config.base_url} {_connection_error_text(error, self._config)}"
            ) from error

    def _read(self, response: requests.Response) -> _Received:
        max_bytes = getattr(self._local, "max_bytes", _MAX_RESPONSE_BYTES)
        reader = BodyReader(self._config.base_url, max_bytes, self._budget)
        try:
            with response:
                received = response.raw.stream(_READ_CHUNK_BYTES, decode_content=False)
                body = reader.read(received, response.headers.get("Content-Encoding", ""))
        except BaseException:
            reader.reserved.release()
            raise
        return _Received(response.status_code, response.headers, body, reader.reserved)

    def _payload_or_error(self, received: _Received) -> dict[str, Any]:
        """The payload of a success; the one translation of every other answer."""
        status, headers, body, _ = received
        base_url = self._config.base_url
        payload = _decode_json(body)
        if status == 200 and payload is not None and payload.get("status") == "success":
            return payload
        if 300 <= status < 400:
            target = redacted_url(headers.get("Location", "")) or "an unnamed place"
            raise MetricsUnreachable(
                f"{base_url} redirects to {target}, which looks like a login page: give Prometheus' own address"
            )
        if payload is not None and payload.get("status") == "error":
            raise _error_from_payload(base_url, status, payload)
        if status in _REFUSED_STATUSES:
            raise MetricsRefused(f"{base_url} refuses the query with HTTP {status}{_size_hint(status)}")
        if status == 200:
            raise MetricsUnreachable(
                f"{base_url} answers {_describe_body(headers, body)} where Prometheus' JSON was expected"
            )
        raise MetricsUnreachable(f"{base_url} answers HTTP {status}{_status_hint(status)}")


class _EmptyResponse(requests.Response):
    """A success for PrometheusConnect, which only digs out the result: ``pop_response`` is what is used."""

    def __init__(self) -> None:
        super().__init__()
        self.status_code = 200

    def json(self, **_: Any) -> Any:
        return {"data": {"result": []}}


def _server_time(headers: CaseInsensitiveDict[str]) -> float | None:
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _decode_json(body: bytes) -> dict[str, Any] | None:
    if body.count(b"[") + body.count(b"{") > 1000 + len(body) // _MIN_BYTES_PER_CONTAINER:
        return None  # empty lists take thirty times as much memory as text; no row of Prometheus is that short
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _error_from_payload(base_url: str, status: int, payload: dict[str, Any]) -> MetricsError:
    kind = str(payload.get("errorType") or "")
    text = clean_text(str(payload.get("error") or "no reason given"), _MAX_ERROR_TEXT)
    if kind == "timeout" or (status == 503 and "timed out" in text):
        return QueryTimedOut(f"{base_url} gave up on the query: {text}")
    if _STORE_UNAVAILABLE.search(text):  # of Thanos, which calls it a failed execution
        return MetricsUnreachable(f"{base_url} answers HTTP {status}: {text}")
    if status in _REFUSED_STATUSES or (status == 200 and kind in ("bad_data", "execution")):
        return MetricsRefused(f"{base_url} refuses the query: {text}")
    return MetricsUnreachable(f"{base_url} answers HTTP {status}: {text}")


def _size_hint(status: int) -> str:
    return ": it is too long for a proxy on the way" if status in (413, 414, 431) else ""


def _status_hint(status: int) -> str:
    if status in (401, 403):
        return ": the credentials are missing, expired or not allowed to query"
    if status == 404:
        return ": no Prometheus API there; is a path prefix missing from the URL?"
    if status == 429:
        return ": it is asked too often"
    return ""


def _describe_body(headers: CaseInsensitiveDict[str], body: bytes) -> str:
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


def _was_connection_dropped(error: BaseException) -> bool:
    return any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in _cause_chain(error))


def _connection_error_text(error: BaseException, config: PrometheusConfig) -> str:
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
