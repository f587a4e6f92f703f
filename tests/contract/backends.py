"""The worlds that the contract's tests act in: where, and with which definition of an InferenceService."""

from __future__ import annotations

import pytest

__all__ = ["KFSERVING_WORLDS", "KSERVE_WORLDS", "only_kfserving", "only_kserve"]

# KServe's two definitions, and the group that it had before (KFServing 0.5 and 0.6), by the same rules.
KSERVE_WORLDS = [
    "sim-minimal",
    "sim-full",
    "sim-kubeflow",
    pytest.param("real-minimal", marks=pytest.mark.real),
    pytest.param("real-full", marks=pytest.mark.real),
    pytest.param("real-kubeflow", marks=pytest.mark.real),
]
KFSERVING_WORLDS = ["sim-kfserving", pytest.param("real-kfserving", marks=pytest.mark.real)]

only_kserve = pytest.mark.parametrize("site", KSERVE_WORLDS, indirect=True, scope="session")
"""What only KServe's own rules can bring about: there stable is not in the spec, but remembered by name
(``previousRolledoutRevision``), and a weight without a new revision divides with the one before it. Where stable
stands in the spec (v1alpha2) there is no such memory, so nothing that could be wrong.
"""

only_kfserving = pytest.mark.parametrize("site", KFSERVING_WORLDS, indirect=True, scope="session")
"""What follows from stable standing beside the candidate in the spec."""
