"""What is checked of every request, and the headers of every answer: no cookie, no foreign origin, no foreign host."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["CONTENT_SECURITY_POLICY", "RequestChecks", "check_origin", "parse_form"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # Within the page the origin is sent, because a POST without it is refused; nothing is sent to anywhere else.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_MAX_FORM_BYTES = 8 * 1024
_MAX_PATH = 2048

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class RequestChecks:
    """Around the application: ``hosts`` are the values of Host that are answered (none: all), ``token`` is the first
    part of every path ("": none). ``prefix`` is the path under which a proxy serves the page, and may leave in."""

    def __init__(
        self, application: AsgiApplication, *, hosts: Collection[str] = (), token: str = "", prefix: str = ""
    ) -> None:
        self._application = application
        self._prefix = prefix
        self._hosts = frozenset(hosts)
        self._token = token

    def allow_hosts(self, hosts: Collection[str]) -> None:
        """The hosts, where they are known only once the port is."""
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if self._hosts and headers.get("host", "").lower() not in self._hosts:
            await _refuse(send, 421, "this address is not served under that name")
            return
        if len(scope["path"]) > _MAX_PATH:
            await _refuse(send, 414, "the address is too long")
            return
        if self._prefix and (scope["path"] + "/").startswith(f"{self._prefix}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self._prefix) or "/", "raw_path": None}
        if self._token:
            first, _, rest = scope["path"].removeprefix("/").partition("/")
            if not hmac.compare_digest(first.encode(), self._token.encode()):
                await _refuse(send, 404, "use the whole address that `autocanary dashboard` has printed")
                return
            scope = {**scope, "path": f"/{rest}", "raw_path": None}

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *_HEADERS,
                    *(() if b"cache-control" in given else ((b"cache-control", b"no-store"),)),
                ]
            await send(message)

        await self._application(scope, receive, send_with_headers)


async def _refuse(send: Send, status: int, message: str) -> None:
    body = f"{message}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def check_origin(headers: Mapping[str, str], external_origin: str = "") -> str:
    """Why a POST is refused, "" when it comes from this page. ``external_origin`` is where a proxy serves the page."""
    site = headers.get("sec-fetch-site", "")
    if site and site != "same-origin":
        return f"the request comes from another site (Sec-Fetch-Site: {site[:20]})"
    origin = headers.get("origin", "")
    if not origin:
        return "the request does not say where it comes from (no Origin)"
    if external_origin and origin.lower() == external_origin.lower():
        return ""
    parts = urlsplit(origin)
    if parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "").lower() and parts.netloc:
        return ""
    return "the request comes from another page (its Origin is not this host)"


def parse_form(body: bytes, content_type: str) -> Mapping[str, str]:
    """The fields of a form, the last of each name; ValueError in words for anything else."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise ValueError("only forms of the page are accepted")
    if len(body) > _MAX_FORM_BYTES:
        raise ValueError("the form is too long")
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError("the form cannot be read") from error
    return {name: values[-1] for name, values in fields.items()}
