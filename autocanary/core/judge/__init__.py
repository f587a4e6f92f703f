"""Readings -> verdict: has the candidate passed, failed, or is it too early to say?

Lives here: ``verdict`` (the answer as a value) and ``threshold`` (what the user calls unacceptable).
Must never be here: knowledge of weights, steps, Kubernetes or where a reading came from.
"""

from autocanary.core.judge.threshold import judge
from autocanary.core.judge.verdict import Outcome, Verdict

__all__ = ["Outcome", "Verdict", "judge"]
