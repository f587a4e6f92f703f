"""The ports that the engine works through, in one value: what its parts are given instead of twelve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autocanary.ports import (
    Clock,
    Cluster,
    Gates,
    Leadership,
    Ledger,
    Listener,
    Metrics,
    Notifier,
    Policies,
    Pool,
    WritePool,
)

__all__ = ["Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``pool`` runs the writes, ``askers`` the questions to Prometheus and ``hooks`` the policies' webhooks,
    so that none of them keeps another waiting.

    ``ready`` says whether the first pictures are whole; ``hurry`` asks for a tick soon; ``lost`` is
    called when another instance may lead; ``history_limit`` is how many finished rollouts of a service are
    kept.
    """

    cluster: Cluster
    ledger: Ledger
    metrics: Metrics
    gates: Gates
    notifier: Notifier
    policies: Policies
    leadership: Leadership
    clock: Clock
    pool: WritePool
    askers: Pool
    hooks: Pool
    listener: Listener
    ready: Callable[[], bool]
    hurry: Callable[[], None]
    lost: Callable[[], None]
    history_limit: int
