"""The tick: for every rollout that is due, gather, judge, plan, act, record and tell, over ports.

Lives here: ``engine`` (the loop), ``books`` (what is known) and ``live`` (one running rollout of it),
``snapshots`` (the policies that rollouts keep), ``companions`` (the other components of a service),
``surroundings`` (the ports) and ``calls`` (what is under way there). One file per part of the sentence:
``noticing`` (what has changed), ``discovering`` (what starts) and ``starting`` (from a candidate to a
recorded rollout), ``looking`` and ``asking`` (gather and judge), ``acting`` and ``carrying`` (plan, record,
act: the only two writes), ``telling``; ``failing`` says what went wrong on the way.
Must never be here: knowledge of HTTP, YAML or custom resources, and decisions: those are made in ``core``.
"""

from autocanary.engine.engine import Engine

__all__ = ["Engine"]
