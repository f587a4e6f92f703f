"""``status NAME --timeout``: the exit code of every end, asked before, during and after it, with and without a restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from autocanary.model.measurement import MeasurementKind
from autocanary.model.progress import Phase
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import CRASHES, ready_after_seconds
from autocanary.simulator.prometheus_server import PrometheusFault
from tests.cli.conftest import Invoke
from tests.cli.world_client import use_world
from tests.controller.driver import BROKEN, V1, V2, V3, Driver, policy

POLICY = policy()


@dataclass(frozen=True)
class End:
    """How a release ends. ``during`` makes it end so, once it is at 10 %, where it gets traffic at all; ``phase`` is that
    of its own rollout."""

    phase: Phase
    code: int
    start: Callable[[], Driver]
    during: Callable[[Driver], object] = lambda _: None
    weight: int | None = 0
    gets_traffic: bool = True


def stable(**more: object) -> Driver:
    driver = Driver(POLICY, **more)  # type: ignore[arg-type]
    driver.deploy_stable()
    return driver


def crash(driver: Driver) -> None:
    """Knative moves no traffic off a broken revision, so the stable spec is put back."""
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")


def crash_and_abort(driver: Driver) -> None:
    crash(driver)
    driver.write(Verb.ABORT)


def pause_and_abort(driver: Driver) -> None:
    driver.world.store.write_request("models", "mnist-00002", paused=True, request=None)
    driver.run(60)
    driver.write(Verb.ABORT)


def no_data(driver: Driver) -> None:
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.NO_SERIES, driver.world.now()))


ENDS = {
    "promoted": End(Phase.PROMOTED, 0, stable),
    "promoted by a user": End(Phase.PROMOTED, 0, stable, lambda driver: driver.write(Verb.PROMOTE_FULL)),
    "rolled back by a metric": End(Phase.ROLLED_BACK, 1, lambda: stable(qualities={V2: BROKEN})),
    "rolled back by abort": End(Phase.ROLLED_BACK, 1, stable, lambda driver: driver.write(Verb.ABORT)),
    "rolled back without data": End(Phase.ROLLED_BACK, 1, stable, no_data),
    "rolled back with a restore": End(Phase.ROLLED_BACK, 1, stable, crash),
    "rolled back by abort with a restore": End(Phase.ROLLED_BACK, 1, stable, crash_and_abort),
    "rolled back after a pause": End(Phase.ROLLED_BACK, 1, stable, pause_and_abort),
    "never ready": End(Phase.ROLLED_BACK, 1, lambda: stable(behaviours={V2: CRASHES}), gets_traffic=False),
    "superseded by a release": End(Phase.SUPERSEDED, 1, stable, lambda driver: driver.release(V3, 0)),
    "superseded by a revert": End(Phase.SUPERSEDED, 1, stable, lambda driver: driver.release(V1, 0)),
    "abandoned": End(Phase.ABANDONED, 1, stable, lambda driver: driver.world.kserve.delete("models", "mnist")),
}


def run_until_end(driver: Driver, end: End) -> None:
    driver.release(V2, end.weight)
    _end_soon(driver, end)
    driver.until(lambda: driver.rollout().is_final)


@pytest.mark.parametrize("name", list(ENDS))
@pytest.mark.parametrize("asked", ["before", "during", "after", "long after"])
def test_every_end_has_its_exit_code(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, name: str, asked: str) -> None:
    """0 when the user's release was promoted, 1 otherwise; whenever it is asked, and the same when asked again."""
    end = ENDS[name]
    driver = end.start()
    use_world(monkeypatch, driver, POLICY)
    if asked == "before":
        driver.world.after(40.0, lambda: _end_soon(driver, end))
        driver.release(V2, end.weight)
    elif asked == "during":
        driver.release(V2, end.weight)
        _end_soon(driver, end)
    else:
        run_until_end(driver, end)
        driver.run(600 if asked == "long after" else 0)
    # After a revert or a newer release the service's name means that rollout; the rollout's own name its end.
    asked_for = "mnist-00002" if end.phase is Phase.SUPERSEDED else "mnist"
    result = invoke("status", asked_for, "--timeout", "2h")
    assert result.exit_code == end.code, result.stderr
    assert driver.rollout().progress.phase is end.phase
    assert end.phase.value in result.stderr
    assert invoke("status", asked_for, "--timeout", "1m").exit_code == end.code


def _end_soon(driver: Driver, end: End) -> None:
    if end.gets_traffic:
        driver.until_weight(10)
    else:
        driver.until(lambda: "mnist-00002" in driver.rollout_names())
    end.during(driver)


def test_a_newer_release_decides_for_the_service(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked by the service's name, the code is that of the newest release: the pipeline of the older one learns it."""
    driver = stable()
    use_world(monkeypatch, driver, POLICY)
    driver.release(V2, 0)
    driver.until_weight(10)
    driver.release(V3, 0)
    assert invoke("status", "mnist", "--timeout", "2h").exit_code == 0
    assert invoke("status", "mnist-00002", "--timeout", "1m").exit_code == 1


def test_a_missed_release_is_a_no(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took everything without an analysis."""
    driver = Driver(POLICY, behaviours={V2: ready_after_seconds(0.2)}, lag=0.1)
    driver.deploy_stable()
    driver.world.cluster.set_watch_down()
    driver.release(V2, None)
    driver.run(5)
    driver.world.cluster.set_watch_down(False)
    use_world(monkeypatch, driver, POLICY)
    assert invoke("status", "mnist", "--timeout", "2h").exit_code == 1
    assert driver.phase() is Phase.MISSED


def test_after_a_restore_the_next_release_has_its_own_code(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 for the crashed release, also after the restore is complete; 0 once the user's fix is promoted."""
    driver = stable()
    use_world(monkeypatch, driver, POLICY)
    run_until_end(driver, ENDS["rolled back with a restore"])
    driver.run(300)
    assert invoke("status", "mnist", "--timeout", "1m").exit_code == 1
    driver.release(V3, 0)
    assert invoke("status", "mnist", "--timeout", "2h").exit_code == 0


def test_a_release_that_does_not_end_in_time_is_a_no(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it waits for."""
    driver = stable()
    use_world(monkeypatch, driver, POLICY)
    driver.release(V2, 0)
    result = invoke("status", "mnist", "--timeout", "1m")
    assert result.exit_code == 1
    assert "did not end within 1m" in result.stderr
