"""What to do about a service that has no running rollout: start one, report a missed one, repair stable.

Input: one observation, the policy that selects the service, the service's earlier rollouts, and what earlier
observations showed.
Must never be here: what happens to a rollout that has started. That is in ``rules``.
"""

from autocanary.decide.detection.findings import NoAction, Refusal, RepairStable, StartRollout
from autocanary.decide.detection.missed_release import missed_without_status
from autocanary.decide.detection.new_rollout import detect
from autocanary.decide.detection.retry import retry_rollout
from autocanary.decide.detection.stable_revision import (
    UNCHANGED_SECONDS,
    StableRevisionTracker,
    current_rollouts,
    is_spec_of_stable,
    track_stable_revision,
)

__all__ = [
    "UNCHANGED_SECONDS",
    "NoAction",
    "Refusal",
    "RepairStable",
    "StableRevisionTracker",
    "StartRollout",
    "current_rollouts",
    "detect",
    "is_spec_of_stable",
    "missed_without_status",
    "retry_rollout",
    "track_stable_revision",
]
