"""The chain: small named rules in the order in which they matter; the first one that applies decides.

From the top: what makes the rollout pointless, what makes it dangerous, what users request, what the metrics
say, and what the clock says. Each rule reads one decision input and returns a Decision or None.
Must never be here: the building of a Decision (``transitions`` does that), I/O, or a clock.

::

              ready            passed               100 %          baked
    Staging ────────▶ Progressing ──┐ next ────────▶ Baking ────────▶ Promoted
       │                ▲   │  ▲    │ weight           │  │
       │       data back│   │  └────┘                  │  │ (Holding, Paused
       │                │   ▼ cannot move              │  │  likewise)
       │               Holding   Paused ◀── a user, an approval, another client
       │ failed,        │ deadline  │ abort            │ violation
       │ deadline       │           │                  │
       └────────────────┴───────────┴──────────────────┴▶ RollingBack ─▶ RolledBack

    any, not final:  newer revision ─▶ Superseded
                     deleted, stopped, replaced ─▶ Abandoned
    KFServing v1alpha2:  Baking ─ baked ─▶ Finalizing ─ default set ─▶ Promoted
"""

from __future__ import annotations

from autocanary.decide.rules.analysis_result import (
    handle_inconclusive,
    hold_while_suspicious,
    hold_without_metrics,
    roll_back_on_failure,
    wait_for_evaluation,
)
from autocanary.decide.rules.kfserving_v1alpha2 import (
    finalize_promotion,
    finish_when_candidate_removed,
    finish_when_stable_changed,
)
from autocanary.decide.rules.other_components import coordinate_components
from autocanary.decide.rules.readiness import (
    leave_staging_when_ready,
    wait_for_warmup,
    wait_for_weight_in_effect,
)
from autocanary.decide.rules.revisions_renumbered import handle_renumbered_revisions
from autocanary.decide.rules.rolling_back import complete_rollback
from autocanary.decide.rules.rule import Rule
from autocanary.decide.rules.service_gone import (
    abandon_when_service_gone,
    answer_when_finished,
    hold_on_stale_cache,
)
from autocanary.decide.rules.steps_and_deadlines import (
    enforce_progress_deadline,
    promote_after_bake,
    take_next_step,
    wait_for_samples_of_step,
    wait_for_step_duration,
)
from autocanary.decide.rules.user_requests import (
    answer_during_rollback,
    answer_request,
    apply_user_pause,
    pause_for_approval,
    remain_paused,
)
from autocanary.decide.rules.weight_and_traffic import (
    correct_weight,
    hold_while_stable_failed,
    record_missed_release,
    repair_wrong_stable,
    report_traffic_drift,
    roll_back_failed_candidate,
    supersede_candidate,
)

__all__ = ["CHAIN", "Rule"]

CHAIN: tuple[Rule, ...] = (
    answer_when_finished,
    hold_on_stale_cache,
    abandon_when_service_gone,
    answer_during_rollback,
    handle_renumbered_revisions,
    complete_rollback,
    finalize_promotion,
    finish_when_candidate_removed,
    supersede_candidate,
    answer_request,
    finish_when_stable_changed,
    record_missed_release,
    repair_wrong_stable,
    roll_back_failed_candidate,
    correct_weight,
    report_traffic_drift,
    apply_user_pause,
    roll_back_on_failure,
    hold_while_stable_failed,
    remain_paused,
    coordinate_components,
    leave_staging_when_ready,
    wait_for_weight_in_effect,
    wait_for_warmup,
    wait_for_evaluation,
    hold_without_metrics,
    hold_while_suspicious,
    enforce_progress_deadline,
    wait_for_step_duration,
    handle_inconclusive,
    wait_for_samples_of_step,
    pause_for_approval,
    promote_after_bake,
    take_next_step,
)
