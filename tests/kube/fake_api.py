"""An API server in memory, over real HTTP: objects, resourceVersions, watches, and faults on request.

It knows no types and no admission; what it answers (codes, Status bodies, compare-and-set, the status
subresource, paging, watch events) is what a real one answered. The tests marked ``real`` ask the
same things of a real one.
"""

from __future__ import annotations

import copy
import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import Configuration

from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import ClusterCredentials

Document = dict[str, Any]

_PATH = re.compile(
    r"^/api(?:/v1|s/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?$"
)


@dataclass(frozen=True)
class Request:
    """One request as it came; ``headers`` has one of each name, ``all_headers`` repeated ones too."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    all_headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Reply:
    """An answer instead of the true one. ``cut`` closes in the middle of the body; ``after`` really does what
    was asked before answering like this."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    after: bool = False


@dataclass(frozen=True)
class Script:
    """A watch's stream instead of the true one: these lines, and then its end ("clean", "cut" or "hang")."""

    lines: tuple[bytes, ...] = ()
    end: str = "clean"


def status(code: int, reason: str, message: str, **details: Any) -> bytes:
    """A Kubernetes Status, as error answers carry."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return json.dumps(body | {"reason": reason, "message": message, "details": details, "code": code}).encode()


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def until(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.002)


class FakeApi:
    """Start with ``with``; ``session()`` gives a client to it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Document] = {}
        self.log: list[tuple[int, str, str, Document]] = []  # version, plural, event type, object
        self.version = 100
        self.requests: list[Request] = []
        self.unserved: set[str] = set()
        self.forbidden: set[str] = set()
        self.scripts: deque[Script] = deque()
        self.oldest_watchable = 0
        self.token = "throw-away"
        self._replies: list[tuple[str, str, deque[Reply]]] = []
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._clients: list[ApiClient] = []
        self._streams: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with self._news:
            self._news.notify_all()
        for client in self._clients:
            client.close()
        self._server.shutdown()
        self._server.server_close()

    def credentials(self) -> ClusterCredentials:
        return ClusterCredentials("the fake API server", "default", self._configuration)

    def client(self, **options: Any) -> ApiClient:
        client = ApiClient(self.credentials(), **options)
        self._clients.append(client)
        return client

    def _configuration(self) -> Configuration:
        configuration = Configuration(host=self.url, api_key={"BearerToken": f"Bearer {self.token}"})
        configuration.proxy = None
        return configuration

    def reply(self, method: str, fragment: str, *replies: Reply) -> None:
        """Answer the next requests of this method whose path holds the fragment like this, one each."""
        self._replies.append((method, fragment, deque(replies)))

    def forget_replies(self) -> None:
        """Answer truly again."""
        self._replies.clear()

    def made(self, method: str, fragment: str = "") -> list[Request]:
        """The requests so far of this method whose path holds the fragment."""
        return [each for each in list(self.requests) if each.method == method and fragment in each.path]

    def watches(self) -> list[Request]:
        return [each for each in list(self.requests) if each.query.get("watch")]

    def put(self, plural: str, document: Document) -> Document:
        """Another client creates or changes an object."""
        metadata = document["metadata"]
        key = (plural, metadata.get("namespace", "default"), metadata["name"])
        with self._news:
            before = self.objects.get(key)
            return self._store(key, document, "MODIFIED" if before else "ADDED", before)

    def drop(self, plural: str, namespace: str, name: str) -> None:
        """Another client deletes an object."""
        with self._news:
            self._delete((plural, namespace, name))

    def cut_streams(self) -> None:
        """Cut every open connection, as a dying API server does."""
        for stream in list(self._streams):
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def answer(self, request: Request) -> Reply | None:
        """The next scripted answer for a request."""
        with self._news:
            self.requests.append(request)
            for method, fragment, replies in self._replies:
                if replies and method == request.method and fragment in request.path:
                    return replies.popleft()
        return None

    def handle(self, request: Request) -> tuple[int, bytes]:
        """The true answer."""
        place = _PATH.match(request.path)
        if place is not None and place["plural"] in self.forbidden:  # rights are checked before the path
            return 403, status(403, "Forbidden", f"{place['plural']} is forbidden: no RBAC policy matched")
        if place is None and re.match(r"^/apis/[^/]+/[^/]+$", request.path):
            asked = {found["plural"] for each in self.requests if (found := _PATH.match(each.path))}
            kinds = [{"name": each} for each in sorted(asked - self.unserved)]
            return 200, json.dumps({"resources": kinds}).encode()
        if place is None or place["plural"] in self.unserved:
            return 404, b"404 page not found\n"
        plural, namespace, name = place["plural"], place["namespace"] or "", place["name"] or ""
        key = (plural, namespace, name)
        with self._news:
            if request.method == "POST":
                return self._create(plural, namespace, request.body)
            if not name:
                return self._list(plural, namespace, request.query)
            held = self.objects.get(key)
            if held is None:
                return 404, status(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)
            if request.method == "GET":
                if "as=PartialObjectMetadata" in request.headers.get("accept", ""):
                    held = {"kind": "PartialObjectMetadata", "metadata": held["metadata"]}
                return 200, json.dumps(held).encode()
            if request.method == "DELETE":
                wanted = (request.body.get("preconditions") or {}).get("uid")
                if wanted and wanted != held["metadata"]["uid"]:
                    return 409, status(409, "Conflict", "Precondition failed: UID", name=name)
                self._delete(key)
                return 200, status(200, "", "deleted")
            return self._write(key, held, request, place["subresource"] or "")

    def _create(self, plural: str, namespace: str, body: Document) -> tuple[int, bytes]:
        name = body["metadata"]["name"]
        key = (plural, namespace, name)
        if key in self.objects:
            return 409, status(409, "AlreadyExists", f'{plural} "{name}" already exists', name=name)
        body = {part: value for part, value in body.items() if part != "status"}
        return 201, json.dumps(self._store(key, body, "ADDED", None)).encode()

    def _write(
        self, key: tuple[str, str, str], held: Document, request: Request, subresource: str
    ) -> tuple[int, bytes]:
        metadata = request.body.get("metadata") or {}
        if (
            metadata.get("resourceVersion", held["metadata"]["resourceVersion"])
            != (held["metadata"]["resourceVersion"])
        ):
            message = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified'
            return 409, status(409, "Conflict", message, name=key[2])
        if metadata.get("uid", held["metadata"]["uid"]) != held["metadata"]["uid"]:
            return 422, status(422, "Invalid", "metadata.uid: Invalid value: field is immutable", name=key[2])
        after = merged(held, request.body) if request.method == "PATCH" else dict(request.body)
        if subresource:
            after = {**held, subresource: after.get(subresource)}
        elif "status" in held:
            after["status"] = held["status"]
        return 200, json.dumps(self._store(key, after, "MODIFIED", held)).encode()

    def _list(self, plural: str, namespace: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        items = [each for key, each in sorted(self.objects.items()) if key[0] == plural and namespace in ("", key[1])]
        start, size = int(query.get("continue") or 0), int(query.get("limit") or 500)
        head: Document = {"resourceVersion": str(self.version)}
        if start + size < len(items):
            head["continue"] = str(start + size)
        return 200, json.dumps({"metadata": head, "items": items[start : start + size]}).encode()

    def _store(self, key: tuple[str, str, str], document: Document, kind: str, before: Document | None) -> Document:
        self.version += 1
        document = copy.deepcopy(document)
        metadata = document.setdefault("metadata", {})
        old = (before or {}).get("metadata", {})
        changed = before is not None and before.get("spec") != document.get("spec")
        metadata.update(
            namespace=key[1],
            name=key[2],
            resourceVersion=str(self.version),
            uid=old.get("uid") or metadata.get("uid") or f"uid-{self.version}",
            generation=old.get("generation", 1) + changed,
            creationTimestamp="2026-01-01T00:00:00Z",
        )
        self.objects[key] = document
        self.log.append((self.version, key[0], kind, document))
        self._news.notify_all()
        return copy.deepcopy(document)

    def _delete(self, key: tuple[str, str, str]) -> None:
        document = copy.deepcopy(self.objects.pop(key))
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, key[0], "DELETED", document))
        self._news.notify_all()

    def serve_watch(self, request: Request, send: Callable[[bytes], None]) -> str:
        """Send events until the client goes; how the stream ends."""
        place = _PATH.match(request.path)
        assert place is not None
        if self.scripts:
            script = self.scripts.popleft()
            for line in script.lines:
                send(line)
            if script.end == "hang":
                self._closing.wait()
            return script.end
        since = int(request.query["resourceVersion"])
        if since < self.oldest_watchable:
            body = json.loads(status(410, "Expired", f"too old resource version: {since}"))
            send(json.dumps({"type": "ERROR", "object": body}).encode() + b"\n")
            return "clean"
        namespace = place["namespace"] or ""
        while not self._closing.is_set():
            with self._news:
                news = [each for each in self.log if each[0] > since and each[1] == place["plural"]]
                if not news:
                    self._news.wait()
            for version, _, kind, document in news:
                since = version
                if namespace in ("", document["metadata"]["namespace"]):
                    send(json.dumps({"type": kind, "object": document}).encode() + b"\n")
        return "clean"

    def opened(self, connection: socket.socket) -> None:
        self._streams.add(connection)

    def closed(self, connection: socket.socket) -> None:
        self._streams.discard(connection)

    def wait(self, seconds: float) -> None:
        self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Clients that went away are no fault of the test's."""


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            api.opened(self.connection)

        def finish(self) -> None:
            api.closed(self.connection)
            super().finish()

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(raw) if raw else None
            request = Request(self.command, url.path, query, headers, body, self.headers.items())
            reply = api.answer(request)
            if reply is not None:
                if reply.after:
                    api.handle(request)
                api.wait(reply.delay)
                self._send(reply.status, reply.body, reply.headers, cut=reply.cut)
            elif query.get("watch"):
                self._watch(request)
            else:
                self._send(*api.handle(request), {})

        def _send(self, code: int, body: bytes, headers: Mapping[str, str], *, cut: bool = False) -> None:
            self.send_response(code)
            if not any(name.lower() == "content-type" for name in headers):
                self.send_header("Content-Type", "application/json")
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + (10 if cut else 0)))
            self.end_headers()
            self.wfile.write(body)
            if cut:
                self.close_connection = True

        def _watch(self, request: Request) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

            def send(data: bytes) -> None:
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

            end = api.serve_watch(request, send)
            if end == "clean":
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = end != "clean"

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing: the tests read ``requests``."""

    return Handler
