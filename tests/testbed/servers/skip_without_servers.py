"""The rule for skipping: without a server a test skips and says how to get it, unless that is forbidden."""

from __future__ import annotations

import os

import pytest

from tests.testbed import setup


def missing_servers(*names: str) -> list[str]:
    """Which of the named programs, all of the testbed's by default, are not on this machine."""
    wanted = names or tuple(server.name for server in setup.SERVERS)
    return [name for name in wanted if setup.find(name) is None]


def require_servers(*names: str) -> None:
    """Skip the calling test, or fail it under AUTOCANARY_TEST_REAL=required, when a program is missing."""
    missing = missing_servers(*names)
    if not missing:
        return
    extras = "".join(f" --with {extra.name}" for extra in setup.EXTRAS if extra.name in missing)
    skip_unless_required(f"missing on this machine: {', '.join(missing)}; `{setup.SETUP_COMMAND}{extras}` gets them")


def skip_unless_required(reason: str) -> None:
    """Skip the calling test for what this machine lacks, or fail it under AUTOCANARY_TEST_REAL=required."""
    if os.environ.get(setup.REQUIRED_VARIABLE) == "required":
        pytest.fail(f"{reason} ({setup.REQUIRED_VARIABLE}=required forbids skipping)", pytrace=False)
    pytest.skip(reason)
