"""Exit codes: a pipeline must tell "rolled back" from "no idea"."""

from __future__ import annotations

import pytest

from autocanary.cli import exits
from autocanary.errors import (
    AutocanaryError,
    Busy,
    Conflict,
    DeliveryError,
    Forbidden,
    InputError,
    MetricsRefused,
    MetricsUnreachable,
    NotFound,
    NotLeader,
    PolicyError,
    Problem,
    Refused,
    SettingsError,
    Unreachable,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), exits.UNREACHABLE),
        (Busy("x"), exits.UNREACHABLE),
        (Forbidden("x"), exits.UNREACHABLE),
        (NotFound("x"), exits.UNREACHABLE),
        (MetricsUnreachable("x"), exits.UNREACHABLE),
        (Conflict("x"), exits.NO),
        (Refused("x"), exits.NO),
        (MetricsRefused("x"), exits.NO),
        (PolicyError((Problem("p", 1, 1, "x"),)), exits.NO),
        (NotLeader("x"), exits.NO),
        (DeliveryError("x"), exits.NO),
        (SettingsError("x"), exits.USAGE),
        (InputError("x"), exits.USAGE),
    ],
)
def test_every_error_has_the_code_of_its_kind(error: AutocanaryError, code: int) -> None:
    """3 only where nothing could be found out, 2 only where the person wrote something wrong."""
    assert exits.code_of(error) == code


def test_the_documented_codes() -> None:
    """Scripts compare these numbers."""
    assert (exits.DONE, exits.NO, exits.USAGE, exits.UNREACHABLE) == (0, 1, 2, 3)
