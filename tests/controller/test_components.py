"""A predictor and a transformer of one service: side by side, one after the other, or held for a person."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pytest

from autocanary.model.policy import Component, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import starts_in
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.world import manifest
from tests.controller.driver import BROKEN, FAULTLESS, V1, V2, V3, Play, policy

PREDICTOR, TRANSFORMER = Component.PREDICTOR, Component.TRANSFORMER
MODEL, PRE = "mnist-00002", "mnist-transformer-00002"
LADDER = [10, 25, 50, 100]


def both(**of_the_predictor: Any) -> tuple[Policy, Policy]:
    return policy("predictors", **of_the_predictor), policy("transformers", component=TRANSFORMER)


def served(*policies: Policy, qualities: Mapping[str, Quality] | None = None, **more: Any) -> Play:
    """``mnist`` with a transformer, both at their first revision, seen at rest."""
    images = {f"pre:{number}": FAULTLESS for number in (1, 2, 3)}
    play = Play(*policies, qualities={**images, **(qualities or {})}, **more)
    play.world.kserve.apply(document(V1, "pre:1"), server_side=False)
    play.run(20)
    return play


def document(uri: str, image: str, weight: int | None = None, *, own: int | None = None) -> dict[str, Any]:
    """``weight`` is the predictor's, ``own`` the transformer's."""
    found = manifest("mnist", uri, weight=weight)
    part: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": image}]}
    if own is not None:
        part["canaryTrafficPercent"] = own
    found["spec"]["transformer"] = part
    return found


def change(play: Play, **components: Any) -> None:
    """A merge patch of these components."""
    play.world.kserve.patch("models", "mnist", {"spec": components}, "kubectl-edit")


def release_both(play: Play, weight: int | None = None) -> None:
    """One apply with a new model and a new image."""
    play.world.kserve.apply(document(V2, "pre:2", weight, own=weight), server_side=False)
    play.until(lambda: play.known(MODEL) and play.known(PRE), 30)


def written(play: Play, component: Component) -> list[int | None]:
    weights = [each.weight for each in play.world.cluster.writes if each.key.component is component]
    return [weight for weight, _ in groupby(weights)]


def shares(play: Play, component: Component, number: str) -> int:
    name = f"mnist-{component.value}-{number}"
    return play.world.kserve.split("models", "mnist", component).get(name, 0)


@pytest.mark.parametrize("weight", [None, 0, 10])
def test_one_apply_of_both_is_held_until_a_person_says_which_goes_on(weight: int | None) -> None:
    """Neither gets traffic, whatever weight they came with; both are told; the resumed one goes alone."""
    play = served(*both())
    release_both(play, weight)
    for name in (MODEL, PRE):
        play.until_phase(Phase.PAUSED, name=name, limit=30)
        assert play.rollout(name).progress.reason is Reason.COMPONENTS_TOGETHER
        assert f"autocanary resume {name}" in play.rollout(name).progress.message
    play.run(300)
    assert shares(play, PREDICTOR, "00002") == shares(play, TRANSFORMER, "00002") == 0
    assert (play.phase(MODEL), play.phase(PRE)) == (Phase.PAUSED, Phase.PAUSED)
    assert play.events(MODEL).count("rollout_paused") == 1
    play.ask(Verb.RESUME, PRE)
    assert play.finish(PRE).progress.phase is Phase.PROMOTED
    assert play.phase(MODEL) is Phase.PAUSED
    assert written(play, TRANSFORMER)[-4:] == LADDER
    assert set(written(play, PREDICTOR)) <= {0}
    play.ask(Verb.RESUME, MODEL)
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED
    assert written(play, PREDICTOR)[-4:] == LADDER


def test_both_resumed_go_one_after_the_other() -> None:
    """The one that was resumed first goes first; the second follows by itself."""
    play = served(*both())
    release_both(play)
    play.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    play.until_phase(Phase.PAUSED, name=PRE, limit=30)
    play.ask(Verb.RESUME, PRE)
    play.ask(Verb.RESUME, MODEL)
    play.until_reason(Reason.WAITING_FOR_COMPONENT, MODEL, limit=60)
    while not play.rollout(PRE).is_final:
        assert shares(play, PREDICTOR, "00002") == 0
        play.tick()
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED


def test_the_aborted_one_of_a_pair_does_not_hold_the_other() -> None:
    """A person gives one of them up and lets the other go on."""
    play = served(*both())
    release_both(play)
    play.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    play.until_phase(Phase.PAUSED, name=PRE, limit=30)
    play.ask(Verb.ABORT, PRE)
    play.finish(PRE)
    play.ask(Verb.RESUME, MODEL)
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED
    assert shares(play, TRANSFORMER, "00002") == 0


def test_the_hold_survives_a_restart() -> None:
    """Who was resumed goes on after it, who was not stays."""
    play = served(*both())
    release_both(play)
    play.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    play.until_phase(Phase.PAUSED, name=PRE, limit=30)
    play.restart()
    play.run(30)
    assert (play.phase(MODEL), play.phase(PRE)) == (Phase.PAUSED, Phase.PAUSED)
    play.ask(Verb.RESUME, MODEL)
    play.restart()
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED
    assert play.phase(PRE) is Phase.PAUSED


@pytest.mark.parametrize("weight", [None, 0, 10])
def test_the_stated_order_is_kept(weight: int | None) -> None:
    """``after``: the predictor gets nothing before the transformer is promoted, and then goes by itself."""
    play = served(*both(after=(TRANSFORMER,)), behaviours={V2: starts_in(8)})
    release_both(play, weight)
    held = False
    while not play.rollout(PRE).is_final:
        play.tick()
        assert shares(play, PREDICTOR, "00002") == 0
        held = held or play.rollout(MODEL).progress.reason is Reason.WAITING_FOR_COMPONENT
    assert held
    assert play.phase(PRE) is Phase.PROMOTED
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED
    assert written(play, PREDICTOR)[-4:] == LADDER


def test_after_a_rollback_of_the_first_the_second_waits_for_a_better_one() -> None:
    """It is told once, and goes on when a fix of the first has been promoted."""
    play = served(*both(after=(TRANSFORMER,)), qualities={"pre:2": BROKEN})
    release_both(play)
    assert play.finish(PRE).progress.phase is Phase.ROLLED_BACK
    play.run(600)
    assert play.phase(MODEL) is Phase.STAGING
    assert "rollout_warning" in play.events(MODEL)
    assert "was rolled back" in play.said("rollout_warning", MODEL)[0]
    assert play.events(MODEL).count("rollout_warning") == 1
    change(play, transformer={"containers": [{"name": "kserve-container", "image": "pre:3"}]})
    play.until(lambda: play.known("mnist-transformer-00003"), 30)
    while not play.rollout("mnist-transformer-00003").is_final:
        play.tick()
        assert shares(play, PREDICTOR, "00002") == 0
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED


def test_a_person_lets_the_second_go_without_the_first() -> None:
    """``promote`` passes the wait."""
    play = served(*both(after=(TRANSFORMER,)), qualities={"pre:2": BROKEN})
    release_both(play)
    play.finish(PRE)
    play.until_reason(Reason.WAITING_FOR_COMPONENT, MODEL)
    assert play.ask(Verb.PROMOTE, MODEL) == "going to 10 %"
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED


def test_an_old_rollback_of_the_first_does_not_hold_a_later_release() -> None:
    """Only what was released together belongs together."""
    play = served(*both(after=(TRANSFORMER,)), qualities={"pre:2": BROKEN})
    change(play, transformer={"containers": [{"name": "kserve-container", "image": "pre:2"}]})
    play.until(lambda: play.known(PRE), 30)
    play.finish(PRE)
    play.run(60)
    change(play, predictor={"model": {"storageUri": V2}})
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED


def test_two_policies_that_wait_for_each_other_state_no_order() -> None:
    """Neither goes on by itself, and a person's word counts."""
    play = served(
        policy("predictors", after=(TRANSFORMER,)),
        policy("transformers", component=TRANSFORMER, after=(PREDICTOR,)),
    )
    release_both(play)
    play.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    play.until_phase(Phase.PAUSED, name=PRE, limit=30)
    play.ask(Verb.RESUME, MODEL)
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED


@pytest.mark.parametrize("weight", [None, 0, 10])
def test_a_release_of_another_component_in_the_middle_waits_its_turn(weight: int | None) -> None:
    """The rollout that runs is not disturbed, and the later one follows it without a person."""
    play = served(*both(), behaviours={"pre:2": starts_in(8)})
    change(play, predictor={"canaryTrafficPercent": 0, "model": {"storageUri": V2}})
    play.until(lambda: shares(play, PREDICTOR, "00002") == 25, 600)
    part: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": "pre:2"}]}
    change(play, transformer=part | ({} if weight is None else {"canaryTrafficPercent": weight}))
    play.until(lambda: play.known(PRE), 30)
    play.run(5)
    while not play.rollout(MODEL).is_final:
        play.tick()
        assert shares(play, TRANSFORMER, "00002") == 0
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED
    assert play.finish(PRE).progress.phase is Phase.PROMOTED
    assert "rollout_paused" not in play.events(PRE)


def test_a_rollback_of_the_one_ahead_holds_the_one_behind() -> None:
    """What was applied on top of a bad component is not rolled out without a person."""
    play = served(*both())
    change(play, predictor={"canaryTrafficPercent": 0, "model": {"storageUri": V2}})
    play.until(lambda: shares(play, PREDICTOR, "00002") == 25, 600)
    change(play, transformer={"containers": [{"name": "kserve-container", "image": "pre:2"}]})
    play.until_reason(Reason.WAITING_FOR_COMPONENT, PRE, limit=60)
    play.ask(Verb.ABORT, MODEL)
    assert play.finish(MODEL).progress.phase is Phase.ROLLED_BACK
    play.run(300)
    assert play.rollout(PRE).progress.reason is Reason.WAITING_FOR_COMPONENT
    assert shares(play, TRANSFORMER, "00002") == 0


def test_a_component_without_a_policy_is_said() -> None:
    """KServe cuts it over at once; the governed one is rolled out all the same."""
    play = served(policy(), behaviours={"pre:2": starts_in(8)})
    play.world.kserve.apply(document(V2, "pre:2", 0), server_side=False)
    play.finish(MODEL)
    assert play.phase(MODEL) is Phase.PROMOTED
    (said,) = play.said("rollout_warning", MODEL)
    assert "the transformer of models/mnist was changed as well" in said
    assert shares(play, TRANSFORMER, "00002") == 100
    assert written(play, TRANSFORMER) == []


def test_a_template_neutral_edit_of_the_other_component_holds_for_a_moment_only() -> None:
    """It makes no revision, so after a while nothing is waited for."""
    play = served(*both())
    found = document(V2, "pre:1", 0)
    found["spec"]["transformer"]["containers"][0]["name"] = "kserve-container"
    found["spec"]["transformer"]["canaryTrafficPercent"] = 100
    play.world.kserve.apply(found, server_side=False)
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED


def test_a_label_makes_a_revision_of_each_component() -> None:
    """KServe copies metadata into both templates: the same hold, said with both names."""
    play = served(*both())
    play.world.kserve.patch("models", "mnist", {"metadata": {"labels": {"team": "ml"}}}, "kubectl-label")
    play.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    play.until_phase(Phase.PAUSED, name=PRE, limit=30)
    assert "mnist-transformer-00002" in play.rollout(MODEL).progress.message
    assert "mnist-predictor-00002" in play.rollout(PRE).progress.message


def test_a_fix_while_both_are_held_does_not_slip_through() -> None:
    """A newer revision of one of them is held as well, as long as the other waits for a person."""
    play = served(*both())
    release_both(play)
    play.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    play.until_phase(Phase.PAUSED, name=PRE, limit=30)
    play.run(120)
    change(play, predictor={"model": {"storageUri": V3}})
    play.until_phase(Phase.PAUSED, name="mnist-00003", limit=60)
    play.run(60)
    assert play.phase(MODEL) is Phase.SUPERSEDED
    assert shares(play, PREDICTOR, "00003") == 0


def test_the_same_bad_spec_beside_a_good_one_holds_nothing() -> None:
    """What is kept out as known to be bad gets no traffic, so the other one may go on."""
    play = served(*both(), qualities={"pre:2": BROKEN})
    change(play, transformer={"containers": [{"name": "kserve-container", "image": "pre:2"}]})
    play.until(lambda: play.known(PRE), 30)
    play.finish(PRE)
    play.run(60)
    play.world.kserve.patch("models", "mnist", {"metadata": {"labels": {"team": "ml"}}}, "kubectl-label")
    assert play.finish(MODEL).progress.phase is Phase.PROMOTED
    assert play.ending("mnist-transformer-00003")[1] is Reason.KNOWN_BAD
