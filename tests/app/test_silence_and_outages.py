"""Silence is not evidence, and an outage of both passes nothing; ``python -m tests.app.silence_and_outages`` runs more."""

from __future__ import annotations

from tests.app.silence_and_outages import DeadCandidates, ScrapeLosses, dead_candidates, scrape_losses


def test_one_sided_scrape_loss_causes_no_rollback_and_no_step() -> None:
    """Two to twenty minutes, of either side, from the first minute to the bake."""
    assert scrape_losses(16) == ScrapeLosses(16, 0, 0)


def test_dead_candidate_behind_a_dead_stable_is_not_promoted() -> None:
    assert dead_candidates(6) == DeadCandidates(6, 0)
