"""The heartbeat of the tick."""

from __future__ import annotations

from autocanary.scheduler.clock import Heartbeat


def test_its_age_grows_until_it_is_touched() -> None:
    """Before the first touch it is as old as itself, so that a tick that never came is noticed."""
    now = [100.0]
    heartbeat = Heartbeat(lambda: now[0])
    assert heartbeat.age() == 0.0
    now[0] = 130.0
    assert heartbeat.age() == 30.0
    heartbeat.touch()
    assert heartbeat.age() == 0.0
    now[0] = 131.5
    assert heartbeat.age() == 1.5
