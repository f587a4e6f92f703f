"""The service: real adapters around the engine, and the order in which they start and stop.

The file is long because what is made, started and stopped is one list of parts, to be read side by side.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

from autocanary import logs
from autocanary.app import notification_channels
from autocanary.app.policy_status import PolicyDesk
from autocanary.controller import Engine
from autocanary.errors import SettingsError
from autocanary.http_server.counters import Counters
from autocanary.http_server.endpoints import Health, application
from autocanary.http_server.exposition import Exposition, PolicyCount, Present
from autocanary.http_server.server import Server
from autocanary.kube.api_client import Session
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.kubeconfig import find_login
from autocanary.kube.leader_election import LeaseElector
from autocanary.kube.resource import ROLLOUTS
from autocanary.kube.rollout_policies import KubePolicies
from autocanary.kube.rollout_store import KubeLedger
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.notifications.audit_log import AuditLog
from autocanary.notifications.delivery import Courier
from autocanary.notifications.http_client import Http
from autocanary.notifications.policy_webhooks import WebhookGates
from autocanary.policy_files import PolicyBook
from autocanary.ports import Leadership, Ledger
from autocanary.prometheus import PrometheusMetrics
from autocanary.prometheus.connection_settings import config_of
from autocanary.scheduler import Beat, Heartbeat, Metronome, SteadyClock, ThreadPool
from autocanary.settings import ClusterAccess, Settings
from autocanary.simulator.memory_rollout_store import SimLedger
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["Service", "run"]

_POLICY_SECONDS = 5.0
_WRITERS, _ASKERS, _CALLERS, _HOOKS = 16, 4, 16, 16
_DRIFT_LIMIT = 60.0
_TICK = "tick"

_log = logs.logger("autocanary.app")


class _AlwaysLeader:
    """``--no-leader-election``: the only instance, as its owner promises."""

    def is_leader(self) -> bool:
        return True


def run(settings: Settings, access: ClusterAccess) -> int:
    """Run until SIGTERM or SIGINT; 0 when it left in order. Raises what made it impossible to start."""
    service = Service(settings, access)
    leave = threading.Event()

    def asked_to_leave(signum: int, _frame: FrameType | None) -> None:
        _log.info("stopping", signal=signal.Signals(signum).name)
        leave.set()

    before = {number: signal.signal(number, asked_to_leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        service.start()
        leave.wait()
    finally:
        service.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


class Service:
    """Everything that ``autocanary run`` consists of. ``start`` once, ``stop`` once."""

    def __init__(self, settings: Settings, access: ClusterAccess) -> None:
        if not settings.prometheus_url:
            raise SettingsError(
                "no Prometheus is named: give --prometheus-url http://prometheus.monitoring:9090 "
                "or set AUTOCANARY_PROMETHEUS_URL"
            )
        self._settings = settings
        self.counters = Counters()
        self._clock = SteadyClock()
        self._heartbeat = Heartbeat()
        self._writers, self._askers = ThreadPool(_WRITERS, "write"), ThreadPool(_ASKERS, "ask")
        self._callers = ThreadPool(_CALLERS, "query")
        self._hooks, self._hook_callers = ThreadPool(_HOOKS, "hook"), ThreadPool(_HOOKS, "hook-call")
        self._session = Session(
            find_login(access.kubeconfig, access.context),
            count=lambda verb, code: self.counters.kube_request(verb, int(code) if code.isdigit() else 0),
        )
        self._elector = self._make_elector()
        self._leadership: Leadership = self._elector if self._elector is not None else _AlwaysLeader()
        hurry = self._hurry
        self._cluster = KubeCluster(
            self._session,
            self._leadership,
            namespaces=settings.namespaces,
            dry_run=settings.dry_run,
            on_change=lambda _: hurry(),
        )
        self._kube_ledger = KubeLedger(
            self._session, self._leadership, namespaces=settings.namespaces, on_change=lambda _: hurry()
        )
        self._ledger: Ledger = (
            SimLedger(VirtualClock(self._clock.now())) if settings.dry_run else self._kube_ledger
        )
        self._book = PolicyBook(settings.policies)
        self._desk = PolicyDesk(self._book)
        self._resources = KubePolicies(
            self._session, self._leadership, self._desk.heard, namespaces=settings.namespaces
        )
        self._metrics = PrometheusMetrics(
            config_of(settings), pool=self._callers, count=self.counters.query, clock=self._clock
        )
        http = Http()
        self._courier = Courier(
            notification_channels.always(settings, self._session, http, self._policy_of),
            clock=self._clock,
            at_once=[AuditLog(self._policy_of)],
            routed=notification_channels.chosen(settings, http, self._policy_of),
            counted=self.counters.notification,
            heard=hurry,
            leads=self._leadership.is_leader,
        )
        self.engine = Engine(
            cluster=self._cluster,
            ledger=self._ledger,
            metrics=self._metrics,
            gates=WebhookGates(self._hook_callers, http),
            notifier=self._courier,
            policies=self._book,
            leadership=self._leadership,
            clock=self._clock,
            pool=self._writers,
            askers=self._askers,
            hooks=self._hooks,
            listener=self.counters,
            ready=lambda: not self.missing(),
            hurry=hurry,
            lost=self._courier.forget,
            history_limit=settings.history_limit,
        )
        self._metronome = Metronome(
            [Beat(_TICK, settings.tick, self._tick), Beat("policies", _POLICY_SECONDS, self._policies)]
        )
        self._ticked_at = 0.0
        self._started = False
        self._synced = False
        self._drift_said = False
        self._server = Server(settings.listen.host, settings.listen.port, self._application())

    @property
    def port(self) -> int:
        """Where /metrics and the probes are served."""
        return self._server.port

    def missing(self) -> list[str]:
        """What has not been read yet, in words; nothing is decided before all of it is there."""
        if self._synced:
            return []
        waiting = [
            f"{name} ({mirror.fault})" if mirror.fault else name
            for name, mirror in (
                ("InferenceServices", self._cluster),
                ("CanaryRollouts", self._kube_ledger),
                ("RolloutPolicies", self._resources),
            )
            if not mirror.wait(0)
        ]
        self._synced = not waiting
        for fault in self._barred() if self._synced else ():
            _log.warning(
                "services_not_followed", error=fault, hint="those of other API groups are rolled out"
            )
        return waiting

    def _barred(self) -> list[str]:
        return [str(fault) for fault in self._cluster.barred]

    def start(self) -> None:
        """ClusterError when the API server cannot be used or lacks our definitions: said at once."""
        self._session.page(
            ROLLOUTS, self._settings.namespaces[0] if self._settings.namespaces else "", limit=1
        )
        self._desk.reload()
        self._server.start()
        self._courier.start()
        self._cluster.start()
        self._kube_ledger.start()
        self._resources.start()
        if self._elector is not None:
            self._elector.start()
        self._metronome.start()
        self._started = True
        _log.info(
            "started",
            server=self._session.server,
            prometheus=self._settings.prometheus_url,
            policies=len(self._book.current()),
            dry_run=self._settings.dry_run,
        )

    def stop(self) -> None:
        """Finish the write in hand, let the next leader begin, and be gone in under ten seconds."""
        steps: tuple[tuple[str, Callable[[], object]], ...] = (
            ("metronome", lambda: self._metronome.stop(2.0)),
            ("courier", lambda: self._courier.stop(1.5)),
            ("records", self._record_what_was_told),
            ("writers", lambda: self._writers.stop(2.0)),
            ("elector", lambda: self._elector.stop() if self._elector is not None else None),
            ("watches", self._stop_watches),
            ("askers", lambda: self._askers.stop(0.0)),
            ("callers", lambda: self._callers.stop(0.0)),
            ("hooks", lambda: (self._hooks.stop(0.0), self._hook_callers.stop(0.0))),
            ("server", self._server.stop),
            ("session", self._session.close),
            ("metrics", self._metrics.close),
        )
        for name, step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - what comes after must be stopped all the same
                _log.warning("stop_failed", part=name, exc_info=error)
        if self._started:
            _log.info("stopped")

    def _record_what_was_told(self) -> None:
        """While this instance still leads: the next one must not tell it again."""
        deadline = time.monotonic() + 1.5
        while self.engine.finish() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _stop_watches(self) -> None:
        threads = [
            threading.Thread(target=part.stop, daemon=True)
            for part in (self._cluster, self._kube_ledger, self._resources)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2.0)

    # --- beats -------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        begin = time.monotonic()
        late = begin - self._ticked_at - self._settings.tick if self._ticked_at else 0.0
        self._ticked_at = begin
        self.engine.tick()
        next_at = self.engine.next_at()
        if next_at is not None:  # a look that is due between two beats is not kept waiting for the second
            self._metronome.within(_TICK, next_at - self._clock.now())
        self._heartbeat.touch()
        self.counters.tick(time.monotonic() - begin, late)

    def _policies(self) -> None:
        self._desk.reload()
        self._watch_the_clock()
        if self._leadership.is_leader() and not self.missing() and not self._settings.dry_run:
            self._desk.answer(self._resources, self._cluster.services(), self.engine.rollouts())

    def _watch_the_clock(self) -> None:
        """After a step of the wall clock deadlines are right, but windows follow it only after a restart."""
        drift = self._clock.drift()
        if abs(drift) > _DRIFT_LIMIT and not self._drift_said:
            self._drift_said = True
            _log.warning("clock_stepped", seconds=round(drift), hint="restart to follow the wall clock")

    def _leading(self, leads: bool) -> None:
        _log.info("leading" if leads else "not_leading")
        self._hurry()  # not to lose the rest of a beat on top of the lease's duration

    def _hurry(self) -> None:
        self._metronome.hurry(_TICK)

    # --- parts -------------------------------------------------------------------------------------------

    def _make_elector(self) -> LeaseElector | None:
        settings = self._settings
        if not settings.leader_election or settings.dry_run:
            return None
        namespace = settings.lease_namespace or self._session.namespace or "default"
        return LeaseElector(
            self._session,
            namespace,
            settings.lease_name,
            settings.identity or socket.gethostname(),
            on_change=self._leading,
        )

    def _policy_of(self, rollout: Rollout) -> Policy | None:
        return self.engine.policy_of(rollout)

    def _application(self) -> object:
        present = Present(
            rollouts=self.engine.rollouts,
            policy_of=self.engine.policy_of,
            is_leader=self._leadership.is_leader,
            policies=self._policy_count,
        )
        health = Health(self._heartbeat.age, self.missing, self._barred)
        return application(Exposition(present, self.counters), health)

    def _policy_count(self) -> PolicyCount:
        return PolicyCount(valid=len(self._book.current()), invalid=len(self._book.faults()))
