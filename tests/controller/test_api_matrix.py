"""Every fault of the API server at every call of the controller, in the simulated world: the same decisions each time."""

from __future__ import annotations

import pytest

from autocanary.errors import Conflict
from autocanary.model.decision import Event
from autocanary.simulator.fault_injection import FaultTiming
from tests.controller.driver import FaultPoint, WriteFaults
from tests.controller.scenarios import Outcome, run_with_faults, run_without_faults
from tests.matrices.__main__ import markdown, matrices
from tests.matrices.api_faults import CALLS, FAULTS, RESTARTED_OUTCOME, ApiCall, ApiFault, rows

HOLDS = (Event.HELD.value, Event.RESUMED.value)
_BEFORE = {"refresh": "weight", "read": "update_status"}
"""These calls are only made after a conflict at that one."""
_TIMES = 3


def assert_same_outcome(outcome: Outcome, expected: Outcome) -> bool:
    """But for holds; and a record that could not be pruned stays until the next end."""
    notified = {name: tuple(each for each in events if each not in HOLDS) for name, events in outcome.events.items()}
    kept = {name: phase_and_reason for name, phase_and_reason in outcome.endings.items() if name in expected.endings}
    events = {name: notified.get(name) for name in expected.events}
    return kept == expected.endings and outcome.weights == expected.weights and events == expected.events


@pytest.mark.parametrize("compared", [False, True], ids=["thresholds", "comparisons"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name)
@pytest.mark.parametrize("call", CALLS, ids=lambda each: each.verb)
def test_api_fault_has_documented_effect(call: ApiCall, fault: ApiFault, compared: bool) -> None:
    """The call fails three times in a row, from its second time on where it is made often."""
    lost = fault.status == 0
    expected = run_without_faults(call.scenario, compared=compared)
    first = min(2, expected.writes.count(call.verb)) or 1
    seen = {"calls": 0, "struck": 0}
    indirect = _BEFORE.get(call.verb)

    def timing(_: int, verb: str) -> tuple[FaultPoint, BaseException] | None:
        if verb != (indirect or call.verb):
            return None
        seen["calls"] += 1
        if not first <= seen["calls"] < first + _TIMES:
            return None
        seen["struck"] += 1
        if indirect:
            return FaultPoint.BEFORE, Conflict("the object has been modified", status=409)
        return (FaultPoint.AFTER if lost else FaultPoint.BEFORE), fault.at(call.verb)

    armed: list[WriteFaults] = []

    def prepare(write_faults: WriteFaults) -> None:
        if indirect:
            armed.append(write_faults)
            write_faults.next(fault.error(), timing=FaultTiming.AFTER if lost else FaultTiming.BEFORE, verb=call.verb)

    outcome, driver = run_with_faults(call.scenario, timing, prepare=prepare, compared=compared)
    assert seen["struck"], "it was never made"
    assert all(call.verb in write_faults.reads for write_faults in armed), "it was never made"
    assert assert_same_outcome(outcome, expected), f"{outcome}; expected {expected}"
    if call.expected(fault) != RESTARTED_OUTCOME:
        assert len(outcome.messages) == len(set(outcome.messages))
    share = driver.share("00002")
    if call.scenario == "unstaged":
        assert share == sorted(share), "it jumped"


def test_the_matrices_are_printed_as_tables() -> None:
    """One section per matrix; every row as wide as its head."""
    text = "\n".join(markdown(each) for each in matrices())
    assert "## Faults of the API server" in text
    for fault, call, expected in rows():
        assert f"| {fault} | {call} | {expected} |" in text
    for each in matrices():
        head, *body = each.rows()
        assert {len(row) for row in body} == {len(head)}
