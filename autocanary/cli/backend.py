"""The doors from commands to the rest of the program, opened when they are needed.

Help and completion must answer at once, so nothing heavy is imported before a command runs; and a test
stands in for a whole cluster by replacing one function here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from autocanary.errors import PolicyError, Problem
from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request, Rollout

if TYPE_CHECKING:  # a fifth of a second, which help and completion need not wait for
    from autocanary.app.simulation import OnProgress, SimulationSummary
    from autocanary.controller.policy_snapshots import PolicySnapshots
    from autocanary.settings import Settings
    from autocanary.simulator.releases import SimulatedRelease

__all__ = [
    "DemoRun",
    "RolloutClient",
    "default_scenarios",
    "demo_run",
    "open_client",
    "policy_of",
    "probe",
    "releases",
    "run_service",
    "scenarios",
    "simulate",
]


class RolloutClient(Protocol):
    """A person's view of the CanaryRollouts: read from the API server at every call, never as leader.

    ``namespace`` is the context's own. ``rollouts(None)`` are those of all namespaces. All raise
    ClusterError; NotFound from ``rollouts`` means that the definitions are not installed. ``observe`` looks
    at a rollout's InferenceService; None when it is gone or may not be read. ``routes`` are Knative's behind
    the rollouts' services, each with its namespace; what may not be read is left out. After ``set_timeout``
    no call takes longer than that, and a second.
    """

    @property
    def namespace(self) -> str: ...
    def rollouts(self, namespace: str | None) -> Sequence[Rollout]: ...
    def read(self, namespace: str, name: str) -> Rollout | None: ...
    def observe(self, rollout: Rollout) -> Observation | None: ...
    def routes(self, rollouts: Sequence[Rollout]) -> Sequence[tuple[str, Route]]: ...
    def set_timeout(self, seconds: float) -> None: ...
    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout: ...
    def close(self) -> None: ...


class DemoRun(Protocol):
    """The whole service on an embedded world, playing one scenario in virtual time.

    ``expected`` are the phases that its rollouts should end in, in the order in which they begin;
    ``horizon`` is when (in virtual seconds from the start) nobody waits for them any more. ``address`` is
    where /metrics is served, "" without ``--serve``. ``shown`` are all rollouts so far, ended ones
    included, each with its policy and the last observation of its service. ``listing`` is what kubectl
    prints of the service now (the last column is its age), where the scenario is about that.
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


def open_client(kubeconfig: str | None, context: str | None) -> RolloutClient:
    """The CanaryRollouts of the cluster that kubectl's flags name; SettingsError when there is none."""
    from autocanary import app
    from autocanary.settings import ClusterAccess

    return app.open_client(ClusterAccess(kubeconfig, context))


def run_service(settings: Settings, kubeconfig: str | None, context: str | None) -> int:
    """The service until it is told to stop; the exit code."""
    from autocanary import app
    from autocanary.settings import ClusterAccess

    return app.run(settings, ClusterAccess(kubeconfig, context))


def scenarios() -> Mapping[str, str]:
    """The names of the scenarios, each with a sentence about it."""
    from autocanary import app

    return app.scenarios()


def default_scenarios() -> Sequence[str]:
    """What ``demo`` plays when it is not told what."""
    from autocanary import app

    return app.DEFAULT_SCENARIOS


def demo_run(scenario: str, *, serve: bool) -> DemoRun:
    from autocanary import app

    return app.Demo(scenario, serve=serve)


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
    """What the policies do with the releases, and what is left out; InputError where that is too much."""
    from autocanary.app.simulation import simulate

    return simulate(policies, releases, runs=runs, seed=seed, horizon=horizon, on_progress=on_progress)


def probe(url: str, policies: Sequence[Policy]) -> Sequence[Problem]:
    """What Prometheus says of the policies' queries; MetricsUnreachable when it cannot be asked."""
    from autocanary.cli import probe_prometheus

    return probe_prometheus.probe(url, policies)


def policy_of(rollout: Rollout) -> Policy | None:
    """The policy that a rollout is held to; None when this version cannot read its snapshot."""
    try:
        return _snapshots().restore(rollout)
    except PolicyError:
        return None


@cache
def _snapshots() -> PolicySnapshots:
    """One for all looks: a list of a thousand rollouts restores each of its few policies once."""
    from autocanary.controller.policy_snapshots import PolicySnapshots
    from autocanary.policy_files import ActivePolicies

    return PolicySnapshots(ActivePolicies())
