"""What the list of rollouts shows: the rows that a query finds, page by page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.analysis.comparisons import evidence_percent_of
from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Component, Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.page.page_source import PageSource
from autocanary.views import explain_wait, model_change
from autocanary.views.service_history import restore_text
from autocanary.views.wait_reason import needs_user

__all__ = ["PAGE_SIZE", "ListPageView", "ListQuery", "RolloutRow", "ended_text", "list_page", "list_row"]


PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What of all rollouts is wanted; empty texts mean everything. ``page`` counts from 1."""

    namespace: str = ""
    text: str = ""
    show: str = ""
    page: int = 1

    def to_params(self, **changes: Any) -> dict[str, str]:
        """The URL's parameters, without those that have their default."""
        values = {"namespace": self.namespace, "q": self.text, "show": self.show, "page": self.page, **changes}
        return {name: str(value) for name, value in values.items() if value not in ("", 1)}


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One service's newest rollout in the list."""

    namespace: str
    name: str
    service: str
    component: str
    phase: str
    weight: int
    target: int | None
    sentence: str
    model: str
    candidate: str
    since: float
    finished_at: float | None
    policy: str
    evidence_percent: float | None
    needs_user: bool

    @property
    def id(self) -> str:
        """Its place in the document, which live updates replace."""
        return f"r-{self.namespace}-{self.name}"


@dataclass(frozen=True, slots=True)
class ListPageView:
    """``total`` services match, of which ``rows`` are on this page of ``pages``. ``counts`` are of all that may be
    seen, by what the filter ``show`` calls them."""

    query: ListQuery
    rows: tuple[RolloutRow, ...]
    total: int
    pages: int
    namespaces: tuple[str, ...]
    counts: Mapping[str, int]


def list_page(source: PageSource, readable: Collection[str], query: ListQuery) -> ListPageView:
    """The newest rollout of each service: those that need a user first, then running ones, then the newest ends."""
    latest = _latest(each for each in source.rollouts() if each.namespace in readable)
    namespaces = tuple(sorted({each.namespace for each in latest}))
    counts = {
        "all": len(latest),
        "running": sum(not each.is_final for each in latest),
        "attention": sum(needs_user(each) for each in latest),
    }
    wanted = [each for each in latest if _matches(each, query)]
    wanted.sort(key=_order)
    pages = max(1, -(-len(wanted) // PAGE_SIZE))
    page = min(max(1, query.page), pages)
    shown = wanted[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    now = source.now()
    rows = tuple(list_row(each, source.policy_of(each), now) for each in shown)
    return ListPageView(
        ListQuery(query.namespace, query.text, query.show, page), rows, len(wanted), pages, namespaces, counts
    )


def list_row(rollout: Rollout, policy: Policy | None, now: float) -> RolloutRow:
    """The row of a rollout; its sentence says what it waits for, or how it ended."""
    progress = rollout.progress
    weight = 100 if progress.step.weight is None else progress.step.weight
    return RolloutRow(
        namespace=rollout.namespace,
        name=rollout.name,
        service=rollout.service,
        component="" if rollout.component is Component.PREDICTOR else rollout.component.value,
        phase=progress.phase.value,
        weight=weight,
        target=_next_weight(rollout, policy),
        sentence=(_ended_and_restored(rollout) if rollout.is_final else explain_wait(rollout, policy, now).text),
        model=model_change(rollout).text,
        candidate=rollout.candidate,
        since=progress.started_at,
        finished_at=progress.finished_at,
        policy=rollout.policy_name,
        evidence_percent=None if rollout.is_final else evidence_percent_of(progress.analysis.evidence),
        needs_user=needs_user(rollout),
    )


def ended_text(rollout: Rollout) -> str:
    """How it ended, beside its phase; "" while it runs."""
    progress = rollout.progress
    return clean_text(progress.message or progress.reason.value, 500) if progress.phase.is_final else ""


def _ended_and_restored(rollout: Rollout) -> str:
    return ". ".join(filter(None, (ended_text(rollout), restore_text(rollout))))


def _next_weight(rollout: Rollout, policy: Policy | None) -> int | None:
    if rollout.is_final or policy is None or rollout.progress.phase is Phase.ROLLING_BACK:
        return None
    at = rollout.progress.step.index + 1
    return policy.steps[at].weight if 0 <= at < len(policy.steps) else None


def _latest(rollouts: Iterator[Rollout]) -> list[Rollout]:
    newest: dict[tuple[str, str, str], Rollout] = {}
    for each in rollouts:
        key = (each.namespace, each.service, each.component.value)
        known = newest.get(key)
        if known is None or known.start_order < each.start_order:
            newest[key] = each
    return list(newest.values())


def _matches(rollout: Rollout, query: ListQuery) -> bool:
    if query.namespace and rollout.namespace != query.namespace:
        return False
    if query.show == "running" and rollout.is_final:
        return False
    if query.show == "attention" and not needs_user(rollout):
        return False
    if not query.text:
        return True
    words = query.text.lower().split()
    text = " ".join(
        (
            rollout.namespace,
            rollout.service,
            rollout.name,
            rollout.candidate,
            rollout.policy_name,
            rollout.progress.phase.value,
            rollout.progress.reason.value,
        )
    ).lower()
    return all(word in text for word in words)


def _order(rollout: Rollout) -> tuple[bool, bool, float, str, str]:
    progress = rollout.progress
    at = progress.finished_at if progress.finished_at is not None else progress.started_at
    return not needs_user(rollout), rollout.is_final, -at, rollout.namespace, rollout.name
