"""A user's access to the CanaryRollouts: reads from the API server at every call, never as leader.

It also reads the Knative routes of services, as ``kn route list`` shows them: from Route objects where the user may
read them, because they route the requests, and otherwise from the services' status. No decision uses routes, so an
error while they are read fails no command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autocanary import logs
from autocanary.errors import ClusterError, Conflict, Forbidden, InputError, NotFound, Refused
from autocanary.kserve import DIALECTS, dialect_for
from autocanary.kserve.document_fields import RELEASE_REASON, RELEASED_BY, UNDO_MANAGER
from autocanary.kserve.knative_routes import Route, parse_route
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.resource import KNATIVE_ROUTES, POLICIES, ROLLOUTS, inference_services_of
from autocanary.kube.rollout_reader import RolloutReader
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.model.foreign_text import clean_text
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.rollout import Request, Rollout
from autocanary.settings import ClusterAccess

__all__ = ["UserClient", "open_client", "read_routes", "release_spec"]


def read_routes(client: ApiClient, rollouts: Iterable[Rollout]) -> list[tuple[str, Route]]:
    """The routes of the rollouts' services, each with its namespace, by namespace and name."""
    services = {(each.namespace, each.service, each.api_version) for each in rollouts}
    by_namespace = {namespace: _route_objects(client, namespace) for namespace in {place[0] for place in services}}
    found = {
        (namespace, route.name): by_namespace[namespace].get(route.name, route)
        for namespace, name, api_version in services
        for route in _routes_from_status(client, namespace, name, api_version)
    }
    return [(namespace, found[namespace, name]) for namespace, name in sorted(found)]


def _routes_from_status(client: ApiClient, namespace: str, name: str, api_version: str) -> tuple[Route, ...]:
    """By the service's status; none when it is gone, may not be read, or is of an unknown API version."""
    try:
        dialect = dialect_for(api_version)
        return dialect.routes(client.get(inference_services_of(dialect), namespace, name))
    except (ClusterError, InputError):
        return ()


def _route_objects(client: ApiClient, namespace: str) -> Mapping[str, Route]:
    """By the Route objects; none without Knative or the right to read them."""
    try:
        return {route.name: route for route in map(parse_route, client.list_all(KNATIVE_ROUTES, namespace))}
    except ClusterError:
        return {}


_MIN_TIMEOUT_SECONDS = 1.0
_NAME_LIMIT = 120
_RELEASE_ATTEMPTS = 5  # KServe writes the status all the time, which changes the resourceVersion
_log = logs.logger("autocanary.app.user_client")


class NeverLeader:
    """The ``Leadership`` of a client that never writes for the controller."""

    def is_leader(self) -> bool:
        return False


def release_spec(client: ApiClient, rollout: Rollout, spec: Mapping[str, Any], *, by: str, reason: str) -> None:
    """Apply ``spec`` to the component of ``rollout`` as a new candidate at weight 0, with the client's rights.

    Conflict when the spec changes at the same time; NotFound when the service is gone.
    """
    dialect = dialect_for(rollout.api_version)
    resource = inference_services_of(dialect)
    first_digest = ""
    for attempt in range(_RELEASE_ATTEMPTS):
        document = client.get(resource, rollout.namespace, rollout.service)
        seen = next((each for each in dialect.observe(document) if each.key == rollout.key), None)
        if seen is None:
            raise NotFound(f"{rollout.key} has no {rollout.component.value} any more")
        first_digest = first_digest or seen.spec_digest
        if seen.spec_digest != first_digest:
            raise Conflict(f"the spec of {rollout.key} was changed at the same time; nothing was applied")
        patch = dialect.release_patch(seen, spec)
        patch["metadata"]["annotations"] = {RELEASED_BY: by or None, RELEASE_REASON: reason or None}
        try:
            client.patch(resource, rollout.namespace, rollout.service, patch, manager=UNDO_MANAGER)
            return
        except Conflict:
            if attempt == _RELEASE_ATTEMPTS - 1:
                raise


class UserClient:
    """The part of the rollout store that ``status`` and the user requests need."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._default_timeout = client.timeout
        self._store = KubeRolloutStore(client, NeverLeader())
        self._reader = RolloutReader()
        self._user_name: str | None = None

    @property
    def namespace(self) -> str:
        return self._client.namespace or "default"

    def rollouts(self, namespace: str | None) -> Sequence[Rollout]:
        """All rollouts of one namespace, or of all; those that this version cannot read are left out."""
        found: list[Rollout] = []
        for document in self._client.list_all(ROLLOUTS, namespace or ""):
            try:
                found.append(self._reader.read(document))
            except Refused as error:
                name = document.get("metadata", {}).get("name", "?")
                _log.warning("rollout_unreadable", rollout=name, error=str(error))
        return found

    def observe(self, rollout: Rollout) -> Observation | None:
        """The component that a rollout is about, as it is now; None when it is gone or may not be read."""
        try:
            dialect = dialect_for(rollout.api_version)
            document = self._client.get(inference_services_of(dialect), rollout.namespace, rollout.service)
        except (NotFound, Forbidden, InputError):
            return None
        return next((each for each in dialect.observe(document) if each.key == rollout.key), None)

    def routes(self, rollouts: Sequence[Rollout]) -> Sequence[tuple[str, Route]]:
        """The Knative routes of these rollouts' services, each with its namespace."""
        return read_routes(self._client, rollouts)

    def set_timeout(self, seconds: float) -> None:
        """Let no call from now on take longer than this and a second, however long a server is silent."""
        connect, read = self._default_timeout
        max_seconds = seconds + _MIN_TIMEOUT_SECONDS
        self._client.timeout = (min(connect, max_seconds), min(read, max_seconds))

    def read(self, namespace: str, name: str) -> Rollout | None:
        return self._store.read(namespace, name)

    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        return self._store.write_request(namespace, name, paused=paused, request=request)

    def user_name(self) -> str:
        """The user as the API server sees it; "" where it does not say (older than Kubernetes 1.26, or no right)."""
        if self._user_name is None:
            try:
                status = self._client.review(
                    "authentication.k8s.io", ("v1", "v1beta1", "v1alpha1"), "SelfSubjectReview", "selfsubjectreviews"
                )
            except (NotFound, Forbidden, Refused):
                status = {}
            user = status.get("userInfo")
            name = user.get("username") if isinstance(user, Mapping) else None
            self._user_name = clean_text(name, _NAME_LIMIT) if isinstance(name, str) else ""
        return self._user_name

    def services(self, namespace: str | None) -> Sequence[Observation]:
        """The components of all InferenceServices that the user may read; of an object that is served in several API
        versions once."""
        found: dict[tuple[str, ServiceKey], Observation] = {}
        missing: ClusterError | None = None
        served = False
        for dialect in DIALECTS:
            try:
                for document in self._client.list_all(inference_services_of(dialect), namespace or ""):
                    for each in dialect.observe({"apiVersion": dialect.api_version, **document}):
                        found.setdefault((each.uid, each.key), each)
                served = True
            except NotFound as error:
                missing = error
        if not served and missing is not None:
            raise missing
        return list(found.values())

    def policy_documents(self, namespace: str | None) -> Sequence[Mapping[str, Any]]:
        """The RolloutPolicy objects of one namespace, or of all."""
        return list(self._client.list_all(POLICIES, namespace or ""))

    def release(self, rollout: Rollout, spec: Mapping[str, Any], *, by: str, reason: str) -> None:
        """See ``release_spec``."""
        release_spec(self._client, rollout, spec, by=by, reason=reason)

    def close(self) -> None:
        self._client.close()


def open_client(access: ClusterAccess) -> UserClient:
    """ClusterError or SettingsError when the cluster cannot be used."""
    return UserClient(ApiClient(find_credentials(access.kubeconfig, access.context)))
