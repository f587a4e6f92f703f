"""The counters that comparisons need: which are asked for in a round, and what the account then says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from autocanary.errors import MetricsRefused
from autocanary.model.measurement import Counters
from autocanary.prometheus.counter_account import Account
from autocanary.prometheus.counter_queries import Family, history_query, raw_query
from autocanary.prometheus.counter_samples import Heard, heard_rows, history_rows
from autocanary.prometheus.counter_tracking import Look
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.query_plan import Gathered, Limits, Plan, both, divided, gather, together
from autocanary.prometheus.revision_labels import Target

__all__ = ["Counting", "Subject", "counting"]

Subject = tuple[Family, Target]

_MOST_WITH_BUCKETS = 250  # revisions; each pod has two or three dozen buckets


@dataclass(frozen=True, slots=True)
class Counting:
    """What a round added to the account, and what it could not."""

    account: Account[Subject]
    trouble: dict[Subject, str] = field(default_factory=dict)

    def of(self, family: Family, targets: Sequence[Target]) -> tuple[Counters | None, str]:
        """The counters of the candidate and the stable revision, and what is wrong with them, if anything."""
        if len(targets) < 2:
            return None, "there is no stable revision to compare with"
        candidate, stable = ((family, target) for target in targets)
        counters = self.account.counters(candidate, stable, latency=family.latency)
        trouble = self.trouble.get(candidate) or self.trouble.get(stable, "")
        if counters is None and not trouble:
            trouble = "no request has been counted by its latency yet"
        return counters, trouble


def counting(
    account: Account[Subject], asked: Mapping[Family, Iterable[Target]], limits: Limits
) -> Plan[Counting]:
    """One look at all the families' revisions; those without an account get theirs."""
    done = Counting(account)
    yield from together([_count(done, family, sorted(targets), limits) for family, targets in asked.items()])
    return done


def _count(done: Counting, family: Family, targets: Sequence[Target], limits: Limits) -> Plan[None]:
    subjects = done.account.unknown((family, target) for target in targets)
    fresh = [target for _, target in subjects]
    heard, history = yield from _asked(family, targets, fresh, limits)
    looks: dict[Target, Look] = {}
    for target in targets:
        row = heard.rows.get(target)
        trouble = _trouble(heard, target) or (row.trouble if row is not None else "")
        if row is None and not trouble:
            trouble = "the server did not say which time its answer is of"
        if trouble:
            done.trouble[family, target] = trouble
        elif row is not None:
            looks[target] = row.look
    beginnings: dict[Subject, Look] = {}
    for target in fresh:
        look = looks.pop(target, None)
        trouble = _trouble(history, target)
        if look is None:
            continue
        # A range too heavy for the server will be so the next time: then nothing is believed to be new.
        if trouble and not isinstance(history.errors.get(target), MetricsRefused):
            done.trouble[family, target] = trouble
            continue
        beginnings[family, target] = Look(look.at, look.scrapes, history.rows.get(target))
    done.account.begin(beginnings)
    done.account.look({(family, target): look for target, look in looks.items()})


def _asked(
    family: Family, targets: Sequence[Target], fresh: Sequence[Target], limits: Limits
) -> Plan[tuple[Gathered[Heard], Gathered[frozenset[str]]]]:
    """The look, and the history of revisions whose account begins, in one round."""

    def ask_raw(chunk: Sequence[Target]) -> str:
        return raw_query(family, chunk)

    def ask_history(chunk: Sequence[Target]) -> str:
        return history_query(family, chunk)

    def chunks(of: Sequence[Target], build: Callable[[Sequence[Target]], str]) -> list[Sequence[Target]]:
        most = min(limits.revisions, _MOST_WITH_BUCKETS) if family.latency else limits.revisions
        return divided(of, build, most=most, most_bytes=limits.query_bytes)

    return (
        yield from both(
            _in_turn(chunks(targets, ask_raw), ask_raw, partial(heard_rows, family)),
            gather(chunks(fresh, ask_history), ask_history, partial(history_rows, family)),
        )
    )


def _in_turn(
    chunks: Sequence[Sequence[Target]],
    build: Callable[[Sequence[Target]], str],
    read: Callable[[Sequence[Target], Answer], Mapping[Target, Heard]],
) -> Plan[Gathered[Heard]]:
    """One chunk after the other: an answer with buckets takes much memory until it is read."""
    whole: Gathered[Heard] = Gathered()
    for chunk in chunks:
        part = yield from gather([chunk], build, read)
        whole.rows.update(part.rows)
        whole.errors.update(part.errors)
        whole.warnings.update(part.warnings)
    return whole


def _trouble(gathered: Gathered[Any], target: Target) -> str:
    if (error := gathered.errors.get(target)) is not None:
        return str(error)
    warning = gathered.warnings.get(target)
    return f"Prometheus warns: {warning}" if warning else ""
