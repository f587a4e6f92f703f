"""45 seconds of the structured fuzzer beside a victim; ``python -m tests.hostile.fuzz`` is the long run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.fuzz import run
from tests.hostile.hostile_documents import KINDS, draft
from tests.testbed.servers import require_servers
from tests.testbed.setup import FAKETIME


@pytest.mark.real
@pytest.mark.timeout(300)
def test_hostile_objects_delay_no_rollback_of_the_victim(tmp_path: Path) -> None:
    """Every victim in time, the watches whole, memory under the chart's limit; hundreds of objects arrived."""
    require_servers(FAKETIME)
    figures = run(tmp_path, seconds=45, seed=1)
    print(figures)  # noqa: T201
    assert sum(figures.objects.values()) >= 200
    assert len(figures.victims) >= 2
    assert figures.statuses[201] >= 20
    assert sum(number for status, number in figures.statuses.items() if status >= 400) >= 20


@pytest.mark.parametrize("kind", KINDS)
def test_document_follows_from_its_seed(kind: str) -> None:
    """So that what has failed can be sent again."""
    one, same, other = (draft(kind, "ns", seed) for seed in ("7/1", "7/1", "7/2"))
    assert (one.spec_body, one.status_body) == (same.spec_body, same.status_body)
    assert (one.spec_body, one.status_body) != (other.spec_body, other.status_body)
