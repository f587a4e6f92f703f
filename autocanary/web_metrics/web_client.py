"""One GET of a web metric: the body of a 200, whole and small, or one sentence that quotes nothing of it.

The addresses are guarded as those of policies' webhooks are, redirects are not followed, and credentials go only to the
hosts that the operator has named for them.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from autocanary.errors import DeliveryError, MetricsRefused, MetricsUnreachable
from autocanary.limits import WEB_ANSWER_BYTES
from autocanary.outbound.http_client import NO_RETRY, HttpClient, HttpResponse, read_secret, url_origin
from autocanary.settings import WebCredentials

__all__ = ["UnreachableOriginError", "WebClient"]

_SECRET = re.compile(r"[!-~]+")


class UnreachableOriginError(MetricsUnreachable):
    """The service did not answer at all, so that asking it more would take as long."""


class WebClient:
    """``http`` is the client for URLs that policies name."""

    def __init__(self, http: HttpClient, credentials: Sequence[WebCredentials] = ()) -> None:
        self._http = http
        self._credentials = {each.name: each for each in credentials}

    def get(self, url: str, timeout: float, credentials: str, namespace: str) -> bytes:
        """The body of the answer, within ``timeout`` seconds.

        MetricsRefused where the policy itself is wrong (an address or credentials that it may not use), and
        MetricsUnreachable for everything else that is no answer.
        """
        headers = {"Accept": "application/json", **self._authorization(url, credentials, namespace)}
        origin = url_origin(url)
        try:
            response = self._http.get(url, headers=headers, read=timeout, body_limit=WEB_ANSWER_BYTES + 1)
        except DeliveryError as error:
            if error.retry_after == NO_RETRY:
                raise MetricsRefused(str(error)) from None
            raise UnreachableOriginError(str(error)) from None
        return _whole_body(response, origin)

    def _authorization(self, url: str, name: str, namespace: str) -> Mapping[str, str]:
        if not name:
            return {}
        found = self._credentials.get(name)
        if found is None or not found.serves(namespace):
            usable = sorted(each.name for each in self._credentials.values() if each.serves(namespace))
            known = f"they may use {', '.join(usable)}" if usable else "there are none for them"
            message = f"no credentials {name!r} are configured for services of namespace {namespace}: {known}"
            raise MetricsRefused(message)
        host = (urlsplit(url).hostname or "").rstrip(".")
        if not any(fnmatchcase(host, each) for each in found.hosts):
            raise MetricsRefused(f"the credentials {name!r} are not for {host}")
        try:
            if found.token_file:
                return {"Authorization": f"Bearer {read_secret(Path(found.token_file), _SECRET, 'a token')}"}
            password = read_secret(Path(found.password_file), _SECRET, "a password")
        except DeliveryError as error:
            raise MetricsUnreachable(str(error)) from None
        return {"Authorization": f"Basic {b64encode(f'{found.username}:{password}'.encode()).decode()}"}


def _whole_body(response: HttpResponse, origin: str) -> bytes:
    if 300 <= response.status < 400:
        raise MetricsUnreachable(f"{origin} answered {response.status}: redirects of a web metric are not followed")
    if response.status != 200:
        raise MetricsUnreachable(f"{origin} answered {response.status}")
    if len(response.body) > WEB_ANSWER_BYTES:
        raise MetricsUnreachable(f"{origin} answered more than {WEB_ANSWER_BYTES // 1024} KiB")
    if not response.whole:
        raise MetricsUnreachable(f"{origin} did not send its whole answer in time")
    return response.body
