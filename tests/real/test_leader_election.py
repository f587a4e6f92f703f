"""Two and three instances with a lease between them, on a real API server: never two writers, never none for long.

Each instance has a user of its own, so that the audit log shows who wrote what and when: every accepted write
is held against the accepted writes to the Lease. All scenarios run at once, each with its own lease and
namespace: most of them is waiting for a lease to run out.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from autocanary.kube.leader_election import LeaseTimings
from autocanary.settings import Settings
from tests.real.installation import INSTANCES, Autocanary, Installation
from tests.real.manifests import Document
from tests.real.tested_service import SECOND, ServiceUnderTest, places, recording_traffic_splits
from tests.testbed.servers import TcpProxy, require_servers, wait_until
from tests.testbed.setup import FAKETIME, find

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

TIMES = LeaseTimings.for_duration(Settings.model_fields["lease_duration"].default)
ANALYSIS_INTERVAL, TICK = TIMES.retry / 2, 1.0
SLACK_SECONDS = 4.0
"""What a machine with more processes than cores adds to a takeover."""
HOUR = 3600


@dataclass
class LeaseScenario:
    """One namespace, one lease, and the instances that want it."""

    place: ServiceUnderTest
    instances: list[Autocanary] = field(default_factory=list)
    takeovers: list[float] = field(default_factory=list)

    @property
    def lease(self) -> str:
        return self.place.namespace

    def begin(self, letter: int, **more: object) -> Autocanary:
        """Start an instance and wait until it follows the cluster."""
        environment = {"AUTOCANARY_LEASE_NAME": self.lease, **more.pop("environment", {})}  # type: ignore[dict-item]
        instance = Autocanary(
            self.place.installation,
            "--namespace",
            self.place.namespace,
            user=INSTANCES[letter],
            environment=environment,
            **more,  # type: ignore[arg-type]
        )
        self.instances.append(instance.start())
        wait_until(instance.is_ready, seconds=120, what=f"instance {letter} to be ready")
        return instance

    def holder(self) -> str:
        """The user whose write made the Lease what it is."""
        found = self.tenures()
        return found[-1][1] if found else ""

    def until_held(self, *users: str) -> None:
        self.place.until(lambda: self.holder() in users, f"the lease to be held by {users}", 60)

    def tenures(self) -> list[tuple[float, str]]:
        """Who began to hold the lease, and when that was accepted; "" when it was released."""
        found: list[tuple[float, str]] = []
        for event in self.place.installation.api.audit():
            where = event.get("objectRef") or {}
            mine = (where.get("resource"), where.get("name")) == ("leases", self.lease)
            write = event["verb"] in ("create", "update") and event["responseStatus"]["code"] < 300
            if not mine or not write or event["user"]["username"] not in INSTANCES:
                continue
            holder = (event.get("requestObject") or {}).get("spec", {}).get("holderIdentity")
            user = event["user"]["username"] if holder else ""
            if not found or found[-1][1] != user:
                found.append((when(event), user))
        return found

    def took_over(self, since: float, user: str) -> None:
        """Note how long the lease had no living holder."""
        began = next(at for at, who in self.tenures() if at > since and who == user)
        self.takeovers.append(began - since)

    def writes_without_lease(self) -> list[tuple[str, str, str]]:
        """Accepted writes of an instance at a moment at which another one held the lease, or none did."""
        tenures = self.tenures()
        found = []
        for event in self.place.requests("create", "update", "patch", "delete"):
            held = [user for at, user in tenures if at <= when(event)]
            user = event["user"]["username"]
            if not held or held[-1] != user:
                found.append((user, event["verb"], event["requestURI"]))
        return found

    def writes_since(self, user: str, since: float) -> list[str]:
        """What of an instance was accepted after a moment, leases included."""
        return [
            event["requestURI"]
            for event in self.place.installation.api.audit(user)
            if event["verb"] in ("create", "update", "patch", "delete")
            and when(event) > since
            and event["responseStatus"]["code"] < 300
            and self.lease in event["requestURI"]
        ]


def when(event: Document) -> float:
    at: str = event["stageTimestamp"]
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def killed(lease_scenario: LeaseScenario, stack: ExitStack) -> None:
    """Three instances: the leader is killed at 10 %, and so is the one that follows it, at 50 %."""
    first, second, third = (lease_scenario.begin(letter) for letter in range(3))
    lease_scenario.until_held(first.user)
    lease_scenario.place.release()
    lease_scenario.place.until_weight(10)
    since = time.time()
    first.kill()
    lease_scenario.until_held(second.user, third.user)
    lease_scenario.took_over(since, lease_scenario.holder())
    lease_scenario.place.until(lambda: 50 in lease_scenario.place.weights(), "50 %")
    last, other = (second, third) if lease_scenario.holder() == second.user else (third, second)
    since = time.time()
    last.kill()
    lease_scenario.until_held(other.user)
    lease_scenario.took_over(since, other.user)
    lease_scenario.place.finish()


def paused(lease_scenario: LeaseScenario, stack: ExitStack) -> None:
    """The leader is stopped in the middle of everything for longer than its lease, and wakes up."""
    first, second = lease_scenario.begin(0), lease_scenario.begin(1)
    lease_scenario.until_held(first.user)
    lease_scenario.place.release()
    lease_scenario.place.until_weight(10)
    since = time.time()
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        lease_scenario.until_held(second.user)
        lease_scenario.took_over(since, second.user)
        lease_scenario.place.until_weight(50)
    finally:
        woken = time.time()
        os.kill(first.process.pid, signal.SIGCONT)
    lease_scenario.place.finish()
    lease_scenario.place.until(lambda: first.events("not_leading"), "the old leader to see that it is none", 20)
    assert lease_scenario.writes_since(first.user, woken) == []
    assert first.is_ready(), "it follows, and would take over"


def cut_off(lease_scenario: LeaseScenario, stack: ExitStack) -> None:
    """The network drops what the leader says to the API server, and what the server says to it."""
    proxy = stack.enter_context(TcpProxy(lease_scenario.place.installation.api.url))
    first, second = lease_scenario.begin(0, server=proxy.url), lease_scenario.begin(1)
    lease_scenario.until_held(first.user)
    lease_scenario.place.release()
    lease_scenario.place.until_weight(10)
    since = time.time()
    proxy.freeze()
    lease_scenario.until_held(second.user)
    lease_scenario.took_over(since, second.user)
    stopped = first.events("not_leading")
    assert stopped, "it stopped leading before the other began, without hearing anything"
    lease_scenario.place.until_weight(50)
    back = time.time()
    proxy.thaw()
    lease_scenario.place.finish()
    assert lease_scenario.writes_since(first.user, back) == []
    wait_until(first.is_ready, seconds=30, what="the one that was cut off to follow again")


def clocks(lease_scenario: LeaseScenario, stack: ExitStack) -> None:
    """The leader's wall clock is set an hour forward in the middle, and the other's an hour back."""
    installation = lease_scenario.place.installation
    files = [installation.folder / f"clock-{letter}" for letter in "ab"]
    instances = []
    for letter, file in enumerate(files):
        file.write_text("+0\n")
        environment = {
            "LD_PRELOAD": str(find(FAKETIME)),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        instances.append(lease_scenario.begin(letter, environment=environment))
    first, second = instances
    lease_scenario.until_held(first.user)
    lease_scenario.place.release()
    lease_scenario.place.until_weight(10)
    files[0].write_text(f"+{HOUR}\n")
    files[1].write_text(f"-{HOUR - 120}\n")  # the API server's certificate begins an hour before its start
    stepped = time.time()
    lease_scenario.place.until_weight(50)
    lease_scenario.place.until(lambda: time.time() > stepped + 2 * TIMES.renew_deadline, "some renewals", 60)
    assert [user for _, user in lease_scenario.tenures()] == [first.user], (
        "no instance takes over from a leader who lives"
    )
    lease = lease_scenario.place.read("leases", lease_scenario.lease, namespace="autocanary")
    assert lease is not None
    written = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00")).timestamp()
    assert written - time.time() > HOUR / 2, "the clock was not stepped"
    since = time.time()
    first.kill()
    lease_scenario.until_held(second.user)
    lease_scenario.took_over(since, second.user)
    lease_scenario.place.finish()


def by_hand(lease_scenario: LeaseScenario, stack: ExitStack) -> None:
    """The Lease is deleted, emptied, and given to a holder that does not exist."""
    place = lease_scenario.place
    first, second = lease_scenario.begin(0), lease_scenario.begin(1)
    lease_scenario.until_held(first.user)
    place.release()
    place.until_weight(10)
    place.write("leases", lease_scenario.lease, {}, method="DELETE", namespace="autocanary")
    place.until(
        lambda: place.read("leases", lease_scenario.lease, namespace="autocanary"),
        "the lease to be made again",
    )
    lease_scenario.until_held(first.user, second.user)
    for edited in ({"holderIdentity": ""}, {"holderIdentity": "unknown", "leaseDurationSeconds": 1}):
        since = time.time()
        place.write("leases", lease_scenario.lease, {"spec": edited}, namespace="autocanary")
        place.until(
            lambda since=since: any(at > since for at, _ in renewals(lease_scenario)),  # type: ignore[misc]
            "the lease to be held again",
        )
        lease_scenario.takeovers.append(next(at for at, _ in renewals(lease_scenario) if at > since) - since)
    place.finish()


def renewals(lease_scenario: LeaseScenario) -> list[tuple[float, str]]:
    """Every accepted write to the Lease by an instance."""
    found = []
    for event in lease_scenario.place.installation.api.audit():
        where, user = event.get("objectRef") or {}, event["user"]["username"]
        mine = (where.get("resource"), where.get("name")) == (
            "leases",
            lease_scenario.lease,
        ) and user in INSTANCES
        if mine and event["verb"] in ("create", "update") and event["responseStatus"]["code"] < 300:
            found.append((when(event), user))
    return found


def restarted(lease_scenario: LeaseScenario, stack: ExitStack) -> None:
    """Both are asked to leave and come back, twice: a lease that was released is free at once."""
    first, second = lease_scenario.begin(0), lease_scenario.begin(1)
    lease_scenario.until_held(first.user)
    lease_scenario.place.release()
    lease_scenario.place.until_weight(10)
    for weight in (50, 100):
        for instance in (first, second):
            instance.terminate()
        since = time.time()
        second, first = lease_scenario.begin(1), lease_scenario.begin(0)
        lease_scenario.until_held(first.user, second.user)
        lease_scenario.took_over(since, lease_scenario.holder())
        read_weights = lease_scenario.place.weights
        lease_scenario.place.until(lambda weight=weight, read=read_weights: weight in read(), f"{weight} %")  # type: ignore[misc]
    lease_scenario.place.finish()


def end(lease_scenario: LeaseScenario) -> None:
    for each in lease_scenario.instances:
        each.stop()


SCENARIOS: Sequence[Callable[[LeaseScenario, ExitStack], None]] = (
    killed,
    paused,
    cut_off,
    clocks,
    by_hand,
    restarted,
)


@pytest.fixture(scope="module")
def finished_scenarios(installation: Installation) -> Iterator[dict[str, Future[LeaseScenario]]]:
    """All scenarios, under way."""
    require_servers(FAKETIME)
    names = {each.__name__: each.__name__.replace("_", "-") for each in SCENARIOS}
    ground = places(installation, *names.values(), stepDuration="5s")
    with ExitStack() as stack, ThreadPoolExecutor(len(SCENARIOS), "scenario") as pool:
        stack.enter_context(recording_traffic_splits(*ground.values()))

        def run(scenario: Callable[[LeaseScenario, ExitStack], None]) -> LeaseScenario:
            lease_scenario = LeaseScenario(ground[names[scenario.__name__]])
            stack.callback(end, lease_scenario)
            scenario(lease_scenario, stack)
            return lease_scenario

        yield {each.__name__: pool.submit(run, each) for each in SCENARIOS}


@pytest.mark.parametrize("scenario", [each.__name__ for each in SCENARIOS])
def test_only_the_lease_holder_writes(scenario: str, finished_scenarios: dict[str, Future[LeaseScenario]]) -> None:
    """Every accepted write is by the holder of the lease; the rollout goes on where it was, to its end."""
    lease_scenario = finished_scenarios[scenario].result()
    place = lease_scenario.place
    print(f"{scenario}: took over after {[round(each, 1) for each in lease_scenario.takeovers]} s")  # noqa: T201
    assert lease_scenario.writes_without_lease() == []
    assert place.weights() == [10, 50, 100], place.story()
    shares = [each.get(SECOND, 0) for each in place.shares]
    assert shares == sorted(shares), shares
    assert place.ended == ("Promoted", "Promoted")
    notified = place.status()["notified"]
    assert len(notified) == len(set(notified)) == len(place.notified_events())
    for instance in lease_scenario.instances:
        assert "Traceback" not in instance.text()
    for seconds in lease_scenario.takeovers:
        assert seconds <= TIMES.duration + ANALYSIS_INTERVAL + TICK + SLACK_SECONDS
