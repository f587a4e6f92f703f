"""Tests of autocanary.limits."""

from __future__ import annotations

from autocanary import limits
from autocanary.policy_files.reference_page import render_reference


def test_every_limit_is_in_the_table_and_the_table_in_the_documentation() -> None:
    """A limit that users cannot find would surprise them."""
    values = [value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)]
    assert sorted(each.most for each in limits.LIMITS) == sorted(values)
    page = render_reference()
    for each in limits.LIMITS:
        assert f"| {each.subject} | {each.most:,} {each.unit} |" in page
