"""Other tools' rules, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.judge.peers import Argo, Flagger, Kayenta, Pooled, Rule, _mann_whitney
from benchmarks.judge.traffic import TickCounts


def ends(rule: Rule, *minutes: tuple[int, int], stable: tuple[int, int] = (900, 0)) -> int | None:
    """The tick at which one run is ended; each minute's (requests, failures) come in its first tick."""
    tick = 0
    for n_c, e_c in minutes:
        for first in (True, False, False, False, False, False):
            tick += 1
            row = (n_c, e_c, *stable) if first else (0, 0, 0, 0)
            if rule.update(0, TickCounts(*(np.array([each]) for each in row)))[0]:
                return tick
    return None


def test_flagger_rolls_back_one_tick_after_the_fifth_failed_check() -> None:
    """Checks add up, good minutes between them do not help, and no request is a failed check."""
    bad, good, none = (100, 2), (100, 1), (0, 0)
    assert ends(Flagger(1), *[bad] * 7) == 36
    assert ends(Flagger(1), bad, good, bad, none, good, bad, bad, good) == 48
    assert ends(Flagger(1), *[bad] * 4, *[good] * 20) is None


def test_argo_aborts_at_the_first_failure() -> None:
    """One minute above 1 %; a minute of exactly 1 % or without requests is none."""
    assert ends(Argo(1), (100, 1), (0, 0), (100, 2)) == 18
    assert ends(Argo(1), *[(100, 1)] * 30) is None


def test_pooled_z_test_stops_beyond_its_quantile() -> None:
    """10 of 100 against 45 of 900: z = 2.09; 11 of 100: z = 2.49; the limit is 2.33."""
    assert ends(Pooled(1), (100, 10), stable=(900, 45)) is None
    assert ends(Pooled(1), (100, 11), stable=(900, 45)) == 1


def test_kayenta_judges_every_ten_minutes() -> None:
    """Ten minutes that are all worse end the run at the tenth, not before; equal ones never do."""
    assert ends(Kayenta(1), *[(100, 5)] * 12, stable=(900, 9)) == 60
    assert ends(Kayenta(1), *[(100, 1)] * 40, stable=(900, 9)) is None


def test_mann_whitney_with_ties() -> None:
    """U = 12.5 of 16 with one pair of ties among eight: z = (12.5 - 8 - 0.5) / sqrt(16/12 * (9 - 6/56))."""
    found = _mann_whitney(np.array([[3.0, 4.0, 6.0, 8.0]]), np.array([[1.0, 2.0, 4.0, 5.0]]))
    assert found[0] == pytest.approx((12.5 - 8 - 0.5) / np.sqrt(16 / 12 * (9 - 6 / 56)))
    assert _mann_whitney(np.zeros((1, 4)), np.zeros((1, 4)))[0] == 0.0
