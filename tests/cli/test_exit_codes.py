"""Exit codes: a pipeline must tell "rolled back" from "no idea"."""

from __future__ import annotations

import pytest

from autocanary.cli import printing
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
        (Unreachable("x"), printing.UNREACHABLE),
        (Busy("x"), printing.UNREACHABLE),
        (Forbidden("x"), printing.UNREACHABLE),
        (NotFound("x"), printing.UNREACHABLE),
        (MetricsUnreachable("x"), printing.UNREACHABLE),
        (Conflict("x"), printing.FAILURE),
        (Refused("x"), printing.FAILURE),
        (MetricsRefused("x"), printing.FAILURE),
        (PolicyError((Problem("p", 1, 1, "x"),)), printing.FAILURE),
        (NotLeader("x"), printing.FAILURE),
        (DeliveryError("x"), printing.FAILURE),
        (SettingsError("x"), printing.USAGE),
        (InputError("x"), printing.USAGE),
    ],
)
def test_every_error_has_the_code_of_its_kind(error: AutocanaryError, code: int) -> None:
    """3 only where nothing could be found out, 2 only where the command line is wrong."""
    assert printing.exit_code_for(error) == code


def test_the_documented_codes() -> None:
    """Scripts compare these numbers."""
    assert (printing.SUCCESS, printing.FAILURE, printing.USAGE, printing.UNREACHABLE) == (0, 1, 2, 3)
