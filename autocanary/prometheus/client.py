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
from autocanary.outbound.deadline import deadline
from autocanary.prometheus.connection_settings import PrometheusConfig, redacted_url
from autocanary.prometheus.http_session import Credentials, DeadlineAdapter
from autocanary.prometheus.query_answer import MalformedResponseError, QueryResponse, parse_response
from autocanary.prometheus.query_errors import (
    REFUSED_STATUSES,
    connection_error_text,
    describe_body,
    error_from_payload,
    size_hint,
    status_hint,
    was_connection_dropped,
)
from autocanary.prometheus.query_plan import OwnQuery
from autocanary.prometheus.response_body import ACCEPTED_ENCODINGS, AnswerBudget, BodyReader, ReservedBytes

__all__ = [
    "PrometheusClient",
]

_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
_MAX_OWN_RESPONSE_BYTES = 1024 * 1024  # of a policy's own query, which gives one number; some joined ones give 400
_MAX_RESPONSE_BYTES_TOGETHER = 32 * 1024 * 1024  # decoded, JSON takes four to six times as much memory
_MIN_BYTES_PER_CONTAINER = 8
_READ_CHUNK_BYTES = 64 * 1024
_MAX_CONNECT_TIMEOUT = 3.0  # per address of the host: a dead one leaves time for the next


class _Received(NamedTuple):
    """A whole answer; ``reserved`` are its bytes of the budget."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes
    reserved: ReservedBytes


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
                if not was_connection_dropped(error):
                    raise
                # A connection kept open may be closed by the other end just as it is used again.
                return self._read(super().request(method, url, **kwargs))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise MetricsUnreachable(f"{self._config.base_url} {connection_error_text(error, self._config)}") from error

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
            raise error_from_payload(base_url, status, payload)
        if status in REFUSED_STATUSES:
            raise MetricsRefused(f"{base_url} refuses the query with HTTP {status}{size_hint(status)}")
        if status == 200:
            raise MetricsUnreachable(
                f"{base_url} answers {describe_body(headers, body)} where Prometheus' JSON was expected"
            )
        raise MetricsUnreachable(f"{base_url} answers HTTP {status}{status_hint(status)}")


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
