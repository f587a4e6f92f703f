"""Virtual time moves only when advanced, and what is planned happens in order."""

from __future__ import annotations

from autocanary.simulator.virtual_clock import VirtualClock


def test_actions_run_at_their_time_in_call_order() -> None:
    """Each sees its own instant as now; two of one instant keep their order."""
    clock = VirtualClock(100.0)
    seen: list[tuple[str, float]] = []
    clock.call_at(103.0, lambda: seen.append(("late", clock.now())))
    clock.call_at(101.0, lambda: seen.append(("first", clock.now())))
    clock.call_at(101.0, lambda: seen.append(("second", clock.now())))
    clock.advance(2.0)
    assert seen == [("first", 101.0), ("second", 101.0)]
    assert (clock.now(), clock.next_due()) == (102.0, 103.0)
    clock.advance_to(200.0)
    assert seen[-1] == ("late", 103.0)
    assert (clock.now(), clock.next_due()) == (200.0, None)


def test_action_may_schedule_another_in_the_same_advance() -> None:
    """What becomes due on the way is done on the way."""
    clock = VirtualClock(0.0)
    seen: list[float] = []

    def again() -> None:
        seen.append(clock.now())
        if clock.now() < 3:
            clock.call_at(clock.now() + 1, again)

    clock.call_at(1.0, again)
    clock.advance(10.0)
    assert seen == [1.0, 2.0, 3.0]


def test_time_never_runs_backwards() -> None:
    """An instant that has passed moves nothing, and what was planned for it happens now."""
    clock = VirtualClock(50.0)
    seen: list[float] = []
    clock.call_at(10.0, lambda: seen.append(clock.now()))
    clock.advance_to(20.0)
    assert (clock.now(), seen) == (50.0, [50.0])
