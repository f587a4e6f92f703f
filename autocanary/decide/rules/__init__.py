"""The chain: small named rules in the order in which they matter; the first one that applies decides.

From the top: what makes the rollout pointless, what makes it dangerous, what users request, what the metrics
say, and what the clock says. Each rule reads one decision input and returns a Decision or None.
Must never be here: the building of a Decision (``transitions`` does that), I/O, or a clock.

::

                   ready                 passed                 100 %               baked
      Staging ──────────────▶ Progressing ──┐ next ──────────────▶ Baking ────────────▶ Promoted
         │                      ▲    │  ▲   │ weight                │  │
         │             data back│    │  └───┘                       │  │ (Holding, Paused likewise)
         │                      │    ▼ cannot move                  │  │
         │                     Holding        Paused ◀── a person, a manual step, someone else's write
         │ failed, deadline     │ deadline      │ abort             │ breach
         └──────────────────────┴───────────────┴───────────────────┴──▶ RollingBack ──▶ RolledBack
      any, not final:  newer revision ──▶ Superseded      deleted, stopped, replaced ──▶ Abandoned
      stable beside the candidate in the spec:  Baking ── baked ──▶ Settling ── made stable ──▶ Promoted
"""

from __future__ import annotations

from collections.abc import Callable

from autocanary.decide.decision_input import Situation
from autocanary.decide.rules.analysis_result import (
    failed,
    not_conclusive,
    nothing_measured,
    suspicious,
    unanswered,
)
from autocanary.decide.rules.kfserving_v1alpha2 import settling, stable_changed, withdrawn
from autocanary.decide.rules.other_components import other_components
from autocanary.decide.rules.readiness import effect, staging, warming_up
from autocanary.decide.rules.revisions_renumbered import numbered_anew
from autocanary.decide.rules.rolling_back import rolling_back
from autocanary.decide.rules.service_gone import final_stays_final, picture_is_stale, service_is_gone
from autocanary.decide.rules.steps_and_deadlines import baked, deadline, next_step, step_is_held
from autocanary.decide.rules.user_requests import (
    asked,
    asked_too_late,
    needs_approval,
    paused_by_user,
    waits_for_a_person,
)
from autocanary.decide.rules.weight_and_traffic import (
    newer_candidate,
    strayed,
    took_all_traffic,
    weight_differs,
    wrong_stable,
)
from autocanary.model.decision import Decision

__all__ = ["CHAIN", "Rule"]

Rule = Callable[[Situation], Decision | None]

CHAIN: tuple[Rule, ...] = (
    final_stays_final,
    picture_is_stale,
    service_is_gone,
    asked_too_late,
    numbered_anew,
    rolling_back,
    settling,
    withdrawn,
    newer_candidate,
    asked,
    stable_changed,
    took_all_traffic,
    wrong_stable,
    weight_differs,
    strayed,
    paused_by_user,
    failed,
    waits_for_a_person,
    other_components,
    staging,
    effect,
    warming_up,
    nothing_measured,
    unanswered,
    suspicious,
    deadline,
    step_is_held,
    not_conclusive,
    needs_approval,
    baked,
    next_step,
)
