"""Debian's chromium, driven by Playwright; skipped with a reason where it is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.testbed import setup
from tests.testbed.servers.skip_without_servers import require_servers

__all__ = ["AXE", "console_errors", "open_browser", "opened_page", "serious_faults"]

AXE = Path(__file__).parent / "vendor/axe.min.js"
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}
_WAIT_MILLISECONDS = 20_000


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    require_servers(setup.CHROMIUM)
    expect.set_options(timeout=_WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(setup.find(setup.CHROMIUM)),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def opened_page(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """A page in a context of its own, with what went wrong in it (``console_errors``)."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(_WAIT_MILLISECONDS)
    page = context.new_page()
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("dialog", lambda dialog: found.append(f"dialog: {dialog.message}"))
    page.console_errors = found  # type: ignore[attr-defined]
    page.goto(address)
    yield page
    context.close()


def console_errors(page: Page) -> list[str]:
    """Errors of scripts, blocked requests, and dialogs."""
    return list(page.console_errors)  # type: ignore[attr-defined]


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds on the page that is serious or critical."""
    page.evaluate(AXE.read_text("utf-8") + "; undefined")
    result = page.evaluate("options => axe.run(document, options)", _RULES)
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for each in result["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
