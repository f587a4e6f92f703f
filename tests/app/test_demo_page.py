"""The demo's page: each scenario a namespace, and acts that happen in its world."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from autocanary.app.demo_page import DemoPage
from autocanary.app.demo_run import Demo
from autocanary.model.progress import Phase


@pytest.fixture
def page() -> Iterator[DemoPage]:
    made = DemoPage()
    yield made
    made.close()


def _ask(page: DemoPage, path: str, body: str | None = None) -> tuple[int, str]:
    parts = urlsplit(page.address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    headers = {"Origin": f"http://{parts.netloc}", "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST" if body is not None else "GET", path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_both_scenarios_are_on_one_page(page: DemoPage) -> None:
    """The earlier one stays as it ended."""
    for name in ("errors", "healthy"):
        demo = Demo(name, page=page)
        demo.advance(200.0)
    code, text = _ask(page, "/")
    assert code == 200
    assert text.count(">mnist<") == 2
    assert "Rolled back" in text
    assert _ask(page, "/rollouts/healthy/mnist-00002")[0] == 200
    assert ">2<" not in _ask(page, "/policies")[1]


def test_an_abort_on_the_page_happens_in_the_world(page: DemoPage) -> None:
    """With the next moment of the demo."""
    demo = Demo("healthy", page=page)
    demo.advance(100.0)
    assert "Abort" in _ask(page, "/rollouts/healthy/mnist-00002")[1]
    assert _ask(page, "/rollouts/healthy/mnist-00002/act", "verb=abort&reason=demo")[0] == 303
    demo.advance(20.0)
    demo.advance(20.0)
    [(rollout, _, _)] = demo.shown()
    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert "Rolled back" in _ask(page, "/rollouts/healthy/mnist-00002")[1]


def test_a_value_that_has_not_changed_stays_the_same(page: DemoPage) -> None:
    """Live updates go by identity."""
    demo = Demo("healthy", page=page)
    demo.advance(100.0)
    [before] = page.rollouts()
    demo.advance(0.5)
    assert page.rollouts()[0] is before
