"""The clock that never jumps."""

from __future__ import annotations

from autocanary.scheduler.clock import SteadyClock


class FakeClocks:
    """A wall clock and a monotonic clock, moved by hand."""

    wall, monotonic = 1_700_000_000.0, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def test_it_starts_at_the_wall_clock_and_goes_on_with_time() -> None:
    """Epoch seconds, so that they mean the same after a restart."""
    hands = FakeClocks()
    clock = SteadyClock(lambda: hands.wall, lambda: hands.monotonic)
    assert clock.now() == 1_700_000_000.0
    hands.pass_by(30)
    assert clock.now() == 1_700_000_030.0
    assert clock.drift() == 0.0


def test_a_stepped_wall_clock_moves_no_deadline() -> None:
    """Neither forward nor back; the distance is logged."""
    hands = FakeClocks()
    clock = SteadyClock(lambda: hands.wall, lambda: hands.monotonic)
    hands.wall += 3600
    assert clock.now() == 1_700_000_000.0
    assert clock.drift() == 3600.0
    hands.wall -= 7200
    assert clock.now() == 1_700_000_000.0
    assert clock.drift() == -3600.0


def test_the_real_one_never_goes_back() -> None:
    """Two evaluations in order are in order."""
    clock = SteadyClock()
    assert clock.now() <= clock.now()
