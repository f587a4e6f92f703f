"""Labels that say which process counted and which scrape read it, so that each sample counts once.

A process is a pod, or a host where the series name no pod. Two scrape jobs, replicas of Prometheus without
deduplication and federation store the samples of one process several times.
"""

from __future__ import annotations

__all__ = ["POD_LABELS", "PROCESS_LABEL", "SCRAPE_LABELS", "with_process"]

POD_LABELS = ("pod_name", "k8s_pod_name", "pod", "kubernetes_pod_name")
"""Labels that may name the process, the preferred one first."""
SCRAPE_LABELS = ("instance", "job", "prometheus", "prometheus_replica", "replica")
"""Labels that distinguish several scrapes of one process, the scraped address first."""
PROCESS_LABEL = "autocanary_process"


def with_process(vector: str) -> str:
    """The vector with ``PROCESS_LABEL``: the pod, else the host of the scraped address."""
    vector = f'label_replace({vector}, "{PROCESS_LABEL}", "$1", "instance", "(.+?)(?::[0-9]+)?")'
    for label in reversed(POD_LABELS):
        vector = f'label_replace({vector}, "{PROCESS_LABEL}", "$1", "{label}", "(.+)")'
    return vector
