"""The evidence of gross failure, evaluation by evaluation: it does not wait for a block of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from autocanary.analysis.e_values import LogRatios, inferiority_ratios, log_mean, log_mix
from autocanary.analysis.packed_floats import pack_floats, unpack_floats
from autocanary.analysis.parameters import FACTOR_WEIGHTS, ComparisonParameters

__all__ = ["NO_FAST_PATH", "NO_GROSS", "FastPath", "smallest_ratios"]


NO_GROSS = (0.0,) * 4


@dataclass(frozen=True, slots=True)
class FastPath:
    """Gross failure, evaluation by evaluation.

    The sides are not counted over the same seconds: one may be a scrape ahead of the other, and so show the
    beginning or the end of an outage of both earlier. So the candidate's counts are compared one evaluation
    late, with those that stable had at the same evaluation, at the one before and at the one after, and the
    smallest ratio counts. What strikes both sides is seen in one of them.

    ``ratios`` are the logarithms of the terms. ``gross`` says that most requests fail now: logarithms of
    likelihood ratios over the last evaluations, from where they are largest; one evaluation is never enough,
    because a burst ends with it. ``candidate`` and ``stable`` are the (requests, failures) of the last
    evaluation, and of the last two.
    """

    ratios: LogRatios = ()
    gross: LogRatios = ()
    candidate: tuple[int, int] | None = None
    stable: tuple[tuple[int, int], ...] = ()

    def evidence(self, unused_weight: float) -> float:
        """log E. The smaller of an e-process and anything is below an e-process: gross needs to be none."""
        if not self.ratios:
            return min(0.0, log(unused_weight))
        return min(log_mix(self.ratios, FACTOR_WEIGHTS, unused_weight), log_mean(self.gross))

    def without_previous(self) -> FastPath:
        """What was counted before is not compared with what comes: the split changed, or a side was silent."""
        return FastPath(self.ratios, self.gross)

    def to_list(self) -> list[Any]:
        candidate = list(self.candidate) if self.candidate is not None else None
        return [pack_floats(self.ratios), pack_floats(self.gross), candidate, [list(each) for each in self.stable]]

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> FastPath:
        candidate = (raw[2][0], raw[2][1]) if raw[2] is not None else None
        return cls(unpack_floats(raw[0]), unpack_floats(raw[1]), candidate, tuple((n, e) for n, e in raw[3]))


NO_FAST_PATH = FastPath()


def smallest_ratios(fast_path: FastPath, parameters: ComparisonParameters, stable_now: tuple[int, int]) -> LogRatios:
    """The candidate's last counts against stable's of three evaluations; at most the ratio of the same one."""
    n_c, e_c = fast_path.candidate or (0, 0)
    smallest = inferiority_ratios(
        n_c, fast_path.stable[-1][0], [(e_c, fast_path.stable[-1][1])], parameters.fail_margin
    )[0]
    for n_s, e_s in (*fast_path.stable[:-1], stable_now):
        if n_s > 0:
            smallest = tuple(map(min, smallest, inferiority_ratios(n_c, n_s, [(e_c, e_s)], parameters.fail_margin)[0]))
    return smallest
