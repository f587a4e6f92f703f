"""What all tests share: property tests without a clock, for the machines that run them are noisy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("autocanary", deadline=None, print_blob=True)
settings.load_profile("autocanary")
