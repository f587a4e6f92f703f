"""The Knative routes behind services, as ``kn route list`` shows them, for a person to look at.

Read from Route objects where the person may, because these are what requests meet; otherwise from what the
services' own status tells. Nothing is decided by them, so nothing here may fail a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autocanary.errors import ClusterError, InputError
from autocanary.kserve import dialect_for
from autocanary.kserve.knative_routes import Route, route_of
from autocanary.kube.api_client import Session
from autocanary.kube.resource import KNATIVE_ROUTES, services_of
from autocanary.model.rollout import Rollout

__all__ = ["routes_of"]


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
