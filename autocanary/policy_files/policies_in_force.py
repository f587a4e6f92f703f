"""The policies in force while the service runs: files read anew when they change, and custom resources.

A policy that becomes invalid does not stop what runs by it: its last valid version stays in force, and
``faults`` tells what is wrong with the newer one. A file that can no longer be read keeps all that it gave.
A policy goes only when its file is gone, when its file is whole and no longer holds it, or when its custom
resource is deleted.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocanary.errors import PolicyError, Problem
from autocanary.model.policy import Policy
from autocanary.model.rollout_json import API_VERSION
from autocanary.policy_files.loader import Found, Loading, find, load_text, read
from autocanary.policy_files.schema import KIND
from autocanary.policy_files.validate_document import identity, validate

__all__ = ["Changes", "PolicyBook"]

Identity = tuple[str, str]  # namespace ("" for none) and name
Faults = tuple[tuple[str, tuple[Problem, ...]], ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different from the last reload, by policy id.

    ``invalid`` are the faults that are new, without those that ``offer`` has answered a custom resource.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    invalid: Faults = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.invalid)


@dataclass(frozen=True)
class _Shelf:
    """What one file, or one custom resource, has given: the valid policies, and the faults of the newest."""

    root: Path | None = None
    digest: str = ""
    policies: Mapping[Identity, Policy] = field(default_factory=dict)
    faults: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)


class PolicyBook:
    """Implements the ``Policies`` port. All methods may be called from any thread."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._reloading = threading.Lock()  # held while files are read, so that _lock never waits for a disk
        self._lock = threading.Lock()
        self._files: dict[Path, _Shelf] = {}
        self._missing: dict[str, tuple[Problem, ...]] = {}
        self._resources: dict[Identity, _Shelf] = {}
        self._current: tuple[Policy, ...] = ()
        self._faults: Faults = ()
        self._reported: tuple[dict[str, str], Faults] = ({}, ())

    def current(self) -> Sequence[Policy]:
        """The same tuple until something changes."""
        with self._lock:
            return self._current

    def faults(self) -> Faults:
        """What is wrong now: (policy id, problems); a file that cannot be read is named by its path."""
        with self._lock:
            return self._faults

    def reload(self) -> Changes:
        """Read the files that have changed; raises nothing. Before the first call no file is in force."""
        with self._reloading:
            files, missing = self._read_files()
            with self._lock:
                self._files, self._missing = files, missing
                self._settle()
                return self._changes()

    def offer(self, document: Mapping[str, Any]) -> tuple[Problem, ...]:
        """A custom resource as it is now; what is wrong with it, or nothing."""
        key = identity(document)
        policy, problems = validate(document)
        with self._lock:
            before = self._resources.get(key, _Shelf())
            policies = {key: policy} if policy is not None else before.policies
            faults = {_id(key): problems} if problems else {}
            self._resources = {**self._resources, key: _Shelf(policies=policies, faults=faults)}
            self._settle()
        return problems

    def withdraw(self, namespace: str, name: str) -> None:
        """The custom resource was deleted."""
        with self._lock:
            self._resources.pop((namespace, name), None)
            self._settle()

    def restore(self, name: str, document: Mapping[str, Any]) -> Policy:
        """The policy of a rollout's snapshot; PolicyError when this version cannot read it."""
        whole = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": document}
        policy, problems = validate(whole)
        if policy is None:
            raise PolicyError(problems)
        return policy

    def _read_files(self) -> tuple[dict[Path, _Shelf], dict[str, tuple[Problem, ...]]]:
        shelves: dict[Path, _Shelf] = {}
        missing: dict[str, tuple[Problem, ...]] = {}
        for path in self._paths:
            found, problems = find(path)
            errors = tuple(each for each in problems if each.severity == "error")
            if errors:
                # A mount that is away for a moment must not withdraw policies.
                missing[str(path)] = errors
                kept = {file: shelf for file, shelf in self._files.items() if shelf.root == path}
                shelves = {**kept, **shelves}
            for each in found:
                shelves[each.file] = _reread(each, self._files.get(each.file) or _Shelf(each.root))
        return shelves, missing

    def _settle(self) -> None:
        """Work out what is in force: files before custom resources, the first of one name before the next."""
        in_force: dict[Identity, Policy] = {}
        faults = dict(self._missing)
        for shelf in (*(self._files[file] for file in sorted(self._files)), *self._resources.values()):
            for name, problems in shelf.faults.items():
                faults[name] = (*faults.get(name, ()), *problems)
            for key, policy in shelf.policies.items():
                holder = in_force.setdefault(key, policy)
                if holder is not policy:
                    faults[_id(key)] = (*faults.get(_id(key), ()), _taken(policy, holder))
        current = tuple(in_force.values())
        if current != self._current:  # the same tuple tells readers that nothing has changed
            self._current = current
        self._faults = tuple(faults.items())

    def _changes(self) -> Changes:
        before, faults_before = self._reported
        now = {_id((policy.namespace, policy.name)): policy.digest for policy in self._current}
        self._reported = (now, self._faults)
        answered = [fault for shelf in self._resources.values() for fault in shelf.faults.items()]
        return Changes(
            added=tuple(name for name in now if name not in before),
            changed=tuple(name for name in now if name in before and before[name] != now[name]),
            removed=tuple(name for name in before if name not in now),
            invalid=tuple(
                fault for fault in self._faults if fault not in faults_before and fault not in answered
            ),
        )


def _reread(found: Found, before: _Shelf) -> _Shelf:
    """The file as it is now, or ``before`` itself when nothing has changed."""
    file = found.file
    content = read(file)
    if isinstance(content, Problem):
        return _Shelf(before.root, "", before.policies, {str(file): (content,)})
    digest = hashlib.sha256(content).hexdigest()
    if digest == before.digest:
        return before
    # A file that has given policies was meant to: when it holds none any more, that is a fault in it.
    searched = found.searched and not before.policies
    policies, faults = _merge(before.policies, load_text(content, str(file), searched=searched), str(file))
    return _Shelf(before.root, digest, policies, faults)


def _merge(
    before: Mapping[Identity, Policy], loading: Loading, file: str
) -> tuple[dict[Identity, Policy], dict[str, tuple[Problem, ...]]]:
    """What is valid now, and the earlier version of what is not."""
    policies: dict[Identity, Policy] = {}
    faults: dict[str, tuple[Problem, ...]] = {}
    whole = loading.readable
    for each in loading.documents:
        key = (each.namespace, each.name)
        name = _id(key) if each.name else each.place
        if each.policy is None:
            faults[name] = (*faults.get(name, ()), *each.problems)
            whole = whole and bool(each.name)
            if key in before:
                policies.setdefault(key, before[key])
        elif key in policies:
            faults[name] = (*faults.get(name, ()), _taken(each.policy, policies[key]))
        else:
            policies[key] = each.policy
    if not whole:
        # Some document cannot be told by its name; it may be any of those that seem to be gone.
        policies = {**before, **policies}
        errors = tuple(each for each in loading.problems if each.severity == "error")
        faults |= {file: errors} if errors else {}
    return policies, faults


def _taken(policy: Policy, holder: Policy) -> Problem:
    name = _id((policy.namespace, policy.name))
    message = f"the name {name} is already used by {holder.origin}, which stays in force"
    return Problem(policy.origin, 0, 0, message, "give each policy a name of its own")


def _id(key: Identity) -> str:
    namespace, name = key
    return f"{namespace}/{name}" if namespace else name
