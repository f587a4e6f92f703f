"""The tick: for every rollout that is due, gather, judge, plan, act, record and tell, over ports.

Lives here: ``engine`` (the loop and its books), ``live`` (one running rollout in memory), ``asking`` (what
to ask Prometheus and the webhooks), ``carrying`` (record, then act: the only two writes), ``starting``
(from a discovered candidate to a recorded rollout).
Must never be here: knowledge of HTTP, YAML or custom resources, and decisions: those are made in ``core``.
"""

from autocanary.engine.engine import Engine

__all__ = ["Engine"]
