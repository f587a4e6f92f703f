"""Foreign hosts, foreign origins and foreign forms."""

from __future__ import annotations

import pytest

from autocanary.page.request_checks import check_origin, parse_form

HOST = {"host": "127.0.0.1:8000"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "https://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
        {"origin": "HTTP://127.0.0.1:8000"},
    ],
)
def test_the_page_itself_may_post(headers: dict[str, str]) -> None:
    """Its own host, by either scheme: a proxy may end TLS."""
    assert check_origin({**HOST, **headers}) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example.com"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "http://127.0.0.1:8000.evil.example.com"},
        {"origin": "ftp://127.0.0.1:8000"},
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-site"},
        {"origin": "http://"},
    ],
)
def test_no_other_page_may(headers: dict[str, str]) -> None:
    """Whatever a browser is made to send."""
    assert check_origin({**HOST, **headers}) != ""
    assert check_origin({**headers}) != ""


def test_a_proxy_has_an_origin_of_its_own() -> None:
    """It may serve the page under another name than the pod's."""
    headers = {"host": "autocanary:8090", "origin": "https://canary.example.com"}
    assert check_origin(headers) != ""
    assert check_origin(headers, "https://canary.example.com") == ""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"verb=abort", "application/json"),
        (b"verb=abort", "text/plain"),
        (b"verb=abort", ""),
        (b"a=" + b"x" * 9000, "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % each for each in range(30)), "application/x-www-form-urlencoded"),
    ],
)
def test_other_bodies_are_refused(body: bytes, kind: str) -> None:
    """Short forms of the page alone."""
    with pytest.raises(ValueError, match="form"):
        parse_form(body, kind)


def test_a_form_is_read() -> None:
    """The last of each name, empty ones included."""
    fields = parse_form(b"verb=pause&verb=abort&reason=", "application/x-www-form-urlencoded; charset=utf-8")
    assert fields == {"verb": "abort", "reason": ""}
