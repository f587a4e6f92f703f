"""HTTP to one API server with one identity: headers, credentials that rotate, and answers of a bounded size."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient as LibraryClient
from kubernetes.client import Configuration

from autocanary import __version__, logs
from autocanary.errors import Forbidden, SettingsError
from autocanary.kube.api_errors import NETWORK_ERRORS, TLS_ERRORS, ResponseTooLong, connection_error
from autocanary.kube.kubeconfig import ClusterCredentials
from autocanary.model.foreign_text import clean_text

__all__ = ["JSON", "ApiConnection", "OnRequest", "ignore_request"]

JSON = "application/json"
_MAX_CONNECTIONS = 256
"""Idle connections kept; as many are opened as calls are under way. With fewer than threads (writes and those in place
of hanging ones, Events, watches of each namespace, pages) urllib3 throws connections away, and warns of each.
"""
_RELOAD_AT_MOST_EVERY = 60.0
_BLOCK = 1024 * 1024
_MAX_BODY_BYTES = 8 * _BLOCK  # as text up to four times as much

_log = logs.logger("autocanary.kube.api_client")

OnRequest = Callable[[str, str], None]
"""Called with the verb ("get", "list", "watch", "create", "update", "patch", "delete") and the HTTP status
("error" when there was no answer) of every call."""


def ignore_request(verb: str, code: str) -> None:
    """For callers without metrics."""


class ApiConnection:
    """Requests and their raw answers; safe to use from several threads. SettingsError when the login's files
    cannot be used.
    """

    def __init__(self, credentials: ClusterCredentials, count: OnRequest, clock: Callable[[], float]) -> None:
        self.source = credentials.source
        self._credentials = credentials
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._api_client = _api_client(credentials.load())
        self._credentials_loaded_at = clock()

    @property
    def server(self) -> str:
        """The API server's address, for messages."""
        return str(self._api_client.configuration.host)

    def close(self) -> None:
        """Drop the idle connections."""
        self._api_client.close()

    def send(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        content_type: str,
        timeout: tuple[float, float],
        *,
        accept: str = JSON,
    ) -> Any:
        """The answer with its body unread; ClusterError without one. ``timeout`` is (connect, read) in seconds."""
        api_client = self._api_client
        headers = self._headers(api_client)
        headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = content_type
        url = api_client.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = api_client.call_api(method, url, headers, body, _request_timeout=timeout)
        except NETWORK_ERRORS as error:
            self._count(verb, "error")
            failure = connection_error(error, server=self.server)
            if isinstance(error, TLS_ERRORS):
                self.reload_credentials()
            raise failure from (None if type(error) is ValueError else error)
        self._count(verb, str(response.status))
        return response

    def _headers(self, api_client: Any) -> urllib3.HTTPHeaderDict:
        """With the present credentials: the library renews tokens that expire."""
        headers: dict[str, str] = {"Accept": JSON, "User-Agent": api_client.user_agent}
        try:
            api_client.update_params_for_auth(headers, None, ["BearerToken"], "", "", None)
        except Exception as error:
            # Plugins and token files fail in as many ways as there are clouds.
            raise Forbidden(f"cannot use the credentials of {self.source}: {clean_text(str(error))}") from error
        if "authorization" in headers:
            headers["authorization"] = headers["authorization"].strip()
        all_headers = urllib3.HTTPHeaderDict(headers)
        for name, value in self._credentials.headers:
            all_headers.add(name, value)
        return all_headers

    def read_body(self, response: Any, action: str) -> bytes:
        """The whole body, of at most 8 MiB; ``action`` is for the message of the error."""
        pieces: list[bytes] = []
        length = 0
        try:
            while piece := response.response.read(_BLOCK):
                length += len(piece)
                if length > _MAX_BODY_BYTES:
                    response.response.close()
                    raise ResponseTooLong(f"cannot {action}: the answer of {self.server} is longer than 8 MiB")
                pieces.append(piece)
        except NETWORK_ERRORS as error:
            raise connection_error(error, server=self.server) from error
        return b"".join(pieces)

    def reload_credentials(self) -> None:
        """Read certificates and tokens again, for the next call: they rotate while the service runs."""
        with self._lock:
            if self._clock() - self._credentials_loaded_at < _RELOAD_AT_MOST_EVERY:
                return
            self._credentials_loaded_at = self._clock()
            try:
                fresh = _api_client(self._credentials.load())
            except SettingsError as error:  # half-written just now, perhaps; the next refusal tries again
                _log.warning("credentials_not_reloaded", source=self.source, error=str(error))
                return
            before, self._api_client = self._api_client, fresh
            before.close()


def _api_client(configuration: Configuration) -> Any:
    """An ApiClient; Any, because half of its methods are not annotated."""
    configuration.retries = False
    configuration.keep_alive = True
    configuration.connection_pool_maxsize = _MAX_CONNECTIONS
    if not configuration.verify_ssl:
        # Asked for in the kubeconfig, as with kubectl; a warning per call would drown the logs.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    api_client = LibraryClient(configuration)
    api_client.user_agent = f"autocanary/{__version__}"
    return api_client
