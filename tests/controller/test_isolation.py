"""One rollout's failure never touches another: a broken one beside a healthy one that is promoted on time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from autocanary.errors import Busy, Forbidden, Unreachable
from autocanary.model.measurement import Question, Reading
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.ports import Call, CallResult
from tests.controller.driver import BROKEN, V2, V3, Play, SlowPool, policy

ERRORS: dict[str, Callable[[], Any]] = {
    "unexpected": lambda: RuntimeError("a bug in an adapter"),
    "key": lambda: KeyError("status"),
    "busy": lambda: Busy("etcdserver: request timed out", status=500),
    "forbidden": lambda: Forbidden("no right", status=403),
    "unreachable": lambda: Unreachable("read timed out"),
}


def two(*policies: Any, **more: Any) -> Play:
    play = Play(*policies, **more)
    play.serve("mnist")
    play.serve("broken")
    return play


def release_both(play: Play) -> None:
    play.release(V2, 0, name="mnist")
    play.release(V2, 0, name="broken")


@pytest.fixture(scope="module")
def alone() -> float:
    """How long the healthy one takes when the other is healthy too."""
    play = two()
    start = play.world.now()
    release_both(play)
    play.finish("mnist-00002")
    play.finish("broken-00002")
    return play.world.now() - start


def assert_healthy_one_is_on_time(play: Play, began: float, alone: float) -> None:
    assert play.phase("mnist-00002") is Phase.PROMOTED
    assert play.weights("mnist") == [10, 25, 50, 100]
    assert play.events("mnist-00002") == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]
    finished = play.rollout("mnist-00002").progress.finished_at
    assert finished is not None
    assert finished - began <= alone


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("verb", ["create", "record", "weight"])
def test_writes_that_always_fail(verb: str, error: str, alone: float) -> None:
    """Of one service, with errors expected and unexpected, from beginning to end."""
    play = two(policy(progress_deadline=3600.0))
    began = play.world.now()
    faults = play.world.cluster.faults if verb == "weight" else play.world.ledger.faults
    broken = "broken" if verb == "weight" else "broken-00002"
    faults.next(ERRORS[error](), verb=verb, name=broken, times=1_000_000)
    release_both(play)
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)
    assert play.weights("broken") == []
    play.run(60)
    faults.clear()
    play.finish("broken-00002")
    assert play.weights("broken") == [10, 25, 50, 100]


@pytest.mark.parametrize("error", ["unexpected", "key", "unreachable"])
def test_looks_that_always_raise(error: str, alone: float) -> None:
    """The picture of one service cannot be read: the others do not notice, and it goes on when it can."""
    play = two()
    began = play.world.now()
    observe = play.world.cluster.observe
    trouble: list[Callable[[], Exception]] = []

    def broken(key: ServiceKey) -> Observation | None:
        if key.name == "broken" and trouble:
            raise trouble[0]()
        return observe(key)

    play.world.cluster.observe = broken  # type: ignore[method-assign]
    release_both(play)
    play.run(20)
    trouble.append(ERRORS[error])
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)
    trouble.clear()
    play.finish("broken-00002")
    assert play.phase("broken-00002") is Phase.PROMOTED


def test_a_first_look_that_raises(alone: float) -> None:
    """The same before there is a rollout: discovery of one service fails, the other's does not."""
    play = two()
    began = play.world.now()
    observe = play.world.cluster.observe
    trouble = [RuntimeError("a bug in an adapter")]

    def broken(key: ServiceKey) -> Observation | None:
        if key.name == "broken" and trouble:
            raise trouble[0]
        return observe(key)

    play.world.cluster.observe = broken  # type: ignore[method-assign]
    release_both(play)
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)
    trouble.clear()
    play.finish("broken-00002")
    assert play.phase("broken-00002") is Phase.PROMOTED


@pytest.mark.parametrize("when", ["while they run", "before they begin"])
def test_metrics_that_raise_stop_no_tick(when: str) -> None:
    """The port may not raise; if it does, everybody holds and goes on when it is over."""
    play = two()
    ask = play.world.metrics.ask
    trouble = [RuntimeError("a bug in the client")]

    def broken(questions: Sequence[Question]) -> Mapping[Question, Reading]:
        if trouble:
            raise trouble[0]
        return ask(questions)

    play.world.metrics.ask = broken  # type: ignore[method-assign]
    if when == "while they run":
        fault = trouble.pop()
        release_both(play)
        play.until_weight(10)
        trouble.append(fault)
    else:
        release_both(play)
    play.run(300)
    assert play.weights("mnist") == [10]
    trouble.clear()
    play.finish("mnist-00002")
    play.finish("broken-00002")
    assert play.weights("mnist") == play.weights("broken") == [10, 25, 50, 100]


def test_a_reading_that_is_missing_or_absurd_stops_only_its_own(alone: float) -> None:
    """No answer to the question of one rollout, none at all: the judge of the other still works."""
    play = two()
    began = play.world.now()
    ask = play.world.metrics.ask

    def lossy(questions: Sequence[Question]) -> Mapping[Question, Reading]:
        return {key: value for key, value in ask(questions).items() if key.service != "broken"}

    play.world.metrics.ask = lossy  # type: ignore[method-assign]
    release_both(play)
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)
    assert play.weights("broken") == [10]


def test_webhooks_that_raise(alone: float) -> None:
    """The gates port breaks: the one with webhooks waits, the one without does not."""
    gated = policy("gated", webhooks=(Webhook("gate", WebhookType.ROLLOUT, "http://x"),))
    chosen = policy().selector
    plain = policy("plain", selector=type(chosen)(names=("mnist",)))
    play = two(gated, plain)
    began = play.world.now()

    def broken(calls: Sequence[Call]) -> Mapping[Call, CallResult]:
        raise RuntimeError("a bug in the gates")

    play.world.gates.call = broken  # type: ignore[method-assign]
    release_both(play)
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)


def test_a_bad_release_beside_a_good_one(alone: float) -> None:
    """Rolled back and promoted, each by its own numbers."""
    play = two(qualities={V3: BROKEN})
    began = play.world.now()
    play.release(V2, 0, name="mnist")
    play.release(V3, 0, name="broken")
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)
    assert play.weights("broken") == [10, 0]


def test_a_rollout_whose_calls_hang_delays_no_other(alone: float) -> None:
    """Its writes never return: the tick goes on without it."""
    play = two()
    began = play.world.now()
    hanging = SlowPool(play.world, 100_000.0)
    submit = play.world.pool.submit

    def choose(work: Callable[[], Any]) -> Any:
        cells = [cell.cell_contents for cell in work.__closure__ or ()]
        return hanging.submit(work) if any("broken" in repr(cell) for cell in cells) else submit(work)

    play.world.pool.submit = choose  # type: ignore[method-assign]
    release_both(play)
    play.finish("mnist-00002")
    assert_healthy_one_is_on_time(play, began, alone)
    assert hanging.under_way >= 1
    assert play.names() == ["mnist-00002"]


def test_fifty_services_at_once() -> None:
    """Ten of them bad: forty promoted, ten rolled back, each with its own weights."""
    names = [f"model-{number:02d}" for number in range(50)]
    play = Play(policy(steps=policy().steps[2:]), qualities={V3: BROKEN})
    for name in names:
        play.world.deploy(name, "gs://models/mnist/1")
    play.run(20)
    for index, name in enumerate(names):
        play.release(V3 if index % 5 == 0 else V2, 0, name=name)
    for name in names:
        play.finish(f"{name}-00002")
    for index, name in enumerate(names):
        assert play.weights(name) == ([50, 0] if index % 5 == 0 else [50, 100]), name
