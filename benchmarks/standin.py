"""A Prometheus stand-in as a process of its own, so that its CPU is its own; and the way to steer it.

``python -m benchmarks.standin --latency 0.005 --scrape 1`` prints its port and serves until its standard input closes.
Beside ``/api/v1/query`` it takes POSTs to ``/bad`` (a JSON list of revisions that turn bad at once: their next scrapes
show it) and GETs of ``/log`` (every query so far: when, which form, which revisions).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from benchmarks.answering import ParsedQuery, QueryKind, newest_sample, read, rows_of_samples

__all__ = ["AnsweredQuery", "PrometheusStandIn"]


@dataclass(frozen=True, slots=True)
class AnsweredQuery:
    """One query that was answered; ``at`` is epoch seconds, ``took`` seconds."""

    at: float
    kind: QueryKind
    revisions: tuple[str, ...]
    took: float


class PrometheusStandIn:
    """The stand-in from outside, a context manager. ``latency`` is what an answer takes at least.

    ``scrape`` is the time between two samples of a revision; both in seconds.
    """

    def __init__(self, latency: float = 0.005, scrape: float = 1.0) -> None:
        self._latency, self.scrape = latency, scrape
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> PrometheusStandIn:
        command = [sys.executable, "-m", "benchmarks.standin", "--latency", str(self._latency)]
        command += ["--scrape", str(self.scrape)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.communicate()  # closes its standard input, which ends it

    def turn_bad(self, revisions: Iterable[str]) -> float:
        """From now on; the epoch seconds of now, as the stand-in saw it."""
        return float(self._call("/bad", json.dumps(sorted(revisions)).encode())["at"])

    def sample_after(self, revision: str, at: float) -> float:
        """When the revision is scraped next after ``at``, in epoch seconds."""
        newest = newest_sample(revision, at, self.scrape)
        return newest if newest >= at else newest + self.scrape

    def log(self) -> list[AnsweredQuery]:
        """Everything asked so far, oldest first."""
        raw = self._call("/log")
        sets = [tuple(each) for each in raw["sets"]]
        return [AnsweredQuery(at, QueryKind[kind], sets[number], took) for at, kind, number, took in raw["queries"]]

    def _call(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, data=body, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


# --- inside the process


class _Answers:
    """Which revisions are bad since when, and the log; thread-safe."""

    def __init__(self, scrape: float) -> None:
        self._lock = threading.Lock()
        self._scrape = scrape
        self._bad_since: dict[str, float] = {}
        self._sets: dict[tuple[str, ...], int] = {}
        self._queries: list[tuple[float, str, int, float]] = []

    def turn_bad(self, revisions: Iterable[str]) -> float:
        with self._lock:
            now = time.time()
            self._bad_since = {**self._bad_since, **dict.fromkeys(revisions, now)}
            return now

    def answer(self, query: str) -> tuple[ParsedQuery, bytes]:
        parsed, now = read(query), round(time.time(), 3)
        with self._lock:
            bad_since = self._bad_since
        found = rows_of_samples(parsed, bad_since, now, self._scrape)
        result = [{"metric": labels, "value": [now, repr(value)]} for labels, value in found]
        answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return parsed, json.dumps(answer).encode()

    def note(self, at: float, parsed: ParsedQuery) -> None:
        with self._lock:
            number = self._sets.setdefault(parsed.revisions, len(self._sets))
            self._queries.append((at, parsed.kind.name, number, round(time.time() - at, 6)))

    def log(self) -> dict[str, Any]:
        with self._lock:
            return {"sets": list(self._sets), "queries": list(self._queries)}


def _handler(series: _Answers, latency: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            at = time.time()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/bad":
                self._send(200, json.dumps({"at": series.turn_bad(json.loads(body))}).encode())
                return
            query = parse_qs(body.decode()).get("query", [""])[0]
            try:
                parsed, answer = series.answer(query)
            except ValueError as error:
                said = {"status": "error", "errorType": "bad_data", "error": str(error)}
                self._send(400, json.dumps(said).encode())
                return
            time.sleep(max(0.0, at + latency - time.time()))
            self._send(200, answer)
            series.note(at, parsed)

        def do_GET(self) -> None:
            self._send(200, json.dumps(series.log()).encode())

        def _send(self, status: int, body: bytes) -> None:
            head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
            self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers the queries of autocanary without any data.")
    parser.add_argument("--latency", type=float, default=0.005, help="seconds that an answer takes at least")
    parser.add_argument("--scrape", type=float, default=1.0, help="seconds between two samples of a revision")
    arguments = parser.parse_args()
    series = _Answers(arguments.scrape)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(series, arguments.latency))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()  # until the parent process is done, or gone
    server.shutdown()


if __name__ == "__main__":
    main()
