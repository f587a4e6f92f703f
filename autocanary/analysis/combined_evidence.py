"""All comparisons of one rollout: what must survive a restart, and what they say together.

One mean of evidence (Vovk & Wang, AoS 2021) covers all metrics, all steps and all looks, so the chance
that a healthy candidate is rolled back need not be shared out among them. It is latched: evidence that
was once sufficient stays so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

from autocanary.analysis.e_values import log_mix
from autocanary.analysis.parameters import SUSPICIOUS, Terms
from autocanary.analysis.sequential_test import Comparison, begin, looked
from autocanary.analysis.traffic_share import Share, watched
from autocanary.model.measurement import Counters

__all__ = ["SHARE", "Evidence", "Trial", "combined", "look"]

SHARE = "traffic-share"
"""The name of the traffic-share test among the metrics of ``Evidence.blame``."""

_SHARE_PART = 0.1
_CLOSE = 1e-12
_UNSEEN = Share()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What all comparisons of a rollout say now.

    ``log_e`` is the logarithm of the evidence against the candidate and ``bound`` the one that fails it;
    ``against`` and ``fine`` are each metric's own evidence, that it is worse and that it is not; ``blame``
    is each metric's part of the evidence against the candidate (they sum to 1). ``latched`` says that it has
    been enough at this or an earlier look. ``passed`` are the metrics that were shown to be not worse, and
    ``non_inferior`` says that all of them were. ``beyond`` are those whose candidate alone is beyond its
    absolute limit: a reason to pause, not to roll back.
    """

    log_e: float
    bound: float
    against: Mapping[str, float]
    fine: Mapping[str, float]
    blame: Mapping[str, float]
    latched: bool
    non_inferior: bool
    passed: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()

    @property
    def meter(self) -> float:
        """Percent of the way to a rollback, 0..100, on a logarithmic scale."""
        return 100.0 * min(max(self.log_e / self.bound, 0.0), 1.0)

    @property
    def suspicious(self) -> bool:
        """Not enough to roll back, too much to go on."""
        return self.log_e >= log(SUSPICIOUS)

    @property
    def culprit(self) -> str:
        """The metric that carries most of the evidence; "" when there is none."""
        return max(self.blame, key=lambda name: self.blame[name], default="")


@dataclass(frozen=True, slots=True)
class Trial:
    """The state of all comparisons of a rollout; ``Trial()`` at its beginning."""

    metrics: Mapping[str, Comparison] = field(default_factory=dict)
    share: Share = _UNSEEN
    latched: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "metrics": {name: each.to_dict() for name, each in self.metrics.items()},
            "share": self.share.to_dict(),
        }
        if self.latched:
            raw["latched"] = True
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Trial:
        return cls(
            metrics={name: Comparison.from_dict(each) for name, each in raw["metrics"].items()},
            share=Share.from_dict(raw["share"]),
            latched=raw.get("latched", False),
        )


def look(
    trial: Trial,
    terms: Mapping[str, Terms],
    counters: Mapping[str, Counters | None],
    *,
    step: int,
    steps: int,
    weight: int,
    limits: Mapping[str, float] | None = None,
    warming: bool = False,
    gating: Collection[str] | None = None,
) -> tuple[Trial, Evidence]:
    """One look at all metrics that have ``terms``; the arguments are those of ``comparison.looked``.

    ``limits`` holds the absolute limit of the metrics that have one. Only ``gating`` metrics (None: all)
    count; the others are kept and shown. The traffic share is taken from the first gating metric.
    """
    metrics = {
        name: looked(
            trial.metrics.get(name, begin()),
            each,
            counters.get(name),
            slo=(limits or {}).get(name),
            step=step,
            steps=steps,
            weight=weight,
            warming=warming,
        )
        for name, each in terms.items()
    }
    decisive = {name: each for name, each in terms.items() if gating is None or name in gating}
    share = trial.share
    for name in list(decisive)[:1]:
        share = watched(
            share, decisive[name], counters.get(name), step=step, steps=steps, weight=weight, warming=warming
        )
    found = combined({name: metrics[name] for name in decisive}, decisive, share, latched=trial.latched)
    return Trial(metrics, share, found.latched), found


def combined(
    states: Mapping[str, Comparison],
    terms: Mapping[str, Terms],
    share: Share | None = None,
    *,
    latched: bool = False,
) -> Evidence:
    """Several metrics and the traffic share as one evidence; ``latched`` is what the last look found.

    The strictest metric's alpha holds for the rollout.
    """
    if not states:
        return Evidence(0.0, Terms().bound, {}, {}, {}, latched, non_inferior=False)
    against = {name: each.evidence for name, each in states.items()}
    fine = {name: each.non_inferiority for name, each in states.items()}
    of_share = 0.0 if share is None else _SHARE_PART
    parts = {name: ((1.0 - of_share) / len(states), each) for name, each in against.items()}
    if share is not None:
        parts[SHARE] = (of_share, share.evidence)
    log_e = log_mix([each for _, each in parts.values()], [weight for weight, _ in parts.values()])
    bound = max(terms[name].bound for name in states)
    passed = tuple([name for name, each in fine.items() if each >= -log(terms[name].beta)])
    return Evidence(
        log_e=log_e,
        bound=bound,
        against=against,
        fine=fine,
        blame={name: weight * exp(each - log_e) for name, (weight, each) in parts.items()},
        latched=latched or log_e >= bound - _CLOSE,
        non_inferior=len(passed) == len(states),
        passed=passed,
        beyond=tuple(
            name
            for name, each in states.items()
            if each.beyond is not None and each.beyond >= terms[name].bound
        ),
    )
