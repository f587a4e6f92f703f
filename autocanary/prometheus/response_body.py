"""The body of an answer, read within two bounds: one per answer, one for all answers that are in memory.

Both bounds are on inflated bytes and hold while a body inflates, so that a small compressed body cannot
become a large one in memory.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator

from autocanary.errors import MetricsRefused, MetricsUnreachable

__all__ = ["ACCEPTED_ENCODINGS", "AnswerBudget", "BodyReader", "ReservedBytes"]

ACCEPTED_ENCODINGS = "gzip, deflate"
_INFLATE_STEP = 256 * 1024
_ALWAYS_GRANTED = 256 * 1024
"""Bytes that an answer may have although the budget is used up: large answers cannot crowd out small ones."""


class AnswerBudget:
    """Bytes that all answers in memory may have together. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        return self._used

    def take(self, amount: int) -> bool:
        """Whether the bytes could be reserved."""
        with self._lock:
            if self._used + amount > self.max_bytes:
                return False
            self._used += amount
            return True

    def give_back(self, amount: int) -> None:
        with self._lock:
            self._used -= amount


class ReservedBytes:
    """What one answer has reserved of the budget; ``release`` may be called several times."""

    def __init__(self, budget: AnswerBudget) -> None:
        self._budget = budget
        self._reserved = 0
        self._free = _ALWAYS_GRANTED

    def grow(self, amount: int) -> bool:
        """Whether the answer may have so many bytes more."""
        free = min(self._free, amount)
        counted = amount - free
        if counted and not self._budget.take(counted):
            return False
        self._free -= free
        self._reserved += counted
        return True

    def release(self) -> None:
        reserved, self._reserved = self._reserved, 0
        if reserved:
            self._budget.give_back(reserved)


class BodyReader:
    """Reads one body; ``server`` is the address for messages."""

    def __init__(self, server: str, max_bytes: int, budget: AnswerBudget) -> None:
        self._server = server
        self._max_bytes = max_bytes
        self.reserved = ReservedBytes(budget)

    def read(self, received: Iterable[bytes], encoding: str) -> bytes:
        """The inflated body; MetricsRefused when it is too large, MetricsUnreachable when it is not readable.

        The reservation is the caller's to release once the answer is no longer in memory, errors included.
        """
        parts: list[bytes] = []
        size = 0
        for part in self._inflated(received, encoding.strip().lower()):
            size += len(part)
            if size > self._max_bytes:
                raise MetricsRefused(
                    f"the answer of {self._server} is larger than {self._max_bytes >> 20} MiB: the query must aggregate"
                )
            if not self.reserved.grow(len(part)):
                raise MetricsUnreachable(
                    f"the answers of {self._server} that are being read are too large together: this one was dropped"
                    " and will be asked for again; aggregate the policies' own queries"
                )
            parts.append(part)
        return b"".join(parts)

    def _inflated(self, received: Iterable[bytes], encoding: str) -> Iterator[bytes]:
        if encoding in ("", "identity"):
            yield from received
        elif encoding in ("gzip", "x-gzip", "deflate"):
            try:
                yield from _inflate(received)
            except zlib.error:
                raise MetricsUnreachable(f"{self._server} answers a body that is not valid {encoding}") from None
        else:
            raise MetricsUnreachable(
                f"{self._server} answers with Content-Encoding {encoding[:40]!r}, which was not asked for"
                f" ({ACCEPTED_ENCODINGS})"
            )


def _inflate(received: Iterable[bytes]) -> Iterator[bytes]:
    """The body in steps of bounded size, whatever the compression ratio."""
    inflater = None
    for compressed in received:
        if inflater is None:
            # A zlib header has 8 in the low half of its first byte; some servers send "deflate" without any header.
            raw = compressed[:2] != b"\x1f\x8b" and compressed[:1] and compressed[0] & 0x0F != 8
            inflater = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32)
        while compressed and not inflater.eof:
            yield inflater.decompress(compressed, _INFLATE_STEP)
            compressed = inflater.unconsumed_tail
