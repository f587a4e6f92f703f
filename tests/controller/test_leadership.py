"""Leadership lost and regained: a replica that does not lead writes nothing, and the leader continues."""

from __future__ import annotations

from itertools import count

import pytest

from autocanary.controller import Controller
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout, Verb
from autocanary.simulator.fakes import FakeLeadership
from tests.controller.driver import BROKEN, V2, Driver, fast_policy, healthy_start
from tests.controller.scenarios import run_without_faults


def silent(driver: Driver, seconds: float) -> None:
    """Nothing is written to anything, and nothing is notified, for so long."""
    before = (
        len(driver.world.cluster.writes),
        len(driver.world.store.writes),
        len(driver.world.notifier.messages),
    )
    driver.run(seconds)
    after = (
        len(driver.world.cluster.writes),
        len(driver.world.store.writes),
        len(driver.world.notifier.messages),
    )
    assert after == before


@pytest.mark.parametrize("weight", [10, 25, 50, 100])
def test_former_leader_writes_nothing_and_resumes_when_elected(weight: int) -> None:
    """Ten minutes without the lease, in each step; then the rollout ends as it would have."""
    driver = healthy_start()
    driver.until_weight(weight)
    driver.world.leadership.leads = False
    silent(driver, 600)
    driver.world.leadership.leads = True
    driver.restarted = True  # what was on its way when leadership was lost may be sent again
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


def test_a_lost_leader_does_not_roll_back() -> None:
    """Not even a bad candidate: another instance will. It does so itself when it leads again."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_weight(10)
    driver.world.leadership.leads = False
    silent(driver, 300)
    driver.world.leadership.leads = True
    driver.restarted = True
    driver.finish()
    assert driver.weights() == [10, 0]


def test_former_leader_intercepts_and_answers_nothing() -> None:
    """A request and an unstaged release wait for the leader."""
    driver = Driver()
    driver.deploy_stable()
    driver.world.leadership.leads = False
    driver.release(V2, None)
    silent(driver, 60)
    assert driver.rollout_names() == []


def test_next_leader_handles_request_made_without_leader() -> None:
    """It is in the object's spec, so it is not lost."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.world.leadership.leads = False
    id_ = driver.write(Verb.ABORT)
    driver.run(30)
    driver.world.leadership.leads = True
    driver.restarted = True
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK
    assert driver.rollout().progress.requests.answered_id == id_


def test_next_leader_detects_release_made_without_leader() -> None:
    """Staged at 0 meanwhile; adopted as if it had just been applied."""
    driver = Driver()
    driver.deploy_stable()
    driver.world.leadership.leads = False
    driver.release()
    driver.run(120)
    driver.world.leadership.leads = True
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_leadership_lost_between_the_record_and_the_write() -> None:
    """The step is recorded and not written by the one; the next leader writes it, once."""
    expected = run_without_faults("promotion")
    for victim in range(2, expected.writes.count("update_status") + 1):
        driver = Driver(fast_policy(min_requests=1.0))
        driver.deploy_stable()
        lose_after(driver, victim)
        driver.release()
        unled = writes_without_leadership(driver)
        driver.finish(limit=1200)
        assert unled == []
        assert driver.weights() == [10, 50, 100], f"leadership was lost after record {victim}"
        assert driver.phase() is Phase.PROMOTED


def writes_without_leadership(driver: Driver) -> list[int]:
    """The weights that are sent from now on by a replica that does not lead."""
    sent: list[int] = []
    cluster, leadership = driver.world.cluster, driver.world.leadership
    set_weight = cluster.set_weight

    def noting(observation: Observation, weight: int) -> Observation:
        if not leadership.leads:
            sent.append(weight)
        return set_weight(observation, weight)

    cluster.set_weight = noting  # type: ignore[method-assign]
    return sent


def lose_after(driver: Driver, victim: int) -> None:
    """Leadership goes in the middle of a record, when it has been made, and comes back a minute later."""
    store, leadership = driver.world.store, driver.world.leadership
    update_status = store.update_status
    records = count(1)

    def losing(rollout: Rollout) -> Rollout:
        kept = update_status(rollout)
        if next(records) == victim:
            leadership.leads = False
            driver.world.after(60, lambda: setattr(leadership, "leads", True))
        return kept

    driver.restarted = True
    store.update_status = losing  # type: ignore[method-assign]


def test_another_instance_takes_over_in_the_middle() -> None:
    """Two engines over one cluster, each with its own lease: the second continues what the first began."""
    driver = healthy_start()
    driver.until_weight(25)
    first, mine = driver.controller, driver.world.leadership
    driver.world.leadership = FakeLeadership(leads=False)
    second = driver.new_controller()
    theirs = driver.world.leadership
    mine.leads, theirs.leads = False, True
    driver.restarted = True
    engines: list[Controller] = [first, second]

    class Both:
        def tick(self) -> None:
            for controller in engines:
                controller.tick()

    driver.controller = Both()  # type: ignore[assignment]
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_leadership_that_flaps_every_few_seconds() -> None:
    """Slow, but right: same weights, each once."""
    driver = healthy_start()
    driver.restarted = True
    for second in range(1800):
        driver.world.leadership.leads = second % 11 < 7
        driver.tick()
        if driver.has_rollout("mnist-00002") and driver.rollout().is_final:
            break
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_an_instance_that_never_leads_writes_nothing() -> None:
    """However often it is started, and whatever is released meanwhile."""
    driver = Driver()
    driver.world.leadership.leads = False
    driver.deploy_stable()
    driver.release()
    for _ in range(3):
        driver.restart()
        silent(driver, 30)
    assert driver.rollout_names() == []
