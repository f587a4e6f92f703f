"""A world in memory: KServe and Knative as measured, requests, metrics and people, in virtual time.

Lives here: ``knative``, ``controller``, ``status``, ``template`` and ``bookkeeping`` (the rules, replayed
against recordings of the real ones), ``kfserving`` and ``columns`` (the rules of KServe's predecessor, and
how kubectl shows it), ``loop`` (what both do when), ``behaviour`` (of a revision's pods), ``objects``,
``admission`` and ``kserve`` (an API server, its webhooks and the cluster behind it), ``traffic``,
``quality`` and ``metrics`` (requests, how they are answered, and what Prometheus would make of them) over
``chance`` and ``counting``, the ports over these (``cluster``, ``ledger``, ``bystanders``) with their
``faults``, ``clock`` (virtual time), ``world`` (all of it together), ``scenarios`` with ``demo_policy``
(stories for ``demo``), and ``releases`` (those that ``simulate`` plays).
Must never be here: real time, threads, I/O, or anything imported by rooms other than ``app``, ``cli`` and
tests.
"""

from autocanary.sim.behaviour import CRASHES, HEALTHY, NEVER_READY, UNSCHEDULABLE, Behaviour, starts_in
from autocanary.sim.clock import START, VirtualClock
from autocanary.sim.cluster import SimCluster
from autocanary.sim.faults import Strike
from autocanary.sim.kserve import KServe
from autocanary.sim.ledger import SimLedger
from autocanary.sim.metrics import Fault, SimMetrics
from autocanary.sim.quality import GOOD, Quality, Tokens, from_age, from_weight
from autocanary.sim.scenarios import SCENARIOS, Scenario
from autocanary.sim.traffic import Load, Traffic
from autocanary.sim.world import World, manifest, sided_manifest

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
