"""The page that the service itself serves: its port, its threads and its rules of access."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autocanary.app.page_access import BearerTokenAccess, ForwardedUserAccess
from autocanary.app.page_data import ClusterPageSource
from autocanary.http_server.server import Server
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import ClusterCredentials
from autocanary.model.rollout import Rollout
from autocanary.page import PageOptions, WebPage
from autocanary.policy_files import ActivePolicies
from autocanary.ports import Cluster, RolloutStore
from autocanary.settings import Settings

__all__ = ["PageService"]

_MAX_CONNECTIONS = 256
_SHORTEST_ROUND = 2.0


class PageService:
    """Made for every service; without ``page_listen`` in the settings it serves nothing and takes no thread.

    ``running`` are the rollouts as the controller has them; a replica that does not lead shows the records.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: ClusterCredentials,
        client: ApiClient,
        store: RolloutStore,
        cluster: Cluster,
        policies: ActivePolicies,
        *,
        running: Callable[[], Sequence[Rollout]],
        missing: Callable[[], Sequence[str]],
        now: Callable[[], float],
    ) -> None:
        self._page: WebPage | None = None
        if settings.page_listen is None:
            return
        self._access: BearerTokenAccess | ForwardedUserAccess = (
            ForwardedUserAccess(client, settings.page_user_header, settings.page_groups_header)
            if settings.page_user_header
            else BearerTokenAccess(credentials)
        )
        source = ClusterPageSource(
            store,
            cluster,
            policies,
            running=running,
            missing=lambda: [f"Not read yet: {each}" for each in missing()],
            cluster_name=settings.cluster_name,
            now=now,
        )
        url = settings.external_url if "{" not in settings.external_url else ""
        self._page = WebPage(source, self._access, PageOptions(external_url=url, shortest_round=_SHORTEST_ROUND))
        listen = settings.page_listen
        self._server = Server(
            listen.host,
            listen.port,
            self._page.application,
            flag="AUTOCANARY_PAGE_LISTEN",
            connections=_MAX_CONNECTIONS,
        )

    @property
    def port(self) -> int | None:
        """None where the page is not served."""
        return self._server.port if self._page is not None else None

    def start(self) -> None:
        """SettingsError when the address cannot be listened on."""
        if self._page is not None:
            self._server.start()

    def stop(self) -> None:
        """The live streams end first, so that nothing waits for a browser."""
        if self._page is not None:
            self._page.close()
            self._server.stop()
            self._access.close()
