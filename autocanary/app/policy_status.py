"""Policies from files and custom resources, and the status that their authors read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autocanary import logs
from autocanary.decide.policy_selection import select_policy_for
from autocanary.errors import ClusterError, NotLeader, Problem
from autocanary.kube.rollout_policies import KubePolicies, PolicyStatus
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.policy_files import ActivePolicies

__all__ = ["PolicyStatusWriter"]

_log = logs.logger("autocanary.app.policy_status")


class PolicyStatusWriter:
    """Takes documents in, and answers each custom resource in its status.

    What was wrong with a resource is kept by (namespace, name) until the next version of it comes.
    """

    def __init__(self, book: ActivePolicies) -> None:
        self._book = book
        self._problems: dict[tuple[str, str], tuple[Problem, ...]] = {}

    def on_event(self, namespace: str, name: str, document: Mapping[str, Any] | None) -> None:
        """A RolloutPolicy object has come, changed, or gone (None). Called on a watch's thread."""
        if document is None:
            self._problems.pop((namespace, name), None)
            self._book.delete(namespace, name)
            return
        problems = self._book.apply(document)
        self._problems[(namespace, name)] = problems
        _log_problems(problems, namespace=namespace, policy=name)

    def reload(self) -> None:
        """Read the files again and log what is different."""
        changes = self._book.reload()
        for event, names in (
            ("policy_added", changes.added),
            ("policy_changed", changes.changed),
            ("policy_removed", changes.removed),
        ):
            for name in names:
                _log.info(event, policy=name)
        for name, problems in changes.invalid:
            _log_problems(problems, policy=name)

    def write_statuses(
        self, resources: KubePolicies, services: Sequence[Observation], running: Sequence[Rollout]
    ) -> None:
        """Write the status of every custom resource whose answer has changed; nothing is raised."""
        documents = resources.documents()
        if not documents:
            return
        matched = _matched_services(self._book.current(), services)
        for document in documents:
            metadata = document["metadata"]
            namespace, name = metadata["namespace"], metadata["name"]
            active = sum(1 for each in running if each.policy_name == name and each.namespace == namespace)
            status = self._status(metadata, matched.get((namespace, name), 0), active)
            try:
                resources.write_status(namespace, name, status)
            except (ClusterError, NotLeader) as error:
                _log.warning("policy_status_not_written", namespace=namespace, policy=name, error=str(error))

    def _status(self, metadata: Mapping[str, Any], matched: int, active: int) -> PolicyStatus:
        place = f"{metadata['namespace']}/{metadata['name']}"
        known = self._problems.get((metadata["namespace"], metadata["name"]), ())
        more = dict(self._book.policy_problems()).get(place, ())  # a file of the same name is in force instead
        problems = tuple(dict.fromkeys((*known, *more)))
        errors = [problem for problem in problems if problem.severity != "warning"]
        message = "; ".join(str(problem) for problem in problems) or f"selects {matched} services"
        return PolicyStatus(
            generation=metadata.get("generation", 0),
            valid=not errors,
            reason=Reason.POLICY_INVALID.value if errors else "Valid",
            message=message,
            matched_services=matched,
            active_rollouts=active,
        )


def _log_problems(problems: Sequence[Problem], **place: str) -> None:
    for problem in problems:
        level = _log.warning if problem.severity == "warning" else _log.error
        level("policy_invalid", **place, problem=str(problem))


def _matched_services(policies: Sequence[Policy], services: Sequence[Observation]) -> Mapping[tuple[str, str], int]:
    """How many services each policy governs, by (namespace, name)."""
    counts: dict[tuple[str, str], int] = {}
    for observation in services:
        policy = select_policy_for(policies, observation)
        if isinstance(policy, Policy):
            place = (policy.namespace, policy.name)
            counts[place] = counts.get(place, 0) + 1
    return counts
