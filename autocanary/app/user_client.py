"""A person's view of the CanaryRollouts: read from the API server at every call, never as leader.

The Knative routes behind services, as ``kn route list`` shows them, for a person to look at.

Read from Route objects where the person may, because these are what requests meet; otherwise from what the
services' own status tells. Nothing is decided by them, so nothing here may fail a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autocanary import logs
from autocanary.errors import ClusterError, Forbidden, InputError, NotFound, Refused
from autocanary.kserve import dialect_for
from autocanary.kserve.knative_routes import Route, route_of
from autocanary.kube.api_client import Session
from autocanary.kube.kubeconfig import find_login
from autocanary.kube.resource import KNATIVE_ROUTES, ROLLOUTS, services_of
from autocanary.kube.rollout_store import KubeLedger
from autocanary.model.observation import Observation
from autocanary.model.rollout import Request, Rollout
from autocanary.settings import ClusterAccess

__all__ = ["PersonLedger", "open_ledger", "routes_of"]


def routes_of(session: Session, rollouts: Iterable[Rollout]) -> list[tuple[str, Route]]:
    """The routes of the rollouts' services, each with its namespace, by namespace and name."""
    services = {(each.namespace, each.service, each.api_version) for each in rollouts}
    live = {namespace: _live(session, namespace) for namespace in {place[0] for place in services}}
    found = {
        (namespace, route.name): live[namespace].get(route.name, route)
        for namespace, name, api_version in services
        for route in _told(session, namespace, name, api_version)
    }
    return [(namespace, found[namespace, name]) for namespace, name in sorted(found)]


def _told(session: Session, namespace: str, name: str, api_version: str) -> tuple[Route, ...]:
    """By the service's status; none when it is gone, may not be read, or is of a kind nobody speaks."""
    try:
        dialect = dialect_for(api_version)
        return dialect.routes(session.get(services_of(dialect), namespace, name))
    except (ClusterError, InputError):
        return ()


def _live(session: Session, namespace: str) -> Mapping[str, Route]:
    """By the Route objects; none without Knative or the right to read them."""
    try:
        return {route.name: route for route in map(route_of, session.every(KNATIVE_ROUTES, namespace))}
    except ClusterError:
        return {}


_LEAST = 1.0
_log = logs.logger("autocanary.app.user_client")


class NotLeading:
    """The ``Leadership`` of somebody who never writes for the service."""

    def is_leader(self) -> bool:
        return False


class PersonLedger:
    """What ``status`` and the verbs need of the ledger."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._usual = session.timeout
        self._ledger = KubeLedger(session, NotLeading())

    @property
    def namespace(self) -> str:
        return self._session.namespace or "default"

    def rollouts(self, namespace: str | None) -> Sequence[Rollout]:
        """All rollouts of one namespace, or of all; those that this version cannot read are left out."""
        found: list[Rollout] = []
        for document in self._session.every(ROLLOUTS, namespace or ""):
            try:
                found.append(self._ledger.readable(document))
            except Refused as error:
                name = document.get("metadata", {}).get("name", "?")
                _log.warning("rollout_not_readable", rollout=name, error=str(error))
        return found

    def observe(self, rollout: Rollout) -> Observation | None:
        """The component that a rollout is about, as it is now; None when it is gone or may not be read."""
        try:
            dialect = dialect_for(rollout.api_version)
            document = self._session.get(services_of(dialect), rollout.namespace, rollout.service)
        except (NotFound, Forbidden, InputError):
            return None
        return next((each for each in dialect.observe(document) if each.key == rollout.key), None)

    def routes(self, rollouts: Sequence[Rollout]) -> Sequence[tuple[str, Route]]:
        """The Knative routes of these rollouts' services, each with its namespace."""
        return routes_of(self._session, rollouts)

    def limit(self, seconds: float) -> None:
        """Let no call from now on take longer than this and a second, however long a server is silent."""
        connect, read = self._usual
        most = seconds + _LEAST
        self._session.timeout = (min(connect, most), min(read, most))

    def read(self, namespace: str, name: str) -> Rollout | None:
        return self._ledger.read(namespace, name)

    def ask(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        return self._ledger.ask(namespace, name, paused=paused, request=request)

    def close(self) -> None:
        self._session.close()


def open_ledger(access: ClusterAccess) -> PersonLedger:
    """ClusterError or SettingsError when the cluster cannot be used."""
    return PersonLedger(Session(find_login(access.kubeconfig, access.context)))
