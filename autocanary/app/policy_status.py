"""Policies from files and custom resources, and the status that their authors read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from autocanary import logs
from autocanary.decide.policy_selection import select_policy_for
from autocanary.errors import AutocanaryError, Problem
from autocanary.kube.rollout_policies import KubePolicies, PolicyStatus
from autocanary.model.foreign_text import clean_text
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.policy_files import ActivePolicies

__all__ = ["PolicyStatusWriter"]

_log = logs.logger("autocanary.app.policy_status")
_MAX_SHOWN = 30
_MAX_REMEMBERED = 10_000


class PolicyStatusWriter:
    """Takes documents in, and answers each custom resource in its status.

    What was wrong with a resource is kept by (namespace, name) until the next version of it comes.
    """

    def __init__(self, book: ActivePolicies) -> None:
        self._book = book
        self._problems: dict[tuple[str, str], tuple[Problem, ...]] = {}
        self._unwritten: dict[tuple[str, str], str] = {}

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
        active = Counter((each.namespace, each.policy_name) for each in running)
        problems = dict(self._book.policy_problems())
        for document in documents:
            place = document["metadata"]["namespace"], document["metadata"]["name"]
            try:
                more = problems.get("/".join(place), ())  # a file of the same name is in force instead
                status = self._status(document["metadata"], matched.get(place, 0), active[place], more)
                resources.write_status(*place, status)
                self._unwritten.pop(place, None)
            except Exception as error:  # noqa: BLE001 - one policy's status must not keep the others' from being written
                self._log_unwritten(place, error)

    def _log_unwritten(self, place: tuple[str, str], error: Exception) -> None:
        """Once, until the error is another one: it is tried again every few seconds."""
        text = clean_text(str(error) if isinstance(error, AutocanaryError) else f"{type(error).__name__}: {error}")
        if self._unwritten.get(place) != text and len(self._unwritten) < _MAX_REMEMBERED:
            self._unwritten[place] = text
            _log.warning("policy_status_not_written", namespace=place[0], policy=place[1], error=text)

    def _status(self, metadata: Mapping[str, Any], matched: int, active: int, more: Sequence[Problem]) -> PolicyStatus:
        known = self._problems.get((metadata["namespace"], metadata["name"]), ())
        problems = tuple(dict.fromkeys((*known, *more)))
        errors = [problem for problem in problems if problem.severity != "warning"]
        message = "; ".join(str(problem) for problem in problems[:_MAX_SHOWN]) or f"selects {matched} services"
        if len(problems) > _MAX_SHOWN:
            message += f"; and {len(problems) - _MAX_SHOWN} more problems"
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
