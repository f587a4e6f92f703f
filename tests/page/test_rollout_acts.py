"""What can be asked of a rollout, and what is refused because it has moved on."""

from __future__ import annotations

import pytest

from autocanary.model.progress import Phase
from autocanary.page.rollout_acts import ActRefused, acts_of, request_of
from tests.cli.fake_client import POLICY, rollout


def _verbs(phase: Phase, **more: object) -> list[str]:
    return [act.verb for act in acts_of(rollout(phase, **more), POLICY)]  # type: ignore[arg-type]


def test_each_phase_offers_what_it_can_do() -> None:
    """Nothing that autocanary would refuse."""
    assert _verbs(Phase.PROGRESSING) == ["promote", "promote-full", "pause", "abort"]
    assert _verbs(Phase.PROGRESSING, step=2, weight=50) == ["promote", "pause", "abort"]
    assert _verbs(Phase.BAKING, step=3, weight=100) == ["pause", "abort"]
    assert _verbs(Phase.PAUSED) == ["resume", "promote", "promote-full", "abort"]
    assert _verbs(Phase.PROGRESSING, paused=True) == ["resume", "promote", "promote-full", "abort"]
    assert _verbs(Phase.ROLLING_BACK) == _verbs(Phase.PROMOTED) == _verbs(Phase.FINALIZING) == []
    assert _verbs(Phase.ROLLED_BACK) == ["retry"]


def test_each_act_says_what_follows() -> None:
    """With the revision and the weight that are meant."""
    said = {act.verb: act.consequence for act in acts_of(rollout(), POLICY)}
    assert said["promote"].startswith("mnist-predictor-00002 gets 50 % of the traffic now")
    assert said["abort"] == "All traffic goes back to mnist-predictor-00001 now."
    assert "keeps 25 % of the traffic" in said["pause"]


def test_a_promotion_passes_the_step_that_was_seen() -> None:
    """A page that is a minute old must not promote a step that its reader has not seen."""
    paused, request = request_of(rollout(), POLICY, "promote", by="ada", reason="it is\nfine\x1b[2J", seen_weight=25)
    assert (paused, request.verb, request.by, request.weight, request.reason) == (
        None,
        "promote",
        "ada",
        25,
        "it is fine",
    )
    with pytest.raises(ActRefused, match="the page showed the step at 10 %, and mnist-00002 is at 25 % now"):
        request_of(rollout(), POLICY, "promote", by="ada", reason="", seen_weight=10)


def test_a_pause_writes_the_field_and_a_resume_takes_it_back() -> None:
    """As kubectl could write it."""
    assert request_of(rollout(), POLICY, "pause", by="", reason="", seen_weight=None)[0] is True
    assert request_of(rollout(paused=True), POLICY, "resume", by="", reason="", seen_weight=None)[0] is False
    assert request_of(rollout(Phase.PAUSED), POLICY, "resume", by="", reason="", seen_weight=None)[0] is None


@pytest.mark.parametrize("verb", ["", "delete", "promote --full", "<script>", "PROMOTE"])
def test_other_verbs_are_refused(verb: str) -> None:
    """They come from no button of the page."""
    with pytest.raises(ActRefused, match="nothing that can be asked"):
        request_of(rollout(), POLICY, verb, by="", reason="", seen_weight=None)


def test_an_act_that_came_too_late_changes_nothing() -> None:
    """The rollout ended while the page was open."""
    with pytest.raises(ActRefused, match="is Promoted now, so abort is not possible; nothing was changed"):
        request_of(rollout(Phase.PROMOTED), POLICY, "abort", by="", reason="", seen_weight=None)
