"""The worlds that the contract's tests act in: where, and with which definition of an InferenceService."""

from __future__ import annotations

import pytest

__all__ = ["KFSERVING_WORLDS", "KSERVE_WORLDS", "only_kfserving", "only_kserve"]

KSERVE_WORLDS = [
    "sim-minimal",
    "sim-full",
    pytest.param("real-minimal", marks=pytest.mark.real),
    pytest.param("real-full", marks=pytest.mark.real),
]
KFSERVING_WORLDS = ["sim-kfserving", pytest.param("real-kfserving", marks=pytest.mark.real)]

only_kserve = pytest.mark.parametrize("site", KSERVE_WORLDS, indirect=True, scope="session")
"""What follows from KServe's own rules: there, an absent weight is 100, and 100 makes stable."""

only_kfserving = pytest.mark.parametrize("site", KFSERVING_WORLDS, indirect=True, scope="session")
"""What follows from stable standing beside the candidate in the spec."""
