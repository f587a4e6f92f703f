"""Rollouts whose quality another service judges: the whole controller, with real HTTP to a real service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.measurement import Unit, WebAnswerForm
from autocanary.model.policy import ComparisonPolicy, Metric, Range, Step, Timeout, TimeoutAction, WebMetric
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.simulator.fakes import InlinePool
from autocanary.web_metrics import MetricSources, WebClient, WebMetrics
from tests.controller.driver import ANALYSIS, LONG_STEPS, SUCCESS, V2, V3, Driver, policy
from tests.controller.test_own_queries import OWN, SlowPool
from tests.web_metrics import evaluation_service as behaviours
from tests.web_metrics.evaluation_service import EvaluationService, Handler

LOOPBACK = WebhookHosts(("127.0.0.1",))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[EvaluationService]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with EvaluationService().running() as running:
        yield running


class Judged(Driver):
    """A service with one rollout whose policy has a metric of ``service``."""

    def __init__(self, service: EvaluationService, form: WebAnswerForm, **changed: Any) -> None:
        compared = changed.pop("compared", False)
        counts = form is WebAnswerForm.COUNTS
        metric = Metric(
            "answer-quality",
            Range() if compared else Range(max=5.0) if counts else Range(min=0.9),
            Unit.PERCENT if counts else Unit.NUMBER,
            failure_limit=2,
            compare=ComparisonPolicy() if compared else None,
            web=WebMetric(f"{service.origin}/score?r={{{{ revision }}}}", form),
        )
        super().__init__(policy(metrics=(SUCCESS, metric), **{"min_requests": 20.0, "window": 60.0} | changed))
        world = self.world
        web = WebMetrics(WebClient(HttpClient(hosts=LOOPBACK)), LOOPBACK, InlinePool(), world.clock)
        world.metrics = MetricSources(world.metrics, web, world.clock)  # type: ignore[assignment]
        self.controller = self.new_controller()
        self.deploy_stable("mnist")
        self.world.deploy("mnist", V2, weight=0)
        self.until(lambda: self.weights("mnist") == [10], 300)

    @property
    def rollout(self) -> Any:
        [rollout] = self.controller.rollouts() or self.world.store.rollouts()
        return rollout


def judge(driver: list[Judged], bad_percent: dict[str, int], *, of_candidate: int = 1) -> behaviours.Behaviour:
    """Two verdicts a second about each revision, of which some are bad, since the world began.

    Of the candidate's answers one ``of_candidate`` is judged.
    """

    def counts(handler: Handler) -> None:
        revision = handler.path.rpartition("=")[2]
        total = int(2 * (driver[0].world.now() % 100_000)) if driver else 0
        of_stable = revision.endswith("00001")
        percent = bad_percent["stable" if of_stable else "candidate"]
        total = total if of_stable else total // of_candidate
        behaviours.says({"bad": total * percent // 100, "total": total})(handler)

    return counts


@pytest.mark.parametrize(("answer", "weight"), [({"value": 0.97}, 100), ({"value": 0.5}, 0)])
def test_value_gates_the_steps(service: EvaluationService, answer: dict[str, float], weight: int) -> None:
    """In range it is promoted, out of range rolled back, whatever Prometheus says."""
    service.behaviour = behaviours.says(answer)
    run = Judged(service, WebAnswerForm.VALUE)
    run.until(lambda: run.weights("mnist")[-1] == weight, 1500)
    if weight == 0:
        assert run.rollout.progress.reason is Reason.METRIC_VIOLATION
        assert "answer-quality 0.5 (needs 0.9)" in run.rollout.progress.message


@pytest.mark.parametrize(("percent", "weight"), [(1, 100), (20, 0)])
def test_share_of_bad_ones_gates_the_steps(service: EvaluationService, percent: int, weight: int) -> None:
    """Of what was judged in the window, not since the beginning."""
    drivers: list[Judged] = []
    service.behaviour = judge(drivers, {"candidate": percent, "stable": 1})
    run = Judged(service, WebAnswerForm.COUNTS)
    drivers.append(run)
    run.until(lambda: run.weights("mnist")[-1] == weight, 1500)


@pytest.mark.parametrize(("percent", "weight"), [(10, 100), (40, 0)])
def test_comparison_of_judged_answers(service: EvaluationService, percent: int, weight: int) -> None:
    """A candidate that is as bad as stable is promoted; judged answers say nothing of the share of traffic."""
    drivers: list[Judged] = []
    service.behaviour = judge(drivers, {"candidate": percent, "stable": 10})
    run = Judged(service, WebAnswerForm.COUNTS, compared=True, progress_deadline=36000.0)
    drivers.append(run)
    run.until(lambda: run.weights("mnist")[-1] == weight, 14400)
    if weight == 0:
        assert run.rollout.progress.reason is Reason.WORSE_THAN_STABLE


def test_stable_that_is_unknown_at_100_percent_holds_nothing(service: EvaluationService) -> None:
    """It has no traffic then, and a service that knows nothing of it says so."""
    drivers: list[Judged] = []
    counts = judge(drivers, {"candidate": 0, "stable": 0})

    def forgets(handler: Handler) -> None:
        run = drivers[0] if drivers else None
        of_stable = handler.path.endswith("00001")
        gone = of_stable and run is not None and run.weights("mnist")[-1] == 100
        (behaviours.says({"unknown": "no traffic"}) if gone else counts)(handler)

    service.behaviour = forgets
    run = Judged(service, WebAnswerForm.COUNTS, compared=True, progress_deadline=36000.0)
    drivers.append(run)
    run.until(lambda: run.rollout.progress.phase is Phase.PROMOTED, 7200)


def test_unknown_stable_at_less_than_100_percent_holds(service: EvaluationService) -> None:
    """There is nothing to compare with; the message says what is missing."""
    drivers: list[Judged] = []
    counts = judge(drivers, {"candidate": 0, "stable": 0})
    service.behaviour = lambda handler: (
        behaviours.says({"unknown": "?"}) if handler.path.endswith("00001") else counts
    )(handler)
    run = Judged(service, WebAnswerForm.COUNTS, compared=True, progress_deadline=36000.0)
    drivers.append(run)
    run.run(1800)
    assert run.weights("mnist") == [10]


def test_comparison_goes_on_after_a_restart(service: EvaluationService) -> None:
    """The counts are the service's own: a new process of autocanary takes the next difference."""
    drivers: list[Judged] = []
    service.behaviour = judge(drivers, {"candidate": 10, "stable": 10})
    run = Judged(service, WebAnswerForm.COUNTS, compared=True, progress_deadline=36000.0)
    drivers.append(run)
    for _ in range(40):
        run.run(120)
        run.controller = run.new_controller()
        if run.weights("mnist")[-1] == 100:
            break
    assert run.weights("mnist")[-1] == 100


def test_answers_that_are_seldom_judged_are_no_missing_traffic(service: EvaluationService) -> None:
    """What is judged is a sample: it says nothing of the requests that the candidate completes."""
    drivers: list[Judged] = []
    service.behaviour = judge(drivers, {"candidate": 0, "stable": 0}, of_candidate=400)
    run = Judged(service, WebAnswerForm.COUNTS, compared=True, progress_deadline=36000.0)
    drivers.append(run)
    run.run(1800)
    assert run.weights("mnist") == [10]


@pytest.mark.parametrize(
    "behaviour",
    [
        behaviours.says({"value": 0.97}, 500),
        behaviours.says({"value": "0.97"}),
        behaviours.says_bytes(b'{"value": NaN}'),
        behaviours.says_bytes(b"", 302, Location="http://169.254.169.254/"),
        behaviours.closes,
    ],
)
def test_no_answer_holds_and_passes_nothing(service: EvaluationService, behaviour: behaviours.Behaviour) -> None:
    """An outage of the service says nothing about the candidate; the rollout goes on when it is over."""
    service.behaviour = behaviour
    run = Judged(service, WebAnswerForm.VALUE)
    run.run(600)
    assert run.weights("mnist") == [10]
    assert run.rollout.progress.reason is Reason.METRICS_OUTAGE
    service.behaviour = behaviours.says({"value": 0.97})
    run.until(lambda: run.weights("mnist")[-1] == 100, 900)


def test_outage_ends_as_the_policy_says(service: EvaluationService) -> None:
    """onOutage: roll back after a time."""
    service.behaviour = behaviours.says({}, 503)
    run = Judged(service, WebAnswerForm.VALUE, on_outage=Timeout(120.0, TimeoutAction.ROLLBACK))
    run.until(lambda: run.weights("mnist")[-1] == 0, 400)


def test_unknown_is_no_data(service: EvaluationService) -> None:
    """It holds, and ends at onNoData."""
    service.behaviour = behaviours.says({"unknown": "no label yet"})
    run = Judged(service, WebAnswerForm.VALUE, on_no_data=Timeout(300.0, TimeoutAction.ROLLBACK))
    run.run(200)
    assert (run.weights("mnist"), run.rollout.progress.reason) == ([10], Reason.NO_DATA)
    run.until(lambda: run.weights("mnist")[-1] == 0, 300)


def test_too_few_samples_wait(service: EvaluationService) -> None:
    """minRequests is held against what the service says its value is made of."""
    service.behaviour = behaviours.says({"value": 0.99, "samples": 19})
    run = Judged(service, WebAnswerForm.VALUE, progress_deadline=36000.0)
    run.run(300)
    assert (run.weights("mnist"), run.rollout.progress.reason) == ([10], Reason.TOO_FEW_REQUESTS)
    service.behaviour = behaviours.says({"value": 0.99, "samples": 20})
    run.until(lambda: run.weights("mnist")[-1] == 100, 900)


def test_no_step_on_samples_from_before_it(service: EvaluationService) -> None:
    """A pipeline whose newest label is from before the step passes nothing, however fresh the answer is."""
    drivers: list[Judged] = []
    began = [0.0]
    service.behaviour = lambda handler: behaviours.says({"value": 0.97, "at": began[0]})(handler)
    run = Judged(
        service, WebAnswerForm.VALUE, window=3600.0, progress_deadline=36000.0, steps=(Step(10, 30.0), Step(100, 30.0))
    )
    drivers.append(run)
    began[0] = run.world.now()
    run.run(600)
    assert run.weights("mnist") == [10]
    assert "the newest sample is" in run.rollout.progress.message
    began[0] = run.world.now()
    run.until(lambda: run.weights("mnist")[-1] == 100, 300)


def test_slow_web_metric_delays_no_rollout_without_one(service: EvaluationService) -> None:
    """Not even one of the same namespace that has a query of its own."""
    web = Metric("answer-quality", Range(min=0.9), Unit.NUMBER, web=WebMetric(f"{service.origin}/{{{{ revision }}}}"))
    driver = Driver(
        policy("judged", metrics=(SUCCESS, web), steps=LONG_STEPS, selector=_named("judged")),
        policy("own", metrics=(OWN,), steps=LONG_STEPS, selector=_named("own")),
    )
    drift = [0.0]
    driver.world.metrics.custom["drift"] = lambda *_: drift[0]
    for name in ("judged", "own"):
        driver.deploy_stable(name)
        driver.world.deploy(name, V3, weight=0)
    driver.until(lambda: driver.weights("judged") == [10] and driver.weights("own") == [10], 300)
    pool = SlowPool()
    pool.slow = True
    driver.controller = controller_on(
        driver.world, ControllerMetrics(), query_pool=InlinePool(), own_query_pool=InlinePool(), web_query_pool=pool
    )
    driver.run(ANALYSIS.interval + 2)
    assert pool.kept
    drift[0] = 5.0
    driver.until(lambda: driver.weights("own") == [10, 0], int(ANALYSIS.window + 4 * ANALYSIS.interval))


def _named(name: str) -> Any:
    return policy().selector.__class__(names=(name,))
