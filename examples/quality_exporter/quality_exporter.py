"""Quality events in, counters per revision out: an example exporter for autocanary.

Applications post what users and judges think of answers, a JSON object a line::

    POST /events
    {"namespace": "models", "revision": "mnist-predictor-00002", "thumb": "up"}
    {"namespace": "models", "revision": "mnist-predictor-00002", "judge": "fail", "id": "7f3a"}
    {"namespace": "models", "revision": "mnist-predictor-00002", "predicted": "cat", "label": "dog"}

Prometheus scrapes ``GET /metrics``: ``quality_events_total{namespace, revision, kind, verdict}``, where kind is thumb,
judge or label, and verdict is good or bad. ``GET /counts?namespace=...&revision=...&kind=...`` answers the same
counters as a web metric of autocanary wants them: ``{"bad": 3, "total": 240, "at": 1767225600.5}``.

All lines of a request are counted, or none: one that is wrong makes the answer a 400 that names it. A request can be
sent again after a lost answer, when its events have an ``id``: one that was counted is not counted twice.

Counts are in memory. After a restart they begin at 0, which Prometheus and autocanary see as a reset. Run one replica.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily

MOST_BYTES, MOST_LINES, MOST_REVISIONS, KEPT_IDS = 1 << 20, 10_000, 1_000, 100_000
KINDS = ("thumb", "judge", "label")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_WORDS = {"thumb": {"up": True, "down": False}, "judge": {"pass": True, "fail": False}}


class BadEventError(ValueError):
    """An event that cannot be counted; the text says why."""


class Subject(NamedTuple):
    """What is counted apart."""

    namespace: str
    revision: str
    kind: str


@dataclass(frozen=True)
class Event:
    """One opinion about one answer of a revision. ``event_id`` is empty where the client gave none."""

    subject: Subject
    good: bool
    event_id: str = ""


def read_event(line: str) -> Event:
    """The event of one line of JSON; BadEventError where it is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise BadEventError("it is not JSON") from None
    if not isinstance(document, dict):
        raise BadEventError("it is not a JSON object")
    names = [document.get(field) for field in ("namespace", "revision")]
    for field, name in zip(("namespace", "revision"), names, strict=True):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadEventError(f"{field} is not a name of Kubernetes")
    event_id = document.get("id", "")
    if not isinstance(event_id, str) or len(event_id) > 100:
        raise BadEventError("id is not a text of at most 100 characters")
    kind, good = _opinion(document)
    return Event(Subject(str(names[0]), str(names[1]), kind), good, event_id)


def _opinion(document: Mapping[str, Any]) -> tuple[str, bool]:
    given = [kind for kind in ("thumb", "judge", "label") if kind in document]
    if len(given) != 1:
        raise BadEventError("an event has one of thumb, judge, or label with predicted")
    [kind] = given
    if kind == "label":
        if "predicted" not in document:
            raise BadEventError("predicted is missing beside label")
        return kind, bool(document["predicted"] == document["label"])
    words = _WORDS[kind]
    word = document[kind]
    if not isinstance(word, str) or word not in words:
        raise BadEventError(f"{kind} is neither {' nor '.join(words)}")
    return kind, words[word]


class QualityCounters:
    """Good and bad events by namespace, revision and kind; a collector of prometheus_client. Thread-safe."""

    def __init__(self) -> None:
        self._counts: OrderedDict[Subject, list[int]] = OrderedDict()  # bad, good; the latest used last
        self._ids: OrderedDict[tuple[Subject, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, events: Iterable[Event]) -> int:
        """Count the events; how many of them were new."""
        with self._lock:
            return sum(self._add(event) for event in events)

    def _add(self, event: Event) -> bool:
        if event.event_id:
            key = (event.subject, event.event_id)
            if key in self._ids:
                return False
            self._ids[key] = None
            if len(self._ids) > KEPT_IDS:
                self._ids.popitem(last=False)
        self._counts.setdefault(event.subject, [0, 0])[event.good] += 1
        self._counts.move_to_end(event.subject)
        if len(self._counts) > MOST_REVISIONS * len(KINDS):
            self._counts.popitem(last=False)
        return True

    def counts(self, namespace: str, revision: str, kinds: Iterable[str]) -> tuple[int, int] | None:
        """Bad and all events of the kinds; None before the first of any."""
        with self._lock:
            found = [self._counts.get(Subject(namespace, revision, kind)) for kind in kinds]
        known = [each for each in found if each is not None]
        return (sum(bad for bad, _ in known), sum(bad + good for bad, good in known)) if known else None

    def collect(self) -> Iterable[CounterMetricFamily]:
        """What Prometheus scrapes: both verdicts of each revision, so that a share is a number from the start."""
        family = CounterMetricFamily(
            "quality_events", "Opinions about answers.", labels=("namespace", "revision", "kind", "verdict")
        )
        with self._lock:
            rows = [(subject, list(counts)) for subject, counts in self._counts.items()]
        for subject, counts in rows:
            for verdict, count in zip(("bad", "good"), counts, strict=True):
                family.add_metric([*subject, verdict], count)
        yield family


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    counters: QualityCounters
    registry: CollectorRegistry

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/metrics":
            self._answer(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
        elif parts.path == "/counts":
            self._counts({name: values[-1] for name, values in parse_qs(parts.query).items()})
        elif parts.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        else:
            self._error(404, "GET /metrics, /counts or /healthz, or POST /events")

    def _counts(self, asked: Mapping[str, str]) -> None:
        kind = asked.get("kind", "")
        if not asked.get("namespace") or not asked.get("revision") or (kind and kind not in KINDS):
            self._error(400, f"namespace and revision are needed; kind is one of {', '.join(KINDS)}, or all")
            return
        at = time.time()
        found = self.counters.counts(asked["namespace"], asked["revision"], [kind] if kind else KINDS)
        answer = {"bad": found[0], "total": found[1], "at": at} if found else {"unknown": "no event of it has arrived"}
        self._answer(200, json.dumps(answer).encode(), "application/json")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/events" or not length.isdigit() or int(length) > MOST_BYTES:
            self.close_connection = True  # what follows is not read
            self._error(404 if self.path != "/events" else 413, f"POST /events takes up to {MOST_BYTES} bytes")
            return
        try:
            events = _events(self.rfile.read(int(length)))
        except BadEventError as error:
            self._error(400, str(error))
            return
        counted = self.counters.add(events)
        answer = {"counted": counted, "repeated": len(events) - counted}
        self._answer(200, json.dumps(answer).encode(), "application/json")

    def _error(self, status: int, why: str) -> None:
        self._answer(status, json.dumps({"error": why}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: one line a request would be most of what it does."""


def _events(body: bytes) -> list[Event]:
    try:
        lines = [line for line in body.decode("utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise BadEventError("the body is not UTF-8") from None
    if len(lines) > MOST_LINES:
        raise BadEventError(f"{len(lines)} lines, and at most {MOST_LINES} are read")
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(read_event(line))
        except BadEventError as error:
            raise BadEventError(f"line {number}: {error}") from None
    return events


def make_server(host: str, port: int) -> ThreadingHTTPServer:
    """The exporter, ready to serve."""
    counters, registry = QualityCounters(), CollectorRegistry()
    registry.register(counters)
    handler = type("Handler", (_Handler,), {"counters": counters, "registry": registry})
    server = ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    return server


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Quality events in, counters per revision out.")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - other pods post to it
    parser.add_argument("--port", type=int, default=9109)
    arguments = parser.parse_args()
    server = make_server(arguments.host, arguments.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
