"""Bodies of answers: bounded while they inflate, one by one and all together."""

from __future__ import annotations

import gc
import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.prometheus import client as client_module
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.response_body import AnswerBudget, BodyReader
from tests.prometheus.test_client import JSON, base, success
from tests.testbed.servers import HttpSink

MIB = 1 << 20


@pytest.fixture
def server() -> Iterator[HttpSink]:
    with HttpSink() as sink:
        yield sink


@pytest.fixture
def client(server: HttpSink) -> Iterator[PrometheusClient]:
    made = PrometheusClient(PrometheusConfig(base(server)))
    yield made
    made.close()


def gzip_bomb(mebibytes: int) -> bytes:
    """Blanks that inflate to so many MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    blanks = b" " * MIB
    return b"".join(packer.compress(blanks) for _ in range(mebibytes)) + packer.flush()


def reader(budget: int = 100 * MIB, max_bytes: int = 100 * MIB) -> BodyReader:
    return BodyReader("http://prometheus", max_bytes, AnswerBudget(budget))


def test_gzip_bomb_is_refused_before_it_is_in_memory(server: HttpSink, client: PrometheusClient) -> None:
    """300 MiB of blanks arrive as 300 kB; at no time is more than the bound of one answer in memory."""
    server.answer(200, gzip_bomb(300), headers={**JSON, "Content-Encoding": "gzip"})
    tracemalloc.start()
    with pytest.raises(MetricsRefused, match="larger than 16 MiB"):
        client.query("up")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * MIB


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "identity"])
def test_every_accepted_encoding_is_read(server: HttpSink, client: PrometheusClient, coding: str) -> None:
    body = success()
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "raw deflate": raw.compress(body) + raw.flush(),
        "identity": body,
    }[coding]
    server.answer(200, packed, headers={**JSON, "Content-Encoding": coding.rpartition(" ")[2]})
    assert client.query("up").samples[0].value == 2.5
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


def test_unreadable_bodies_are_outages() -> None:
    """A coding that was not asked for, and text that is not what its header says."""
    with pytest.raises(MetricsUnreachable, match="'br', which was not asked for"):
        reader().read([b"x"], "br")
    with pytest.raises(MetricsUnreachable, match="not valid gzip"):
        reader().read([b"\x1f\x8bnonsense"], "gzip")


def test_large_answers_share_one_budget() -> None:
    """The second large answer is dropped while the first is in memory; a small one is still read."""
    budget = AnswerBudget(3 * MIB)
    first, second, small = (BodyReader("http://prometheus", 16 * MIB, budget) for _ in range(3))
    first.read([b"x" * MIB] * 2, "")
    with pytest.raises(MetricsUnreachable, match="too large together"):
        second.read([b"x" * MIB] * 2, "")
    second.reserved.release()
    assert small.read([b"x" * 100_000], "") == b"x" * 100_000
    first.reserved.release()
    first.reserved.release()
    assert budget.used == 0


def test_budget_is_free_again_once_answers_are_collected(server: HttpSink, client: PrometheusClient) -> None:
    """An answer counts while its result is used, whether it was a result, an error or a refusal."""
    budget = client._session._budget
    large = success([{"metric": {"pod": f"p{number}"}, "value": [1, "2"]} for number in range(20_000)])
    server.answer(200, large, headers=JSON)
    response = client.query("up")
    assert budget.used > 500_000
    del response
    gc.collect()
    assert budget.used == 0
    for status, body in ((200, b" " * MIB), (500, b" " * MIB), (200, b" " * 20 * MIB)):
        server.answer(status, body, headers=JSON)
        with pytest.raises((MetricsUnreachable, MetricsRefused)):
            client.query("up")
        assert budget.used == 0


def test_json_of_empty_lists_is_not_decoded(server: HttpSink, client: PrometheusClient) -> None:
    """Lists take thirty times as much memory as their text; rows of Prometheus are never that short."""
    inside = b",".join([b"[]"] * (4 * MIB))
    server.answer(200, b'{"status":"success","data":{"resultType":"vector","result":[%s]}}' % inside, headers=JSON)
    tracemalloc.start()
    with pytest.raises(MetricsUnreachable):
        client.query("up")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * client_module._MAX_RESPONSE_BYTES
