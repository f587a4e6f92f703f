"""Tests of autocanary.model.url_template."""

from __future__ import annotations

import pytest

from autocanary.errors import InputError
from autocanary.model.url_template import URL_PLACEHOLDERS, fill_url, url_placeholders

VALUES: dict[str, str | float] = {"service": "mnist", "revision": "mnist-predictor-00002", "window": 90.0}


def test_placeholders_of_path_and_query_are_filled() -> None:
    """With and without blanks; a window is in seconds."""
    filled = fill_url("https://eval.example/{{service}}/score?r={{ revision }}&w={{ window }}", VALUES)
    assert filled == "https://eval.example/mnist/score?r=mnist-predictor-00002&w=90s"


def test_values_never_become_syntax() -> None:
    """Whatever a name holds, it is one component of the URL."""
    filled = fill_url("https://eval.example/{{ service }}?r={{ service }}", {"service": "../a?b=c&d#e f/ü"})
    assert filled == "https://eval.example/..%2Fa%3Fb%3Dc%26d%23e%20f%2F%C3%BC?r=..%2Fa%3Fb%3Dc%26d%23e%20f%2F%C3%BC"


@pytest.mark.parametrize("url", ["https://{{ service }}.example/", "https://eval:{{ window }}/", "http://{{service}}"])
def test_host_is_written_out(url: str) -> None:
    """No service's name decides which host is reached."""
    with pytest.raises(InputError, match="before the path"):
        fill_url(url, VALUES)


@pytest.mark.parametrize("url", ["https://a/{{ }}", "https://a/{{ service", "https://a/}}", "https://a/{{ a b }}"])
def test_braces_that_are_no_placeholder(url: str) -> None:
    """They are said with the place, not sent."""
    with pytest.raises(InputError, match="malformed placeholder"):
        url_placeholders(url)


def test_unknown_placeholder_names_the_known_ones() -> None:
    """A typo is found before the service is asked."""
    with pytest.raises(InputError, match=r"unknown placeholder \{\{ revison \}\}: service, revision, window can"):
        fill_url("https://a/{{ revison }}", VALUES)


def test_every_placeholder_has_its_meaning() -> None:
    """Those of the reference are those that can be filled."""
    url = "https://a/" + "/".join(f"{{{{ {name} }}}}" for name in URL_PLACEHOLDERS)
    assert fill_url(url, dict.fromkeys(URL_PLACEHOLDERS, "x")) == "https://a/" + "/".join("x" for _ in URL_PLACEHOLDERS)
