"""A recorded progress that a user has edited is refused, with the field that is wrong."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from autocanary.model.progress import Progress
from autocanary.model.progress_json import FIELD_PLACES, progress_from_json, progress_to_json, with_stored_fields
from tests.decide.builders import progress


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", "2"),
        ("step", True),
        ("weight", [10]),
        ("weight", 1.5),
        ("started_at", None),
        ("verified_at", "now"),
        ("verified_at", float("nan")),
        ("message", 7),
        ("promote_all", 1),
        ("metrics", []),
        ("metrics", {"request-success-rate": "good"}),
        ("delivered_notifications", "abc"),
        ("delivered_notifications", [1]),
        ("pending_notifications", ["x"]),
        ("webhooks_passed", {}),
        ("version", True),
    ],
)
def test_a_field_of_another_kind_is_named(name: str, value: Any) -> None:
    """ValueError says which field it is, before anything is decided from it."""
    with pytest.raises(ValueError, match=f"progress.{name}"):
        progress_from_json({**progress_to_json(progress(1, 25)), name: value})


def test_what_was_written_is_read() -> None:
    """The check lets everything through that autocanary writes, whole seconds too."""
    kept = progress(1, 25, verified_at=5, delivered_notifications=("a",), warnings_sent=("b",), from_weight=None)
    assert progress_from_json(progress_to_json(kept)) == kept


RECORDS = (Path(__file__).parent / "records" / "progress.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("record", RECORDS, ids=[json.loads(each)["phase"] for each in RECORDS])
def test_a_record_of_before_is_written_the_same(record: str) -> None:
    """Byte for byte, whatever values a progress is made of now: another version has to read it."""
    assert json.dumps(progress_to_json(progress_from_json(json.loads(record)))) == record


ADDED_LATER = {"weight_unshown"}
"""Fields that no record of before has: left out, they have their default."""


def test_the_records_of_before_hold_every_field() -> None:
    found = set().union(*(json.loads(each) for each in RECORDS))
    assert found == {*FIELD_PLACES, "version"} - ADDED_LATER


def test_every_field_is_stored() -> None:
    """A field without a place in the document would be lost at a restart."""
    own = [each.name for each in fields(Progress) if not is_dataclass(getattr(progress(), each.name))]
    parts = [each.name for each in fields(Progress) if each.name not in own]
    members = [f"{part}.{each.name}" for part in parts for each in fields(getattr(progress(), part))]
    assert sorted(FIELD_PLACES.values()) == sorted([*own, *members])


def test_a_field_is_replaced_by_its_stored_name() -> None:
    before = progress(1, 25)
    after = with_stored_fields(before, {"message": "held", "held_since": 5.0, "step_started_at": 4.0})
    assert (after.message, after.hold.since, after.step.started_at) == ("held", 5.0, 4.0)
    assert (after.step.weight, after.outbox) == (25, before.outbox)
    with pytest.raises(KeyError):
        with_stored_fields(before, {"held": 5.0})
