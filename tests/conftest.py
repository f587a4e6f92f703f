"""What all tests share.

Property tests have no deadline, because the machines that run them are noisy. The rollout store in memory refuses what
the API server would refuse of a CanaryRollout, so that no simulated rollout records what a real one could not.
"""

from __future__ import annotations

from hypothesis import settings

from autocanary.simulator.memory_rollout_store import InMemoryRolloutStore
from tests.controller.stored_schema import check_stored

settings.register_profile("autocanary", deadline=None, print_blob=True)
settings.load_profile("autocanary")
InMemoryRolloutStore.admit = staticmethod(check_stored)
