"""One installation with hostile tenants, a victim in another namespace, and receivers that the tenants command.

The moments of the matrix follow each other on the same servers: the hostile objects are there while a leader runs,
when a new process starts, and when a standby takes over. What must be written again (a record that the leader has
repaired) is written at each moment, while no process leads where that matters.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.tenants import Tenant
from tests.real.installation import SERVICE_ACCOUNT, Autocanary, Installation
from tests.real.manifests import Document, analysis
from tests.testbed.servers import Delay, FaultProxy, HttpSink, RespondInstead, SinkReply, free_port, wait_until
from tests.testbed.servers.http import fetch
from tests.testbed.servers.http_sink import ReceivedRequest
from tests.testbed.setup import FAKETIME, find

__all__ = ["INTERVAL", "MOMENTS", "VICTIMS", "Evidence", "HostileWorld", "ReceiverFarm"]

MOMENTS = ("running", "start", "takeover")
VICTIMS = "victims"
INTERVAL = 1.0
_HOUR = 3600
_SECRET = "hunter2-do-not-show"


class Gate(HttpSink):
    """The victims' pre-rollout webhook: "not now" until the service is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.open: set[str] = set()

    def reply_to(self, received: ReceivedRequest) -> SinkReply:
        super().reply_to(received)
        return SinkReply(200) if received.json().get("name") in self.open else SinkReply(503)


class ReceiverFarm:
    """Receivers on 127.0.0.1 that hang, trickle, redirect, swell and tell secrets. ``inner`` must get nothing."""

    def __init__(self, stack: ExitStack) -> None:
        self.inner: HttpSink = stack.enter_context(HttpSink())
        self.answering: HttpSink = stack.enter_context(HttpSink())
        self.answering.answer(
            403, f"{_SECRET}\x1b[2J\x1b]0;owned\x07".encode() * 20, headers={"Content-Type": "text/html"}
        )
        self.redirector: HttpSink = stack.enter_context(HttpSink())
        self.redirector.answer(302, headers={"Location": self.inner.url})
        self.hanging = self._listen(stack, lambda _client: time.sleep(3600))
        self.trickling = self._listen(stack, _trickle)
        self.swelling = self._listen(stack, _swell)
        self.private_port = free_port()
        self.private_connections: list[str] = []
        for host in ("127.0.0.2", "::1"):
            with contextlib.suppress(OSError):  # no IPv6 on this machine
                self._count(stack, host)

    def _count(self, stack: ExitStack, host: str) -> None:
        """A receiver at an address that the operator does not allow: who connects is noted."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(socket.create_server((host, self.private_port), family=family))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    self.private_connections.append(host)

        threading.Thread(target=accept, daemon=True).start()

    def _listen(self, stack: ExitStack, serve: Callable[[socket.socket], None]) -> str:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_quietly, args=(serve, client), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def _quietly(serve: Callable[[socket.socket], None], client: socket.socket) -> None:
    with client, contextlib.suppress(OSError):
        serve(client)


def _trickle(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Slow: ")
    while True:
        client.sendall(b"a")
        time.sleep(0.5)


def _swell(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(1600):
        client.sendall(b"x" * 65536)


@dataclass
class Evidence:
    """What one moment has shown; everything is read at its end."""

    moment: str
    rolled_back_after: float = 0.0
    gate_after: float = 0.0
    notified_after: float = 0.0
    ready: tuple[int, str] = (0, "")
    healthy: int = 0
    slowest_probe: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    log: list[Document] = field(default_factory=list)
    log_text: str = ""
    policies: Mapping[str, Document] = field(default_factory=dict)
    rollouts: Mapping[str, Document] = field(default_factory=dict)
    writes: list[Document] = field(default_factory=list)
    texts: str = ""
    status_output: str = ""

    def named(self, *events: str) -> set[str]:
        """The objects that log lines of these events name, as namespace/name."""
        found = [each for each in self.log if each["event"] in events]
        return {f"{each.get('namespace', '')}/{each.get('rollout') or each.get('object', '')}" for each in found}

    def valid(self, policy: str) -> str:
        """The status of a policy's condition Valid; "" where it has none."""
        conditions = self.policies.get(policy, {}).get("status", {}).get("conditions", ())
        return next((str(each["status"]) for each in conditions if each["type"] == "Valid"), "")

    def weights_written(self, namespace: str, name: str) -> list[Any]:
        """The weights that autocanary has written into a service, over all moments so far."""
        return [
            ((each.get("requestObject") or {}).get("spec") or {}).get("predictor", {}).get("canaryTrafficPercent")
            for each in self.writes
            if (each["objectRef"].get("namespace"), each["objectRef"].get("name")) == (namespace, name)
            and each["objectRef"]["resource"] == "inferenceservices"
        ]

    def specs_written(self, namespace: str, name: str) -> list[str]:
        """The models that autocanary has written into a service, by their ``storageUri``."""
        predictors = [
            ((each.get("requestObject") or {}).get("spec") or {}).get("predictor", {})
            for each in self.writes
            if (each["objectRef"].get("namespace"), each["objectRef"].get("name")) == (namespace, name)
            and each["objectRef"]["resource"] == "inferenceservices"
        ]
        return [each["model"]["storageUri"] for each in predictors if each.get("model")]


REPLACED_RECORDS = 4
"""Records with a malformed status, which a leader that knows them writes again."""


class HostileWorld:
    """The servers, the tenants' receivers, and the three moments."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.installation = stack.enter_context(Installation(folder))
        self.tenant = Tenant(self.installation.api)
        self.receivers = ReceiverFarm(stack)
        self.gate = stack.enter_context(Gate())
        self.notified = stack.enter_context(HttpSink())
        self.proxy = stack.enter_context(FaultProxy(self.installation.prometheus.url))
        self._bombs()
        self._clock = folder / "clock"
        self._clock.write_text("+0\n")
        self._bad: set[str] = set()
        self.installation.traffic.quality_of = self._errors_of
        self._ignore_odd_services()
        self.process: Autocanary | None = None
        self.between: Callable[[str], None] = lambda _moment: None

    def _bombs(self) -> None:
        """Prometheus' answers to queries that name them; all others are forwarded."""
        zipped = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        rows = b'{"metric":{},"value":[1,"1"]},' * 2_000_000
        body = b'{"status":"success","data":{"resultType":"vector","result":[' + rows + b"{}]}}"
        error = json.dumps(
            {
                "status": "error",
                "errorType": "bad_data",
                "error": "\x1b[2J\x1b]0;owned\x07parse error " + "a." * 200_000,
            }
        ).encode()
        for word, response in (
            (b"bomb_zipped", RespondInstead(200, gzip.compress(b" " * 400_000_000, 1), zipped)),
            (b"bomb_plain", RespondInstead(200, body)),
            (b"bomb_deep", RespondInstead(200, b"[" * 5_000_000)),
            (b"bomb_escape", RespondInstead(422, error)),
        ):
            self.proxy.inject(response, lambda received, word=word: word in received.body)  # type: ignore[misc]

        self.proxy.inject(Delay(9.0), lambda received: b"slow_query" in received.body)

    def _errors_of(self, namespace: str, revision: str) -> float:
        service = revision.removesuffix("-predictor-00002")
        return 0.5 if namespace == VICTIMS and service in self._bad else 0.0

    def _ignore_odd_services(self) -> None:
        """KServe's rules run for services that KServe could serve."""
        rules = self.installation.kserve.rules
        on_event = rules.on_event

        def guarded(name: Any, document: Any, status: Any = None) -> None:
            if not name[1].startswith("odd"):
                on_event(name, document, status)

        rules.on_event = guarded  # type: ignore[method-assign]

    # --- victims -----------------------------------------------------------------------------------------

    def victims(self) -> None:
        """For each moment one service whose candidate will turn bad, and one whose release waits for a policy webhook."""
        tenant = self.tenant
        tenant.namespace(VICTIMS)
        metrics = {**analysis(warmup="1s"), "interval": f"{INTERVAL:g}s"}
        routes = [{"webhook": {"url": self.notified.url}}]
        tenant.policy(VICTIMS, "plain", names=["bad-*"], analysis=metrics, notifications=routes)
        hook = {"name": "gate", "type": "pre-rollout", "url": self.gate.url, "timeout": "5s"}
        tenant.policy(VICTIMS, "gated", names=["gated-*"], analysis=metrics, webhooks=[hook])
        for moment in MOMENTS:
            tenant.service(VICTIMS, f"bad-{moment}")
            tenant.service(VICTIMS, f"gated-{moment}")

    def victim_policy(self) -> None:
        """For victims that come one after another."""
        metrics = {**analysis(warmup="1s"), "interval": f"{INTERVAL:g}s"}
        self.tenant.policy(VICTIMS, "plain", names=["bad-*"], analysis=metrics)

    def prepare_victim(self, name: str) -> None:
        """A healthy candidate with 10 % of the traffic."""
        self.tenant.service(VICTIMS, name)
        self.until(lambda: (VICTIMS, name) in self._rolled_out_of(name), f"{name} to be rolled out", 60)
        self.tenant.release(VICTIMS, name)
        self.until(lambda: self._weight(name) == 10, f"{name} to have 10 %", 60)
        time.sleep(3.0)

    def _rolled_out_of(self, name: str) -> set[tuple[str, str]]:
        status = self.tenant.read("inferenceservices", VICTIMS, name).get("status") or {}
        predictor = (status.get("components") or {}).get("predictor") or {}
        return {(VICTIMS, name)} if predictor.get("latestRolledoutRevision") else set()

    def turn_bad(self, name: str) -> float:
        """The seconds from the candidate's first errors to the weight 0 in the service."""
        began = time.monotonic()
        self._bad.add(name)
        self.until(lambda: self._weight(name) == 0, f"{name} to be rolled back", 60)
        return time.monotonic() - began

    def health(self) -> tuple[tuple[int, str], dict[str, float], int]:
        """/readyz, the metrics, and the peak of the memory in bytes."""
        assert self.process is not None
        metrics = _samples(self._page("/metrics")[1])
        return self._page("/readyz"), metrics, _peak_bytes(self.process.process.pid)

    # --- processes ---------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        return {
            "AUTOCANARY_PROMETHEUS_URL": self.proxy.url,
            "AUTOCANARY_WEBHOOK_HOSTS": "127.0.0.1",
            "LD_PRELOAD": str(find(FAKETIME)),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, seconds: int) -> None:
        """The wall clock of all processes from now on, as an offset."""
        self._clock.write_text(f"{seconds:+d}\n")

    def begin(self) -> Autocanary:
        """Another process, as a standby where one leads."""
        return self.installation.run(environment=self.environment())

    def released(self, services: list[tuple[str, str]]) -> None:
        """Each with its first version; then the second one, until autocanary has brought it to 10 %."""
        for namespace, name in services:
            self.tenant.service(namespace, name)
        known = {*services, *((VICTIMS, f"{kind}-{moment}") for kind in ("bad", "gated") for moment in MOMENTS)}
        self.until(lambda: known <= self._rolled_out(), "the first versions to be rolled out", 90)
        for namespace, name in known:
            self.tenant.release(namespace, name)
        waiting = {each for each in known if not each[1].startswith("gated")}
        try:
            self.until(lambda: waiting <= self._at_weight(10), "the candidates to have 10 %", 90)
        except AssertionError as error:
            raise AssertionError(f"without 10 %: {sorted(waiting - self._at_weight(10))}\n{error}") from None

    def _rolled_out(self) -> set[tuple[str, str]]:
        return {
            (each["metadata"]["namespace"], each["metadata"]["name"])
            for each in self.tenant.read("inferenceservices", "")["items"]
            if ((each.get("status") or {}).get("components") or {}).get("predictor", {}).get("latestRolledoutRevision")
        }

    def _at_weight(self, weight: int) -> set[tuple[str, str]]:
        return {
            (each["metadata"]["namespace"], each["spec"]["inferenceService"]["name"])
            for each in self.tenant.read("canaryrollouts", "").get("items", ())
            if (each.get("status") or {}).get("observedWeight") == weight
        }

    def until(self, so: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            wait_until(so, seconds=seconds, what=what, every=0.3)
        except TimeoutError:
            tail = self.process.text()[-3000:] if self.process is not None else ""
            raise AssertionError(f"{what}: not within {seconds:g} s\n{tail}") from None

    # --- one moment --------------------------------------------------------------------------------------

    def observe(self, moment: str, *, wait: float = 4.0) -> Evidence:
        """The victim's candidate turns bad, and its neighbour's webhook answers yes, beside everything hostile."""
        assert self.process is not None
        evidence = Evidence(moment)
        with self._half_requests():
            time.sleep(wait)
            with self._probing(evidence):
                self._measure(evidence)
                self._collect(evidence)
        return evidence

    def _measure(self, evidence: Evidence) -> None:
        moment, began = evidence.moment, time.monotonic()
        notified_before = len(self.notified.requests)
        self._bad.add(f"bad-{moment}")
        self.gate.open.add(f"gated-{moment}")
        waiting = {"back", "gate", "notified"}
        while waiting and time.monotonic() - began < 90:
            now = time.monotonic() - began
            if "back" in waiting and self._weight(f"bad-{moment}") == 0:
                evidence.rolled_back_after = now
                waiting.discard("back")
            if "gate" in waiting and self._weight(f"gated-{moment}") == 10:
                evidence.gate_after = now
                waiting.discard("gate")
            if "notified" in waiting and any(
                b"rollout_rolled_back" in each.body for each in self.notified.requests[notified_before:]
            ):
                evidence.notified_after = now
                waiting.discard("notified")
            time.sleep(0.1)
        assert not waiting, (
            f"{moment}: {waiting} not within 90 s\n{self.process.text()[-3000:] if self.process else ''}"
        )

    def _weight(self, service: str) -> int | None:
        found = self.tenant.read("inferenceservices", VICTIMS, service)
        weight: int | None = found["spec"]["predictor"].get("canaryTrafficPercent")
        return weight

    def _collect(self, evidence: Evidence) -> None:
        process = self.process
        assert process is not None
        deadline = time.monotonic() + 45
        while evidence.moment == "running" and time.monotonic() < deadline:
            if process.text().count("record_replaced") >= REPLACED_RECORDS:
                break  # a busy machine has replaced the malformed records, too
            time.sleep(0.5)
        time.sleep(5.5)  # policies' statuses are written every five seconds
        assert process.process.poll() is None, process.text()[-3000:]
        evidence.metrics = _samples(self._page("/metrics")[1])
        evidence.ready = self._page("/readyz")
        evidence.healthy = self._page("/healthz")[0]
        evidence.peak_bytes = _peak_bytes(process.process.pid)
        evidence.log_text = process.text()
        evidence.log = process.events()
        evidence.policies = self._documents("rolloutpolicies")
        evidence.rollouts = self._documents("canaryrollouts")
        evidence.writes = [
            each
            for each in self.installation.api.audit(SERVICE_ACCOUNT)
            if each["verb"] in ("create", "update", "patch") and each["responseStatus"]["code"] < 300
        ]
        events = json.dumps(self.tenant.read("events", ""))
        messages = json.dumps(self.installation.slack.messages)
        documents = (*evidence.rollouts.values(), *evidence.policies.values())
        statuses = [each.get("status") for each in documents]
        evidence.texts = "".join((events, messages, json.dumps(statuses)))
        evidence.status_output = self._status()

    def _documents(self, plural: str) -> dict[str, Document]:
        """By namespace/name, one by one: a list that holds a deep object cannot be decoded."""
        names = self.installation.api.kubectl(
            "get", plural, "-A", "-o", 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
        ).split()
        return {each: self.tenant.read(plural, *each.split("/")) for each in names}

    def _status(self) -> str:
        environment = {**self.process.environment(), "TERM": "xterm"} if self.process is not None else {}
        done = subprocess.run(
            [sys.executable, "-m", "autocanary", "status", "-A", "-o", "wide"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout + done.stderr

    def _page(self, path: str) -> tuple[int, str]:
        assert self.process is not None
        status, body = fetch(f"http://127.0.0.1:{self.process.port}{path}", seconds=10)
        return status, body.decode()

    @contextlib.contextmanager
    def _half_requests(self) -> Iterator[None]:
        """80 clients that send half a request, and open another one when they are cut off."""
        assert self.process is not None
        port, stop = self.process.port, threading.Event()

        def hold() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                    while not stop.wait(0.5):
                        client.sendall(b"a")
                stop.wait(0.2)

        threads = [threading.Thread(target=hold, daemon=True) for _ in range(80)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()

    @contextlib.contextmanager
    def _probing(self, evidence: Evidence) -> Iterator[None]:
        """A kubelet: /healthz every second; how long the slowest answer took, failures as 10 s."""
        stop = threading.Event()

        def probe() -> None:
            while not stop.wait(1.0):
                began = time.monotonic()
                try:
                    status = self._page("/healthz")[0]
                except OSError:
                    status = 0
                took = time.monotonic() - began if status == 200 else 10.0
                evidence.slowest_probe = max(evidence.slowest_probe, took)

        thread = threading.Thread(target=probe, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(15)

    # --- the three moments -------------------------------------------------------------------------------

    def run(self, apply: Callable[[HostileWorld, str], None]) -> dict[str, Evidence]:
        """All three; ``apply`` puts the hostile objects of a moment in place."""
        found: dict[str, Evidence] = {}
        apply(self, "running")
        self.set_clock(_HOUR)
        self.installation.slack.answer_once(429, headers={"Retry-After": "86400"})
        found["running"] = self.observe("running")

        assert self.process is not None
        self.process.kill()
        apply(self, "start")
        self.set_clock(-_HOUR + 120)  # the API server's certificate begins an hour before its start
        self.process = self.begin()
        self.until(self._leads, "the new process to lead", 60)
        found["start"] = self.observe("start")

        standby = self.begin()
        before, self.process = self.process, standby
        before.kill()
        apply(self, "takeover")
        self.set_clock(24 * _HOUR)
        self.until(self._leads, "the standby to lead", 60)
        found["takeover"] = self.observe("takeover")
        return found

    def _leads(self) -> bool:
        try:
            return _samples(self._page("/metrics")[1]).get("autocanary_leader") == 1.0
        except (OSError, ValueError):
            return False  # without a file descriptor, or memory for a thread, for a moment


def _samples(page: str) -> dict[str, float]:
    """Each sample of the text format, by name and labels as written."""
    lines = [line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def _peak_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
