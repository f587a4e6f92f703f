"""A watch's answer, line by line, which another thread can end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from autocanary.kube.api_errors import NETWORK_ERRORS, connection_error

__all__ = ["Stream"]

_BLOCK = 65536


class Stream:
    """The lines of a watch, as they come. ``stop`` may be called from another thread."""

    def __init__(self, response: Any, server: str) -> None:
        self._response = response
        self._server = server

    def lines(self) -> Iterator[bytes]:
        """Each line once; ends when the server ends it, Unreachable when it is cut or falls silent."""
        rest = b""
        try:
            while block := self._response.read1(_BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                yield from (line for line in lines if line.strip())
            if rest.strip():
                yield rest
        except NETWORK_ERRORS as error:
            raise connection_error(error, server=self._server) from error

    def stop(self) -> None:
        """Make ``lines`` end now, even while it waits for the next byte."""
        with contextlib.suppress(Exception):
            self._response.shutdown()

    def close(self) -> None:
        """Give the connection up; only for the thread that reads."""
        with contextlib.suppress(Exception):
            self._response.close()
