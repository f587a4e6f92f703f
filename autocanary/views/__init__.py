"""What users see of rollouts, as data and sentences: the terminal, the web page, the report and messages show these.

Every function is pure: the caller reads the cluster, passes values of ``model``, and renders what it gets. Times are
epoch seconds, durations seconds; a text is one line of plain text, never markup, and "" or None where nothing is
known. Texts of users and servers are cut and cleaned of control characters, but not escaped: HTML, Slack and terminals
escape what they show. Every view is a frozen dataclass of plain values, so ``dataclasses.asdict`` of it is JSON.
Must never be here: I/O, a clock, a third-party package, markup, colours, or a decision.

The functions::

    ``explain_rollout``        ``Explanation`` of one rollout: what holds it, the rule, evidence, what is next
    ``explain_wait``           ``Wait``: the one sentence of it, with what is missing (now, needed) and the seconds left
    ``explain_decision``       ``DecisionExplanation`` of one recorded decision: inputs, rules before it, and a replay
    ``service_history``        ``PastRollout`` for each rollout of one service, newest first, with restores
    ``model_change``           ``ModelChange`` of a rollout: ``storageUri``, image, args, old → new
    ``govern_services``        ``Governance``: which policy governs which service, ties, invalid policies, next windows
    ``released_by_text``       who released a rollout's candidate, in words
    ``page_link``              the permalink to the page of a rollout; ``runbook_link`` the runbook for a reason
    ``find_undo_target``       ``UndoTarget``: the former model that an undo applies, or a sentence why there is none
"""

from autocanary.views.decision_replay import DecisionExplanation, RuleStep, explain_decision
from autocanary.views.explanation import EvidenceRow, Explanation, NextEvent, explain_rollout
from autocanary.views.governance import Governance, GovernedService, PolicyRow, govern_services
from autocanary.views.links import page_link, runbook_link
from autocanary.views.model_change import FieldChange, ModelChange, model_change, released_by_text
from autocanary.views.policy_in_force import PolicyInForce
from autocanary.views.service_history import PastRollout, StableRestore, UserAct, service_history
from autocanary.views.undo_target import UndoTarget, find_undo_target
from autocanary.views.wait_reason import Wait, explain_wait, needs_user

__all__ = [
    "DecisionExplanation",
    "EvidenceRow",
    "Explanation",
    "FieldChange",
    "Governance",
    "GovernedService",
    "ModelChange",
    "NextEvent",
    "PastRollout",
    "PolicyInForce",
    "PolicyRow",
    "RuleStep",
    "StableRestore",
    "UndoTarget",
    "UserAct",
    "Wait",
    "explain_decision",
    "explain_rollout",
    "explain_wait",
    "find_undo_target",
    "govern_services",
    "model_change",
    "needs_user",
    "page_link",
    "released_by_text",
    "runbook_link",
    "service_history",
]
