"""The one HTTP client for the API server: JSON dicts in and out, a deadline on every call, our own errors.

It uses ``kubernetes.client.ApiClient`` for credentials, TLS and pooling, one level below the generated
methods: those validate arguments with pydantic and copy every body, which is most of a call's CPU. Calls
are never repeated here; the next tick is the retry. The file is long because each verb spells its call out.

Over 300 lines because every verb of the API is one short method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from autocanary import logs
from autocanary.errors import ClusterError, Forbidden, NotFound
from autocanary.kube.api_connection import JSON, ApiConnection, OnRequest, ignore_request
from autocanary.kube.api_errors import ResponseTooLong, error_from_response, invalid_response_error
from autocanary.kube.bounded_json import ListPage, decode_document, decode_list
from autocanary.kube.kubeconfig import ClusterCredentials
from autocanary.kube.resource import Resource
from autocanary.kube.watch_stream import Stream
from autocanary.model.observation import FIELD_MANAGER

__all__ = ["ApiClient"]

MERGE_PATCH = "application/merge-patch+json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_TIMEOUTS = (3.0, 10.0)
_QUICK = (1.0, 2.0)  # for what is useful only now
_PAGE_SIZE = 500

_log = logs.logger("autocanary.kube.api_client")


class ApiClient:
    """Calls to one API server with one identity; safe to use from several threads.

    All methods raise ClusterError's children only. ``timeout`` is (connect, read) in seconds.
    """

    def __init__(
        self,
        credentials: ClusterCredentials,
        *,
        count: OnRequest = ignore_request,
        timeout: tuple[float, float] = _TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """SettingsError when the login's files cannot be used."""
        self.namespace = credentials.namespace
        self.timeout = timeout
        self._connection = ApiConnection(credentials, count, clock)

    @property
    def server(self) -> str:
        """The API server's address, for messages."""
        return self._connection.server

    def close(self) -> None:
        """Drop the idle connections."""
        self._connection.close()

    def get(
        self, resource: Resource, namespace: str, name: str, *, timeout: tuple[float, float] | None = None
    ) -> dict[str, Any]:
        return self._call("get", "GET", resource, namespace, name, timeout=timeout)

    def get_metadata(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """The object's metadata alone, whatever else it holds."""
        action = f"get {_describe(resource, namespace, name)}"
        path = resource.path(namespace, name)
        response = self._connection.send("get", "GET", path, None, None, JSON, self.timeout, accept=_METADATA_ONLY)
        metadata = self._document(response, action, resource).get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def list_page(self, resource: Resource, namespace: str = "", *, limit: int, after: str = "") -> ListPage:
        """One page; ``after`` is the previous page's ``metadata.continue``. ResponseTooLong when it needs more
        than 8 MiB."""
        query = {"limit": str(limit)} | ({"continue": after} if after else {})
        action = f"list {_describe(resource, namespace)}"
        response = self._connection.send("list", "GET", resource.path(namespace), query, None, JSON, self.timeout)
        body = self._body(response, action, resource)
        try:
            return decode_list(body)
        except ValueError as error:
            raise invalid_response_error(body, str(error), action=action, server=self.server) from error

    def list_pages(self, resource: Resource, namespace: str = "", *, limit: int) -> Iterator[ListPage]:
        """All pages, as they are asked for; a page that is too long is asked for again with half the objects."""
        after = ""
        while True:
            try:
                page = self.list_page(resource, namespace, limit=limit, after=after)
            except ResponseTooLong:
                if limit == 1:
                    raise
                limit //= 2
                continue
            yield page
            after = str(page.metadata.get("continue") or "")
            if not after:
                return

    def list_all(self, resource: Resource, namespace: str = "") -> Iterator[dict[str, Any]]:
        """All objects that can be decoded; the others are logged."""
        for page in self.list_pages(resource, namespace, limit=_PAGE_SIZE):
            for each in page.skipped:
                _log.warning(
                    "object_skipped", resource=str(resource), object=f"{each.namespace}/{each.name}", error=each.reason
                )
            yield from page.items

    def get_version(
        self, resource: Resource, namespace: str, name: str, resource_version: str
    ) -> dict[str, Any] | None:
        """The object as it was at this resourceVersion, None if it did not exist; Conflict when it is too old.

        It is a list of one object: only lists can be asked for at an exact version.
        """
        query = {
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": resource_version,
            "resourceVersionMatch": "Exact",
        }
        action = f"list {_describe(resource, namespace)} at version {resource_version}"
        response = self._connection.send("list", "GET", resource.path(namespace), query, None, JSON, _QUICK)
        items = self._document(response, action, resource).get("items") or ()
        return next(({"apiVersion": resource.api_version, **each} for each in items), None)

    def check_resource_served(self, resource: Resource) -> None:
        """KindMissing when nothing serves such objects, by discovery, which every user may read.

        The server checks rights before the path: without rights, what is not served is forbidden as well.
        """
        action = f"list {resource}"
        response = self._connection.send("get", "GET", resource.api_path, None, None, JSON, self.timeout)
        kinds = self._document(response, action, resource).get("resources") or ()
        if all(each.get("name") != resource.plural for each in kinds):
            raise error_from_response(404, {}, b"", action=action, group=resource.group, server=self.server)

    def review(self, group: str, versions: Sequence[str], kind: str, plural: str) -> dict[str, Any]:
        """The status of an empty review of the user, such as a SelfSubjectReview, by the first version that is served.

        KindMissing when none is: the server is older.
        """
        missing: NotFound | None = None
        for version in versions:
            resource = Resource(group, version, plural, kind)
            action, body = f"create a {kind}", {"apiVersion": resource.api_version, "kind": kind, "metadata": {}}
            try:
                response = self._connection.send("create", "POST", resource.path(), None, body, JSON, self.timeout)
                status = self._document(response, action, resource).get("status")
                return status if isinstance(status, dict) else {}
            except NotFound as error:
                missing = error
        assert missing is not None  # noqa: S101 - one version at least is asked for
        raise missing

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Mapping[str, Any],
        *,
        timeout: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        return self._call(
            "create",
            "POST",
            resource,
            namespace,
            body=body,
            query={"fieldManager": FIELD_MANAGER},
            subject=body["metadata"]["name"],
            timeout=timeout,
        )

    def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        timeout: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """Compare-and-set when the body's metadata carries a resourceVersion."""
        return self._call(
            "update",
            "PUT",
            resource,
            namespace,
            name,
            subresource=subresource,
            body=body,
            query={"fieldManager": FIELD_MANAGER},
            timeout=timeout,
        )

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
    ) -> dict[str, Any]:
        """JSON merge-patch (RFC 7386): null removes a field."""
        return self._call(
            "patch",
            "PATCH",
            resource,
            namespace,
            name,
            subresource=subresource,
            body=body,
            content_type=MERGE_PATCH,
            query={"fieldManager": manager},
        )

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str = "") -> None:
        """Delete in the background; with ``uid``, only that very object (Conflict if it is another)."""
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        self._call("delete", "DELETE", resource, namespace, name, body=body)

    def watch(
        self, resource: Resource, namespace: str, *, resource_version: str, seconds: int, read_timeout: float
    ) -> Stream:
        """Changes after resourceVersion ``resource_version``; the server ends it after ``seconds``.

        ``read_timeout`` is how many seconds without a byte end it from this side: a half-open connection says
        nothing for ever.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        action = f"watch {_describe(resource, namespace)}"
        timeout = (self.timeout[0], read_timeout)
        response = self._connection.send("watch", "GET", resource.path(namespace), query, None, JSON, timeout)
        if response.status != 200:
            raise self._error_for(response, self._connection.read_body(response, action), action, resource)
        return Stream(response.response, self.server)

    def _call(
        self,
        verb: str,
        method: str,
        resource: Resource,
        namespace: str,
        name: str = "",
        *,
        subresource: str = "",
        subject: str = "",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        timeout: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        path = resource.path(namespace, name, subresource)
        action = f"{verb} {_describe(resource, namespace, name or subject, subresource)}"
        response = self._connection.send(verb, method, path, query, body, content_type, timeout or self.timeout)
        return self._document(response, action, resource)

    def _document(self, response: Any, action: str, resource: Resource) -> dict[str, Any]:
        body = self._body(response, action, resource)
        try:
            return decode_document(body)
        except ValueError as error:
            raise invalid_response_error(body, str(error), action=action, server=self.server) from error

    def _body(self, response: Any, action: str, resource: Resource) -> bytes:
        body = self._connection.read_body(response, action)
        if not 200 <= response.status < 300:
            raise self._error_for(response, body, action, resource)
        return body

    def _error_for(self, response: Any, body_bytes: bytes, action: str, resource: Resource) -> ClusterError:
        fault = error_from_response(
            response.status,
            response.headers,
            body_bytes,
            action=action,
            group=resource.group,
            server=self.server,
        )
        if isinstance(fault, Forbidden) and response.status == 401:
            self._connection.reload_credentials()
        return fault


def _describe(resource: Resource, namespace: str, name: str = "", subresource: str = "") -> str:
    if not name:
        return f"{resource}" + (f" in namespace {namespace}" if namespace else "")
    of = f"the {subresource} of " if subresource else ""
    return f"{of}{resource.kind} {namespace}/{name}"
