"""Measurements in, verdict out: has the candidate passed, failed, or is it too early to say?

Thresholds, and sequential tests that compare the candidate with stable. Pure functions and values on the
standard library's ``math``.
Must never be here: knowledge of Kubernetes, of rollout steps, or of where a measurement came from.
"""

from autocanary.analysis.analyse import analyse
from autocanary.analysis.verdict import AnalysisInput, Evaluation, Outcome, Verdict

__all__ = ["AnalysisInput", "Evaluation", "Outcome", "Verdict", "analyse"]
