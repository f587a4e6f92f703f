"""Links: the permalink of a rollout, and a runbook by reason."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.views import page_link, runbook_link
from autocanary.views.links import unknown_placeholder

PLACE = ("models", "mnist", "mnist-00002", "WorseThanStable")


def test_a_page_has_a_permalink() -> None:
    """Below the external URL, with or without a slash; a template is the whole link."""
    assert page_link("https://c.example.com/", *PLACE) == "https://c.example.com/rollouts/models/mnist-00002"
    assert (
        page_link("https://c.example.com/{service}?r={rollout}", *PLACE) == "https://c.example.com/mnist?r=mnist-00002"
    )
    assert page_link("", *PLACE) == runbook_link("", *PLACE) == ""


def test_a_runbook_is_chosen_by_the_reason() -> None:
    """A team has a page per reason."""
    assert runbook_link("https://w/{reason}", *PLACE) == "https://w/WorseThanStable"


@pytest.mark.parametrize(
    "template", ["https://w/{", "https://w/}", "https://w/{nope}", "https://w/{}", "https://w/{service.x}"]
)
def test_an_unknown_brace_is_an_error_in_words(template: str) -> None:
    """Said when the service starts, and not at the first rollback."""
    assert unknown_placeholder(template)


@given(st.text(min_size=1, max_size=20))
def test_foreign_names_stay_inside_their_place(name: str) -> None:
    """No name adds a host, a query or white space."""
    link = page_link("https://c.example.com", name.encode("utf-8", "replace").decode(), "s", "r", "x")
    parts = urlsplit(link)
    assert (parts.netloc, parts.query, parts.fragment) == ("c.example.com", "", "")
    assert not any(letter.isspace() or letter in '<>|"' for letter in link)
