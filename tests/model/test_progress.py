"""A recorded progress that a user has edited is refused, with the field that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.model.progress import Progress
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
    ],
)
def test_a_field_of_another_kind_is_named(name: str, value: Any) -> None:
    """ValueError says which field it is, before anything is decided from it."""
    with pytest.raises(ValueError, match=f"progress.{name}"):
        Progress.from_dict({**progress(1, 25).to_dict(), name: value})


def test_what_was_written_is_read() -> None:
    """The check lets everything through that autocanary writes, whole seconds too."""
    kept = progress(1, 25, verified_at=5, delivered_notifications=("a",), warnings_sent=("b",), from_weight=None)
    assert Progress.from_dict(kept.to_dict()) == kept
