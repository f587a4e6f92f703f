"""Native histograms in the protobuf exposition, which is the only one that has them.

Written by hand, because Prometheus' Python client exposes none. The fields are those of
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.testbed.servers.http_sink import HttpSink, ReceivedRequest, SinkReply

_HISTOGRAM = 4
_DELIMITED = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


@dataclass(frozen=True)
class NativeSeries:
    """``observed`` counts observations by value; ``schema``: 2^schema buckets lie between two powers of two."""

    labels: Mapping[str, str]
    observed: Mapping[float, int]
    schema: int


class NativeExporter(HttpSink):
    """A page of native histograms."""

    path = "/metrics"

    def __init__(self) -> None:
        super().__init__()
        self._body = b""

    @property
    def target(self) -> str:
        """The host:port a scrape job names."""
        return f"127.0.0.1:{self._server.server_port}"

    def set(self, name: str, series: Sequence[NativeSeries]) -> None:
        """Show this histogram from now on."""
        family = _text(1, name) + _number(3, _HISTOGRAM) + b"".join(_message(4, _metric(each)) for each in series)
        self._body = _varint(len(family)) + family

    def reply_to(self, received: ReceivedRequest) -> SinkReply:
        """The page."""
        super().reply_to(received)
        return SinkReply(body=self._body, headers={"Content-Type": _DELIMITED})


def _metric(series: NativeSeries) -> bytes:
    labels = b"".join(_message(1, _text(1, name) + _text(2, value)) for name, value in series.labels.items())
    return labels + _message(7, _histogram(series))


def _histogram(series: NativeSeries) -> bytes:
    counts: dict[int, int] = {}
    for value, count in series.observed.items():
        index = math.ceil(math.log2(value) * 2**series.schema)
        counts[index] = counts.get(index, 0) + count
    body = _number(1, sum(counts.values()))
    body += _double(2, sum(value * count for value, count in series.observed.items()))
    body += _number(5, _zigzag(series.schema)) + _double(6, 2.0**-128) + _number(7, 0)
    spans, deltas, previous, end = b"", b"", 0, 0
    for index, count in sorted(counts.items()):
        spans += _message(12, _number(1, _zigzag(index - end)) + _number(2, 1))
        deltas += _number(13, _zigzag(count - previous))
        previous, end = count, index + 1
    return body + spans + deltas


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
