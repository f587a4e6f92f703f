"""Every promise on the page of guarantees names a test that exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, text_of
from tests.traps.trap_list import TRAPS

_ROWS = [line for line in text_of("docs/guarantees.md").splitlines() if re.match(r"\| (?!Promise)[^-]", line)]


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[2:60])
def test_the_proof_exists(row: str) -> None:
    """A file, a function in it, or traps of that name."""
    named = re.findall(r"`([^`]+)`", row.rsplit("|", 2)[1])
    assert named or "judge-benchmark.md" in row, "no proof is named"
    for name in named:
        if not name.startswith(("tests/", "python ")):
            known = [trap.name for trap in TRAPS if trap.name.startswith(name.rstrip("*"))]
            assert known, f"no trap is called {name}"
        elif name.startswith("tests/"):
            path, _, function = name.partition("::")
            assert (ROOT / path).exists(), f"{path} does not exist"
            assert not function or f"def {function}(" in (ROOT / path).read_text(), f"{name} does not exist"


def test_every_trap_has_a_name_of_its_own() -> None:
    """The names are what users and this page refer to."""
    names = [trap.name for trap in TRAPS]
    assert len(names) == len(set(names))
    assert len(_ROWS) >= 20
