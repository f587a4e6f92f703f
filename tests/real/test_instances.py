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

from autocanary.kube.leader_election import LeaseTimes
from tests.real.documents import Document
from tests.real.place import SECOND, Place, places, watching
from tests.real.stage import INSTANCES, Autocanary, Stage
from tests.testbed.servers import TcpProxy, require_servers, wait_until
from tests.testbed.setup import FAKETIME, find

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

TIMES = LeaseTimes()
LOOK, TICK = TIMES.retry / 2, 1.0
ROOM = 4.0
"""What a machine with more processes than cores adds to a takeover."""
HOUR = 3600


@dataclass
class Scene:
    """One namespace, one lease, and the instances that want it."""

    place: Place
    instances: list[Autocanary] = field(default_factory=list)
    takeovers: list[float] = field(default_factory=list)

    @property
    def lease(self) -> str:
        return self.place.namespace

    def begin(self, letter: int, **more: object) -> Autocanary:
        """Start an instance and wait until it follows the cluster."""
        environment = {"AUTOCANARY_LEASE_NAME": self.lease, **more.pop("environment", {})}  # type: ignore[dict-item]
        instance = Autocanary(
            self.place.stage,
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
        for event in self.place.stage.api.audit():
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

    def strays(self) -> list[tuple[str, str, str]]:
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
            for event in self.place.stage.api.audit(user)
            if event["verb"] in ("create", "update", "patch", "delete")
            and when(event) > since
            and event["responseStatus"]["code"] < 300
            and self.lease in event["requestURI"]
        ]


def when(event: Document) -> float:
    at: str = event["stageTimestamp"]
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def killed(scene: Scene, stack: ExitStack) -> None:
    """Three instances: the leader is killed at 10 %, and so is the one that follows it, at 50 %."""
    first, second, third = (scene.begin(letter) for letter in range(3))
    scene.until_held(first.user)
    scene.place.release()
    scene.place.until_weight(10)
    since = time.time()
    first.kill()
    scene.until_held(second.user, third.user)
    scene.took_over(since, scene.holder())
    scene.place.until(lambda: 50 in scene.place.weights(), "50 %")
    last, other = (second, third) if scene.holder() == second.user else (third, second)
    since = time.time()
    last.kill()
    scene.until_held(other.user)
    scene.took_over(since, other.user)
    scene.place.finish()


def paused(scene: Scene, stack: ExitStack) -> None:
    """The leader is stopped in the middle of everything for longer than its lease, and wakes up."""
    first, second = scene.begin(0), scene.begin(1)
    scene.until_held(first.user)
    scene.place.release()
    scene.place.until_weight(10)
    since = time.time()
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        scene.until_held(second.user)
        scene.took_over(since, second.user)
        scene.place.until_weight(50)
    finally:
        woken = time.time()
        os.kill(first.process.pid, signal.SIGCONT)
    scene.place.finish()
    scene.place.until(lambda: first.events("not_leading"), "the old leader to see that it is none", 20)
    assert scene.writes_since(first.user, woken) == []
    assert first.is_ready(), "it follows, and would take over"


def cut_off(scene: Scene, stack: ExitStack) -> None:
    """The network drops what the leader says to the API server, and what the server says to it."""
    proxy = stack.enter_context(TcpProxy(scene.place.stage.api.url))
    first, second = scene.begin(0, server=proxy.url), scene.begin(1)
    scene.until_held(first.user)
    scene.place.release()
    scene.place.until_weight(10)
    since = time.time()
    proxy.freeze()
    scene.until_held(second.user)
    scene.took_over(since, second.user)
    stopped = first.events("not_leading")
    assert stopped, "it stopped leading before the other began, without hearing anything"
    scene.place.until_weight(50)
    back = time.time()
    proxy.thaw()
    scene.place.finish()
    assert scene.writes_since(first.user, back) == []
    wait_until(first.is_ready, seconds=30, what="the one that was cut off to follow again")


def clocks(scene: Scene, stack: ExitStack) -> None:
    """The leader's wall clock is set an hour forward in the middle, and the other's an hour back."""
    stage = scene.place.stage
    files = [stage.folder / f"clock-{letter}" for letter in "ab"]
    instances = []
    for letter, file in enumerate(files):
        file.write_text("+0\n")
        environment = {
            "LD_PRELOAD": str(find(FAKETIME)),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        instances.append(scene.begin(letter, environment=environment))
    first, second = instances
    scene.until_held(first.user)
    scene.place.release()
    scene.place.until_weight(10)
    files[0].write_text(f"+{HOUR}\n")
    files[1].write_text(f"-{HOUR - 120}\n")  # the API server's certificate begins an hour before its start
    stepped = time.time()
    scene.place.until_weight(50)
    scene.place.until(lambda: time.time() > stepped + 2 * TIMES.renew_deadline, "some renewals", 60)
    assert [user for _, user in scene.tenures()] == [first.user], "nobody takes over from a leader who lives"
    lease = scene.place.read("leases", scene.lease, namespace="autocanary")
    assert lease is not None
    written = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00")).timestamp()
    assert written - time.time() > HOUR / 2, "the clock was not stepped"
    since = time.time()
    first.kill()
    scene.until_held(second.user)
    scene.took_over(since, second.user)
    scene.place.finish()


def by_hand(scene: Scene, stack: ExitStack) -> None:
    """The Lease is deleted, emptied, and given to somebody who does not exist."""
    place = scene.place
    first, second = scene.begin(0), scene.begin(1)
    scene.until_held(first.user)
    place.release()
    place.until_weight(10)
    place.write("leases", scene.lease, {}, method="DELETE", namespace="autocanary")
    place.until(
        lambda: place.read("leases", scene.lease, namespace="autocanary"), "the lease to be made again"
    )
    scene.until_held(first.user, second.user)
    for edited in ({"holderIdentity": ""}, {"holderIdentity": "nobody", "leaseDurationSeconds": 1}):
        since = time.time()
        place.write("leases", scene.lease, {"spec": edited}, namespace="autocanary")
        place.until(
            lambda since=since: any(at > since for at, _ in renewals(scene)),  # type: ignore[misc]
            "the lease to be held again",
        )
        scene.takeovers.append(next(at for at, _ in renewals(scene) if at > since) - since)
    place.finish()


def renewals(scene: Scene) -> list[tuple[float, str]]:
    """Every accepted write to the Lease by an instance."""
    found = []
    for event in scene.place.stage.api.audit():
        where, user = event.get("objectRef") or {}, event["user"]["username"]
        mine = (where.get("resource"), where.get("name")) == ("leases", scene.lease) and user in INSTANCES
        if mine and event["verb"] in ("create", "update") and event["responseStatus"]["code"] < 300:
            found.append((when(event), user))
    return found


def restarted(scene: Scene, stack: ExitStack) -> None:
    """Both are asked to leave and come back, twice: a lease that was released is free at once."""
    first, second = scene.begin(0), scene.begin(1)
    scene.until_held(first.user)
    scene.place.release()
    scene.place.until_weight(10)
    for weight in (50, 100):
        for instance in (first, second):
            instance.terminate()
        since = time.time()
        second, first = scene.begin(1), scene.begin(0)
        scene.until_held(first.user, second.user)
        scene.took_over(since, scene.holder())
        scene.place.until(lambda weight=weight: weight in scene.place.weights(), f"{weight} %")  # type: ignore[misc]
    scene.place.finish()


def end(scene: Scene) -> None:
    for each in scene.instances:
        each.stop()


SCENARIOS: Sequence[Callable[[Scene, ExitStack], None]] = (
    killed,
    paused,
    cut_off,
    clocks,
    by_hand,
    restarted,
)


@pytest.fixture(scope="module")
def played(stage: Stage) -> Iterator[dict[str, Future[Scene]]]:
    """All scenarios, under way."""
    require_servers(FAKETIME)
    names = {each.__name__: each.__name__.replace("_", "-") for each in SCENARIOS}
    ground = places(stage, *names.values(), stepDuration="5s")
    with ExitStack() as stack, ThreadPoolExecutor(len(SCENARIOS), "scenario") as pool:
        stack.enter_context(watching(*ground.values()))

        def play(scenario: Callable[[Scene, ExitStack], None]) -> Scene:
            scene = Scene(ground[names[scenario.__name__]])
            stack.callback(end, scene)
            scenario(scene, stack)
            return scene

        yield {each.__name__: pool.submit(play, each) for each in SCENARIOS}


@pytest.mark.parametrize("scenario", [each.__name__ for each in SCENARIOS])
def test_one_writer_at_a_time(scenario: str, played: dict[str, Future[Scene]]) -> None:
    """Every accepted write is by whoever held the lease; the rollout goes on where it was, to its end."""
    scene = played[scenario].result()
    place = scene.place
    print(f"{scenario}: took over after {[round(each, 1) for each in scene.takeovers]} s")  # noqa: T201
    assert scene.strays() == []
    assert place.weights() == [10, 50, 100], place.story()
    shares = [each.get(SECOND, 0) for each in place.shares]
    assert shares == sorted(shares), shares
    assert place.ended == ("Promoted", "Promoted")
    notified = place.status()["notified"]
    assert len(notified) == len(set(notified)) == len(place.told())
    for instance in scene.instances:
        assert "Traceback" not in instance.text()
    for seconds in scene.takeovers:
        assert seconds <= TIMES.duration + LOOK + TICK + ROOM
