"""The account: every way a counter can begin, go on, begin again and vanish."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.model.measurement import Counters, Totals
from autocanary.prometheus.counter_account import Account
from autocanary.prometheus.counter_tracking import APART, BAD, GOOD, WITHIN, Key, Look, Scrape
from tests.prometheus.fake_prometheus import ManualClock

OK: Key = (GOOD, "2xx")
FAILED: Key = (BAD, "5xx")
BY_HISTORY: frozenset[str] = frozenset()


def scrape(
    at: float,
    values: Mapping[Key, float],
    *,
    process: str = "pod-a",
    job: str = "pods",
    instance: str = "10.0.0.1:9091",
    series: float | None = None,
) -> Scrape:
    return Scrape(
        process, (instance, job), instance, at, len(values) if series is None else series, dict(values)
    )


class Book:
    """An account of a candidate, beside a stable revision of one process that does one request a second."""

    def __init__(self, *, elders: frozenset[str] | None = BY_HISTORY) -> None:
        self.clock = ManualClock()
        self.account: Account[str] = Account(self.clock.now)
        self.elders = elders

    def look(self, at: float, *scrapes: Scrape) -> None:
        stable = Look(at, [scrape(at, {OK: at}, process="stable")], BY_HISTORY)
        looks = {"candidate": Look(at, scrapes, self.elders), "stable": stable}
        unknown = self.account.unknown(looks)
        self.account.begin({each: look for each, look in looks.items() if each in unknown})
        self.account.look({each: look for each, look in looks.items() if each not in unknown})

    @property
    def said(self) -> Counters:
        counters = self.account.counters("candidate", "stable")
        assert counters is not None
        return counters

    def totals(self) -> tuple[float, float]:
        return self.said.candidate.requests, self.said.candidate.errors


def test_what_was_there_at_the_first_look_is_a_baseline() -> None:
    """Only what comes after it counts."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000, FAILED: 50}))
    assert book.said == Counters(book.said.epoch, 99, Totals(), Totals())
    book.look(115, scrape(114, {OK: 1010, FAILED: 52}))
    assert book.totals() == (12, 2)
    assert book.said.stable == Totals(15)


def test_a_new_series_of_a_known_process_counts_from_0() -> None:
    """The first 5xx is not lost as a baseline."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    book.look(115, scrape(114, {OK: 1000, FAILED: 1}))
    assert book.totals() == (1, 1)


def test_a_new_process_counts_from_0() -> None:
    """Nobody had seen it, neither at a look nor in the hour before."""
    book = Book()
    book.look(100)
    book.look(115, scrape(114, {OK: 30, FAILED: 3}))
    assert book.totals() == (33, 3)


def test_a_process_that_was_scraped_before_the_account_began_is_a_baseline() -> None:
    """It was only away at the first look."""
    book = Book(elders=frozenset({"pod-a"}))
    book.look(100)
    book.look(115, scrape(114, {OK: 30_000}))
    book.look(130, scrape(129, {OK: 30_010}))
    assert book.totals() == (10, 0)


def test_without_a_history_no_process_is_believed_to_be_new() -> None:
    """Too little rather than too much."""
    book = Book(elders=None)
    book.look(100)
    book.look(115, scrape(114, {OK: 30}))
    book.look(130, scrape(129, {OK: 35}))
    assert book.totals() == (5, 0)


def test_a_restart_counts_all_the_new_values() -> None:
    """One counter that fell tells of all: the others may have overtaken their old values."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000, FAILED: 2}))
    book.look(115, scrape(114, {OK: 40, FAILED: 5}))
    assert book.totals() == (45, 5)
    book.look(130, scrape(129, {OK: 7}))
    assert book.totals() == (52, 5)
    book.look(145, scrape(144, {OK: 8, FAILED: 1}))
    assert book.totals() == (54, 6)


def test_a_series_that_vanished_from_a_sum_is_no_restart() -> None:
    """What is left of the sum is a baseline; nothing that happened before counts again."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}, series=2))
    book.look(115, scrape(114, {OK: 400}, series=1))
    assert book.totals() == (0, 0)
    book.look(130, scrape(129, {OK: 410}, series=1))
    assert book.totals() == (10, 0)


def test_rounding_is_no_restart() -> None:
    """Fractions added up in another order."""
    book = Book()
    book.look(100, scrape(99, {OK: 0.1 + 0.2 + 1000}))
    book.look(115, scrape(114, {OK: 1000.3 - 1e-10}))
    assert book.totals() == (0, 0)


def test_what_vanishes_keeps_its_last_value() -> None:
    """A failed scrape, and a series that pauses."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000, FAILED: 5}))
    book.look(115)
    book.look(130, scrape(129, {OK: 1020}))
    book.look(145, scrape(144, {OK: 1020, FAILED: 6}))
    assert book.totals() == (21, 1)


def test_an_old_look_and_an_old_sample_add_nothing() -> None:
    """Two rounds that overtake each other; two servers behind one address."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    book.look(115, scrape(114, {OK: 1010}))
    book.look(110, scrape(109, {OK: 1006}))
    book.look(120, scrape(109, {OK: 1006}))
    assert book.totals() == (10, 0)


def test_a_server_whose_clock_is_ahead_makes_no_restart() -> None:
    """A smaller value hardly later is an older one; a real restart shows at the next look."""
    book = Book()
    book.look(100, scrape(99.9, {OK: 1000}))
    book.look(101, scrape(100.2, {OK: 999}))
    assert book.totals() == (0, 0)
    book.look(116, scrape(115, {OK: 4}))
    assert book.totals() == (4, 0)


def test_one_of_two_scrapes_is_counted() -> None:
    """Two jobs, or two replicas, of the same target."""
    book = Book()
    for at, value in ((100, 1000), (115, 1010), (130, 1020)):
        book.look(at, scrape(at - 1, {OK: value}), scrape(at - 3, {OK: value - 1}, job="other"))
    assert book.totals() == (20, 0)


def test_another_scrape_of_the_same_target_goes_on_where_the_first_ended() -> None:
    """The replica that was followed is gone; nothing is lost and nothing counted twice."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}), scrape(97, {OK: 999}, job="other"))
    book.look(115, scrape(98, {OK: 999}, job="other"))
    assert book.totals() == (0, 0)
    book.look(130, scrape(127, {OK: 1015}, job="other"))
    assert book.totals() == (15, 0)


@pytest.mark.parametrize(
    "taken_over",
    [
        scrape(114, {OK: 5000}, job="other", instance="10.0.0.1:9088"),
        scrape(114, {OK: 900}, job="other"),
    ],
)
def test_another_scrape_that_may_be_of_another_process_is_a_baseline(taken_over: Scrape) -> None:
    """Another port, or a smaller value; and its first 5xx counts, whatever the first scrape's were."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000, FAILED: 7}))
    book.look(115, taken_over)
    assert book.totals() == (0, 0)
    more = {OK: taken_over.values[OK] + 3, FAILED: 1.0}
    book.look(130, Scrape("pod-a", taken_over.path, taken_over.instance, 129, 2, more))
    assert book.totals() == (4, 1)


def test_totals_wait_for_the_older_of_the_newest_samples() -> None:
    """What the other revision did meanwhile waits for it, and is not lost."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    first = book.said
    book.look(115, scrape(99, {OK: 1000}))
    assert book.said is first
    book.look(130, scrape(129, {OK: 1007}))
    assert book.said.at == 129
    assert (book.said.candidate.requests, book.said.stable.requests) == (7, 30)


def test_a_revision_that_has_long_been_silent_holds_nothing_up() -> None:
    """It waits for a minute and a half; after that there is nothing to wait for."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    book.look(180)
    assert book.said.at == 99
    book.look(195)
    assert (book.said.at, book.said.stable.requests) == (195, 95)


def test_two_revisions_without_any_series_are_at_the_time_of_the_look() -> None:
    """So what comes next is counted from nothing."""
    account: Account[str] = Account(ManualClock().now)
    account.begin({each: Look(100.0, (), BY_HISTORY) for each in ("candidate", "stable")})
    said = account.counters("candidate", "stable")
    assert said is not None
    assert (said.at, said.candidate, said.stable) == (100, Totals(), Totals())


def test_no_counters_before_both_accounts_are_open() -> None:
    """The stable one's look failed."""
    account: Account[str] = Account(ManualClock().now)
    account.begin({"candidate": Look(100.0, (), BY_HISTORY)})
    assert account.counters("candidate", "stable") is None
    account.look({"stable": Look(101.0)})
    assert account.counters("candidate", "stable") is None


def test_a_second_beginning_is_a_look() -> None:
    """Two rounds that begin the same account at once."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    book.account.begin({"candidate": Look(115, [scrape(114, {OK: 1004})], BY_HISTORY)})
    book.look(130, scrape(129, {OK: 1010}))
    assert book.totals() == (10, 0)


def test_a_family_that_nobody_asks_for_is_forgotten_and_begins_anew() -> None:
    """After an hour, under another epoch."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    first = book.said
    book.clock.time += 3500
    book.look(115, scrape(114, {OK: 1010}))
    assert book.said.epoch == first.epoch
    book.clock.time += 3700
    book.look(8000, scrape(7999, {OK: 2000}))
    assert book.said.epoch != first.epoch
    assert book.totals() == (0, 0)


def test_memory_is_bounded() -> None:
    """The revisions that were asked for longest ago go first, and their comparison with them."""
    clock = ManualClock()
    account: Account[str] = Account(clock.now, most=4)
    epochs = []
    for number in range(10):
        clock.time += 1
        names = (f"c{number}", f"s{number}")
        account.begin({name: Look(clock.time, (), BY_HISTORY) for name in names})
        said = account.counters(*names)
        assert said is not None
        epochs.append(said.epoch)
    assert len(set(epochs)) == 10
    assert account.unknown(["c7", "c8", "c9"]) == ["c7"]
    assert account.counters("c7", "s7") is None


def test_a_process_long_gone_is_remembered_by_name() -> None:
    """If it came back, it would not count from 0."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))
    for at in range(400, 8000, 300):
        book.look(at)
    book.look(8000, scrape(7999, {OK: 5000}))
    book.look(8015, scrape(8014, {OK: 5001}))
    assert book.totals() == (1, 0)


def test_with_too_many_names_to_remember_nothing_is_new_any_more() -> None:
    """Pods by the thousand: too little is counted, never too much."""
    book = Book(elders=frozenset(f"pod-{number}" for number in range(5001)))
    book.look(100)
    book.look(115, scrape(114, {OK: 30}, process="pod-new"))
    assert book.totals() == (0, 0)


def latency(within: Mapping[float, float], total: float, apart: float | None = None) -> dict[Key, float]:
    values: dict[Key, float] = {(WITHIN, bound): count for bound, count in within.items()}
    values[GOOD, ""] = total
    if apart is not None:
        values[APART, "apart0"] = apart
    return values


class LatencyBook(Book):
    def two(self, at: float, candidate: Mapping[Key, float], stable: Mapping[Key, float] | None) -> None:
        looks = {
            "candidate": Look(at, [scrape(at - 1, candidate)], BY_HISTORY),
            "stable": Look(at, [scrape(at - 1, stable, process="s")] if stable else [], BY_HISTORY),
        }
        if self.account.unknown(looks):
            self.account.begin(looks)
        else:
            self.account.look(looks)

    @property
    def said(self) -> Counters:
        counters = self.account.counters("candidate", "stable", latency=True)
        assert counters is not None
        return counters


def test_latency_counts_by_bound() -> None:
    """Totals follow the bounds, ascending."""
    book = LatencyBook()
    book.two(100, latency({0.5: 10, 0.1: 5}, 12), latency({0.1: 1, 0.5: 1}, 1))
    book.two(115, latency({0.5: 16, 0.1: 8}, 20), latency({0.1: 1, 0.5: 2}, 2))
    assert book.said.bounds == (0.1, 0.5)
    assert book.said.candidate == Totals(8, 0, (3, 6))
    assert book.said.stable == Totals(1, 0, (0, 1))


def test_failures_counted_apart_are_slow() -> None:
    """They are subtracted from every bucket; what they take too much of is made up for, never negative."""
    book = LatencyBook()
    book.two(100, latency({0.1: 0, 0.5: 0}, 0, 0), latency({0.1: 0, 0.5: 0}, 0))
    book.two(115, latency({0.1: 10, 0.5: 20}, 20, 3), latency({0.1: 9, 0.5: 9}, 9))
    assert book.said.candidate == Totals(20, 3, (7, 17))
    book.two(130, latency({0.1: 10, 0.5: 20}, 24, 7), latency({0.1: 9, 0.5: 9}, 9))
    assert book.said.candidate == Totals(24, 7, (7, 17))  # four slow failures: not 3 and 13
    book.two(145, latency({0.1: 16, 0.5: 30}, 34, 7), latency({0.1: 9, 0.5: 9}, 9))
    assert book.said.candidate == Totals(34, 7, (9, 23))


def test_other_bounds_are_another_account() -> None:
    """A new pod with a coarser histogram: only common bounds are left, under another epoch."""
    book = LatencyBook()
    book.two(100, latency({0.1: 0, 0.5: 0}, 0), latency({0.1: 0, 0.5: 0}, 0))
    first = book.said
    assert first.bounds == (0.1, 0.5)
    book.two(115, latency({0.1: 4, 0.5: 5}, 5), latency({0.5: 1, 2.0: 1}, 1))
    assert book.said.bounds == (0.5,)
    assert book.said.epoch != first.epoch
    assert book.said.candidate.within == (5,)


def test_before_any_bound_is_known_there_are_no_counters_of_latency() -> None:
    """One revision's bounds are enough; a process that has only failed so far takes none away."""
    book = LatencyBook()
    book.two(100, {FAILED: 0}, None)
    assert book.account.counters("candidate", "stable", latency=True) is None
    book.two(115, {FAILED: 2}, latency({0.1: 1}, 1))
    assert (book.said.bounds, book.said.candidate) == ((0.1,), Totals(2, 2, (0,)))


def test_histograms_without_a_common_bound_cannot_be_compared() -> None:
    """Nothing is said of them."""
    book = LatencyBook()
    book.two(100, latency({0.1: 0}, 0), latency({0.2: 0}, 0))
    assert book.account.counters("candidate", "stable", latency=True) is None


def test_many_threads_count_nothing_twice() -> None:
    """Each look's increment is added once, whoever brings it."""
    book = Book()
    book.look(100, scrape(99, {OK: 1000}))

    def bring() -> None:
        for at in range(101, 301):
            book.look(at, scrape(at, {OK: 900 + at}))
            book.account.counters("candidate", "stable")

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.said.candidate.requests == 1200 - 1000


# --- any story of pods


@dataclass
class Pod:
    """A process with its counters since it began, and what it has done in all since the account did."""

    name: str
    ok: float = 0.0
    failed: float = 0.0
    up: bool = True

    def values(self) -> dict[Key, float]:
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

    def scrapes(self, at: float, doubled: int, down: int) -> list[Scrape]:
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


def assert_counted_truly(
    before: list[tuple[object, ...]], story: list[tuple[object, ...]], *, careful: bool
) -> None:
    """``careful``: every look sees every pod, and one happens right before a pod begins again or goes."""
    cluster, book = Cluster(), Book()
    at = 100.0
    for event in before:
        act(cluster, event)
    book.elders = frozenset(pod.name for pod in cluster.pods if pod.values())
    cluster.requests = cluster.errors = 0.0
    book.look(at, *cluster.scrapes(at, 0, 0 if careful else 1))
    heard = book.totals()
    for event in [*story, ("look", 0, 0)]:
        if careful and event[0] in ("restart", "stop"):
            at += 15
            book.look(at, *cluster.scrapes(at, 2, 0))
        if event[0] == "look":
            at += 15
            down = 0 if careful else int(str(event[2]))
            book.look(at, *cluster.scrapes(at, int(str(event[1])), down))
        else:
            act(cluster, event)
        said = book.totals()
        assert said[0] >= heard[0] >= 0
        assert said[1] >= heard[1] >= 0
        assert said[0] <= cluster.requests
        assert said[1] <= min(cluster.errors, said[0])
        heard = said
    if careful and not any(event[0] == "restart" for event in story):
        assert heard == (cluster.requests, cluster.errors)


def act(cluster: Cluster, event: tuple[object, ...]) -> None:
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
def test_any_story_of_pods_never_counts_too_much(
    before: list[tuple[object, ...]], story: list[tuple[object, ...]]
) -> None:
    """Pods that come, go, begin again, are scraped twice or not: never more than happened, never back."""
    assert_counted_truly(before, story, careful=False)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SERVE, CHURN), max_size=20), STORY)
def test_what_is_seen_before_it_ends_is_counted_exactly(
    before: list[tuple[object, ...]], story: list[tuple[object, ...]]
) -> None:
    """Pods that come, go and are scraped twice: the totals are the truth."""
    assert_counted_truly(before, story, careful=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 5)), min_size=1, max_size=20))
def test_restarts_that_show_are_counted_exactly(lives: list[tuple[int, int]]) -> None:
    """A process that begins again and again, each time below where it was."""
    book = Book()
    book.look(100)
    at = 100.0
    truth = errors = 0.0
    for ok, failed in lives:
        book.look(at + 15, scrape(at + 15, {OK: 1, FAILED: failed}))
        at += 30
        book.look(at, scrape(at, {OK: ok + 100, FAILED: failed + 1}))
        truth += ok + 100 + failed + 1
        errors += failed + 1
    assert book.totals() == (truth, errors)
