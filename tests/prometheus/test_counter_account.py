"""The account: every way a counter can begin, go on, begin again and vanish."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_tracking import (
    BAD,
    GOOD,
    SEPARATE_FAILURE,
    WITHIN_BOUND,
    CounterKey,
    CounterUpdate,
    ProcessScrape,
)
from tests.prometheus.scripted_prometheus import ManualClock

OK: CounterKey = (GOOD, "2xx")
FAILED: CounterKey = (BAD, "5xx")
NO_KNOWN_PROCESSES: frozenset[str] = frozenset()


def scrape(
    at: float,
    values: Mapping[CounterKey, float],
    *,
    process: str = "pod-a",
    job: str = "pods",
    instance: str = "10.0.0.1:9091",
    series: float | None = None,
) -> ProcessScrape:
    return ProcessScrape(
        process, (instance, job), instance, at, len(values) if series is None else series, dict(values)
    )


class StoreHarness:
    """An account of a candidate, beside a stable revision of one process that does one request a second."""

    def __init__(self, *, known_processes: frozenset[str] | None = NO_KNOWN_PROCESSES) -> None:
        self.clock = ManualClock()
        self.store: CounterStore[str] = CounterStore(self.clock.now)
        self.known_processes = known_processes

    def update(self, at: float, *scrapes: ProcessScrape) -> None:
        stable = CounterUpdate(at, [scrape(at, {OK: at}, process="stable")], NO_KNOWN_PROCESSES)
        updates = {"candidate": CounterUpdate(at, scrapes, self.known_processes), "stable": stable}
        untracked = self.store.untracked(updates)
        self.store.start_tracking({each: update for each, update in updates.items() if each in untracked})
        self.store.update({each: update for each, update in updates.items() if each not in untracked})

    @property
    def counters(self) -> RequestCounters:
        counters = self.store.counters("candidate", "stable")
        assert counters is not None
        return counters

    def totals(self) -> tuple[float, float]:
        return self.counters.candidate.requests, self.counters.candidate.errors


def test_first_update_of_existing_processes_is_a_baseline() -> None:
    """Only what comes after it counts."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000, FAILED: 50}))
    assert book.counters == RequestCounters(book.counters.account_id, 99, RequestTotals(), RequestTotals())
    book.update(115, scrape(114, {OK: 1010, FAILED: 52}))
    assert book.totals() == (12, 2)
    assert book.counters.stable == RequestTotals(15)


def test_new_series_of_known_process_counts_from_zero() -> None:
    """The first 5xx is not lost as a baseline."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    book.update(115, scrape(114, {OK: 1000, FAILED: 1}))
    assert book.totals() == (1, 1)


def test_new_process_counts_from_zero() -> None:
    """It was seen neither at an evaluation nor in the hour before."""
    book = StoreHarness()
    book.update(100)
    book.update(115, scrape(114, {OK: 30, FAILED: 3}))
    assert book.totals() == (33, 3)


def test_process_scraped_before_tracking_is_a_baseline() -> None:
    """It was only missing at the first evaluation."""
    book = StoreHarness(known_processes=frozenset({"pod-a"}))
    book.update(100)
    book.update(115, scrape(114, {OK: 30_000}))
    book.update(130, scrape(129, {OK: 30_010}))
    assert book.totals() == (10, 0)


def test_without_history_every_process_is_a_baseline() -> None:
    """Too little rather than too much."""
    book = StoreHarness(known_processes=None)
    book.update(100)
    book.update(115, scrape(114, {OK: 30}))
    book.update(130, scrape(129, {OK: 35}))
    assert book.totals() == (5, 0)


def test_restart_counts_all_new_values() -> None:
    """One counter that fell proves a restart of all: the others may have overtaken their old values."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000, FAILED: 2}))
    book.update(115, scrape(114, {OK: 40, FAILED: 5}))
    assert book.totals() == (45, 5)
    book.update(130, scrape(129, {OK: 7}))
    assert book.totals() == (52, 5)
    book.update(145, scrape(144, {OK: 8, FAILED: 1}))
    assert book.totals() == (54, 6)


def test_vanished_series_in_a_sum_is_not_a_restart() -> None:
    """What is left of the sum is a baseline; nothing that happened before counts again."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}, series=2))
    book.update(115, scrape(114, {OK: 400}, series=1))
    assert book.totals() == (0, 0)
    book.update(130, scrape(129, {OK: 410}, series=1))
    assert book.totals() == (10, 0)


def test_rounding_is_not_a_restart() -> None:
    """Fractions added up in another order."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 0.1 + 0.2 + 1000}))
    book.update(115, scrape(114, {OK: 1000.3 - 1e-10}))
    assert book.totals() == (0, 0)


def test_vanished_process_keeps_its_last_value() -> None:
    """A failed scrape, and a series that pauses."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000, FAILED: 5}))
    book.update(115)
    book.update(130, scrape(129, {OK: 1020}))
    book.update(145, scrape(144, {OK: 1020, FAILED: 6}))
    assert book.totals() == (21, 1)


def test_old_updates_and_old_samples_add_nothing() -> None:
    """Two rounds that overtake each other; two servers behind one address."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    book.update(115, scrape(114, {OK: 1010}))
    book.update(110, scrape(109, {OK: 1006}))
    book.update(120, scrape(109, {OK: 1006}))
    assert book.totals() == (10, 0)


def test_clock_skew_between_servers_is_not_a_restart() -> None:
    """A smaller value hardly later is an older one; a real restart shows at the next evaluation."""
    book = StoreHarness()
    book.update(100, scrape(99.9, {OK: 1000}))
    book.update(101, scrape(100.2, {OK: 999}))
    assert book.totals() == (0, 0)
    book.update(116, scrape(115, {OK: 4}))
    assert book.totals() == (4, 0)


def test_process_scraped_twice_is_counted_once() -> None:
    """Two jobs, or two replicas, of the same target."""
    book = StoreHarness()
    for at, value in ((100, 1000), (115, 1010), (130, 1020)):
        book.update(at, scrape(at - 1, {OK: value}), scrape(at - 3, {OK: value - 1}, job="other"))
    assert book.totals() == (20, 0)


def test_second_scrape_of_same_target_continues_the_count() -> None:
    """The replica that was followed is gone; nothing is lost and nothing counted twice."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}), scrape(97, {OK: 999}, job="other"))
    book.update(115, scrape(98, {OK: 999}, job="other"))
    assert book.totals() == (0, 0)
    book.update(130, scrape(127, {OK: 1015}, job="other"))
    assert book.totals() == (15, 0)


@pytest.mark.parametrize(
    "taken_over",
    [
        scrape(114, {OK: 5000}, job="other", instance="10.0.0.1:9088"),
        scrape(114, {OK: 900}, job="other"),
    ],
)
def test_scrape_of_unknown_target_is_a_baseline(taken_over: ProcessScrape) -> None:
    """Another port, or a smaller value; and its first 5xx counts, whatever the first scrape's were."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000, FAILED: 7}))
    book.update(115, taken_over)
    assert book.totals() == (0, 0)
    more = {OK: taken_over.values[OK] + 3, FAILED: 1.0}
    book.update(130, ProcessScrape("pod-a", taken_over.scrape_labels, taken_over.instance, 129, 2, more))
    assert book.totals() == (4, 1)


def test_totals_wait_for_the_slower_revision() -> None:
    """What the other revision did meanwhile waits for it, and is not lost."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    first = book.counters
    book.update(115, scrape(99, {OK: 1000}))
    assert book.counters is first
    book.update(130, scrape(129, {OK: 1007}))
    assert book.counters.at == 129
    assert (book.counters.candidate.requests, book.counters.stable.requests) == (7, 30)


def test_silent_revision_does_not_delay_totals() -> None:
    """It waits for a minute and a half; after that there is nothing to wait for."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    book.update(180)
    assert book.counters.at == 99
    book.update(195)
    assert (book.counters.at, book.counters.stable.requests) == (195, 95)


def test_totals_without_series_have_the_update_time() -> None:
    """So what comes next is counted from nothing."""
    store: CounterStore[str] = CounterStore(ManualClock().now)
    store.start_tracking({each: CounterUpdate(100.0, (), NO_KNOWN_PROCESSES) for each in ("candidate", "stable")})
    counters = store.counters("candidate", "stable")
    assert counters is not None
    assert (counters.at, counters.candidate, counters.stable) == (100, RequestTotals(), RequestTotals())


def test_no_counters_before_both_revisions_are_tracked() -> None:
    """The stable one's look failed."""
    store: CounterStore[str] = CounterStore(ManualClock().now)
    store.start_tracking({"candidate": CounterUpdate(100.0, (), NO_KNOWN_PROCESSES)})
    assert store.counters("candidate", "stable") is None
    store.update({"stable": CounterUpdate(101.0)})
    assert store.counters("candidate", "stable") is None


def test_starting_tracking_twice_is_an_update() -> None:
    """Two rounds that begin the same account at once."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    book.store.start_tracking({"candidate": CounterUpdate(115, [scrape(114, {OK: 1004})], NO_KNOWN_PROCESSES)})
    book.update(130, scrape(129, {OK: 1010}))
    assert book.totals() == (10, 0)


def test_unused_revision_expires_and_restarts() -> None:
    """After an hour, under another epoch."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    first = book.counters
    book.clock.time += 3500
    book.update(115, scrape(114, {OK: 1010}))
    assert book.counters.account_id == first.account_id
    book.clock.time += 3700
    book.update(8000, scrape(7999, {OK: 2000}))
    assert book.counters.account_id != first.account_id
    assert book.totals() == (0, 0)


def test_store_evicts_oldest_entries() -> None:
    """The revisions that were asked for longest ago go first, and their comparison with them."""
    clock = ManualClock()
    store: CounterStore[str] = CounterStore(clock.now, max_entries=4)
    epochs = []
    for number in range(10):
        clock.time += 1
        names = (f"c{number}", f"s{number}")
        store.start_tracking({name: CounterUpdate(clock.time, (), NO_KNOWN_PROCESSES) for name in names})
        counters = store.counters(*names)
        assert counters is not None
        epochs.append(counters.account_id)
    assert len(set(epochs)) == 10
    assert store.untracked(["c7", "c8", "c9"]) == ["c7"]
    assert store.counters("c7", "s7") is None


def test_expired_process_returns_as_a_baseline() -> None:
    """If it came back, it would not count from 0."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))
    for at in range(400, 8000, 300):
        book.update(at)
    book.update(8000, scrape(7999, {OK: 5000}))
    book.update(8015, scrape(8014, {OK: 5001}))
    assert book.totals() == (1, 0)


def test_known_process_overflow_stops_trusting_new_processes() -> None:
    """Pods by the thousand: too little is counted, never too much."""
    book = StoreHarness(known_processes=frozenset(f"pod-{number}" for number in range(5001)))
    book.update(100)
    book.update(115, scrape(114, {OK: 30}, process="pod-new"))
    assert book.totals() == (0, 0)


def latency(bucket_counts: Mapping[float, float], total: float, apart: float | None = None) -> dict[CounterKey, float]:
    values: dict[CounterKey, float] = {(WITHIN_BOUND, bound): count for bound, count in bucket_counts.items()}
    values[GOOD, ""] = total
    if apart is not None:
        values[SEPARATE_FAILURE, "apart0"] = apart
    return values


class LatencyStoreHarness(StoreHarness):
    def update_both(
        self, at: float, candidate: Mapping[CounterKey, float], stable: Mapping[CounterKey, float] | None
    ) -> None:
        updates = {
            "candidate": CounterUpdate(at, [scrape(at - 1, candidate)], NO_KNOWN_PROCESSES),
            "stable": CounterUpdate(at, [scrape(at - 1, stable, process="s")] if stable else [], NO_KNOWN_PROCESSES),
        }
        if self.store.untracked(updates):
            self.store.start_tracking(updates)
        else:
            self.store.update(updates)

    @property
    def counters(self) -> RequestCounters:
        counters = self.store.counters("candidate", "stable", latency=True)
        assert counters is not None
        return counters


def test_latency_is_counted_by_bucket_bound() -> None:
    """Totals follow the bounds, ascending."""
    book = LatencyStoreHarness()
    book.update_both(100, latency({0.5: 10, 0.1: 5}, 12), latency({0.1: 1, 0.5: 1}, 1))
    book.update_both(115, latency({0.5: 16, 0.1: 8}, 20), latency({0.1: 1, 0.5: 2}, 2))
    assert book.counters.bounds == (0.1, 0.5)
    assert book.counters.candidate == RequestTotals(8, 0, (3, 6))
    assert book.counters.stable == RequestTotals(1, 0, (0, 1))


def test_failures_without_code_count_as_slow() -> None:
    """They are subtracted from every bucket; what they take too much of is made up for, never negative."""
    book = LatencyStoreHarness()
    book.update_both(100, latency({0.1: 0, 0.5: 0}, 0, 0), latency({0.1: 0, 0.5: 0}, 0))
    book.update_both(115, latency({0.1: 10, 0.5: 20}, 20, 3), latency({0.1: 9, 0.5: 9}, 9))
    assert book.counters.candidate == RequestTotals(20, 3, (7, 17))
    book.update_both(130, latency({0.1: 10, 0.5: 20}, 24, 7), latency({0.1: 9, 0.5: 9}, 9))
    assert book.counters.candidate == RequestTotals(24, 7, (7, 17))  # four slow failures: not 3 and 13
    book.update_both(145, latency({0.1: 16, 0.5: 30}, 34, 7), latency({0.1: 9, 0.5: 9}, 9))
    assert book.counters.candidate == RequestTotals(34, 7, (9, 23))


def test_changed_bounds_start_a_new_epoch() -> None:
    """A new pod with a coarser histogram: only common bounds are left, under another epoch."""
    book = LatencyStoreHarness()
    book.update_both(100, latency({0.1: 0, 0.5: 0}, 0), latency({0.1: 0, 0.5: 0}, 0))
    first = book.counters
    assert first.bounds == (0.1, 0.5)
    book.update_both(115, latency({0.1: 4, 0.5: 5}, 5), latency({0.5: 1, 2.0: 1}, 1))
    assert book.counters.bounds == (0.5,)
    assert book.counters.account_id != first.account_id
    assert book.counters.candidate.bucket_counts == (5,)


def test_no_latency_counters_before_the_first_bucket() -> None:
    """One revision's bounds are enough; a process that has only failed so far takes none away."""
    book = LatencyStoreHarness()
    book.update_both(100, {FAILED: 0}, None)
    assert book.store.counters("candidate", "stable", latency=True) is None
    book.update_both(115, {FAILED: 2}, latency({0.1: 1}, 1))
    assert (book.counters.bounds, book.counters.candidate) == ((0.1,), RequestTotals(2, 2, (0,)))


def test_histograms_without_common_bound_give_no_counters() -> None:
    """Nothing is said of them."""
    book = LatencyStoreHarness()
    book.update_both(100, latency({0.1: 0}, 0), latency({0.2: 0}, 0))
    assert book.store.counters("candidate", "stable", latency=True) is None


def test_concurrent_updates_count_once() -> None:
    """Each evaluation's increment is added once, whichever query brings it."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000}))

    def bring() -> None:
        for at in range(101, 301):
            book.update(at, scrape(at, {OK: 900 + at}))
            book.store.counters("candidate", "stable")

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.counters.candidate.requests == 1200 - 1000


# --- any story of pods


@dataclass
class Pod:
    """A process with its counters since it began, and what it has done in all since the account did."""

    name: str
    ok: float = 0.0
    failed: float = 0.0
    up: bool = True

    def values(self) -> dict[CounterKey, float]:
        return {key: value for key, value in ((OK, self.ok), (FAILED, self.failed)) if value}


@dataclass
class Cluster:
    """Pods that serve, begin again, come and go; ``requests`` and ``errors`` are the truth."""

    pods: list[Pod] = field(default_factory=list)
    requests: float = 0.0
    errors: float = 0.0
    named: int = 0

    def serve(self, index: int, ok: int, failed: int) -> None:
        if self.pods:
            pod = self.pods[index % len(self.pods)]
            pod.ok += ok
            pod.failed += failed
            self.requests += ok + failed
            self.errors += failed

    def start(self) -> None:
        self.named += 1
        self.pods.append(Pod(f"pod-{self.named}"))

    def restart(self, index: int) -> None:
        if self.pods:
            pod = self.pods[index % len(self.pods)]
            pod.ok = pod.failed = 0.0

    def stop(self, index: int) -> None:
        if self.pods:
            self.pods.pop(index % len(self.pods))

    def scrapes(self, at: float, doubled: int, down: int) -> list[ProcessScrape]:
        """Some scraped twice, by one job before the other; of the others one may not be scraped at all."""
        found = []
        for number, pod in enumerate(self.pods):
            values = pod.values()
            if not values or (down and number % 4 == down):
                continue
            instance = f"{pod.name}:9091"
            found.append(scrape(at, values, process=pod.name, instance=instance))
            if doubled and number % doubled == 0:
                found.append(scrape(at - 0.5, values, process=pod.name, job="again", instance=instance))
        return found


COUNT = st.integers(0, 50)
INDEX = st.integers(0, 5)
SERVE = st.tuples(st.just("serve"), INDEX, COUNT, st.integers(0, 5))
CHURN = st.tuples(st.sampled_from(["start", "restart", "stop"]), INDEX)
LOOK = st.tuples(st.just("look"), st.integers(0, 3), st.integers(0, 3))
STORY = st.lists(st.one_of(SERVE, CHURN, LOOK), max_size=60)


def assert_counts_are_exact(
    before: list[tuple[object, ...]], story: list[tuple[object, ...]], *, careful: bool
) -> None:
    """``careful``: every evaluation sees every pod, and one happens right before a pod begins again or goes."""
    cluster, book = Cluster(), StoreHarness()
    at = 100.0
    for event in before:
        apply_event(cluster, event)
    book.known_processes = frozenset(pod.name for pod in cluster.pods if pod.values())
    cluster.requests = cluster.errors = 0.0
    book.update(at, *cluster.scrapes(at, 0, 0 if careful else 1))
    heard = book.totals()
    for event in [*story, ("look", 0, 0)]:
        if careful and event[0] in ("restart", "stop"):
            at += 15
            book.update(at, *cluster.scrapes(at, 2, 0))
        if event[0] == "look":
            at += 15
            down = 0 if careful else int(str(event[2]))
            book.update(at, *cluster.scrapes(at, int(str(event[1])), down))
        else:
            apply_event(cluster, event)
        counters = book.totals()
        assert counters[0] >= heard[0] >= 0
        assert counters[1] >= heard[1] >= 0
        assert counters[0] <= cluster.requests
        assert counters[1] <= min(cluster.errors, counters[0])
        heard = counters
    if careful and not any(event[0] == "restart" for event in story):
        assert heard == (cluster.requests, cluster.errors)


def apply_event(cluster: Cluster, event: tuple[object, ...]) -> None:
    name, *numbers = event
    arguments = [int(str(number)) for number in numbers]
    if name == "serve":
        cluster.serve(*arguments)
    elif name == "start":
        cluster.start()
    elif name == "restart":
        cluster.restart(arguments[0])
    elif name == "stop":
        cluster.stop(arguments[0])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SERVE, CHURN), max_size=20), STORY)
def test_random_pod_events_never_overcount(before: list[tuple[object, ...]], story: list[tuple[object, ...]]) -> None:
    """Pods that come, go, begin again, are scraped twice or not: never more than happened, never back."""
    assert_counts_are_exact(before, story, careful=False)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SERVE, CHURN), max_size=20), STORY)
def test_pods_scraped_before_they_stop_count_exactly(
    before: list[tuple[object, ...]], story: list[tuple[object, ...]]
) -> None:
    """Pods that come, go and are scraped twice: the totals are the truth."""
    assert_counts_are_exact(before, story, careful=True)


def test_series_that_returns_lower_began_again_alone() -> None:
    """A restart whose first page has no failures yet: the successes since then are not counted twice."""
    book = StoreHarness()
    book.update(100)
    book.update(115, scrape(115, {OK: 10, FAILED: 2}))
    book.update(130, scrape(130, {OK: 11}))
    book.update(145, scrape(145, {OK: 12, FAILED: 1}))
    assert book.totals() == (10 + 2 + 1 + 1 + 1, 2 + 1)
    book.update(160, scrape(160, {OK: 3, FAILED: 1}))  # and this is a restart of all
    assert book.totals() == (15 + 4, 3 + 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 5)), min_size=1, max_size=20))
def test_visible_restarts_count_exactly(lives: list[tuple[int, int]]) -> None:
    """A process that begins again and again, each time below where it was."""
    book = StoreHarness()
    book.update(100)
    at = 100.0
    truth = errors = 0.0
    for ok, failed in lives:
        book.update(at + 15, scrape(at + 15, {OK: 1, FAILED: failed}))
        at += 30
        book.update(at, scrape(at, {OK: ok + 100, FAILED: failed + 1}))
        truth += ok + 100 + failed + 1
        errors += failed + 1
    assert book.totals() == (truth, errors)


def test_a_side_without_a_recent_sample_is_not_current() -> None:
    """Neither is a revision that was never scraped; one that is scraped and serves nothing is."""
    book = StoreHarness()
    book.update(100)
    assert (book.counters.candidate_current, book.counters.stable_current) == (False, True)
    book.update(115, scrape(114, {OK: 10}))
    book.update(200, scrape(199, {OK: 10}))
    assert (book.counters.candidate_current, book.counters.stable_current) == (True, True)
    book.update(280)
    assert book.counters.candidate_current
    book.update(300)
    assert (book.counters.candidate_current, book.counters.stable_current) == (False, True)
    assert RequestCounters.from_dict(book.counters.to_dict()) == book.counters
    book.update(315, scrape(314, {OK: 12}))
    assert book.counters.candidate_current


def test_failures_are_the_candidates_own() -> None:
    """What it failed since tracking began, and each process's raw counter; successes and stable are not in it."""
    book = StoreHarness()
    assert book.store.failures("candidate") is None
    book.update(100, scrape(99, {OK: 1000, FAILED: 50}), scrape(99, {OK: 10}, process="pod-b", instance="b:1"))
    first = book.store.failures("candidate")
    assert first is not None
    assert first.total == 0
    assert list(first.by_process.values()) == [50.0]
    new_pod = scrape(114, {OK: 5, FAILED: 7}, process="pod-c", instance="c:1")
    book.update(115, scrape(114, {OK: 1001, FAILED: 52}), new_pod)
    later = book.store.failures("candidate")
    assert later is not None
    assert later.account_id == first.account_id
    assert later.total == 9
    assert sorted(later.by_process.values()) == [7.0, 52.0]


def test_failures_after_a_reset_and_of_a_pod_that_is_gone() -> None:
    """The process keeps its place; one that vanished keeps its last value."""
    book = StoreHarness()
    book.update(100, scrape(99, {OK: 1000, FAILED: 50}))
    book.update(115, scrape(114, {OK: 3, FAILED: 2}))
    book.update(130)
    found = book.store.failures("candidate")
    assert found is not None
    assert (found.total, list(found.by_process.values())) == (2.0, [2.0])


def test_a_new_store_is_another_account() -> None:
    """After a restart the totals begin again, and the raw counters say what came between."""
    first, second = StoreHarness(), StoreHarness()
    first.update(100, scrape(99, {FAILED: 50}))
    second.update(200, scrape(199, {FAILED: 61}))
    one, other = first.store.failures("candidate"), second.store.failures("candidate")
    assert one is not None
    assert other is not None
    assert one.account_id != other.account_id
    assert other.total == 0
    assert [other.by_process[name] - value for name, value in one.by_process.items()] == [11.0]


def test_failures_that_are_counted_separately_are_failures() -> None:
    """Exporters that count failures beside a histogram."""
    book = StoreHarness()
    book.update(100, scrape(99, {(GOOD, "requests"): 10, (SEPARATE_FAILURE, "requests"): 1}))
    book.update(115, scrape(114, {(GOOD, "requests"): 20, (SEPARATE_FAILURE, "requests"): 4}))
    found = book.store.failures("candidate")
    assert found is not None
    assert (found.total, list(found.by_process.values())) == (3.0, [4.0])
