"""Ended rollouts are kept compressed, and read the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from autocanary.app.demo_run import Demo
from autocanary.model.packed_record import PackedDecisions, PackedSeries, pack_record
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import from_document, to_document


def _record(name: str = "errors", seconds: float = 900.0) -> Rollout:
    demo = Demo(name)
    demo.advance(seconds)
    [(found, _, _)] = demo.shown()
    return from_document(json.loads(json.dumps(to_document(found))))


def test_a_packed_record_is_the_record() -> None:
    """To comparisons, to the API server, and to every way of reading."""
    plain = _record()
    packed = pack_record(plain)
    decisions, series = packed.progress.decisions, packed.progress.series
    assert isinstance(decisions, PackedDecisions)
    assert isinstance(series, PackedSeries)
    assert (packed == plain, plain == packed, packed == pack_record(plain)) == (True, True, True)
    assert json.dumps(to_document(packed), sort_keys=True) == json.dumps(to_document(plain), sort_keys=True)
    assert (len(decisions), list(decisions)) == (len(plain.progress.decisions), list(plain.progress.decisions))
    assert decisions[-1] == plain.progress.decisions[-1]
    assert list(decisions[1:]) == list(plain.progress.decisions[1:])
    assert next(reversed(decisions)) == plain.progress.decisions[-1]
    assert dict(series) == dict(plain.progress.series)
    assert series.get("not there") is None
    assert pack_record(packed) is packed


def test_another_record_is_another() -> None:
    """Equality looks into what is packed."""
    one, other = _record("errors"), _record("slow")
    packed = pack_record(one)
    assert packed.progress.decisions != other.progress.decisions
    assert packed.progress.decisions != pack_record(other).progress.decisions
    assert packed.progress.series != pack_record(other).progress.series


def test_a_running_rollout_is_left_as_it_is() -> None:
    """Each evaluation reads and adds."""
    running = _record("healthy", 200.0)
    assert pack_record(running) is running


@pytest.mark.parametrize("name", ["errors", "approval", "worse-than-stable"])
def test_it_takes_a_fraction_of_the_memory(name: str) -> None:
    """Decisions with their inputs are most of a record."""
    plain = _record(name).progress
    packed = pack_record(_record(name)).progress
    held = _bytes(plain.decisions) + _bytes(plain.series)
    kept = _bytes(packed.decisions) + _bytes(packed.series)
    assert held > 4 * kept


def _bytes(value: Any) -> int:
    """Of a value of JSON, or of a packed one."""
    if isinstance(value, PackedDecisions | PackedSeries):
        return sys.getsizeof(value._packed)
    size = sys.getsizeof(value)
    if isinstance(value, Mapping):
        return size + sum(_bytes(each) for pair in value.items() for each in pair)
    return size + sum(map(_bytes, value)) if isinstance(value, list | tuple) else size
