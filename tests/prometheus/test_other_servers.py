"""Answers of Thanos, Mimir and Cortex in the shapes of their own sources: whole, partial, refused, or none.

Thanos: https://github.com/thanos-io/thanos/blob/main/pkg/api/api.go (``response``, ``RespondError``).
Mimir: https://github.com/grafana/mimir/blob/main/pkg/api/error/error.go (types and their HTTP codes).
Cortex: https://github.com/cortexproject/cortex/blob/master/pkg/api/queryapi/util.go, the same types.
The texts are of their documentation: Thanos' store and receive errors, Mimir's runbook of ``err-mimir-…``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.prometheus import PrometheusConfig
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.query_errors import QueryTimedOut
from tests.testbed.servers import HttpSink

STORE_DOWN = (
    'expanding series: proxy Series(): rpc error: code = Aborted desc = fetch series for {cluster="eu"} Addr: '
    "store-1:10901: rpc error: code = Unavailable desc = connection refused"
)


def success(**members: Any) -> bytes:
    data = {"resultType": "vector", "result": [{"metric": {}, "value": [1, "5"]}]}
    return json.dumps({"status": "success", "data": data, **members}).encode()


def failure(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


@pytest.fixture
def server() -> Iterator[HttpSink]:
    with HttpSink() as sink:
        yield sink


def ask(server: HttpSink, status: int, body: bytes) -> tuple[str, ...] | MetricsError:
    """The warnings of an answer, or the error."""
    server.answer(status, body, headers={"Content-Type": "application/json"})
    client = PrometheusClient(PrometheusConfig(server.url.removesuffix("/"), timeout=3))
    try:
        return client.query("up").warnings
    except MetricsError as error:
        return error
    finally:
        client.close()


@pytest.mark.parametrize(
    "body",
    [
        success(),
        success(stats={"samples": {"totalQueryableSamples": 4}}),  # Mimir, with stats=all
        success(warnings=[], infos=["PromQL info: metric might not be a counter (1:6)"]),
    ],
    ids=["plain", "stats", "remark"],
)
def test_whole_answers(server: HttpSink, body: bytes) -> None:
    """Nothing is doubted that need not be."""
    assert ask(server, 200, body) == ()


@pytest.mark.parametrize(
    "text",
    [
        "receive series from Addr: store-1:10901 MinTime: 0 MaxTime: 1: rpc error: code = Unavailable desc = x",  # Thanos
        "No StoreAPIs matched for this query",  # Thanos
        "query result may contain partial data",  # Cortex with query_partial_data, pkg/querier/partialdata
    ],
)
def test_partial_answers_quote_the_server(server: HttpSink, text: str) -> None:
    """HTTP 200 and "success": only the warning says that a store is missing."""
    assert ask(server, 200, success(warnings=[text])) == (text,)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        # Thanos with partial_response=false: a store that is down, not a query that is wrong
        (422, failure("execution", STORE_DOWN), MetricsUnreachable),
        (500, failure("internal", "no store API client could be found"), MetricsUnreachable),
        (503, failure("canceled", "context canceled"), MetricsUnreachable),
        # Mimir and Cortex
        (499, failure("canceled", "context canceled"), MetricsUnreachable),
        (503, failure("timeout", "query timed out in query execution"), QueryTimedOut),
        (429, failure("too_many_requests", "too many outstanding requests"), MetricsUnreachable),
        (500, failure("internal", "too many unhealthy instances in the ring"), MetricsUnreachable),
        (401, b"no org id\n", MetricsUnreachable),
        (
            422,
            failure("execution", "the query exceeded the maximum number of series (err-mimir-max-series-per-query)"),
            MetricsRefused,
        ),
        (413, failure("too_large_entry", "the response is larger than allowed"), MetricsRefused),
        (400, failure("bad_data", "invalid parameter: parse error"), MetricsRefused),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_errors_of_the_server_and_of_the_query_are_distinguished(
    server: HttpSink, status: int, body: bytes, kind: type[MetricsError]
) -> None:
    """A query that is too heavy is asked in smaller pieces; a server that is down is not asked all the more."""
    error = ask(server, status, body)
    assert isinstance(error, MetricsError)
    assert type(error) is kind, error
