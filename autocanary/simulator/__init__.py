"""A simulated cluster in memory and virtual time: KServe and Knative as measured, traffic and Prometheus.

The controllers are replayed against recordings of the real ones in the tests.
Must never be here: real time, threads, I/O, or anything that packages other than ``app``, ``cli`` and the
tests import.
"""

from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.fault_injection import FaultTiming
from autocanary.simulator.memory_inference_services import InMemoryCluster
from autocanary.simulator.memory_rollout_store import InMemoryRolloutStore
from autocanary.simulator.pod_behaviour import (
    CRASHES,
    HEALTHY,
    NEVER_READY,
    UNSCHEDULABLE,
    Behaviour,
    ready_after_seconds,
)
from autocanary.simulator.prometheus_server import PrometheusFault, SimulatedMetrics
from autocanary.simulator.response_quality import (
    GOOD,
    Quality,
    Tokens,
    from_revision_age,
    from_traffic_weight,
)
from autocanary.simulator.scenarios import SCENARIOS, Scenario
from autocanary.simulator.traffic import RequestLoad, Traffic
from autocanary.simulator.virtual_clock import START, VirtualClock
from autocanary.simulator.world import World, kfserving_manifest, manifest

__all__ = [
    "CRASHES",
    "GOOD",
    "HEALTHY",
    "NEVER_READY",
    "SCENARIOS",
    "START",
    "UNSCHEDULABLE",
    "Behaviour",
    "FaultTiming",
    "InMemoryCluster",
    "InMemoryRolloutStore",
    "KServeCluster",
    "PrometheusFault",
    "Quality",
    "RequestLoad",
    "Scenario",
    "SimulatedMetrics",
    "Tokens",
    "Traffic",
    "VirtualClock",
    "World",
    "from_revision_age",
    "from_traffic_weight",
    "kfserving_manifest",
    "manifest",
    "ready_after_seconds",
]
