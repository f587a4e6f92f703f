"""Names the services that the guard holds and no policy governs: in the log, for the metrics and for the probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autocanary import logs
from autocanary.decide.guarded_services import GuardedService, guarded_without_policy
from autocanary.model.guard import Guard
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy

__all__ = ["UngovernedServices"]

_log = logs.logger("autocanary.app.ungoverned_services")
_MAX_LOGGED = 200
_HINT = "give it a policy, take it out of guard.namespaces, or set spec.{component}.canaryTrafficPercent yourself"


class UngovernedServices:
    """Read again with every ``update``; ``found`` may be called from any thread."""

    def __init__(self, guard: Guard | None, is_leader: Callable[[], bool]) -> None:
        self._guard, self._is_leader = guard, is_leader
        self._found: tuple[GuardedService, ...] = ()
        self._logged: set[GuardedService] = set()

    def found(self) -> Sequence[GuardedService]:
        """Those without a policy, by key."""
        return self._found

    def update(self, services: Sequence[Observation], policies: Sequence[Policy]) -> None:
        """Each service is logged by the leader when it is found, and again when a revision of it begins to wait."""
        if self._guard is None:
            return
        self._found = guarded_without_policy(self._guard, services, policies)
        if not self._is_leader():
            self._logged.clear()
            return
        self._logged &= set(self._found)
        fresh = [each for each in self._found if each not in self._logged]
        room = max(0, _MAX_LOGGED - len(self._logged))
        for each in fresh[:room]:
            self._logged.add(each)
            _log.warning(
                "guarded_without_policy",
                namespace=each.key.namespace,
                service=each.key.name,
                component=each.key.component.value,
                waits=each.waits,
                message=each.problem,
                hint=_HINT.format(component=each.key.component.value),
            )
