"""A person's view of the CanaryRollouts: read from the API server at every call, never as leader."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary import logs
from autocanary.core.rollout import Request, Rollout, from_document
from autocanary.kube.kubeconfig import find_login
from autocanary.kube.ledger import KubeLedger
from autocanary.kube.resource import ROLLOUTS
from autocanary.kube.session import Session
from autocanary.settings import ClusterAccess

__all__ = ["PersonLedger", "open_ledger"]

_PAGE = 500
_log = logs.logger("autocanary.app.people")


class NotLeading:
    """The ``Leadership`` of somebody who never writes for the service."""

    def is_leader(self) -> bool:
        return False


class PersonLedger:
    """What ``status`` and the verbs need of the ledger."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ledger = KubeLedger(session, NotLeading())

    @property
    def namespace(self) -> str:
        return self._session.namespace or "default"

    def rollouts(self, namespace: str | None) -> Sequence[Rollout]:
        """All rollouts of one namespace, or of all; those that this version cannot read are left out."""
        found: list[Rollout] = []
        after = ""
        while True:
            page = self._session.page(ROLLOUTS, namespace or "", limit=_PAGE, after=after)
            for document in page.get("items") or ():
                try:
                    found.append(from_document(document))
                except (KeyError, TypeError, ValueError) as error:
                    name = document.get("metadata", {}).get("name", "?")
                    _log.warning("rollout_not_readable", rollout=name, error=str(error))
            after = (page.get("metadata") or {}).get("continue") or ""
            if not after:
                return found

    def read(self, namespace: str, name: str) -> Rollout | None:
        return self._ledger.read(namespace, name)

    def ask(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        return self._ledger.ask(namespace, name, paused=paused, request=request)

    def close(self) -> None:
        self._session.close()


def open_ledger(access: ClusterAccess) -> PersonLedger:
    """ClusterError or SettingsError when the cluster cannot be used."""
    return PersonLedger(Session(find_login(access.kubeconfig, access.context)))
