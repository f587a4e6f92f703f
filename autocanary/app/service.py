"""The service: real adapters around the controller, and the order in which they start and stop.

The file is long because what is made, started and stopped is one list of parts, to be read side by side.

Over 300 lines because the composition root builds, starts and stops every part in one order.
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
from autocanary.app.page_service import PageService
from autocanary.app.policy_status import PolicyStatusWriter
from autocanary.app.ungoverned_services import UngovernedServices
from autocanary.controller import Controller
from autocanary.errors import ClusterError, SettingsError
from autocanary.http_server.counters import MAIN_SERVER, ControllerMetrics
from autocanary.http_server.endpoints import Health, make_application
from autocanary.http_server.exposition import Exposition, PolicyCount, ScrapeSources, WatchState
from autocanary.http_server.server import Server
from autocanary.kserve import dialects_with_author
from autocanary.kube.api_client import ApiClient
from autocanary.kube.dry_run_cluster import DryRunCluster
from autocanary.kube.dry_run_store import DryRunRolloutStore
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.leader_election import LeaderElector, LeaseTimings
from autocanary.kube.resource import ROLLOUTS
from autocanary.kube.rollout_policies import KubePolicies
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.limits import WEBHOOK_SECONDS
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.model.value_wording import format_duration
from autocanary.notifications.audit_log import AuditLog
from autocanary.notifications.delivery import DeliveryWorkers
from autocanary.notifications.policy_webhooks import HttpPolicyWebhooks
from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.policy_files import ActivePolicies
from autocanary.ports import Leadership, RolloutStore
from autocanary.prometheus import MetricsServers, NamedMetrics, PrometheusConfig, PrometheusMetrics
from autocanary.prometheus.connection_settings import config_from_settings, config_of_server
from autocanary.scheduler import Heartbeat, Job, SteadyClock, ThreadPool, Timer
from autocanary.settings import ClusterAccess, Settings
from autocanary.web_metrics import MetricSources, WebClient, WebMetrics

__all__ = ["AutocanaryService", "run"]

_POLICY_RELOAD_SECONDS = 5.0
_WRITE_THREADS, _EVALUATION_THREADS, _QUERY_THREADS, _WEBHOOK_THREADS = 16, 4, 16, 32
_OWN_EVALUATION_THREADS, _OWN_QUERY_THREADS = 8, 16
_WEB_EVALUATION_THREADS, _WEB_CALL_THREADS = 16, 48
"""Of web metrics: a thread for each of three calls that a namespace has under way, so that none waits for another's."""
_WEBHOOK_HANG_SECONDS = WEBHOOK_SECONDS + 60.0
_SERVER_EVALUATION_THREADS, _SERVER_QUERY_THREADS = 2, 8
"""Of each Prometheus beside the main one."""
_DRIFT_LIMIT = 60.0
_MAX_OVERDUE_SECONDS = 60.0
_TICK = "tick"

_log = logs.logger("autocanary.app")


class _AlwaysLeader:
    """``--no-leader-election``: the only instance, as its owner promises."""

    def is_leader(self) -> bool:
        return True


def run(settings: Settings, access: ClusterAccess) -> int:
    """Run until SIGTERM or SIGINT; 0 when it left in order. Raises what made it impossible to start."""
    service = AutocanaryService(settings, access)
    stop_requested = threading.Event()

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        _log.info("stopping", signal=signal.Signals(signum).name)
        stop_requested.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        service.start()
        stop_requested.wait()
    finally:
        service.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


class AutocanaryService:
    """Everything that ``autocanary run`` consists of. ``start`` once, ``stop`` once."""

    def __init__(self, settings: Settings, access: ClusterAccess) -> None:
        if not settings.prometheus_url:
            raise SettingsError(
                "no Prometheus is named: give --prometheus-url http://prometheus.monitoring:9090 "
                "or set AUTOCANARY_PROMETHEUS_URL"
            )
        self._settings = settings
        self.counters = ControllerMetrics()
        self._clock = SteadyClock()
        self._heartbeat = Heartbeat()
        self._write_pool, self._evaluation_pool = (
            ThreadPool(_WRITE_THREADS, "write"),
            ThreadPool(_EVALUATION_THREADS, "ask"),
        )
        self._query_pool = ThreadPool(_QUERY_THREADS, "query")
        self._own_evaluation_pool, self._own_query_pool = (
            ThreadPool(_OWN_EVALUATION_THREADS, "ask-own"),
            ThreadPool(_OWN_QUERY_THREADS, "query-own"),
        )
        self._webhook_pool, self._webhook_call_pool = (
            ThreadPool(_WEBHOOK_THREADS, "hook", hang_seconds=_WEBHOOK_HANG_SECONDS),
            ThreadPool(_WEBHOOK_THREADS, "hook-call", hang_seconds=_WEBHOOK_HANG_SECONDS),
        )
        self._web_evaluation_pool, self._web_call_pool = (
            ThreadPool(_WEB_EVALUATION_THREADS, "ask-web"),
            ThreadPool(_WEB_CALL_THREADS, "web"),
        )
        credentials = find_credentials(access.kubeconfig, access.context)
        self._client = ApiClient(
            credentials,
            count=lambda verb, code: self.counters.count_kube_request(verb, int(code) if code.isdigit() else 0),
        )
        self._elector = self._make_elector()
        self._leadership: Leadership = self._elector if self._elector is not None else _AlwaysLeader()
        requeue = self._requeue
        self._cluster = KubeCluster(
            self._client,
            self._leadership,
            dialects=dialects_with_author(settings.author_annotation),
            namespaces=settings.namespaces,
            dry_run=settings.dry_run,
            on_change=lambda _: requeue(),
        )
        self._kube_store = KubeRolloutStore(
            self._client, self._leadership, namespaces=settings.namespaces, on_change=lambda _: requeue()
        )
        self._store: RolloutStore = DryRunRolloutStore(self._clock) if settings.dry_run else self._kube_store
        self._active_policies = ActivePolicies(settings.policies)
        self._policy_status = PolicyStatusWriter(self._active_policies)
        self._ungoverned_services = UngovernedServices(settings.guard, self._leadership.is_leader)
        self._policy_objects = KubePolicies(
            self._client, self._leadership, self._policy_status.on_event, namespaces=settings.namespaces
        )
        self._metrics = self._prometheus_metrics(
            config_from_settings(settings), self._query_pool, MAIN_SERVER, self._own_query_pool
        )
        # A server that is slow keeps its own threads busy, and none of another server's.
        self._server_pools = {
            each.name: (
                ThreadPool(_SERVER_EVALUATION_THREADS, f"ask-{each.name}"),
                ThreadPool(_SERVER_QUERY_THREADS, f"query-{each.name}"),
            )
            for each in settings.prometheus_servers
        }
        self._server_metrics = {
            each.name: self._prometheus_metrics(config_of_server(each), self._server_pools[each.name][1], each.name)
            for each in settings.prometheus_servers
        }
        servers = {
            each.name: NamedMetrics(each, self._server_metrics[each.name]) for each in settings.prometheus_servers
        }
        http, policy_http = HttpClient(), notification_channels.policy_http_client(settings)
        web_metrics = WebMetrics(
            WebClient(policy_http, settings.web_credentials),
            WebhookHosts(settings.webhook_hosts),
            self._web_call_pool,
            self._clock,
            self.counters.count_web_metric,
        )
        self._delivery_workers = DeliveryWorkers(
            notification_channels.service_channels(settings, self._client, http, self._policy_of),
            clock=self._clock,
            synchronous=[AuditLog(self._policy_of)],
            channels_for=notification_channels.policy_channels(settings, http, policy_http, self._policy_of),
            on_outcome=self.counters.count_notification,
            on_event=requeue,
            is_leader=self._leadership.is_leader,
        )
        self._approvals = notification_channels.slack_approvals(settings, http, self._kube_store)
        self.controller = Controller(
            cluster=DryRunCluster(self._cluster) if settings.dry_run else self._cluster,
            store=self._store,
            metrics=MetricSources(MetricsServers(self._metrics, servers), web_metrics, self._clock),
            policy_webhooks=HttpPolicyWebhooks(self._webhook_call_pool, policy_http),
            notifier=self._delivery_workers,
            policies=self._active_policies,
            leadership=self._leadership,
            clock=self._clock,
            pool=self._write_pool,
            query_pool=self._evaluation_pool,
            server_pools={name: evaluations for name, (evaluations, _) in self._server_pools.items()},
            own_query_pool=self._own_evaluation_pool,
            web_query_pool=self._web_evaluation_pool,
            webhook_pool=self._webhook_pool,
            listener=self.counters,
            ready=lambda: not self.missing(),
            requeue=requeue,
            on_leadership_lost=self._delivery_workers.drop_pending,
            history_limit=settings.history_limit,
            external_url=settings.external_url,
            runbook_url=settings.runbook_url,
            dry_run=settings.dry_run,
            queries_sent=self.counters.queries_sent,
        )
        self._timer = Timer(
            [
                Job(_TICK, settings.tick, self._tick),
                Job("policies", _POLICY_RELOAD_SECONDS, self._reload_policies),
            ]
        )
        self._ticked_at = 0.0
        self._next_due_at: float | None = None
        self._started = False
        self._synced = False
        self._drift_logged = False
        self._page = PageService(
            settings,
            credentials,
            self._client,
            self._store,
            self._cluster,
            self._active_policies,
            running=self.controller.rollouts,
            missing=self.missing,
            now=self._clock.now,
        )
        self._server = Server(settings.listen.host, settings.listen.port, self._application())

    @property
    def port(self) -> int:
        """Where /metrics and the probes are served."""
        return self._server.port

    @property
    def page_port(self) -> int | None:
        """Where the web page is served; None where it is not."""
        return self._page.port

    @property
    def _watched(self) -> tuple[tuple[str, KubeCluster | KubeRolloutStore | KubePolicies], ...]:
        return (
            ("InferenceService", self._cluster),
            ("CanaryRollout", self._kube_store),
            ("RolloutPolicy", self._policy_objects),
        )

    def missing(self) -> list[str]:
        """What has not been read yet, in words; nothing is decided before all of it is there."""
        if self._synced:
            return []
        waiting = [_name_with_fault(kind, source.fault) for kind, source in self._watched if not source.wait(0)]
        self._synced = not waiting
        for fault in self._forbidden_errors() if self._synced else ():
            _log.warning("services_not_watched", error=fault, hint="those of other API groups are rolled out")
        return waiting

    def not_ready(self) -> list[str]:
        """Why this instance is not ready, in words: what was not read yet, and caches that are not whole."""
        return self.missing() or [
            *(_name_with_fault(kind, source.fault) for kind, source in self._watched if not source.is_healthy()),
            *self._overdue(),
        ]

    def _overdue(self) -> list[str]:
        """What the leader should have evaluated by now, in words."""
        due = self._next_due_at
        late = self._clock.now() - due if due is not None and self._leadership.is_leader() else 0.0
        return [f"evaluations (the next was due {format_duration(late)} ago)"] if late > _MAX_OVERDUE_SECONDS else []

    def _remarks(self) -> list[str]:
        """What a ready instance leaves out."""
        skipped = [
            f"{len(objects)} of kind {kind} cannot be read; the log event object_skipped names each"
            for kind, source in self._watched
            if (objects := source.skipped())
        ]
        ungoverned = len({each.key[:2] for each in self._ungoverned_services.found()})
        held = f"the guard holds services that have no policy: {ungoverned}; see guarded_without_policy in the log"
        return [*self._forbidden_errors(), *skipped, *([held] if ungoverned else [])]

    def _watch_states(self) -> list[WatchState]:
        return [WatchState(kind, source.is_healthy(), len(source.skipped())) for kind, source in self._watched]

    def _forbidden_errors(self) -> list[str]:
        return [str(fault) for fault in self._cluster.forbidden_errors]

    def start(self) -> None:
        """ClusterError when the API server cannot be used or lacks our definitions: said at once."""
        self._client.list_page(ROLLOUTS, self._settings.namespaces[0] if self._settings.namespaces else "", limit=1)
        self._policy_status.reload()
        self._server.start()
        self._page.start()
        self._delivery_workers.start()
        self._cluster.start()
        self._kube_store.start()
        self._policy_objects.start()
        if self._elector is not None:
            self._elector.start()
        self._timer.start()
        if self._approvals is not None:
            self._approvals.start()
        self._started = True
        _log.info(
            "started",
            server=self._client.server,
            prometheus=self._settings.prometheus_url,
            policies=len(self._active_policies.current()),
            dry_run=self._settings.dry_run,
        )

    def stop(self) -> None:
        """Finish the write in hand, let the next leader begin, and be gone in under ten seconds."""
        steps: tuple[tuple[str, Callable[[], object]], ...] = (
            ("page", self._page.stop),
            ("timer", lambda: self._timer.stop(2.0)),
            ("approvals", lambda: self._approvals.stop() if self._approvals is not None else None),
            ("notifications", lambda: self._delivery_workers.stop(1.5)),
            ("records", self._record_deliveries),
            ("writers", lambda: self._write_pool.stop(2.0)),
            ("elector", lambda: self._elector.stop() if self._elector is not None else None),
            ("watches", self._stop_watches),
            ("askers", lambda: (self._evaluation_pool.stop(0.0), self._own_evaluation_pool.stop(0.0))),
            ("callers", lambda: (self._query_pool.stop(0.0), self._own_query_pool.stop(0.0))),
            ("servers", self._stop_server_pools),
            ("web metrics", lambda: (self._web_evaluation_pool.stop(0.0), self._web_call_pool.stop(0.0))),
            ("hooks", lambda: (self._webhook_pool.stop(0.0), self._webhook_call_pool.stop(0.0))),
            ("server", self._server.stop),
            ("session", self._client.close),
            ("metrics", self._close_metrics),
        )
        for name, step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - what comes after must be stopped all the same
                _log.warning("stop_failed", part=name, exc_info=error)
        if self._started:
            _log.info("stopped")

    def _stop_server_pools(self) -> None:
        for pools in self._server_pools.values():
            for pool in pools:
                pool.stop(0.0)

    def _close_metrics(self) -> None:
        for metrics in (self._metrics, *self._server_metrics.values()):
            metrics.close()

    def _record_deliveries(self) -> None:
        """While this instance still leads: the next one must not deliver it again."""
        deadline = time.monotonic() + 1.5
        while self.controller.record_remaining_deliveries() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _stop_watches(self) -> None:
        threads = [
            threading.Thread(target=part.stop, daemon=True)
            for part in (self._cluster, self._kube_store, self._policy_objects)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2.0)

    # --- jobs --------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        begin = time.monotonic()
        late = begin - self._ticked_at - self._settings.tick if self._ticked_at else 0.0
        self._ticked_at = begin
        self.controller.tick()
        next_due_at = self._next_due_at = self.controller.next_due_at()
        if next_due_at is not None:  # an evaluation due between two ticks has a tick of its own
            self._timer.run_within(_TICK, next_due_at - self._clock.now())
        self._heartbeat.touch()
        self.counters.tick(time.monotonic() - begin, late)

    def _reload_policies(self) -> None:
        self._policy_status.reload()
        self._check_clock_drift()
        if not self.missing():
            self._ungoverned_services.update(self._cluster.services(), self._active_policies.current())
        if self._leadership.is_leader() and not self.missing() and not self._settings.dry_run:
            self._policy_status.write_statuses(
                self._policy_objects, self._cluster.services(), self.controller.rollouts()
            )

    def _check_clock_drift(self) -> None:
        """After a step of the wall clock deadlines are right, but windows follow it only after a restart."""
        drift = self._clock.drift()
        if abs(drift) > _DRIFT_LIMIT and not self._drift_logged:
            self._drift_logged = True
            _log.warning("clock_stepped", seconds=round(drift), hint="restart to follow the wall clock")

    def _on_leadership_change(self, is_leader: bool) -> None:
        _log.info("leading" if is_leader else "not_leading")
        self._requeue()  # not to wait for the next tick on top of the lease's duration

    def _requeue(self) -> None:
        self._timer.requeue(_TICK)

    # --- parts -------------------------------------------------------------------------------------------

    def _prometheus_metrics(
        self, config: PrometheusConfig, pool: ThreadPool, server: str, own_pool: ThreadPool | None = None
    ) -> PrometheusMetrics:
        return PrometheusMetrics(
            config,
            pool=pool,
            own_pool=own_pool,
            count=lambda outcome: self.counters.query(outcome, server),
            clock=self._clock,
        )

    def _make_elector(self) -> LeaderElector | None:
        settings = self._settings
        if not settings.leader_election or settings.dry_run:
            return None
        namespace = settings.lease_namespace or self._client.namespace or "default"
        return LeaderElector(
            self._client,
            namespace,
            settings.lease_name,
            settings.identity or socket.gethostname(),
            times=LeaseTimings.for_duration(settings.lease_duration),
            on_change=self._on_leadership_change,
        )

    def _policy_of(self, rollout: Rollout) -> Policy | None:
        return self.controller.policy_of(rollout)

    def _application(self) -> object:
        sources = ScrapeSources(
            rollouts=self.controller.rollouts,
            policy_of=self.controller.policy_of,
            is_leader=self._leadership.is_leader,
            policies=self._policy_count,
            watches=self._watch_states,
            overdue=self.controller.overdue,
            guarded_without_policy=self._ungoverned_services.found,
        )
        health = Health(self._heartbeat.age, self.not_ready, self._remarks)
        return make_application(Exposition(sources, self.counters), health)

    def _policy_count(self) -> PolicyCount:
        return PolicyCount(
            valid=len(self._active_policies.current()), invalid=len(self._active_policies.policy_problems())
        )


def _name_with_fault(kind: str, fault: ClusterError | None) -> str:
    plural = f"{kind.removesuffix('y')}ies" if kind.endswith("y") else f"{kind}s"
    return f"{plural} ({fault})" if fault else plural
