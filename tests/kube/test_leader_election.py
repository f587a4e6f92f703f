"""The elector: one leader, and a leader that stops before another may begin."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from autocanary.kube.leader_election import LeaderElector, LeaseTimings
from autocanary.logs import capture
from autocanary.ports import Leadership
from tests.kube.fake_api import FakeApi, Reply, status, until

KEY = ("leases", "home", "autocanary")


class Time:
    """A monotonic clock for several electors."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def elector(api: FakeApi, clock: Time, name: str = "pod", **options: Any) -> LeaderElector:
    client = api.client(timeout=(1.0, 1.0))
    return LeaderElector(client, "home", "autocanary", name, clock=clock, **options)


def spec(api: FakeApi) -> dict[str, Any]:
    held: dict[str, Any] = api.objects[KEY]["spec"]
    return held


def edit(api: FakeApi, **changes: Any) -> None:
    api.put("leases", {"metadata": {"name": "autocanary", "namespace": "home"}, "spec": {**spec(api), **changes}})


def test_the_first_one_leads(api: FakeApi) -> None:
    """It has never been held: the Lease is made."""
    clock = Time()
    one = elector(api, clock, wall_clock=lambda: 1_700_000_000.5)
    leadership: Leadership = one
    assert not leadership.is_leader()
    one.try_acquire_or_renew()
    assert leadership.is_leader()
    assert spec(api) == {
        "holderIdentity": one.identity,
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.500000Z",
        "renewTime": "2023-11-14T22:13:20.500000Z",
        "leaseTransitions": 0,
    }


def test_the_second_one_waits_and_takes_over(api: FakeApi) -> None:
    """It counts from when it saw the last renewal, by its own clock."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader(), two.holder) == (True, False, one.identity)
    clock.now += 15.0
    two.try_acquire_or_renew()
    assert not two.is_leader()
    clock.now += 0.1
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (False, True)
    assert spec(api)["leaseTransitions"] == 1


def test_a_leader_that_cannot_renew_stops_before_another_begins(api: FakeApi) -> None:
    """At every moment at most one of the two is the leader."""
    clock = Time()
    one, two = elector(api, clock, "one"), elector(api, clock, "two")
    one.try_acquire_or_renew()
    began, both = clock.now, []
    while not two.is_leader():
        api.reply("PUT", "/leases/", Reply(503))
        one.try_acquire_or_renew()
        if two.holder or clock.now > began:
            api.forget_replies()
        two.try_acquire_or_renew()
        both.append(one.is_leader() and two.is_leader())
        clock.now += 0.5
        assert clock.now - began < 60
    assert not any(both)
    assert not one.is_leader()


def test_leadership_ends_at_its_deadline(api: FakeApi) -> None:
    """Even if the elector's thread hangs: it is a comparison with the clock."""
    clock = Time()
    one = elector(api, clock)
    one.try_acquire_or_renew()
    clock.now += 9.9
    assert one.is_leader()
    clock.now += 0.2
    assert not one.is_leader()


def test_the_deadline_counts_from_before_the_call(api: FakeApi) -> None:
    """A renewal that took long was seen by the others at an unknown moment within it."""
    clock = Time()
    one = elector(api, clock)
    handle = api.handle

    def slow(request: Any) -> Any:
        if request.method in ("POST", "PUT"):
            clock.now += 4.0
        return handle(request)

    api.handle = slow  # type: ignore[method-assign]
    one.try_acquire_or_renew()
    assert one.is_leader()
    clock.now += 6.1
    assert not one.is_leader()


def test_renewals_keep_it(api: FakeApi) -> None:
    """One write each, without a read; the others see it move and wait."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    for _ in range(20):
        one.try_acquire_or_renew()
        two.try_acquire_or_renew()
        clock.now += 2.0
        assert one.is_leader()
        assert not two.is_leader()
    assert len(api.made("PUT")) == 19
    assert spec(api)["leaseTransitions"] == 0
    assert spec(api)["acquireTime"] <= spec(api)["renewTime"]


@pytest.mark.parametrize("seconds", [3.0, 6.0, 15.0])
def test_a_slow_server_changes_no_leader(api: FakeApi, seconds: float) -> None:
    """Every answer takes nearly as long as one is waited for, which is a third of the duration."""
    clock, times, led = Time(), LeaseTimings.for_duration(seconds), list[bool]()
    over, release = threading.Event(), threading.Event()
    latency = 0.95 * seconds / 3
    assert latency < times.read
    handle = api.handle

    def slow(request: Any) -> Any:
        clock.now += latency
        led.append(one.is_leader())
        return handle(request)

    def sleep(waits: float) -> None:
        clock.now += waits
        if len(led) >= 20:
            over.set()
            release.wait(5)

    api.handle = slow  # type: ignore[method-assign]
    one = elector(api, clock, times=times, sleep=sleep)
    one.start()
    assert over.wait(5)
    seen = tuple(led)
    release.set()
    one.stop()
    assert seen.index(True) == 2, "after the read and the creation"
    assert all(seen[2:])


def test_a_failed_renewal_is_no_loss_yet(api: FakeApi) -> None:
    """One refused, one lost answer: the deadline decides."""
    clock = Time()
    one = elector(api, clock)
    one.try_acquire_or_renew()
    clock.now += 2.0
    api.reply("PUT", "/leases/", Reply(503), Reply(200, b"{", cut=True, after=True))
    one.try_acquire_or_renew()
    one.try_acquire_or_renew()
    assert one.is_leader()
    clock.now += 7.0
    one.try_acquire_or_renew()  # the lost renewal had happened: 409, read, and it is still ours
    clock.now += 5.0
    assert one.is_leader()


def test_another_clients_label_is_no_loss(api: FakeApi) -> None:
    """It changes the version, not the holder."""
    clock = Time()
    one = elector(api, clock)
    one.try_acquire_or_renew()
    edit(api)
    clock.now += 2.0
    one.try_acquire_or_renew()
    clock.now += 9.0
    assert one.is_leader()


def test_a_lease_taken_away_by_hand_ends_leadership(api: FakeApi) -> None:
    """The holder in it now is believed, and given the time that a holder has."""
    clock = Time()
    reported: list[bool] = []
    one = elector(api, clock, on_change=reported.append)
    one.try_acquire_or_renew()
    edit(api, holderIdentity="somebody")
    clock.now += 2.0
    one.try_acquire_or_renew()
    assert not one.is_leader()
    assert one.holder == "somebody"
    clock.now += 15.1
    one.try_acquire_or_renew()
    assert one.is_leader()
    assert reported == [True, False, True]


def test_an_emptied_lease_is_free(api: FakeApi) -> None:
    """A released or cleaned one needs no waiting."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    edit(api, holderIdentity="", leaseDurationSeconds=1)
    two.try_acquire_or_renew()
    one.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (False, True)


def test_a_deleted_lease_is_made_again(api: FakeApi) -> None:
    """Leadership is given up first: another client may have been faster."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    api.drop("leases", "home", "autocanary")
    one.try_acquire_or_renew()
    assert one.is_leader()
    api.drop("leases", "home", "autocanary")
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (True, False), "the holder does not know yet"
    one.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (True, False)


@pytest.mark.parametrize("edited", [None, {}, {"holderIdentity": ""}, {"holderIdentity": "two"}])
def test_lease_freed_by_hand_is_taken_after_its_duration(api: FakeApi, edited: dict[str, Any] | None) -> None:
    """Deleted, without a spec, without a holder, or in the other's name: taken after the duration if at all."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    if edited is None:
        api.drop("leases", "home", "autocanary")
    elif edited:
        edit(api, **{name: two.identity if value == "two" else value for name, value in edited.items()})
    else:
        api.put("leases", {"metadata": {"name": "autocanary", "namespace": "home"}, "spec": {}})
    began = clock.now
    while not two.is_leader():
        two.try_acquire_or_renew()
        assert not (one.is_leader() and two.is_leader())
        clock.now += 1.0
        assert clock.now - began < 30
    assert clock.now - began > 15


def test_new_instance_waits_for_lease_emptied_by_hand(api: FakeApi) -> None:
    """It says when it was acquired, and not that it was released."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    edit(api, holderIdentity="")
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (True, False)
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (False, False)


def test_renewal_with_lost_response_keeps_lease(api: FakeApi) -> None:
    """The next attempt meets a conflict, reads its own name, and goes on."""
    clock = Time()
    one = elector(api, clock)
    one.try_acquire_or_renew()
    clock.now += 2.0
    api.reply("PUT", "/leases/", Reply(200, b"{", cut=True, after=True))
    one.try_acquire_or_renew()
    clock.now += 2.0
    one.try_acquire_or_renew()
    clock.now += 7.0
    assert one.is_leader()


def test_a_standby_looks_again_when_the_lease_runs_out(api: FakeApi) -> None:
    """Every second until then; not a beat later than it may."""
    clock = Time()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    one, two = elector(api, clock), elector(api, clock, sleep=sleep)
    one.try_acquire_or_renew()
    clock.now += 0.3
    began = clock.now
    two.start()
    until(two.is_leader)
    two.stop()
    taken = next(index for index, seconds in enumerate(pauses) if seconds == 2.0)
    assert 15.0 < sum(pauses[:taken]) < 15.1
    assert max(pauses[:taken]) == 1.0
    assert clock.now > began


def test_two_that_create_at_once_agree(api: FakeApi) -> None:
    """One of them gets AlreadyExists and reads who won."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    api.reply("GET", "/leases/", Reply(404, status(404, "NotFound", "x", name="autocanary")))
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (True, False)
    assert two.holder == one.identity


@pytest.mark.parametrize(("edited", "waits"), [(0, 15.0), (None, 15.0), (5, 15.0), (40, 40.0), (10**9, 600.0)])
def test_a_foreign_duration_is_respected_within_reason(api: FakeApi, edited: int | None, waits: float) -> None:
    """Another version may hold it longer; a slip of the hand must not keep every replica out for years."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    edit(api, holderIdentity="gone", leaseDurationSeconds=edited)
    two.try_acquire_or_renew()
    clock.now += waits
    two.try_acquire_or_renew()
    assert not two.is_leader()
    clock.now += 0.1
    two.try_acquire_or_renew()
    assert two.is_leader()


def test_an_odd_lease_is_filled_in(api: FakeApi) -> None:
    """Made by hand, without a spec."""
    api.put("leases", {"metadata": {"name": "autocanary", "namespace": "home"}})
    one = elector(api, Time())
    one.try_acquire_or_renew()
    assert one.is_leader()
    assert spec(api)["holderIdentity"] == one.identity


def test_wall_clock_times_are_ignored(api: FakeApi) -> None:
    """A holder whose wall clock is years behind, and runs backwards, is as alive as any other."""
    clock = Time()
    one, two = elector(api, clock, wall_clock=lambda: 5000.0 - clock.now), elector(api, clock)
    for _ in range(10):
        one.try_acquire_or_renew()
        two.try_acquire_or_renew()
        clock.now += 2.0
    assert (one.is_leader(), two.is_leader()) == (True, False)


def test_same_identity_gets_unique_suffix(api: FakeApi) -> None:
    """A StatefulSet's pod, restarted before its predecessor has died."""
    clock = Time()
    one, two = elector(api, clock, "same"), elector(api, clock, "same")
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (True, False)
    assert one.identity.startswith("same_")


def test_a_missing_right_or_namespace_is_logged_once(api: FakeApi) -> None:
    """It goes on trying: the right may be granted while it runs."""
    one = elector(api, Time())
    api.reply("GET", "/leases/", *[Reply(403, status(403, "Forbidden", "cannot get leases"))] * 3)
    with capture() as log:
        for _ in range(3):
            one.try_acquire_or_renew()
        api.reply("POST", "/leases", Reply(404, status(404, "NotFound", '"home" not found', name="home")))
        one.try_acquire_or_renew()
        one.try_acquire_or_renew()
    reported = [each["error"] for each in log.named("lease_failed")]
    assert len(reported) == 2
    assert "cannot get leases" in reported[0]
    assert '"home" not found' in reported[1]
    assert one.is_leader()


def test_unexpected_exception_does_not_end_thread(api: FakeApi) -> None:
    """The thread must live to win leadership again."""
    clock = Time()
    one = elector(api, clock)
    api.reply("GET", "/leases/", Reply(200, b'{"spec": 7}'))
    with capture() as log:
        one.try_acquire_or_renew()
        one.try_acquire_or_renew()
    assert log.named("lease_crashed")
    assert one.is_leader()


def test_stopping_releases_it(api: FakeApi) -> None:
    """The next one need not wait, and this one never says leader again."""
    clock = Time()
    reported: list[bool] = []
    one, two = elector(api, clock, on_change=reported.append), elector(api, clock)
    one.start()
    until(one.is_leader)
    one.stop()
    assert not one.is_leader()
    assert spec(api)["holderIdentity"] == ""
    two.try_acquire_or_renew()
    assert two.is_leader()
    until(lambda: reported == [True, False])


def test_stopping_without_leading_touches_nothing(api: FakeApi) -> None:
    """The other one leads on."""
    clock = Time()
    one, two = elector(api, clock), elector(api, clock)
    one.try_acquire_or_renew()
    two.start()
    until(lambda: two.holder == one.identity)
    two.stop()
    assert spec(api)["holderIdentity"] == one.identity


def test_a_release_that_fails_is_only_logged(api: FakeApi) -> None:
    """The others then wait for the duration."""
    one = elector(api, Time())
    one.try_acquire_or_renew()
    api.reply("PUT", "/leases/", Reply(503))
    with capture() as log:
        one.stop()
    assert log.named("lease_not_released")
    assert not one.is_leader()


def test_the_thread_continues_after_an_error(api: FakeApi) -> None:
    """It renews after each pause until it is stopped."""
    pauses: list[float] = []
    go = threading.Event()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        go.wait(0.002)

    one = elector(api, Time(), sleep=sleep)
    one.start()
    until(lambda: len(api.made("PUT")) >= 3)
    one.stop()
    assert set(pauses) == {2.0}


def test_times_that_cannot_be_safe_are_refused() -> None:
    """A deadline as long as the lease would let two lead."""
    with pytest.raises(ValueError, match="retry < renew_deadline < duration"):
        LeaseTimings(duration=10.0, renew_deadline=10.0)


@pytest.mark.parametrize("seconds", [3.0, 6.0, 15.0, 120.0])
def test_times_keep_their_proportions_whatever_the_duration(seconds: float) -> None:
    """A leader stops a third of the duration before another may begin; two attempts fit into its deadline."""
    times = LeaseTimings.for_duration(seconds)
    assert times.duration - times.renew_deadline == pytest.approx(seconds / 3)
    assert times.connect + times.read + times.retry < times.renew_deadline
    assert LeaseTimings.for_duration(15) == LeaseTimings()


@pytest.mark.parametrize(("first", "second"), [(6.0, 15.0), (15.0, 6.0)])
def test_replicas_with_different_durations_wait_for_the_longer_one(api: FakeApi, first: float, second: float) -> None:
    """As during an upgrade that changes the setting: never two leaders, and the standby takes over."""
    clock = Time()
    one = elector(api, clock, times=LeaseTimings.for_duration(first))
    two = elector(api, clock, times=LeaseTimings.for_duration(second))
    one.try_acquire_or_renew()
    two.try_acquire_or_renew()
    clock.now += max(first, second) - 0.1
    two.try_acquire_or_renew()
    assert (one.is_leader(), two.is_leader()) == (False, False)
    clock.now += 0.2
    two.try_acquire_or_renew()
    assert two.is_leader()


def test_a_fraction_of_a_second_is_written_as_the_next_whole_one(api: FakeApi) -> None:
    """The Lease holds whole seconds: rounded down, another replica would begin too early."""
    elector(api, Time(), times=LeaseTimings.for_duration(6.2)).try_acquire_or_renew()
    assert spec(api)["leaseDurationSeconds"] == 7
