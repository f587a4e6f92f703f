"""The chain: small named rules in the order in which they matter; the first that applies decides.

Read from the top: what makes the rollout pointless, then what makes it dangerous, then what people want,
then what the metrics say, then the clock. Each rule looks at one situation and returns a Decision or None.

Lives here, in files by what they ask: ``ground`` (is there still a rollout?), ``numbering``, ``traffic`` and
``rollback`` (is the traffic where it should be, and how does it get back?), ``beside`` (where stable and
candidate stand side by side), ``components`` (one at a time), ``people`` (what do they want?), ``serving``
(does it serve what it should?), ``evidence`` (what do the metrics say?), ``clock`` (is it time?), and
``holding`` (what several rules share).
Must never be here: the building of a Decision (``moves`` does that), I/O, a clock that is asked for the
time.

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

from autocanary.core.decision import Decision
from autocanary.core.rules.beside import settling, stable_changed, withdrawn
from autocanary.core.rules.clock import baked, deadline, next_step, step_is_held
from autocanary.core.rules.components import other_components
from autocanary.core.rules.evidence import (
    failed,
    not_conclusive,
    nothing_measured,
    suspicious,
    unanswered,
)
from autocanary.core.rules.ground import final_stays_final, picture_is_stale, service_is_gone
from autocanary.core.rules.numbering import numbered_anew
from autocanary.core.rules.people import (
    asked,
    asked_too_late,
    needs_approval,
    paused_by_user,
    waits_for_a_person,
)
from autocanary.core.rules.rollback import rolling_back
from autocanary.core.rules.serving import effect, staging, warming_up
from autocanary.core.rules.traffic import (
    newer_candidate,
    strayed,
    took_all_traffic,
    weight_differs,
    wrong_stable,
)
from autocanary.core.situation import Situation

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
