"""What to do about a service that has no running rollout: start one, report a missed one, repair stable.

Input: one observation, the policy that selects the service, the service's earlier rollouts, and what earlier
observations showed.
Must never be here: what happens to a rollout that has started. That is in ``rules``.
"""

from autocanary.decide.detection.findings import Mend, Nothing, Refusal, Start
from autocanary.decide.detection.new_rollout import discover, retried
from autocanary.decide.detection.stable_revision import SETTLED_AFTER, Memory, in_force, remember

__all__ = [
    "SETTLED_AFTER",
    "Memory",
    "Mend",
    "Nothing",
    "Refusal",
    "Start",
    "discover",
    "in_force",
    "remember",
    "retried",
]
