"""Who may see and do what on the page: one class for each way in. Answers are kept for a short time."""

from __future__ import annotations

import getpass
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from autocanary.app.user_client import NeverLeader, release_spec
from autocanary.errors import Forbidden
from autocanary.kserve import dialect_for
from autocanary.kube.access_review import credentials_with_token, own_identity, own_right, right_of_user
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import ClusterCredentials
from autocanary.kube.resource import ROLLOUTS, Resource, inference_services_of
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.model.foreign_text import clean_text
from autocanary.model.rollout import Request, Rollout
from autocanary.page import AccessDenied, Visitor
from autocanary.views import UndoTarget

__all__ = ["BearerTokenAccess", "ForwardedUserAccess", "KubeconfigAccess", "RememberedAnswers"]

_REMEMBERED_SECONDS = 30.0
_MAX_REMEMBERED, _MAX_CLIENTS = 20_000, 64
_MAX_NAMESPACES = 1000
_PARALLEL_REVIEWS = 8
_TIMEOUTS = (3.0, 5.0)

T = TypeVar("T")


class RememberedAnswers(Generic[T]):
    """Answers by question for ``seconds``; thread-safe. A question is asked while no lock is held."""

    def __init__(
        self,
        seconds: float = _REMEMBERED_SECONDS,
        most: int = _MAX_REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, question: Hashable, ask: Callable[[], T]) -> T:
        with self._lock:
            known = self._answers.get(question)
        if known is not None and self._clock() - known[0] < self._seconds:
            return known[1]
        answer = ask()
        with self._lock:
            self._answers[question] = (self._clock(), answer)
            self._answers.move_to_end(question)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        return answer


class _ReviewedAccess:
    """What the ways in share: a right in all namespaces, or in each."""

    def __init__(self) -> None:
        self._rights: RememberedAnswers[bool] = RememberedAnswers()
        self._reviewers = ThreadPoolExecutor(_PARALLEL_REVIEWS, "page-review")

    def close(self) -> None:
        self._reviewers.shutdown(wait=False, cancel_futures=True)

    def readable(self, visitor: Visitor, namespaces: AbstractSet[str]) -> AbstractSet[str]:
        """See ``PageAccess``. In at most so many namespaces; the rest stays hidden."""
        if self._may(visitor, "list", ""):
            return namespaces
        asked = sorted(namespaces)[:_MAX_NAMESPACES]
        answers = self._reviewers.map(lambda each: self._may(visitor, "list", each), asked)
        return {each for each, allowed in zip(asked, answers, strict=True) if allowed}

    def may_act(self, visitor: Visitor, namespace: str) -> bool:
        """See ``PageAccess``."""
        return self._may(visitor, "patch", namespace)

    def refusal(self, namespace: str) -> str:
        """See ``PageAccess``."""
        return f"that takes the right to patch canaryrollouts in namespace {namespace}"

    def may_undo(self, visitor: Visitor, rollout: Rollout) -> bool:
        """See ``PageAccess``."""
        return self._may(visitor, "patch", rollout.namespace, inference_services_of(dialect_for(rollout.api_version)))

    def _may(self, visitor: Visitor, verb: str, namespace: str, resource: Resource = ROLLOUTS) -> bool:
        question = (visitor.key, verb, namespace, resource)
        return self._rights.get(question, lambda: self._review(visitor, verb, namespace, resource))

    def _review(self, visitor: Visitor, verb: str, namespace: str, resource: Resource = ROLLOUTS) -> bool:
        raise NotImplementedError


class KubeconfigAccess(_ReviewedAccess):
    """The dashboard: one visitor, with the kubeconfig's own identity. What the identity could read, it may see."""

    def __init__(self, client: ApiClient) -> None:
        super().__init__()
        self._client = client
        self._store = KubeRolloutStore(client, NeverLeader())
        self._visitor: Visitor | None = None

    def identify(self, headers: Mapping[str, str]) -> Visitor:
        del headers  # the address holds the dashboard's token
        if self._visitor is None:
            name, groups = own_identity(self._client)
            self._visitor = Visitor(name or _system_user(), "kubeconfig", groups)
        return self._visitor

    def readable(self, visitor: Visitor, namespaces: AbstractSet[str]) -> AbstractSet[str]:
        del visitor
        return namespaces

    def act(self, visitor: Visitor, rollout: Rollout, *, paused: bool | None, request: Request | None) -> None:
        del visitor
        self._store.write_request(rollout.namespace, rollout.name, paused=paused, request=request)

    def undo(self, visitor: Visitor, target: UndoTarget, reason: str) -> None:
        release_spec(self._client, target.undone, target.spec, by=visitor.name, reason=reason)

    def _review(self, visitor: Visitor, verb: str, namespace: str, resource: Resource = ROLLOUTS) -> bool:
        del visitor
        return own_right(self._client, verb, resource, namespace)


class BearerTokenAccess(_ReviewedAccess):
    """In the cluster: every request carries the visitor's own bearer token, which alone is used for it."""

    def __init__(self, cluster: ClusterCredentials) -> None:
        super().__init__()
        self._cluster = cluster
        self._visitors: RememberedAnswers[Visitor] = RememberedAnswers()
        self._clients: OrderedDict[str, ApiClient] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        super().close()
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def identify(self, headers: Mapping[str, str]) -> Visitor:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise AccessDenied(
                401,
                "this page needs your own bearer token of the cluster in every request: open it through the proxy that "
                "adds it, or use `autocanary dashboard` with your kubeconfig",
            )
        key = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        return self._visitors.get(key, lambda: self._identify(key, token))

    def _identify(self, key: str, token: str) -> Visitor:
        try:
            name, groups = own_identity(self._client_for(key, token))
        except Forbidden as error:
            if error.status == 403:  # a token that is valid and may not even ask its own name
                return Visitor("", key, credential=token)
            raise AccessDenied(401, "the API server does not accept this token: sign in again") from None
        return Visitor(clean_text(name, 120), key, groups, token)

    def act(self, visitor: Visitor, rollout: Rollout, *, paused: bool | None, request: Request | None) -> None:
        client = self._client_for(visitor.key, visitor.credential)
        store = KubeRolloutStore(client, NeverLeader())
        store.write_request(rollout.namespace, rollout.name, paused=paused, request=request)

    def undo(self, visitor: Visitor, target: UndoTarget, reason: str) -> None:
        client = self._client_for(visitor.key, visitor.credential)
        release_spec(client, target.undone, target.spec, by=visitor.name, reason=reason)

    def _review(self, visitor: Visitor, verb: str, namespace: str, resource: Resource = ROLLOUTS) -> bool:
        return own_right(self._client_for(visitor.key, visitor.credential), verb, resource, namespace)

    def _client_for(self, key: str, token: str) -> ApiClient:
        with self._lock:
            client = self._clients.pop(key, None)
            if client is None:
                client = ApiClient(credentials_with_token(self._cluster, token), timeout=_TIMEOUTS)
            self._clients[key] = client
            while len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)[1].close()
            return client


class ForwardedUserAccess(_ReviewedAccess):
    """By choice, behind a proxy that alone can reach the port: it names the user in a header, and autocanary's own
    account asks for the user's rights and writes what the user requests."""

    def __init__(self, client: ApiClient, user_header: str, groups_header: str) -> None:
        super().__init__()
        self._client = client
        self._user_header, self._groups_header = user_header.lower(), groups_header.lower()
        self._store = KubeRolloutStore(client, NeverLeader())

    def identify(self, headers: Mapping[str, str]) -> Visitor:
        user = headers.get(self._user_header, "").strip()
        if not user or len(user) > 300:
            raise AccessDenied(401, f"the proxy names no user in {self._user_header}: open the page through it")
        groups = _split_groups(headers.get(self._groups_header, "") if self._groups_header else "")
        key = hashlib.sha256("\0".join((user, *groups)).encode("utf-8", "replace")).hexdigest()
        return Visitor(clean_text(user, 120), key, groups, user)

    def act(self, visitor: Visitor, rollout: Rollout, *, paused: bool | None, request: Request | None) -> None:
        if not self._review(visitor, "patch", rollout.namespace):  # asked again: a right may have been taken away
            raise AccessDenied(403, f"{visitor.name} may not patch canaryrollouts in namespace {rollout.namespace}")
        self._store.write_request(rollout.namespace, rollout.name, paused=paused, request=request)

    def may_undo(self, visitor: Visitor, rollout: Rollout) -> bool:
        """Never: it would need the right to replace specs for any user that a header names."""
        del visitor, rollout
        return False

    def undo(self, visitor: Visitor, target: UndoTarget, reason: str) -> None:
        del visitor, target, reason
        raise AccessDenied(403, "behind this proxy an undo is made with the command: autocanary undo")

    def _review(self, visitor: Visitor, verb: str, namespace: str, resource: Resource = ROLLOUTS) -> bool:
        return right_of_user(self._client, visitor.credential, visitor.groups, verb, resource, namespace)


def _split_groups(text: str) -> tuple[str, ...]:
    """The header's groups, without ``system:`` ones: a proxy's users have no system group of Kubernetes."""
    found: Sequence[str] = [each.strip() for each in text[:8000].split(",")]
    return (*(each for each in found if each and not each.startswith("system:")), "system:authenticated")


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
