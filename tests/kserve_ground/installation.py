"""A whole installation over the real controllers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.kserve_ground.cluster import KServeCluster
from tests.real.installation import Installation
from tests.real.traffic import RevisionTraffic

__all__ = ["KServeInstallation"]


class KServeInstallation(Installation):
    """Counters follow the split of the real Ingress objects, and the readiness of the pods."""

    audit_admin = False

    def install_kserve(self, enter: Callable[[Any], Any]) -> None:
        """See `Installation.install_kserve`."""
        self.cluster: KServeCluster = enter(KServeCluster(self.api, self.folder, crd=self._crd))

    def make_traffic(self) -> RevisionTraffic:
        """See `Installation.make_traffic`."""
        return RevisionTraffic(self.split, ready_pods=self._ready_pods)

    def split(self) -> Mapping[tuple[str, str], Mapping[str, int]]:
        """See `Installation.split`."""
        return self.cluster.split()

    def storage_uri(self, namespace: str, revision: str) -> str:
        """The place of a revision's model, as its pods name it."""
        return self.cluster.nodes.models().get((namespace, revision), "")

    def _ready_pods(self) -> Mapping[tuple[str, str], int]:
        return {key: pods.ready for key, pods in self.cluster.nodes.revisions().items()}
