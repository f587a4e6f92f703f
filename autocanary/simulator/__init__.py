"""A simulated cluster in memory and virtual time: KServe and Knative as measured, traffic and Prometheus.

The controllers are replayed against recordings of the real ones in the tests.
Must never be here: real time, threads, I/O, or anything that packages other than ``app``, ``cli`` and the
tests import.
"""

from autocanary.simulator.cluster import KServe
from autocanary.simulator.fault_injection import Strike
from autocanary.simulator.memory_inference_services import SimCluster
from autocanary.simulator.memory_rollout_store import SimLedger
from autocanary.simulator.pod_behaviour import (
    CRASHES,
    HEALTHY,
    NEVER_READY,
    UNSCHEDULABLE,
    Behaviour,
    starts_in,
)
from autocanary.simulator.prometheus_server import Fault, SimMetrics
from autocanary.simulator.response_quality import GOOD, Quality, Tokens, from_age, from_weight
from autocanary.simulator.scenarios import SCENARIOS, Scenario
from autocanary.simulator.traffic import Load, Traffic
from autocanary.simulator.virtual_clock import START, VirtualClock
from autocanary.simulator.world import World, manifest, sided_manifest

__all__ = [
    "CRASHES",
    "GOOD",
    "HEALTHY",
    "NEVER_READY",
    "SCENARIOS",
    "START",
    "UNSCHEDULABLE",
    "Behaviour",
    "Fault",
    "KServe",
    "Load",
    "Quality",
    "Scenario",
    "SimCluster",
    "SimLedger",
    "SimMetrics",
    "Strike",
    "Tokens",
    "Traffic",
    "VirtualClock",
    "World",
    "from_age",
    "from_weight",
    "manifest",
    "sided_manifest",
    "starts_in",
]
