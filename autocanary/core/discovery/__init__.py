"""What a look at a service with no rollout running finds: a release to roll out, one missed, one to undo.

Pure: one observation, the policy that selects the service, what the ledger knows of it, and what was
remembered from earlier looks.

Lives here: ``starting`` (what starts a rollout) and ``born`` (its first state), ``found`` (the answers),
``memory`` (what earlier looks taught), ``kept_out`` (candidates that wait for a person), ``missed`` (those
that took all traffic between two looks), and ``mending`` (traffic given away with no rollout running).
Must never be here: how a rollout that has begun goes on (``rules``).
"""

from autocanary.core.discovery.found import Mend, Nothing, Refusal, Start
from autocanary.core.discovery.memory import SETTLED_AFTER, Memory, in_force, remember
from autocanary.core.discovery.starting import discover, retried

__all__ = [
    "SETTLED_AFTER",
    "Memory",
    "Mend",
    "Nothing",
    "Refusal",
    "Start",
    "discover",
    "in_force",
    "remember",
    "retried",
]
