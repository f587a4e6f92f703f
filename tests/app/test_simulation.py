"""Simulated releases: the same decisions as in the whole world, and reproducible figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.app.simulated_rollout import RunOutcome, Transition, make_simulatable, simulate_run
from autocanary.app.simulation import SimulationSummary, describe_releases, simulate
from autocanary.errors import InputError
from autocanary.model.policy import OnFailure, Policy
from autocanary.policy_files import parse
from autocanary.simulator.demo_policy import NAMESPACE, SERVICE
from autocanary.simulator.releases import (
    CANDIDATE,
    FIRST_STEP_AFTER,
    RELEASE_AFTER,
    STANDARD_RELEASES,
    SimulatedRelease,
    seeds_of,
    start_of,
)
from autocanary.simulator.response_quality import TrafficMoment
from autocanary.simulator.world import World

HOUR = 3600.0
BY_NAME = {release.name: release for release in STANDARD_RELEASES}


def policy(spec: str, name: str = "prod") -> Policy:
    head = f"apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {{name: {name}}}\n"
    (made,) = parse(f"{head}spec: {{selector: {{}}, {spec}}}\n")
    return made


DEFAULT = policy("stepWeights: [10, 25, 50, 100]")
THRESHOLDS = policy(
    "stepWeights: [10, 50, 100], stepDuration: 3m, bake: 5m, analysis: {interval: 10s, metrics: ["
    "{name: error-rate, thresholdRange: {max: 2%}, failureLimit: 2},"
    "{name: request-duration, thresholdRange: {max: 400ms}, failureLimit: 3}]}"
)
BOTH = policy(
    "stepWeights: [10, 50, 100], bake: 5m, stepTimeout: 20m, analysis: {preset: fast, interval: 7s,"
    "onInconclusive: promote, metrics: [{name: error-rate, thresholdRange: {max: 2%}, compare: {}}]}"
)


def run_with_controller(rules: Policy, release: SimulatedRelease, seed: int) -> tuple[list[Transition], int]:
    """What the unchanged engine does over KServe's rules, and how many errors the candidate answered."""
    start = start_of(seed)
    stable, candidate = release.qualities(start)
    world = World(
        policies=(rules,),
        qualities={"1": stable, "2": candidate},
        load=release.load,
        seed=seed,
        start=start,
        scraping=release.scraping,
    )
    world.metrics.lost_scrapes = release.lost_scrapes(start)
    controller = controller_on(world)

    def tick() -> None:
        world.advance(1.0)
        controller.tick()

    world.deploy(SERVICE, "1", namespace=NAMESPACE)
    while world.now() < start + RELEASE_AFTER:
        tick()
    world.deploy(SERVICE, "2", weight=0, namespace=NAMESPACE)
    while not any(each.is_final for each in world.store.rollouts()):
        tick()
        assert world.now() < start + 6 * HOUR
    (rollout,) = world.store.rollouts()
    on_progress = [
        Transition(
            datetime.strptime(each["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp() - start,
            each["event"],
            each["reason"],
            each["weight"],
        )
        for each in rollout.progress.decisions
    ]
    key = world.key(SERVICE, namespace=NAMESPACE)
    return on_progress, world.traffic.series(NAMESPACE, SERVICE, key.component)[CANDIDATE].errors


@pytest.mark.parametrize("rules", [DEFAULT, THRESHOLDS, BOTH], ids=["default", "thresholds", "both"])
@pytest.mark.parametrize(
    "name", ["healthy", "twice-as-bad", "broken", "late-15m", "bursty", "not-scraped", "shared-outage"]
)
def test_simulated_run_equals_the_full_controller(rules: Policy, name: str) -> None:
    """Every transition at the same second for the same reason: engine, controllers and records change nothing."""
    course = simulate_run(rules, BY_NAME[name], 3, 6 * HOUR, keep_transitions=True)
    on_progress, failed = run_with_controller(rules, BY_NAME[name], 3)
    simulated = [each for each in on_progress if each.event not in ("rollout_started", "rollout_rolled_back")]
    assert list(course.transitions[-19:]) == simulated[-19:]
    assert on_progress[-1].event == {
        RunOutcome.PROMOTED: "rollout_promoted",
        RunOutcome.ROLLED_BACK: "rollout_rolled_back",
    }.get(course.outcome)
    if course.outcome is RunOutcome.ROLLED_BACK and course.transitions[-2].weight != 100:
        assert course.failed == failed


def test_the_first_step_is_taken_at_second_0() -> None:
    """Times are counted from when the candidate gets its first requests."""
    course = simulate_run(THRESHOLDS, BY_NAME["broken"], 1, HOUR, keep_transitions=True)
    assert course.transitions[0] == Transition(FIRST_STEP_AFTER, "step_taken", "StepPassed", 10)
    assert course.outcome is RunOutcome.ROLLED_BACK
    assert course.seconds == course.transitions[-1].at - FIRST_STEP_AFTER
    assert course.failed > 0


def test_the_standard_releases_end_as_their_names_say() -> None:
    """Good ones are promoted, bad ones rolled back, under the policy that says nothing but how long to bake."""
    rules = policy("stepWeights: [10, 25, 50, 100], bake: 30m")
    expected = {
        "healthy": RunOutcome.PROMOTED,
        "broken": RunOutcome.ROLLED_BACK,
        "slow": RunOutcome.ROLLED_BACK,
        "late-15m": RunOutcome.ROLLED_BACK,
        "late-in-bake": RunOutcome.ROLLED_BACK,
        "missed-scrapes": RunOutcome.PROMOTED,
        "not-scraped": RunOutcome.PROMOTED,
        "shared-outage": RunOutcome.PROMOTED,
        "bursty": RunOutcome.PROMOTED,
        "little-traffic-bad": RunOutcome.ROLLED_BACK,
    }
    for name, outcome in expected.items():
        ends = [simulate_run(rules, BY_NAME[name], seed, 4 * HOUR).outcome for seed in seeds_of(2, BY_NAME[name], 3)]
        assert ends == [outcome] * 3, name


def test_what_takes_longer_than_the_horizon_is_undecided() -> None:
    """Running out of time promotes nothing."""
    course = simulate_run(DEFAULT, BY_NAME["little-traffic"], 1, 600.0)
    assert (course.outcome, course.seconds) == (RunOutcome.UNDECIDED, 600.0)


def test_a_pause_that_only_a_user_ends_is_undecided() -> None:
    """No traffic, and a policy that asks a user then."""
    rules = policy("stepWeights: [10, 100], analysis: {onNoData: {hold: 5m, then: pause}}")
    course = simulate_run(rules, SimulatedRelease("silent", rps=0.0001), 1, 4 * HOUR)
    assert course.outcome is RunOutcome.UNDECIDED
    assert course.seconds < 900


def test_late_errors_have_no_effect_before_their_onset() -> None:
    """Both are alike until then, in errors and in latency."""
    stable, candidate = SimulatedRelease("late", canary_error=50.0, canary_latency=1.0, onset=300.0).qualities(0.0)
    assert callable(candidate.error_percent)
    assert callable(candidate.latency_seconds)
    course = simulate_run(THRESHOLDS, SimulatedRelease("late", canary_error=50.0, onset=300.0), 2, HOUR)
    assert course.outcome is RunOutcome.ROLLED_BACK
    assert 300 < course.seconds < 480
    assert stable.error_percent == 0.5


def test_errors_in_the_bake_begin_with_all_the_traffic() -> None:
    """Whenever the policy gets there, and so many seconds later."""
    release = BY_NAME["late-in-bake"]
    _, candidate = release.qualities(0.0)
    assert callable(candidate.error_percent)
    before = [candidate.error_percent(TrafficMoment(at, at, 50)) for at in (100.0, 5000.0)]
    after = [candidate.error_percent(TrafficMoment(at, at, 100)) for at in (6000.0, 6059.0, 6060.0, 9000.0)]
    assert (before, after) == ([0.5, 0.5], [0.5, 0.5, 5.0, 5.0])


def test_outage_strikes_both_and_a_cold_start_the_candidate_alone() -> None:
    """At their times."""
    moments = [TrafficMoment(FIRST_STEP_AFTER + at, at, 10) for at in (0.0, 419.0, 420.0, 599.0, 600.0)]
    for quality in BY_NAME["shared-outage"].qualities(0.0):
        assert callable(quality.error_percent)
        assert [quality.error_percent(moment) for moment in moments] == [0.5, 0.5, 100.0, 100.0, 0.5]
    stable, candidate = BY_NAME["cold-start"].qualities(0.0)
    assert stable.latency_seconds == 0.08
    assert callable(candidate.latency_seconds)
    assert [candidate.latency_seconds(moment) for moment in moments] == [0.12, 0.08, 0.08, 0.08, 0.08]


def test_the_silent_side_is_not_scraped_in_its_time() -> None:
    """The candidate's pods, and requests go on."""
    ((lost),) = BY_NAME["not-scraped"].lost_scrapes(1000.0)
    began = 1000.0 + FIRST_STEP_AFTER + 600.0
    assert (lost.revision, lost.start, lost.end) == (CANDIDATE, began, began + 480.0)
    assert BY_NAME["healthy"].lost_scrapes(1000.0) == []


# --- many runs


def figures(jobs: int) -> list[SimulationSummary]:
    rules = [("prod", DEFAULT), ("other", THRESHOLDS)]
    releases = (BY_NAME["broken"], BY_NAME["slow"])
    return simulate(rules, releases, runs=13, seed=5, horizon=HOUR, jobs=jobs)[0]


def test_figures_do_not_depend_on_the_number_of_processes() -> None:
    """One, or two that take turns with pieces of unequal length."""
    assert figures(1) == figures(2)


def test_another_seed_gives_other_runs_and_the_same_seed_the_same() -> None:
    """Seeds are drawn for each release, not for each policy."""
    release = BY_NAME["healthy"]
    assert seeds_of(1, release, 20) == seeds_of(1, release, 30)[:20]
    assert not set(seeds_of(1, release, 20)) & set(seeds_of(2, release, 20))
    assert not set(seeds_of(1, release, 20)) & set(seeds_of(1, BY_NAME["late-15m"], 20))


def test_two_policies_meet_the_same_requests() -> None:
    """Side by side, by release and then by policy; equal policies have equal figures."""
    rules = [("one", THRESHOLDS), ("two", THRESHOLDS)]
    found, _ = simulate(rules, STANDARD_RELEASES[3:5], runs=3, seed=1, horizon=HOUR, jobs=1)
    assert [(each.release.name, each.policy) for each in found] == [
        ("broken", "one"),
        ("broken", "two"),
        ("slow", "one"),
        ("slow", "two"),
    ]
    assert replace(found[0], policy="") == replace(found[1], policy="")


def test_progress_is_reported() -> None:
    """Runs done, of how many."""
    on_progress: list[tuple[int, int]] = []
    simulate(
        [("p", THRESHOLDS)],
        [BY_NAME["broken"]],
        runs=12,
        seed=1,
        horizon=HOUR,
        jobs=1,
        on_progress=lambda done, total: on_progress.append((done, total)),
    )
    assert on_progress == [(10, 12), (12, 12)]


def test_a_summary_as_json() -> None:
    """The fields that programs rely on; what never happened has no time."""
    summary = SimulationSummary("prod", BY_NAME["twice-as-bad"], (60.0, 70.0, 80.0), (900.0,), 1, (0, 3, 5, 9, 40))
    raw = summary.to_dict()
    low, high = raw["rolled_back"].pop("low"), raw["rolled_back"].pop("high")
    assert 0.2 < low < 0.6 < high < 0.9
    assert raw == {
        "name": "twice-as-bad",
        "rps": 20.0,
        "base_error": 0.005,
        "canary_error": 0.01,
        "runs": 5,
        "rolled_back": {"share": 0.6},
        "promoted": {"share": 0.2},
        "undecided": {"share": 0.2},
        "seconds_to_rollback": {"p50": 70.0, "p90": 80.0},
        "bad_requests": {"p50": 5, "p90": 40},
        "seconds_to_promotion": {"p50": 900.0},
    }
    never = SimulationSummary("prod", BY_NAME["healthy"], (), (), 2, (0, 0)).to_dict()
    assert never["seconds_to_rollback"] == {"p50": None, "p90": None}
    assert never["seconds_to_promotion"] == {"p50": None}
    assert never["rolled_back"]["share"] == 0.0


# --- what can be simulated


def test_nothing_is_left_out_of_a_plain_policy() -> None:
    """Metrics that are counted from requests, thresholds or comparisons."""
    for rules in (DEFAULT, THRESHOLDS, BOTH):
        assert make_simulatable(rules) == (rules, ())


def test_what_is_left_out_is_said() -> None:
    """Own PromQL, webhooks, windows, approval, a pause: each with what is taken for it."""
    rules = policy(
        "steps: [{setWeight: 10}, {pause: {}}, {setWeight: 100}], onFailure: {action: pause},"
        "windows: [{days: [mon], from: '09:00', to: '17:00', timezone: UTC}],"
        "webhooks: [{name: gate, type: confirm-promotion, url: 'http://gate/ok'}],"
        "analysis: {metrics: [{name: error-rate, thresholdRange: {max: 2%}},"
        "{name: memory, query: 'sum(gpu{revision=\"{{ revision }}\"})', thresholdRange: {max: 5}},"
        "{name: kv-cache-usage, thresholdRange: {max: 95%}}]}"
    )
    changed, notes = make_simulatable(rules)
    assert [metric.name for metric in changed.analysis.metrics] == ["error-rate"]
    assert (changed.webhooks, changed.windows) == ((), ())
    assert changed.on_failure is OnFailure.ROLLBACK
    assert not any(step.approval for step in changed.steps)
    text = "\n".join(notes)
    for word in ("memory, kv-cache-usage", "gate", "windows", "approval", "onFailure"):
        assert word in text
    assert len(notes) == 5
    assert simulate_run(changed, BY_NAME["healthy"], 2, HOUR).outcome is RunOutcome.PROMOTED


def test_a_policy_of_which_nothing_is_left_is_refused() -> None:
    """With its name, what it judges by, and what to do."""
    rules = policy(
        "stepWeights: [10, 100], stepDuration: 1m,"
        "analysis: {metrics: [{name: kv-cache-usage, thresholdRange: {max: 95%}},"
        "{name: error-rate, thresholdRange: {max: 1%}, dryRun: true}]}",
        name="llm",
    )
    with pytest.raises(InputError, match=r"policy llm cannot be simulated.*kv-cache-usage.*add a metric"):
        make_simulatable(rules)
    with pytest.raises(InputError):
        simulate([("llm", rules)], STANDARD_RELEASES, runs=1, seed=1, horizon=HOUR)


def test_a_described_release() -> None:
    """What is not said is as in a healthy release; nothing said is the standard set."""
    nothing = {
        "rps": None,
        "base_error": None,
        "canary_error": None,
        "base_latency": None,
        "canary_latency": None,
        "onset": None,
    }
    assert describe_releases(**nothing, bursts=False) == STANDARD_RELEASES
    (quiet,) = describe_releases(**{**nothing, "rps": 2.0, "base_error": 1.0}, bursts=False)
    assert quiet == SimulatedRelease("release", rps=2.0, base_error=1.0, canary_error=1.0)
    (worse,) = describe_releases(**{**nothing, "canary_error": 3.0, "canary_latency": 0.2, "onset": 60.0}, bursts=True)
    assert (worse.base_error, worse.canary_error, worse.onset, worse.bursts) == (0.5, 3.0, 60.0, True)
    assert (worse.base_latency, worse.canary_latency) == (0.08, 0.2)
