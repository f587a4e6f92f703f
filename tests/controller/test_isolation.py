"""One rollout's failure never touches another: a broken one beside a healthy one that is promoted on time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import Busy, Forbidden, Refused, Unreachable
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.ports import WebhookCall, WebhookResult
from tests.controller.driver import BROKEN, SUCCESS, V2, V3, Driver, SlowPool, policy

ERRORS: dict[str, Callable[[], Any]] = {
    "unexpected": lambda: RuntimeError("a bug in an adapter"),
    "key": lambda: KeyError("status"),
    "busy": lambda: Busy("etcdserver: request timed out", status=500),
    "forbidden": lambda: Forbidden("no right", status=403),
    "unreachable": lambda: Unreachable("read timed out"),
}


def two(*policies: Any, **more: Any) -> Driver:
    driver = Driver(*policies, **more)
    driver.deploy_stable("mnist")
    driver.deploy_stable("broken")
    return driver


def release_both(driver: Driver) -> None:
    driver.release(V2, 0, name="mnist")
    driver.release(V2, 0, name="broken")


@pytest.fixture(scope="module")
def alone() -> float:
    """How long the healthy one takes when the other is healthy too."""
    driver = two()
    start = driver.world.now()
    release_both(driver)
    driver.finish("mnist-00002")
    driver.finish("broken-00002")
    return driver.world.now() - start


def assert_healthy_one_is_on_time(driver: Driver, began: float, alone: float) -> None:
    assert driver.phase("mnist-00002") is Phase.PROMOTED
    assert driver.weights("mnist") == [10, 25, 50, 100]
    assert driver.events("mnist-00002") == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]
    finished = driver.rollout("mnist-00002").progress.finished_at
    assert finished is not None
    assert finished - began <= alone


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("verb", ["create", "update_status", "weight"])
def test_writes_that_always_fail(verb: str, error: str, alone: float) -> None:
    """Of one service, with errors expected and unexpected, from beginning to end."""
    driver = two(policy(progress_deadline=3600.0))
    began = driver.world.now()
    faults = driver.world.cluster.faults if verb == "weight" else driver.world.store.faults
    broken = "broken" if verb == "weight" else "broken-00002"
    faults.next(ERRORS[error](), verb=verb, name=broken, times=1_000_000)
    release_both(driver)
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)
    assert driver.weights("broken") == []
    driver.run(60)
    faults.clear()
    driver.finish("broken-00002")
    assert driver.weights("broken") == [10, 25, 50, 100]


@pytest.mark.parametrize("error", ["unexpected", "key", "unreachable"])
def test_evaluation_that_always_raises(error: str, alone: float) -> None:
    """The cache entry of one service cannot be read: the others do not notice, and it goes on when it can."""
    driver = two()
    began = driver.world.now()
    observe = driver.world.cluster.observe
    trouble: list[Callable[[], Exception]] = []

    def broken(key: ServiceKey) -> Observation | None:
        if key.name == "broken" and trouble:
            raise trouble[0]()
        return observe(key)

    driver.world.cluster.observe = broken  # type: ignore[method-assign]
    release_both(driver)
    driver.run(20)
    trouble.append(ERRORS[error])
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)
    trouble.clear()
    driver.finish("broken-00002")
    assert driver.phase("broken-00002") is Phase.PROMOTED


def test_first_evaluation_that_raises(alone: float) -> None:
    """The same before there is a rollout: discovery of one service fails, the other's does not."""
    driver = two()
    began = driver.world.now()
    observe = driver.world.cluster.observe
    trouble = [RuntimeError("a bug in an adapter")]

    def broken(key: ServiceKey) -> Observation | None:
        if key.name == "broken" and trouble:
            raise trouble[0]
        return observe(key)

    driver.world.cluster.observe = broken  # type: ignore[method-assign]
    release_both(driver)
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)
    trouble.clear()
    driver.finish("broken-00002")
    assert driver.phase("broken-00002") is Phase.PROMOTED


@pytest.mark.parametrize("when", ["while they run", "before they begin"])
def test_metrics_that_raise_stop_no_tick(when: str) -> None:
    """The port may not raise; if it does, every rollout holds and continues when it is over."""
    driver = two()
    ask = driver.world.metrics.query
    trouble = [RuntimeError("a bug in the client")]

    def broken(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        if trouble:
            raise trouble[0]
        return ask(queries)

    driver.world.metrics.query = broken  # type: ignore[method-assign]
    if when == "while they run":
        fault = trouble.pop()
        release_both(driver)
        driver.until_weight(10)
        trouble.append(fault)
    else:
        release_both(driver)
    driver.run(300)
    assert driver.weights("mnist") == [10]
    trouble.clear()
    driver.finish("mnist-00002")
    driver.finish("broken-00002")
    assert driver.weights("mnist") == driver.weights("broken") == [10, 25, 50, 100]


def test_invalid_measurement_affects_only_its_rollout(alone: float) -> None:
    """No answer to the query of one rollout, none at all: the analysis of the other still works."""
    driver = two()
    began = driver.world.now()
    ask = driver.world.metrics.query

    def lossy(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        return {key: value for key, value in ask(queries).items() if key.service != "broken"}

    driver.world.metrics.query = lossy  # type: ignore[method-assign]
    release_both(driver)
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)
    assert driver.weights("broken") == [10]


def test_webhooks_that_raise(alone: float) -> None:
    """The policy webhooks' port breaks: the one with webhooks waits, the one without does not."""
    gated = policy("gated", webhooks=(Webhook("gate", WebhookType.ROLLOUT, "http://x"),))
    chosen = policy().selector
    plain = policy("plain", selector=type(chosen)(names=("mnist",)))
    driver = two(gated, plain)
    began = driver.world.now()

    def broken(calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]:
        raise RuntimeError("a bug in the gates")

    driver.world.policy_webhooks.call = broken  # type: ignore[method-assign]
    release_both(driver)
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)


def test_a_bad_release_beside_a_good_one(alone: float) -> None:
    """Rolled back and promoted, each by its own numbers."""
    driver = two(qualities={V3: BROKEN})
    began = driver.world.now()
    driver.release(V2, 0, name="mnist")
    driver.release(V3, 0, name="broken")
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)
    assert driver.weights("broken") == [10, 0]


def test_a_rollout_whose_calls_hang_delays_no_other(alone: float) -> None:
    """Its writes never return: the tick goes on without it."""
    driver = two()
    began = driver.world.now()
    hanging = SlowPool(driver.world, 100_000.0)
    submit = driver.world.pool.submit

    def choose(work: Callable[[], Any]) -> Any:
        cells = [cell.cell_contents for cell in work.__closure__ or ()]
        return hanging.submit(work) if any("broken" in repr(cell) for cell in cells) else submit(work)

    driver.world.pool.submit = choose  # type: ignore[method-assign]
    release_both(driver)
    driver.finish("mnist-00002")
    assert_healthy_one_is_on_time(driver, began, alone)
    assert hanging.under_way >= 1
    assert driver.rollout_names() == ["mnist-00002"]


def test_fifty_services_at_once() -> None:
    """Ten of them bad: forty promoted, ten rolled back, each with its own weights."""
    names = [f"model-{number:02d}" for number in range(50)]
    driver = Driver(policy(steps=policy().steps[2:]), qualities={V3: BROKEN})
    for name in names:
        driver.world.deploy(name, "gs://models/mnist/1")
    driver.run(20)
    for index, name in enumerate(names):
        driver.release(V3 if index % 5 == 0 else V2, 0, name=name)
    for name in names:
        driver.finish(f"{name}-00002")
    for index, name in enumerate(names):
        assert driver.weights(name) == ([50, 0] if index % 5 == 0 else [50, 100]), name


def test_refused_record_does_not_delay_the_rollback() -> None:
    """An older definition refuses every status that counts a violation: the candidate is rolled back on time."""

    def times(refuse: bool) -> float:
        driver = Driver(policy(metrics=(replace(SUCCESS, failure_limit=8),)), qualities={V2: BROKEN})
        driver.deploy_stable()
        driver.release(V2, 0)
        driver.until(lambda: driver.weights() == [10])
        began = driver.world.now()
        if refuse:

            def admit(document: Mapping[str, Any]) -> None:
                if any(each.get("violations") for each in document["status"].get("metrics") or ()):
                    raise Refused("status.metrics[0].verdict: Unsupported value", status=422)

            driver.world.store.admit = admit
        driver.until(lambda: driver.weights()[-1:] == [0], 3600)
        return driver.world.now() - began

    assert times(refuse=True) <= times(refuse=False) + 2.0


def test_policy_that_changes_at_every_tick_is_applied_every_two_seconds() -> None:
    """Its author decides how often it changes, not how often the services of all are examined."""
    driver = Driver(policy())
    driver.deploy_stable()
    current, services = driver.world.policies.current, driver.world.cluster.services
    examined: list[float] = []

    def counted() -> Sequence[Observation]:
        examined.append(driver.world.now())
        return services()

    driver.world.policies.current = lambda: (*current(),)  # type: ignore[method-assign]
    driver.world.cluster.services = counted  # type: ignore[method-assign]
    driver.run(30)
    assert 10 <= len(examined) <= 16
    driver.release()
    assert driver.finish().progress.phase is Phase.PROMOTED
