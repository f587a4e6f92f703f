"""Who leads: one Lease, held by renewing it.

::

    time ──►   renewal sent           stops writing                 another may take over
                  │◄── renew_deadline ─────────►│                              │
                  │  processed │◄──────── duration, by the other's clock ─────────────►│

The others count from when *they* first see a renewal, which is after it was sent; the leader counts from
when it was sent. So a leader that gets no answer any more has stopped ``duration - renew_deadline`` before
another replica begins, whatever the wall clocks say: times written in the Lease are for users, and no replica
trusts them. It trusts only the rates of monotonic clocks, and those differ by far less than a third.

Manual edits are not trusted either. A replica saw another hold the Lease and then finds it deleted, emptied or
in its own name: it waits as long as for a silent holder, because that holder may not know yet. Only a Lease
that was released (no holder, for one second) is free at once.

The library's own elector is not used: it can stop for good, without a word, when a call hangs or urllib3
raises.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from autocanary import logs
from autocanary.errors import AlreadyExists, ClusterError, Conflict, NotFound
from autocanary.kube.api_client import ApiClient
from autocanary.kube.resource import LEASES

__all__ = ["LeaderElector", "LeaseTimings"]

_log = logs.logger("autocanary.kube.leader_election")

_NEVER = float("-inf")
_MIN_WAIT_SECONDS = 0.02
_MAX_FOREIGN_DURATION = 600.0  # a duration edited by hand must not keep every replica out for days
_MAX_CONNECT, _MAX_READ = 5.0, 10.0  # a stop waits for both, and a pod has 30 s
_RELEASED_DURATION = 1  # the duration, in seconds, that an elector leaves behind with no holder


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """All in seconds.

    ``read`` is half of the deadline: where each answer takes nearly that long, the next renewal is
    answered in time. One that hangs takes ``connect + read``, which leaves time for another attempt.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0
    connect: float = 2.0
    read: float = 5.0

    def __post_init__(self) -> None:
        if not self.retry < self.renew_deadline < self.duration:
            raise ValueError("a lease needs retry < renew_deadline < duration")

    @classmethod
    def for_duration(cls, seconds: float) -> LeaseTimings:
        """The other times in proportion: a leader stops after two thirds of ``seconds`` without a renewal.

        Replicas may differ, as they do during an upgrade: each waits for the longer of its own duration and the
        one that the holder has written.
        """
        unit = seconds / 15.0
        return cls(seconds, 10.0 * unit, 2.0 * unit, min(2.0 * unit, _MAX_CONNECT), min(5.0 * unit, _MAX_READ))


class LeaderElector:
    """The ``Leadership`` port over one Lease; ``is_leader`` is a comparison of two numbers, from any thread.

    ``identity`` is for users and gets a random suffix: two processes of one name must not both hold it.
    ``on_change`` is called on the elector's thread when leadership was won or found lost. ``clock`` is
    monotonic, ``wall_clock`` only written; ``sleep`` waits so many seconds or until ``stop``.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        times: LeaseTimings | None = None,
        on_change: Callable[[bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.identity = f"{identity or 'autocanary'}_{uuid.uuid4().hex[:8]}"
        self.holder = ""
        """The identity of the last known holder; empty when there was none."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._times = times or LeaseTimings()
        self._on_change = on_change
        self._clock = clock
        self._wall_clock = wall_clock
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._leader_until = _NEVER
        self._reported_leader = False
        self._lease: dict[str, Any] | None = None  # as the server last answered it
        self._observed_spec: Mapping[str, Any] = {}  # the foreign spec that is being timed, and since when
        self._observed_at = _NEVER
        self._expires_at = _NEVER
        self._seen_other_holder = False  # whether another client held it since this one last did
        self._is_own_claim = False  # whether a lease in our name is of our making
        self._last_error_type: type[ClusterError] | None = None
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def is_leader(self) -> bool:
        """See ``ports.Leadership``; turns False without a call when renewals stop succeeding."""
        return self._clock() < self._leader_until

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop leading now, and let the next one begin without waiting."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._times.connect + self._times.read)
        is_leader = self.is_leader()
        self._leader_until = _NEVER
        if is_leader and not self._thread.is_alive():
            self._release()
        self._report_leadership()

    def try_acquire_or_renew(self) -> None:
        """One attempt to get or keep the lease; nothing is raised."""
        try:
            self._attempt_with_retry()
            self._log_once(None)
        except ClusterError as error:
            self._log_once(error)
        except Exception:  # noqa: BLE001 - the thread must live; leadership ends at its deadline
            _log.exception("lease_crashed", lease=f"{self._namespace}/{self._name}")
            self._lease = None
        self._report_leadership()

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = self._clock()
            self.try_acquire_or_renew()
            self._sleep(self._wait(began))

    def _wait(self, began: float) -> float:
        """Seconds to the next attempt: a standby looks twice as often, and at the moment it may begin.

        A leader's count from the last attempt's beginning, as its deadline does: a slow answer delays no renewal.
        """
        if self.is_leader():
            return max(_MIN_WAIT_SECONDS, began + self._times.retry - self._clock())
        return min(
            self._times.retry / 2,
            max(_MIN_WAIT_SECONDS, self._expires_at - self._clock() + _MIN_WAIT_SECONDS),
        )

    def _attempt_with_retry(self) -> None:
        """A second try if what was known of the lease turns out to be old."""
        try:
            self._attempt()
        except (Conflict, AlreadyExists):
            # Not yet a loss: a renewal whose response was lost, or a user's label, changes it as well.
            self._lease = None
            self._attempt()
        except NotFound:
            if self._lease is None:
                raise  # not the lease is missing but its namespace
            self._lease, self._leader_until = None, _NEVER
            self._create()  # the others wait until this one could not lead any more

    def _attempt(self) -> None:
        if self._lease is None or not self._is_mine(self._lease):
            self._lease = self._read()
        if self._lease is None:
            if self._is_free({}):
                self._create()
        elif self._is_mine(self._lease) or self._is_free(self._lease):
            self._write(self._lease)

    def _read(self) -> dict[str, Any] | None:
        try:
            lease = self._client.get(LEASES, self._namespace, self._name, timeout=self._timeout())
        except NotFound:
            self._leader_until = _NEVER
            return None
        if not self._is_mine(lease):
            self._leader_until, self._is_own_claim = _NEVER, False
        return lease

    def _create(self) -> None:
        sent_at, self._is_own_claim = self._clock(), True
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}),
        }
        self._lease = self._client.create(LEASES, self._namespace, body, timeout=self._timeout())
        self._on_acquired(sent_at)

    def _write(self, lease: Mapping[str, Any]) -> None:
        """Renew or take over, if nothing has changed since ``lease`` was answered."""
        sent_at, self._is_own_claim = self._clock(), True
        body = {**lease, "spec": self._spec(lease.get("spec") or {})}
        self._lease = self._client.replace(LEASES, self._namespace, self._name, body, timeout=self._timeout())
        self._on_acquired(sent_at)

    def _on_acquired(self, sent_at: float) -> None:
        self.holder, self._seen_other_holder = self.identity, False
        if not self._stopping.is_set():
            self._leader_until = sent_at + self._times.renew_deadline

    def _is_mine(self, lease: Mapping[str, Any]) -> bool:
        return self._is_own_claim and bool((lease.get("spec") or {}).get("holderIdentity") == self.identity)

    def _is_free(self, lease: Mapping[str, Any]) -> bool:
        """Whether no replica can hold it: released, never held, or silent for long enough."""
        spec = lease.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        lease_duration = float(spec.get("leaseDurationSeconds") or 0)
        if self.holder:
            self._seen_other_holder = True
        elif lease_duration == _RELEASED_DURATION or not (self._seen_other_holder or "acquireTime" in spec):
            return True
        if spec != self._observed_spec or self._observed_at == _NEVER:
            self._observed_spec, self._observed_at = spec, self._clock()
        self._expires_at = self._observed_at + min(max(lease_duration, self._times.duration), _MAX_FOREIGN_DURATION)
        return self._clock() > self._expires_at

    def _spec(self, before: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._wall_clock(), tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._times.duration),
            "acquireTime": before.get("acquireTime") or now if mine else now,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + (0 if mine or not before else 1),
        }

    def _release(self) -> None:
        if self._lease is None:
            return
        spec = {
            **(self._lease.get("spec") or {}),
            "holderIdentity": "",
            "leaseDurationSeconds": _RELEASED_DURATION,
        }
        body = {**self._lease, "spec": spec}
        try:
            self._client.replace(LEASES, self._namespace, self._name, body, timeout=self._timeout())
        except ClusterError as error:
            _log.info("lease_not_released", lease=f"{self._namespace}/{self._name}", error=str(error))

    def _timeout(self) -> tuple[float, float]:
        return (self._times.connect, self._times.read)

    def _log_once(self, error: ClusterError | None) -> None:
        kind = type(error) if error else None
        if error is not None and kind is not self._last_error_type:
            _log.warning("lease_failed", lease=f"{self._namespace}/{self._name}", error=str(error))
        self._last_error_type = kind

    def _report_leadership(self) -> None:
        is_leader = self.is_leader()
        if is_leader == self._reported_leader:
            return
        self._reported_leader = is_leader
        _log.info("leadership_won" if is_leader else "leadership_lost", identity=self.identity, holder=self.holder)
        if self._on_change is not None:
            self._on_change(is_leader)
