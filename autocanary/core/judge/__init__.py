"""Readings -> verdict: has the candidate passed, failed, or is it too early to say?

Lives here: ``verdict`` (the answer as a value, and what it is made from), ``threshold`` (what the user
calls unacceptable), ``terms``, ``intake``, ``likelihood``, ``comparison``, ``share`` and ``trial`` (the
candidate held against stable, by sequential tests), ``interval`` and ``forecast`` (what people see of
them), ``hooks`` (webhooks that are judged like metrics), ``weighing`` (the comparisons of a policy at one
look) and ``deciding`` (all of it together).
Must never be here: knowledge of Kubernetes or where a reading came from.
"""

from autocanary.core.judge.deciding import judge
from autocanary.core.judge.verdict import Basis, Look, Outcome, Verdict

__all__ = ["Basis", "Look", "Outcome", "Verdict", "judge"]
