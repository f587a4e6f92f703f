"""The policies in force while the service runs: files, read again when they change, and custom resources.

A policy that becomes invalid does not stop its rollouts: the last valid version stays in force, and
``policy_problems`` says what is wrong with the newer one. A file that can no longer be read keeps all its
policies. A policy goes only when its file is gone, when its file is whole and no longer holds it, or when its
custom resource is deleted. Of the custom resources of a namespace, ``limits`` says how many are in force.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autocanary.errors import PolicyError, Problem
from autocanary.limits import NAMESPACE_POLICIES, NAMESPACE_WEB_METRICS, NAMESPACE_WEBHOOKS
from autocanary.model.policy import Policy
from autocanary.model.rollout_json import API_VERSION
from autocanary.policy_files.loader import LoadResult, PolicyFile, find_files, load_text, read_file
from autocanary.policy_files.schema import KIND
from autocanary.policy_files.validate_document import custom_resource_source, policy_key, validate

__all__ = ["ActivePolicies", "PolicyChanges"]

Identity = tuple[str, str]  # namespace ("" for none) and name
PolicyProblems = tuple[tuple[str, tuple[Problem, ...]], ...]


@dataclass(frozen=True, slots=True)
class PolicyChanges:
    """What is different from the last reload, by policy id.

    ``invalid`` are the new problems, without those that ``apply`` has returned for a custom resource.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    invalid: PolicyProblems = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.invalid)


@dataclass(frozen=True)
class _PolicySource:
    """What one file, or one custom resource, holds: the valid policies, and the problems of the newest version.

    ``created`` is a custom resource's creationTimestamp.
    """

    root: Path | None = None
    digest: str = ""
    created: str = ""
    policies: Mapping[Identity, Policy] = field(default_factory=dict)
    policy_problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)


class ActivePolicies:
    """Implements the ``Policies`` port. All methods may be called from any thread."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._reloading = threading.Lock()  # held while files are read, so that _lock never waits for a disk
        self._lock = threading.Lock()
        self._files: dict[Path, _PolicySource] = {}
        self._missing: dict[str, tuple[Problem, ...]] = {}
        self._resources: dict[Identity, _PolicySource] = {}
        self._resources_changed = False
        self._current: tuple[Policy, ...] = ()
        self._policy_problems: PolicyProblems = ()
        self._reported: tuple[dict[str, str], PolicyProblems] = ({}, ())

    def current(self) -> Sequence[Policy]:
        """The same tuple until something changes."""
        with self._lock:
            self._resolve_changes()
            return self._current

    def policy_problems(self) -> PolicyProblems:
        """What is wrong now: (policy id, problems); a file that cannot be read is named by its path."""
        with self._lock:
            self._resolve_changes()
            return self._policy_problems

    def reload(self) -> PolicyChanges:
        """Read the files that have changed; raises nothing. Before the first call no file is in force."""
        with self._reloading:
            files, missing = self._read_files()
            with self._lock:
                self._files, self._missing = files, missing
                self._resolve()
                return self._changes()

    def apply(self, document: Mapping[str, Any]) -> tuple[Problem, ...]:
        """A custom resource as it is now; what is wrong with it, or nothing. Nothing is raised."""
        key = policy_key(document)
        policy, problems = validate(document)
        with self._lock:
            before = self._resources.get(key, _PolicySource())
            policies = {key: policy} if policy is not None else before.policies
            policy_problems = {_policy_id(key): problems} if problems else {}
            self._resources[key] = _PolicySource(
                created=_created(document), policies=policies, policy_problems=policy_problems
            )
            self._resources_changed = True
        return problems

    def delete(self, namespace: str, name: str) -> None:
        """The custom resource was deleted."""
        with self._lock:
            self._resources.pop((namespace, name), None)
            self._resources_changed = True

    def restore(self, name: str, document: Mapping[str, Any]) -> Policy:
        """The policy of a rollout's snapshot; PolicyError when this version cannot read it."""
        complete = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": document}
        policy, problems = validate(complete)
        if policy is None:
            raise PolicyError(problems)
        return policy

    def _read_files(self) -> tuple[dict[Path, _PolicySource], dict[str, tuple[Problem, ...]]]:
        policy_sources: dict[Path, _PolicySource] = {}
        missing: dict[str, tuple[Problem, ...]] = {}
        for path in self._paths:
            found, problems = find_files(path)
            errors = tuple(each for each in problems if each.severity == "error")
            if errors:
                # A mount that is missing for a moment must not withdraw policies.
                missing[str(path)] = errors
                kept = {
                    file: policy_source for file, policy_source in self._files.items() if policy_source.root == path
                }
                policy_sources = {**kept, **policy_sources}
            for each in found:
                policy_sources[each.file] = _reload_file(each, self._files.get(each.file) or _PolicySource(each.root))
        return policy_sources, missing

    def _resolve_changes(self) -> None:
        """Resolve once for all custom resources that have changed: a list of thousands arrives at once."""
        if self._resources_changed:
            self._resolve()

    def _resolve(self) -> None:
        """Work out what is in force: files before custom resources, the first of one name before the next."""
        self._resources_changed = False
        active: dict[Identity, Policy] = {}
        policy_problems = dict(self._missing)
        for policy_source in (
            *(self._files[file] for file in sorted(self._files)),
            *_within_namespace_limits(self._resources),
        ):
            for name, problems in policy_source.policy_problems.items():
                policy_problems[name] = (*policy_problems.get(name, ()), *problems)
            for key, policy in policy_source.policies.items():
                active_policy = active.setdefault(key, policy)
                if active_policy is not policy:
                    policy_problems[_policy_id(key)] = (
                        *policy_problems.get(_policy_id(key), ()),
                        _duplicate_name(policy, active_policy),
                    )
        current = tuple(active.values())
        if current != self._current:  # readers compare the tuple itself to see whether anything has changed
            self._current = current
        self._policy_problems = tuple(policy_problems.items())

    def _changes(self) -> PolicyChanges:
        before, problems_before = self._reported
        now = {_policy_id((policy.namespace, policy.name)): policy.digest for policy in self._current}
        self._reported = (now, self._policy_problems)
        answered = [
            entry for policy_source in self._resources.values() for entry in policy_source.policy_problems.items()
        ]
        return PolicyChanges(
            added=tuple(name for name in now if name not in before),
            changed=tuple(name for name in now if name in before and before[name] != now[name]),
            removed=tuple(name for name in before if name not in now),
            invalid=tuple(
                entry for entry in self._policy_problems if entry not in problems_before and entry not in answered
            ),
        )


def _created(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("creationTimestamp", ""))[:40] if isinstance(metadata, Mapping) else ""


def _within_namespace_limits(resources: Mapping[Identity, _PolicySource]) -> Iterator[_PolicySource]:
    """The custom resources, the oldest first; those beyond the limits of their namespace without their policy."""
    policies: dict[str, int] = {}
    webhooks: dict[str, int] = {}
    web_metrics: dict[str, int] = {}
    for (namespace, name), source in sorted(resources.items(), key=lambda each: (each[1].created, each[0])):
        own = sum(len(policy.webhooks) for policy in source.policies.values())
        asked = sum(len(policy.web_metrics) for policy in source.policies.values())
        problem = ""
        if policies.get(namespace, 0) + len(source.policies) > NAMESPACE_POLICIES:
            problem = f"the namespace has {NAMESPACE_POLICIES} older policies, and no more are in force"
        elif webhooks.get(namespace, 0) + own > NAMESPACE_WEBHOOKS:
            problem = f"with it the policies of the namespace have more than {NAMESPACE_WEBHOOKS} webhooks"
        elif web_metrics.get(namespace, 0) + asked > NAMESPACE_WEB_METRICS:
            problem = f"with it the policies of the namespace have more than {NAMESPACE_WEB_METRICS} web metrics"
        if source.policies and problem:
            origin = custom_resource_source(namespace, name)
            problems = (Problem(origin, 0, 0, problem, "delete a policy, or join several"),)
            policy_id = _policy_id((namespace, name))
            before = source.policy_problems.get(policy_id, ())
            yield replace(source, policies={}, policy_problems={policy_id: (*before, *problems)})
            continue
        policies[namespace] = policies.get(namespace, 0) + len(source.policies)
        webhooks[namespace] = webhooks.get(namespace, 0) + own
        web_metrics[namespace] = web_metrics.get(namespace, 0) + asked
        yield source


def _reload_file(found: PolicyFile, before: _PolicySource) -> _PolicySource:
    """The file as it is now, or ``before`` itself when nothing has changed."""
    file = found.file
    content = read_file(file)
    if isinstance(content, Problem):
        return _PolicySource(before.root, policies=before.policies, policy_problems={str(file): (content,)})
    digest = hashlib.sha256(content).hexdigest()
    if digest == before.digest:
        return before
    # A file that held policies was meant to: when it holds none any more, that is a problem.
    found_in_folder = found.found_in_folder and not before.policies
    policies, policy_problems = _merge(
        before.policies, load_text(content, str(file), found_in_folder=found_in_folder), str(file)
    )
    return _PolicySource(before.root, digest, policies=policies, policy_problems=policy_problems)


def _merge(
    before: Mapping[Identity, Policy], load_result: LoadResult, file: str
) -> tuple[dict[Identity, Policy], dict[str, tuple[Problem, ...]]]:
    """What is valid now, and the earlier version of what is not."""
    policies: dict[Identity, Policy] = {}
    policy_problems: dict[str, tuple[Problem, ...]] = {}
    complete = load_result.readable
    for each in load_result.documents:
        key = (each.namespace, each.name)
        name = _policy_id(key) if each.name else each.position
        if each.policy is None:
            policy_problems[name] = (*policy_problems.get(name, ()), *each.problems)
            complete = complete and bool(each.name)
            if key in before:
                policies.setdefault(key, before[key])
        elif key in policies:
            policy_problems[name] = (
                *policy_problems.get(name, ()),
                _duplicate_name(each.policy, policies[key]),
            )
        else:
            policies[key] = each.policy
    if not complete:
        # A document without a name may be any of those that seem to be gone.
        policies = {**before, **policies}
        errors = tuple(each for each in load_result.problems if each.severity == "error")
        policy_problems |= {file: errors} if errors else {}
    return policies, policy_problems


def _duplicate_name(policy: Policy, active_policy: Policy) -> Problem:
    name = _policy_id((policy.namespace, policy.name))
    message = f"the name {name} is already used by {active_policy.origin}, which stays in force"
    return Problem(policy.origin, 0, 0, message, "each policy needs its own name")


def _policy_id(key: Identity) -> str:
    namespace, name = key
    return f"{namespace}/{name}" if namespace else name
