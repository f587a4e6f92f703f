"""One POST or GET to a receiver that we do not control: it ends as an HttpResponse or as one DeliveryError.

Decisions
- ``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY`` and ``REQUESTS_CA_BUNDLE`` are honoured: many clusters reach Slack
  only through a proxy. ``~/.netrc`` is not: it would send a stored password to a receiver that a policy chose.
  Certificates are always verified.
- A policy's URL (a client with ``hosts``) reaches public addresses and the hosts that the operator allows, without
  redirects. Of the answer only the status is shown, and of allowed hosts a short ``text/plain`` reason.
- The operator's own URLs may redirect where the method stays the same (307, 308), on the same host, and never from
  https to http. A redirect elsewhere would hand the payload and the URL's secret to another party.
- The deadline holds for the whole answer, headers included: a receiver that sends a byte a second is late.
- A body is read up to 4 KiB and never past the deadline: it serves to explain a refusal. A caller that needs the
  answer itself names a larger limit and finds it in ``HttpResponse.body``.
- One session per call: ``requests.Session`` is not safe to share between threads, and calls are rare.

A secret in a file is read when it is used, so that a rotated one is picked up, and never quoted.

Over 300 lines because every way in which a call ends is one sentence of its error.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from autocanary import __version__
from autocanary.errors import DeliveryError
from autocanary.logs import redact
from autocanary.model.foreign_text import clean_text
from autocanary.outbound.deadline import deadline
from autocanary.outbound.webhook_hosts import AddressRefusedError, GuardedAdapter, WebhookHosts

__all__ = ["NO_RETRY", "HttpClient", "HttpResponse", "raise_for_status", "read_secret", "url_origin"]

NO_RETRY = math.inf
"""As ``DeliveryError.retry_after``: the receiver has understood and refuses; the same again will not help."""

_BODY_LIMIT = 4096
_DETAIL_LIMIT = 300
_REASON_LIMIT = 120
_MAX_REDIRECTS = 3
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer: ``text`` is the part of its body that may be shown, on one line, ``retry_after`` in seconds.

    ``body`` is as much of it as was asked for; it may hold secrets. ``whole`` says that nothing of it is missing.
    """

    status: int
    text: str
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False, compare=False)
    whole: bool = field(default=True, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class HttpClient:
    """Posts JSON, or gets an answer. ``connect`` and ``read`` are deadlines in seconds.

    ``hosts`` makes it a client for URLs that tenants write.
    """

    def __init__(
        self,
        *,
        connect: float = 3.0,
        read: float = 10.0,
        hosts: WebhookHosts | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect, self._read, self._hosts = connect, read, hosts
        self._now, self._monotonic = now, monotonic

    def post(
        self,
        url: str,
        payload: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        read: float | None = None,
        body_limit: int = _BODY_LIMIT,
    ) -> HttpResponse:
        """The receiver's answer, whatever its status; DeliveryError when there is none."""
        body = json.dumps(payload, default=str).encode()
        return self._send("POST", url, body, {"Content-Type": "application/json", **(headers or {})}, read, body_limit)

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        read: float | None = None,
        body_limit: int = _BODY_LIMIT,
    ) -> HttpResponse:
        """As ``post``, without a payload."""
        return self._send("GET", url, None, headers or {}, read, body_limit)

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], read: float | None, body_limit: int
    ) -> HttpResponse:
        redirects = 0
        seconds = read if read is not None else self._read
        while True:
            response, moved_to = self._send_once(method, url, body, headers, seconds, body_limit)
            if not moved_to:
                return response
            if self._hosts is not None:
                return HttpResponse(response.status, "redirects of a policy's webhook are not followed")
            target = _resolve_url(url, moved_to)
            if redirects == _MAX_REDIRECTS or not _may_follow(response.status, url, target):
                return HttpResponse(response.status, f"redirects to {url_origin(target)}; name the final address")
            url, redirects = target, redirects + 1

    def _send_once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], read: float, body_limit: int
    ) -> tuple[HttpResponse, str]:
        ends = self._monotonic() + read
        sent = {
            "Accept-Encoding": "identity",
            "User-Agent": f"autocanary/{__version__}",
            **headers,
        }
        try:
            with _Session() as session, deadline(read):
                session.auth = _no_auth  # otherwise requests reads ~/.netrc
                for scheme in ("http://", "https://"):
                    session.mount(scheme, GuardedAdapter(self._hosts))
                with session.request(
                    method,
                    url,
                    data=body,
                    headers=sent,
                    timeout=(min(self._connect, read), read),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    moved = response.headers.get("Location", "") if 300 <= response.status_code < 400 else ""
                    given, whole = self._body(response, ends, body_limit)
                    retry_after = self._retry_after(response)
                    text = self._shown_text(url, response, given)
                    return HttpResponse(response.status_code, text, retry_after, given, whole), moved
        except AddressRefusedError as error:
            message = f"{url_origin(url)} is refused: {error}; AUTOCANARY_WEBHOOK_HOSTS does not allow it"
            raise DeliveryError(message, retry_after=NO_RETRY) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            why, permanent = _failure_text(error, self._connect, read)
            message = f"{url_origin(url)} {why}"
            raise DeliveryError(message, retry_after=NO_RETRY if permanent else None) from error

    def _body(self, response: requests.Response, ends: float, body_limit: int) -> tuple[bytes, bool]:
        """The start of the body, and whether that is all of it.

        What a slow or broken receiver still owes is not waited for.
        """
        read = b""
        try:
            while len(read) < body_limit and self._monotonic() < ends:
                piece = response.raw.read1(body_limit - len(read), decode_content=False)
                if not piece:
                    return read, not response.raw.length_remaining
                read += piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            pass  # the status has arrived, and it is the answer
        return read, False

    def _shown_text(self, url: str, response: requests.Response, body: bytes) -> str:
        """The start of the body on one line; for a tenant's URL only what the operator allows to be shown."""
        if self._hosts is None:
            return _one_line(body, _DETAIL_LIMIT)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "text/plain" or not self._hosts.allows_name(urlsplit(url).hostname or ""):
            return ""
        return _one_line(body, _REASON_LIMIT)

    def _retry_after(self, response: requests.Response) -> float | None:
        given = response.headers.get("Retry-After", "").strip()
        if not given:
            return None
        if given.isascii() and given.isdigit():
            return float(given)
        try:
            at = parsedate_to_datetime(given)
        except ValueError:
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=timezone.utc)
        return max(0.0, at.timestamp() - self._now())


def url_origin(url: str) -> str:
    """Scheme, host and port: enough to find the receiver, without the secret that a path may be."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "an address without a host"


def raise_for_status(response: HttpResponse, url: str) -> None:
    """Raises DeliveryError unless the answer is 2xx; final for a refusal, to be tried again otherwise."""
    if response.ok:
        return
    detail = f": {response.text}" if response.text else ""
    refused = response.status < 500 and response.status not in _TRANSIENT
    raise DeliveryError(
        f"{url_origin(url)} answered {response.status}{detail}",
        retry_after=NO_RETRY if refused else response.retry_after,
    )


def _one_line(body: bytes, limit: int) -> str:
    return clean_text(redact(clean_text(body[:_BODY_LIMIT].decode("utf-8", "replace"), _BODY_LIMIT)), limit)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials."""
    return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests' signature
        """None: even with redirects off, requests reads the whole body and parses the new address."""
        return None


def _resolve_url(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _may_follow(status: int, url: str, target: str) -> bool:
    try:
        old, new = urlsplit(url), urlsplit(target)
    except ValueError:
        return False
    keeps_method = status in (307, 308)
    weaker = old.scheme == "https" and new.scheme != "https"
    return keeps_method and old.hostname == new.hostname and not weaker and new.scheme in ("http", "https")


def _failure_text(error: Exception, connect: float, read: float) -> tuple[str, bool]:
    """Why there is no answer, in words, and whether trying again is pointless."""
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return "is behind a proxy whose address in HTTPS_PROXY or HTTP_PROXY cannot be used", False
    if isinstance(error, requests.exceptions.ProxyError):
        return (
            f"cannot be reached through the proxy of HTTPS_PROXY or HTTP_PROXY ({_root_cause_text(error)})",
            False,
        )
    if isinstance(error, ValueError):  # InvalidURL, InvalidSchema and host names that cannot exist are this, too
        return "is not an http or https address that can be called", True
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"did not accept a connection within {min(connect, read):g} s", False
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return f"did not answer within {read:g} s", False
    if isinstance(error, requests.exceptions.SSLError):
        return f"failed the TLS handshake ({_root_cause_text(error)}); check its certificate", False
    return f"cannot be reached ({_root_cause_text(error)})", False


def _root_cause_text(error: BaseException) -> str:
    """The operating system's or TLS library's own words, from under the layers of wrapping."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        inner = [each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException)]
        if inner:
            error = inner[0]
        elif error.__cause__ is not None:
            error = error.__cause__
    words = " ".join(str(error).split()).rpartition("]: ")[2].rpartition("): ")[2]
    return clean_text(redact(words), _DETAIL_LIMIT) or type(error).__name__


_LONGEST = 65_536


def read_secret(path: Path, pattern: re.Pattern[str], expected: str) -> str:
    """The file's text without the white space around it, when the whole of it matches ``pattern``.

    Raises DeliveryError, to be tried again: a Secret is mounted, or put right, a moment later.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1).decode("utf-8").strip()
    except OSError as error:
        raise DeliveryError(f"{expected} cannot be read from {path} ({error.strerror or error})") from error
    except UnicodeDecodeError:
        # Not chained: the cause holds the file's bytes.
        raise DeliveryError(f"{expected} cannot be read from {path} (it is not text)") from None
    if len(text) > _LONGEST or not pattern.fullmatch(text):
        raise DeliveryError(f"{path} must hold {expected} and nothing else")
    return text
