"""A predictor and a transformer of one service: side by side, one after the other, or held for a user."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pytest

from autocanary.model.policy import Component, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import ready_after_seconds
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.world import manifest
from tests.controller.driver import BROKEN, FAULTLESS, V1, V2, V3, Driver, policy

PREDICTOR, TRANSFORMER = Component.PREDICTOR, Component.TRANSFORMER
MODEL, PRE = "mnist-00002", "mnist-transformer-00002"
LADDER = [10, 25, 50, 100]


def both(**of_the_predictor: Any) -> tuple[Policy, Policy]:
    return policy("predictors", **of_the_predictor), policy("transformers", component=TRANSFORMER)


def served(*policies: Policy, qualities: Mapping[str, Quality] | None = None, **more: Any) -> Driver:
    """``mnist`` with a transformer, both at their first revision, seen at rest."""
    images = {f"pre:{number}": FAULTLESS for number in (1, 2, 3)}
    driver = Driver(*policies, qualities={**images, **(qualities or {})}, **more)
    driver.world.kserve.apply(document(V1, "pre:1"), server_side=False)
    driver.run(20)
    return driver


def document(uri: str, image: str, weight: int | None = None, *, own: int | None = None) -> dict[str, Any]:
    """``weight`` is the predictor's, ``own`` the transformer's."""
    found = manifest("mnist", uri, weight=weight)
    part: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": image}]}
    if own is not None:
        part["canaryTrafficPercent"] = own
    found["spec"]["transformer"] = part
    return found


def change(driver: Driver, **components: Any) -> None:
    """A merge patch of these components."""
    driver.world.kserve.patch("models", "mnist", {"spec": components}, "kubectl-edit")


def release_both(driver: Driver, weight: int | None = None) -> None:
    """One apply with a new model and a new image."""
    driver.world.kserve.apply(document(V2, "pre:2", weight, own=weight), server_side=False)
    driver.until(lambda: driver.has_rollout(MODEL) and driver.has_rollout(PRE), 30)


def written(driver: Driver, component: Component) -> list[int | None]:
    weights = [each.weight for each in driver.world.cluster.writes if each.key.component is component]
    return [weight for weight, _ in groupby(weights)]


def shares(driver: Driver, component: Component, number: str) -> int:
    name = f"mnist-{component.value}-{number}"
    return driver.world.kserve.split("models", "mnist", component).get(name, 0)


@pytest.mark.parametrize("weight", [None, 0, 10])
def test_pauses_when_both_components_change_at_once(weight: int | None) -> None:
    """Neither gets traffic, whatever weight they came with; both are notified; the resumed one goes alone."""
    driver = served(*both())
    release_both(driver, weight)
    for name in (MODEL, PRE):
        driver.until_phase(Phase.PAUSED, name=name, limit=30)
        assert driver.rollout(name).progress.reason is Reason.COMPONENTS_TOGETHER
        assert f"autocanary resume {name}" in driver.rollout(name).progress.message
    driver.run(300)
    assert shares(driver, PREDICTOR, "00002") == shares(driver, TRANSFORMER, "00002") == 0
    assert (driver.phase(MODEL), driver.phase(PRE)) == (Phase.PAUSED, Phase.PAUSED)
    assert driver.events(MODEL).count("rollout_paused") == 1
    driver.ask(Verb.RESUME, PRE)
    assert driver.finish(PRE).progress.phase is Phase.PROMOTED
    assert driver.phase(MODEL) is Phase.PAUSED
    assert written(driver, TRANSFORMER)[-4:] == LADDER
    assert set(written(driver, PREDICTOR)) <= {0}
    driver.ask(Verb.RESUME, MODEL)
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED
    assert written(driver, PREDICTOR)[-4:] == LADDER


def test_resumed_components_roll_out_one_after_other() -> None:
    """The one that was resumed first goes first; the second follows without a request."""
    driver = served(*both())
    release_both(driver)
    driver.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    driver.until_phase(Phase.PAUSED, name=PRE, limit=30)
    driver.ask(Verb.RESUME, PRE)
    driver.ask(Verb.RESUME, MODEL)
    driver.until_reason(Reason.WAITING_FOR_COMPONENT, MODEL, limit=60)
    while not driver.rollout(PRE).is_final:
        assert shares(driver, PREDICTOR, "00002") == 0
        driver.tick()
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED


def test_the_aborted_one_of_a_pair_does_not_hold_the_other() -> None:
    """A user gives one of them up and lets the other go on."""
    driver = served(*both())
    release_both(driver)
    driver.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    driver.until_phase(Phase.PAUSED, name=PRE, limit=30)
    driver.ask(Verb.ABORT, PRE)
    driver.finish(PRE)
    driver.ask(Verb.RESUME, MODEL)
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED
    assert shares(driver, TRANSFORMER, "00002") == 0


def test_the_hold_survives_a_restart() -> None:
    """Who was resumed goes on after it, who was not stays."""
    driver = served(*both())
    release_both(driver)
    driver.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    driver.until_phase(Phase.PAUSED, name=PRE, limit=30)
    driver.restart()
    driver.run(30)
    assert (driver.phase(MODEL), driver.phase(PRE)) == (Phase.PAUSED, Phase.PAUSED)
    driver.ask(Verb.RESUME, MODEL)
    driver.restart()
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED
    assert driver.phase(PRE) is Phase.PAUSED


@pytest.mark.parametrize("weight", [None, 0, 10])
def test_the_stated_order_is_kept(weight: int | None) -> None:
    """``after``: the predictor gets nothing before the transformer is promoted, and then starts without a request."""
    driver = served(*both(after=(TRANSFORMER,)), behaviours={V2: ready_after_seconds(8)})
    release_both(driver, weight)
    held = False
    while not driver.rollout(PRE).is_final:
        driver.tick()
        assert shares(driver, PREDICTOR, "00002") == 0
        held = held or driver.rollout(MODEL).progress.reason is Reason.WAITING_FOR_COMPONENT
    assert held
    assert driver.phase(PRE) is Phase.PROMOTED
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED
    assert written(driver, PREDICTOR)[-4:] == LADDER


def test_after_a_rollback_of_the_first_the_second_waits_for_a_better_one() -> None:
    """It is notified once, and continues when a fix of the first has been promoted."""
    driver = served(*both(after=(TRANSFORMER,)), qualities={"pre:2": BROKEN})
    release_both(driver)
    assert driver.finish(PRE).progress.phase is Phase.ROLLED_BACK
    driver.run(600)
    assert driver.phase(MODEL) is Phase.STAGING
    assert "rollout_warning" in driver.events(MODEL)
    assert "was rolled back" in driver.messages_of("rollout_warning", MODEL)[0]
    assert driver.events(MODEL).count("rollout_warning") == 1
    change(driver, transformer={"containers": [{"name": "kserve-container", "image": "pre:3"}]})
    driver.until(lambda: driver.has_rollout("mnist-transformer-00003"), 30)
    while not driver.rollout("mnist-transformer-00003").is_final:
        driver.tick()
        assert shares(driver, PREDICTOR, "00002") == 0
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED


def test_user_can_resume_second_component_alone() -> None:
    """``promote`` passes the wait."""
    driver = served(*both(after=(TRANSFORMER,)), qualities={"pre:2": BROKEN})
    release_both(driver)
    driver.finish(PRE)
    driver.until_reason(Reason.WAITING_FOR_COMPONENT, MODEL)
    assert driver.ask(Verb.PROMOTE, MODEL) == "going to 10 %"
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED


def test_an_old_rollback_of_the_first_does_not_hold_a_later_release() -> None:
    """Only what was released together belongs together."""
    driver = served(*both(after=(TRANSFORMER,)), qualities={"pre:2": BROKEN})
    change(driver, transformer={"containers": [{"name": "kserve-container", "image": "pre:2"}]})
    driver.until(lambda: driver.has_rollout(PRE), 30)
    driver.finish(PRE)
    driver.run(60)
    change(driver, predictor={"model": {"storageUri": V2}})
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED


def test_two_policies_that_wait_for_each_other_state_no_order() -> None:
    """Neither continues without a request, and a user's request counts."""
    driver = served(
        policy("predictors", after=(TRANSFORMER,)),
        policy("transformers", component=TRANSFORMER, after=(PREDICTOR,)),
    )
    release_both(driver)
    driver.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    driver.until_phase(Phase.PAUSED, name=PRE, limit=30)
    driver.ask(Verb.RESUME, MODEL)
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED


@pytest.mark.parametrize("weight", [None, 0, 10])
def test_a_release_of_another_component_in_the_middle_waits_its_turn(weight: int | None) -> None:
    """The rollout that runs is not disturbed, and the later one follows it without a user."""
    driver = served(*both(), behaviours={"pre:2": ready_after_seconds(8)})
    change(driver, predictor={"canaryTrafficPercent": 0, "model": {"storageUri": V2}})
    driver.until(lambda: shares(driver, PREDICTOR, "00002") == 25, 600)
    part: dict[str, Any] = {"containers": [{"name": "kserve-container", "image": "pre:2"}]}
    change(driver, transformer=part | ({} if weight is None else {"canaryTrafficPercent": weight}))
    driver.until(lambda: driver.has_rollout(PRE), 30)
    driver.run(5)
    while not driver.rollout(MODEL).is_final:
        driver.tick()
        assert shares(driver, TRANSFORMER, "00002") == 0
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED
    assert driver.finish(PRE).progress.phase is Phase.PROMOTED
    assert "rollout_paused" not in driver.events(PRE)


def test_a_rollback_of_the_one_ahead_holds_the_one_behind() -> None:
    """What was applied on top of a bad component is not rolled out without a user."""
    driver = served(*both())
    change(driver, predictor={"canaryTrafficPercent": 0, "model": {"storageUri": V2}})
    driver.until(lambda: shares(driver, PREDICTOR, "00002") == 25, 600)
    change(driver, transformer={"containers": [{"name": "kserve-container", "image": "pre:2"}]})
    driver.until_reason(Reason.WAITING_FOR_COMPONENT, PRE, limit=60)
    driver.ask(Verb.ABORT, MODEL)
    assert driver.finish(MODEL).progress.phase is Phase.ROLLED_BACK
    driver.run(300)
    assert driver.rollout(PRE).progress.reason is Reason.WAITING_FOR_COMPONENT
    assert shares(driver, TRANSFORMER, "00002") == 0


def test_warns_about_changed_component_without_policy() -> None:
    """KServe cuts it over at once; the governed one is rolled out all the same."""
    driver = served(policy(), behaviours={"pre:2": ready_after_seconds(8)})
    driver.world.kserve.apply(document(V2, "pre:2", 0), server_side=False)
    driver.finish(MODEL)
    assert driver.phase(MODEL) is Phase.PROMOTED
    (messages_of,) = driver.messages_of("rollout_warning", MODEL)
    assert "the transformer of models/mnist was changed as well" in messages_of
    assert shares(driver, TRANSFORMER, "00002") == 100
    assert written(driver, TRANSFORMER) == []


def test_a_template_neutral_edit_of_the_other_component_holds_for_a_moment_only() -> None:
    """It makes no revision, so after a while nothing is waited for."""
    driver = served(*both())
    found = document(V2, "pre:1", 0)
    found["spec"]["transformer"]["containers"][0]["name"] = "kserve-container"
    found["spec"]["transformer"]["canaryTrafficPercent"] = 100
    driver.world.kserve.apply(found, server_side=False)
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED


def test_a_label_makes_a_revision_of_each_component() -> None:
    """KServe copies metadata into both templates: the same hold, said with both names."""
    driver = served(*both())
    driver.world.kserve.patch("models", "mnist", {"metadata": {"labels": {"team": "ml"}}}, "kubectl-label")
    driver.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    driver.until_phase(Phase.PAUSED, name=PRE, limit=30)
    assert "mnist-transformer-00002" in driver.rollout(MODEL).progress.message
    assert "mnist-predictor-00002" in driver.rollout(PRE).progress.message


def test_new_revision_while_both_are_held_is_held_too() -> None:
    """A newer revision of one of them is held as well, as long as the other waits for a user."""
    driver = served(*both())
    release_both(driver)
    driver.until_phase(Phase.PAUSED, name=MODEL, limit=30)
    driver.until_phase(Phase.PAUSED, name=PRE, limit=30)
    driver.run(120)
    change(driver, predictor={"model": {"storageUri": V3}})
    driver.until_phase(Phase.PAUSED, name="mnist-00003", limit=60)
    driver.run(60)
    assert driver.phase(MODEL) is Phase.SUPERSEDED
    assert shares(driver, PREDICTOR, "00003") == 0


def test_known_bad_component_does_not_hold_other() -> None:
    """What is kept out as known to be bad gets no traffic, so the other one may go on."""
    driver = served(*both(), qualities={"pre:2": BROKEN})
    change(driver, transformer={"containers": [{"name": "kserve-container", "image": "pre:2"}]})
    driver.until(lambda: driver.has_rollout(PRE), 30)
    driver.finish(PRE)
    driver.run(60)
    driver.world.kserve.patch("models", "mnist", {"metadata": {"labels": {"team": "ml"}}}, "kubectl-label")
    assert driver.finish(MODEL).progress.phase is Phase.PROMOTED
    assert driver.phase_and_reason("mnist-transformer-00003")[1] is Reason.KNOWN_BAD
