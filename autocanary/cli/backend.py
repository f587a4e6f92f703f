"""The functions through which commands reach the rest of the program; each imports what it needs when it is called.

Help and completion must answer at once, so nothing heavy is imported before a command runs. A test replaces a
whole cluster by replacing one function here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from autocanary.errors import PolicyError
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request, Rollout

if TYPE_CHECKING:  # help and completion need not wait for these
    from autocanary.app.simulation import OnProgress, SimulationSummary
    from autocanary.cli.measured_services import ProbedPolicies
    from autocanary.controller.policy_snapshots import PolicySnapshots
    from autocanary.kserve.knative_routes import Route
    from autocanary.settings import Settings
    from autocanary.simulator.releases import SimulatedRelease

__all__ = [
    "DemoPageServer",
    "DemoRun",
    "OpenDashboard",
    "RolloutClient",
    "active_policies",
    "default_scenarios",
    "demo_page",
    "demo_run",
    "open_client",
    "open_dashboard",
    "policy_of",
    "probe",
    "releases",
    "report_of",
    "run_service",
    "scenarios",
    "simulate",
]


class RolloutClient(Protocol):
    """A user's access to the CanaryRollouts: reads from the API server at every call, never as leader.

    ``namespace`` is the context's own. ``rollouts(None)`` are those of all namespaces. All raise
    ClusterError; NotFound from ``rollouts`` means that the definitions are not installed. ``observe`` reads
    a rollout's InferenceService; None when it is gone or may not be read. ``routes`` are Knative's behind
    the rollouts' services, each with its namespace, without those that may not be read. After ``set_timeout``
    no call takes longer than that plus one second. ``user_name`` is the user as the API server sees it, "" where it
    does not say. ``release`` applies a spec to the rollout's service as a new candidate at weight 0.
    """

    @property
    def namespace(self) -> str: ...
    def rollouts(self, namespace: str | None) -> Sequence[Rollout]: ...
    def read(self, namespace: str, name: str) -> Rollout | None: ...
    def observe(self, rollout: Rollout) -> Observation | None: ...
    def routes(self, rollouts: Sequence[Rollout]) -> Sequence[tuple[str, Route]]: ...
    def set_timeout(self, seconds: float) -> None: ...
    def user_name(self) -> str: ...
    def services(self, namespace: str | None) -> Sequence[Observation]: ...
    def policy_documents(self, namespace: str | None) -> Sequence[Mapping[str, Any]]: ...
    def release(self, rollout: Rollout, spec: Mapping[str, Any], *, by: str, reason: str) -> None: ...
    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout: ...
    def close(self) -> None: ...


class DemoRun(Protocol):
    """The controller on a simulated cluster: one scenario in virtual time.

    ``expected`` are the phases in which its rollouts should end, in the order in which they start. After
    ``horizon`` virtual seconds the demo no longer waits for them. ``address`` is the address of /metrics, ""
    without ``--serve``. ``shown`` are all rollouts so far, ended ones included, each with its policy and the
    last observation of its service. ``listing`` is kubectl's present output about the service (the last
    column is its age), where the scenario shows it.
    """

    @property
    def title(self) -> str: ...
    @property
    def expected(self) -> tuple[Phase, ...]: ...
    @property
    def horizon(self) -> float: ...
    @property
    def address(self) -> str: ...
    def now(self) -> float: ...
    def advance(self, seconds: float) -> None: ...
    def shown(self) -> Sequence[tuple[Rollout, Policy | None, Observation | None]]: ...
    def listing(self) -> Sequence[str]: ...
    def close(self) -> None: ...


class DemoPageServer(Protocol):
    """The page over the scenarios that are shown; ``address`` is where it is served."""

    @property
    def address(self) -> str: ...
    def close(self) -> None: ...


class OpenDashboard(Protocol):
    """A page that is being served; ``address`` holds its secret, ``scope`` says in words what it shows."""

    @property
    def address(self) -> str: ...
    @property
    def scope(self) -> str: ...
    def close(self) -> None: ...


def open_dashboard(kubeconfig: str | None, context: str | None, namespace: str | None, port: int) -> OpenDashboard:
    """Serve the page. ``namespace`` "": all; None: all that may be read. ClusterError when nothing can be."""
    from autocanary import app
    from autocanary.settings import ClusterAccess

    return app.Dashboard(ClusterAccess(kubeconfig, context), namespace, port)


def report_of(rollout: Rollout) -> str:
    """The report of a rollout, as HTML."""
    from autocanary.app.page_data import render_rollout_report

    return render_rollout_report(rollout)


def open_client(kubeconfig: str | None, context: str | None) -> RolloutClient:
    """The CanaryRollouts of the cluster that kubectl's flags name; SettingsError when there is none."""
    from autocanary import app
    from autocanary.settings import ClusterAccess

    return app.open_client(ClusterAccess(kubeconfig, context))


def run_service(settings: Settings, kubeconfig: str | None, context: str | None) -> int:
    """Run the service until SIGTERM or SIGINT; the exit code."""
    from autocanary import app
    from autocanary.settings import ClusterAccess

    return app.run(settings, ClusterAccess(kubeconfig, context))


def scenarios() -> Mapping[str, str]:
    """The names of the scenarios, each with its description."""
    from autocanary import app

    return app.scenarios()


def default_scenarios() -> Sequence[str]:
    """The scenarios that ``demo`` runs by default."""
    from autocanary import app

    return app.DEFAULT_SCENARIOS


def demo_page() -> DemoPageServer:
    """The page, served on the loopback address from now on."""
    from autocanary import app

    return app.DemoPage()


def demo_run(scenario: str, *, serve: bool, page: DemoPageServer | None = None) -> DemoRun:
    """``serve``: /metrics as well; ``page`` shows the scenario."""
    from autocanary import app

    return app.Demo(scenario, serve=serve, page=page if isinstance(page, app.DemoPage) else None)


def releases(**flags: Any) -> Sequence[SimulatedRelease]:
    """The release that flags describe, or the standard set; see ``app.simulate.described``."""
    from autocanary.app.simulation import describe_releases

    return describe_releases(**flags)


def simulate(
    policies: Sequence[tuple[str, Policy]],
    releases: Sequence[SimulatedRelease],
    *,
    runs: int,
    seed: int,
    horizon: float,
    on_progress: OnProgress,
) -> tuple[Sequence[SimulationSummary], Sequence[str]]:
    """The outcomes of the policies with the releases, and what is not simulated; InputError for too large a run."""
    from autocanary.app.simulation import simulate

    return simulate(policies, releases, runs=runs, seed=seed, horizon=horizon, on_progress=on_progress)


def probe(url: str, policies: Sequence[Policy]) -> ProbedPolicies:
    """What Prometheus says of the policies; MetricsUnreachable when it does not answer."""
    from autocanary.cli import probe_prometheus

    return probe_prometheus.probe(url, policies)


def probe_web(revisions: Sequence[str], policies: Sequence[Policy]) -> ProbedPolicies:
    """What the services of the policies' web metrics say of the revisions."""
    from autocanary.cli import probe_web as prober

    return prober.probe_web(revisions, policies)


def policy_of(rollout: Rollout) -> Policy | None:
    """The policy snapshot of a rollout; None when this version cannot read it."""
    try:
        return _snapshots().restore(rollout)
    except PolicyError:
        return None


def active_policies(
    documents: Sequence[Mapping[str, Any]], paths: Sequence[Path]
) -> tuple[Sequence[Policy], Mapping[str, Sequence[str]]]:
    """The policies of these custom resources and files that are in force, and what is wrong with the others, by id."""
    from autocanary.policy_files import ActivePolicies

    active = ActivePolicies(paths)
    active.reload()
    for document in documents:
        active.apply(document)
    problems = {name: [str(each) for each in found] for name, found in active.policy_problems()}
    return active.current(), problems


@cache
def _snapshots() -> PolicySnapshots:
    """One for the whole process: a list of a thousand rollouts restores each of its few policies once."""
    from autocanary.controller.policy_snapshots import PolicySnapshots
    from autocanary.policy_files import ActivePolicies

    return PolicySnapshots(ActivePolicies())
