"""What the page needs from outside: the data to show, and who may see and do what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.rollout import Request, Rollout
from autocanary.views import UndoTarget

__all__ = ["AccessDenied", "PageAccess", "PageSource", "Visitor"]


class AccessDenied(Exception):
    """The visitor may not do this. ``status`` is the HTTP status: 401 without a login, 403 without the right."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Visitor:
    """``name`` is what the API server calls the visitor; ``key`` distinguishes visitors for caches and limits.

    ``credential`` is what ``PageAccess`` needs to act in the visitor's name; it is in no text of this value.
    """

    name: str
    key: str
    groups: tuple[str, ...] = ()
    credential: str = field(default="", repr=False, compare=False)


class PageSource(Protocol):
    """Everything from memory, in any thread; nothing is raised.

    ``rollouts`` are all that are known, each as new as it is known. ``policy_of`` is a rollout's snapshot, None where
    this version cannot read it. ``services`` and ``policies`` may be empty where they cannot be read; ``problems`` are
    those of invalid policies, in words. ``query_text`` is the PromQL of a metric of a rollout, "" where it is not
    known. ``missing`` says in words what could not be read.
    """

    @property
    def cluster_name(self) -> str: ...
    def now(self) -> float: ...
    def rollouts(self) -> Sequence[Rollout]: ...
    def policy_of(self, rollout: Rollout) -> Policy | None: ...
    def services(self) -> Sequence[Observation]: ...
    def policies(self) -> Sequence[Policy]: ...
    def problems(self) -> Mapping[str, Sequence[str]]: ...
    def query_text(self, rollout: Rollout, metric: str) -> str: ...
    def missing(self) -> Sequence[str]: ...


class PageAccess(Protocol):
    """May do I/O; called on the page's own threads. Raises AccessDenied and ClusterError.

    ``readable`` gives those of the namespaces whose rollouts the visitor may list. ``refusal`` says why a visitor
    without ``may_act`` cannot act. ``act`` writes the request in the visitor's name. ``may_undo`` is the right to patch
    the rollout's InferenceService; ``undo`` releases the former model again in the visitor's name, and is only called
    where ``may_undo`` is True.
    """

    def identify(self, headers: Mapping[str, str]) -> Visitor: ...
    def readable(self, visitor: Visitor, namespaces: AbstractSet[str]) -> AbstractSet[str]: ...
    def may_act(self, visitor: Visitor, namespace: str) -> bool: ...
    def refusal(self, namespace: str) -> str: ...
    def act(self, visitor: Visitor, rollout: Rollout, *, paused: bool | None, request: Request | None) -> None: ...
    def may_undo(self, visitor: Visitor, rollout: Rollout) -> bool: ...
    def undo(self, visitor: Visitor, target: UndoTarget, reason: str) -> None: ...
