"""What other clients write into the record of a rollout that runs: the leader continues from what it has verified."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

from autocanary import logs
from autocanary.app.demo_run import controller_on
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.progress import Phase
from autocanary.model.time_format import format_time
from autocanary.simulator.fakes import InlinePool
from tests.controller.comparison_policies import comparison_policy
from tests.controller.driver import ANALYSIS, BROKEN, V2, Driver, policy

T = TypeVar("T")

Edit = Callable[[dict[str, Any]], None]
NAME = "mnist-00002"


def put(*path: str, value: object) -> Edit:
    """Sets one field of the document."""

    def edit(document: dict[str, Any]) -> None:
        holder = document
        for each in path[:-1]:
            holder = holder[each]
        holder[path[-1]] = value

    return edit


def drop_progress(document: dict[str, Any]) -> None:
    document["status"]["progress"] = {"version": 1}


MALFORMED: dict[str, Edit] = {
    "unknown phase": put("status", "progress", "phase", value="Nonsense"),
    "number instead of the phase": put("status", "progress", "phase", value=5),
    "newer version": put("status", "progress", "version", value=99),
    "metrics of a wrong type": put(
        "status", "progress", "metrics", value={"request-success-rate": {"last": {"kind": "x"}}}
    ),
    "text instead of a time": put("status", "progress", "verified_at", value="soon"),
    "only the version": drop_progress,
    "notification of wrong types": put(
        "status",
        "progress",
        "pending_notifications",
        value=[
            {
                "id": "a",
                "event": "step_taken",
                "at": 1.0,
                "phase": "Progressing",
                "step": 1,
                "weight": 10,
                "reason": "StepTaken",
                "message": "",
                "delivered_channels": ["log", None, {}],
            }
        ],
    ),
    "message id of a wrong type": put("status", "progress", "channel_message_ids", value={"slack": {}}),
}


@pytest.mark.parametrize("edit", MALFORMED)
def test_malformed_status_while_running_is_replaced(edit: str) -> None:
    """The rollout goes on from what the leader knows: rolled back when it turns bad, its record whole again."""
    driver = Driver(policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    with logs.capture() as log:
        driver.world.store.edit("models", NAME, MALFORMED[edit])
        driver.run(2)
    assert [each["rollout"] for each in log.named("record_replaced")] == [NAME]
    assert driver.rollout_names() == [NAME]
    assert driver.phase() is Phase.PROGRESSING
    driver.until_phase(Phase.ROLLED_BACK, limit=300)
    assert driver.weights() == [10, 0]


@pytest.mark.parametrize("edit", MALFORMED)
def test_malformed_status_found_by_a_write_is_replaced(edit: str) -> None:
    """The watch is late: the write of the next step meets the changed record first, and says that it replaces it."""
    driver = Driver(policy())
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    store = driver.world.store
    take_changes, cached = store.take_changes, store.cached
    known = cached("models", NAME)
    store.take_changes = lambda: set()  # type: ignore[method-assign]
    store.cached = lambda *_: known  # type: ignore[method-assign]
    store.edit("models", NAME, MALFORMED[edit])
    with logs.capture() as log:
        driver.until(lambda: store.document("models", NAME)["status"]["step"] == 2, 120)
    assert [each["rollout"] for each in log.named("record_replaced")] == [NAME]
    store.take_changes, store.cached = take_changes, cached  # type: ignore[method-assign]
    assert driver.finish().progress.phase is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_record_that_stays_unreadable_delays_no_rollback() -> None:
    """Its spec cannot be read either, so it cannot be replaced: the 0 is written without it."""
    driver = Driver(policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.world.store.admit = lambda _: None
    driver.world.store.edit("models", NAME, put("spec", "inferenceService", value={}))
    driver.until(lambda: driver.weights() == [10, 0], 120)


def test_deleted_and_created_again_is_another_record() -> None:
    """Another uid is another object: it is adopted as one."""
    driver = Driver(policy())
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.world.store.edit("models", NAME, put("metadata", "uid", value="another"))
    driver.run(2)
    assert driver.rollout().uid == "another"
    assert driver.finish().progress.phase is Phase.PROMOTED


def test_changed_stable_spec_is_not_used_and_the_verified_copy_is() -> None:
    """The candidate's pods crash, so the rollback puts stable's spec back: the one that was recorded."""
    driver = Driver(policy())
    driver.deploy_stable()
    driver.release()
    driver.until_weight(25)
    evil = {"hash": "x", "value": {"containers": [{"image": "evil"}]}}
    driver.world.store.edit("models", NAME, put("spec", "stableSpec", value=evil))
    driver.run(3)
    conditions = {each["type"]: each for each in driver.world.store.document("models", NAME)["status"]["conditions"]}
    assert conditions["RecordedSpecs"]["status"] == "False"
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask("abort")
    driver.until_phase(Phase.ROLLED_BACK, limit=600)
    restored = [each for each in driver.world.cluster.writes if each.restored]
    assert len(restored) == 1
    spec = driver.world.kserve.document("models", "mnist")["spec"]["predictor"]
    assert "containers" not in spec
    assert spec["model"]["storageUri"].endswith("/1")


def test_changed_subject_of_a_running_rollout_is_not_used() -> None:
    """Another candidate, another policy: what the rollout is about was read when it was created."""
    driver = Driver(policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.world.store.edit("models", NAME, put("spec", "candidate", value="mnist-predictor-00001"))
    driver.world.store.edit("models", NAME, put("spec", "stable", value="mnist-predictor-00009"))
    driver.until(lambda: driver.weights() == [10, 0], 120)


def test_times_of_the_future_written_while_running_count_as_now() -> None:
    """Otherwise the warm-up would not end for a year."""
    driver = Driver(policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    later = driver.world.now() + 365 * 86400.0
    names = ("verified_at", "step_started_at", "phase_since", "outage_since", "no_data_since", "held_since")

    def edit(document: dict[str, Any]) -> None:
        document["status"]["progress"] |= dict.fromkeys(names, later)
        document["status"]["stepStartedAt"] = format_time(later)

    driver.world.store.edit("models", NAME, edit)
    driver.until(lambda: driver.weights() == [10, 0], int(ANALYSIS.warmup + 3 * ANALYSIS.interval))


class SlowClock:
    """A machine whose clock is ``behind`` by so many seconds."""

    def __init__(self, clock: Any, behind: float) -> None:
        self._clock, self._behind = clock, behind

    def now(self) -> float:
        return float(self._clock.now()) - self._behind


@pytest.mark.parametrize("behind", [3600.0, 86400.0])
def test_comparison_goes_on_at_a_machine_whose_clock_is_behind(behind: float) -> None:
    """Its counted blocks carry times of the other clock."""
    driver = Driver(comparison_policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.run(20)
    clock = driver.world.clock
    driver.world.clock = SlowClock(clock, behind)  # type: ignore[assignment]
    driver.controller = driver.new_controller()
    driver.world.clock = clock
    driver.until(lambda: driver.weights() == [10, 0], 300)


class HangingPool(InlinePool):
    """While ``hangs``, the work that is given has no end."""

    def __init__(self) -> None:
        self.hangs = False
        self.kept: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if not self.hangs:
            return super().submit(work)
        future: Future[T] = Future()
        self.kept.append((future, work))
        return future

    submit_urgent = submit


@pytest.mark.parametrize("ends_late", [False, True])
def test_write_that_hangs_is_abandoned(ends_late: bool) -> None:
    """After three intervals, at least a minute, the rollout is evaluated again; the late write changes nothing."""
    driver = Driver(policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    pool = driver.world.pool = HangingPool()
    driver.controller = controller_on(driver.world, query_pool=InlinePool())
    driver.run(3)
    pool.hangs = True
    driver.until(lambda: pool.kept, 60)
    pool.hangs = False
    with logs.capture() as log:
        driver.run(30)
        assert driver.weights() == [10]
        driver.until(lambda: driver.weights() == [10, 0], 90)
    assert log.named("calls_abandoned")[0]["calls"] == ["write"]
    if ends_late:
        for future, work in pool.kept:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - a future carries whatever the work raised
                future.set_exception(error)
    driver.until_phase(Phase.ROLLED_BACK, limit=120)
    assert driver.weights() == [10, 0]
    assert driver.controller.overdue() == 0


def test_query_that_hangs_is_abandoned() -> None:
    """The worker that asks Prometheus never comes back."""
    driver = Driver(policy(), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    pool = HangingPool()
    driver.controller = controller_on(driver.world, ControllerMetrics(), query_pool=pool)
    pool.hangs = True
    driver.until(lambda: pool.kept, 60)
    pool.hangs = False
    driver.run(50)
    assert driver.weights() == [10]
    driver.until(lambda: driver.weights() == [10, 0], 120)
    driver.until_phase(Phase.ROLLED_BACK, limit=120)
