"""The page in a real browser: what users see, live, by mouse and keyboard, without JavaScript, and in every size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from autocanary.app.demo_page import DemoPage
from autocanary.app.demo_run import Demo
from autocanary.errors import Forbidden
from autocanary.model.policy import Selector
from autocanary.model.progress import Phase
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from tests.cli.fake_client import POLICY, decision, observation, rollout
from tests.page.browser import console_errors, open_browser, opened_page, serious_faults
from tests.page.compared import run_compared
from tests.page.served import NOW, FakeAccess, FakeSource, ServedPage

pytestmark = pytest.mark.real

HOSTILE = '"><script>window.evil=1</script><img src=x onerror="window.evil=2">'
SIZES = ({"width": 390, "height": 844}, {"width": 1600, "height": 1000})
PATHS = (
    "/",
    "/?q=nothing-like-it",
    "/rollouts/models/mnist-00002",
    "/rollouts/vision/resnet-00002",
    "/services/models/mnist",
    "/rollouts/models/mnist-00002/decisions/2",
    "/policies",
    "/nothing/there",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def demo_page() -> Iterator[DemoPage]:
    page = DemoPage()
    yield page
    page.close()


def _source() -> FakeSource:
    compared, policy = run_compared(seconds=400)
    steps = (
        decision(5, "rollout_started", 0, "RolloutStarted", "mnist-predictor-00002 will replace mnist-predictor-00001"),
        decision(60, "step_taken", 10, "StepPassed", "success rate 99.7 %; 10 % of the traffic goes to it"),
    )
    gone = rollout(
        Phase.ROLLED_BACK, namespace="vision", service="resnet", reason=Reason.METRIC_VIOLATION, decisions=steps
    )
    paused = rollout(Phase.PAUSED, service="a-very-long-name-of-a-service-" * 3, reason=Reason.AWAITING_APPROVAL)
    return FakeSource(
        [compared, gone, paused],
        policy,
        [observation(compared, 20), observation(rollout(service="alone"), 0)],
        [policy],
        {"models/broken": ["spec.steps: expected a list"]},
        at=max(NOW, compared.progress.started_at + 400),
    )


def test_the_list_is_found_filtered_and_followed(browser: Browser) -> None:
    """By keyboard alone: skip link, search, the first rollout."""
    with ServedPage(_source(), FakeAccess()) as served, opened_page(browser, served.url) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("Rollouts")
        expect(page.get_by_role("row")).to_have_count(4)
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.get_by_role("searchbox", name="Search").fill("resnet")
        page.keyboard.press("Enter")
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_role("link", name="resnet").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("resnet")
        assert console_errors(page) == []


def test_one_rollout_is_watched_live_from_10_to_100_percent(browser: Browser, demo_page: DemoPage) -> None:
    """Without a reload: weight, steps, plots, decisions and the end."""
    demo = Demo("healthy", page=demo_page)
    demo.advance(60.0)
    with opened_page(browser, f"{demo_page.address}rollouts/healthy/mnist-00002") as page:
        page.evaluate("window.notReloaded = true")
        weight = page.locator(".weight-number")
        expect(weight).to_have_text("10")
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        seen = []
        for percent in ("25", "50", "100"):
            _advance_until(demo, partial(_has_weight, demo, int(percent)))
            expect(weight).to_have_text(percent)
            seen.append(percent)
        _advance_until(demo, lambda: demo.shown()[0][0].is_final)
        expect(page.locator(".why .badge")).to_contain_text("Promoted")
        expect(page.locator(".decision").first).to_contain_text("Promoted")
        expect(page.locator(".step-done")).to_have_count(4)
        expect(page).to_have_title("mnist: Promoted – autocanary")
        assert page.evaluate("window.notReloaded") is True
        assert console_errors(page) == []


def _has_weight(demo: Demo, percent: int) -> bool:
    return demo.shown()[0][0].progress.step.weight == percent


def _advance_until(demo: Demo, condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        demo.advance(2.0)
    raise AssertionError("it did not come")


def test_the_list_is_live(browser: Browser, demo_page: DemoPage) -> None:
    """A row changes in its place."""
    demo = Demo("errors", page=demo_page)
    demo.advance(50.0)
    with opened_page(browser, demo_page.address) as page:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        expect(page.locator(".row .badge")).to_contain_text("Progressing")
        page.evaluate("window.notReloaded = true")
        _advance_until(demo, lambda: demo.shown()[0][0].is_final)
        expect(page.locator(".row .badge")).to_contain_text("Rolled back")
        assert page.evaluate("window.notReloaded") is True
        assert console_errors(page) == []


def test_an_abort_by_a_click(browser: Browser, demo_page: DemoPage) -> None:
    """With a reason; the page says the answer, and what was typed is not thrown away by an update."""
    demo = Demo("healthy", page=demo_page)
    demo.advance(100.0)
    with opened_page(browser, f"{demo_page.address}rollouts/healthy/mnist-00002") as page:
        reason = page.get_by_label("Reason, for the record")
        reason.fill("INC-7")
        demo.advance(30.0)
        page.wait_for_timeout(1500)
        expect(reason).to_have_value("INC-7")
        page.get_by_role("button", name="Abort").click()
        expect(page.get_by_text("abort was requested")).to_be_visible()
        _advance_until(demo, lambda: demo.shown()[0][0].is_final)
        expect(page.locator(".why .badge")).to_contain_text("Rolled back")
        expect(page.locator("#answer")).not_to_be_empty()
        expect(page.get_by_role("button", name="Abort")).to_have_count(0)
        assert console_errors(page) == []
    [(found, _, _)] = demo.shown()
    assert found.progress.reason is Reason.ABORTED_BY_USER


def test_an_update_is_shown_while_the_user_types(browser: Browser, demo_page: DemoPage) -> None:
    """A button that is no longer possible goes away, and a new service appears in the list."""
    demo = Demo("errors", page=demo_page)
    demo.advance(60.0)
    with opened_page(browser, f"{demo_page.address}rollouts/errors/mnist-00002") as page:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.get_by_label("Reason, for the record").fill("INC-7")
        _advance_until(demo, lambda: demo.shown()[0][0].is_final)
        expect(page.locator(".why .badge")).to_contain_text("Rolled back")
        expect(page.get_by_role("button", name="Abort")).to_have_count(0)
        expect(page.get_by_role("button", name="Retry")).to_be_visible()
        expect(page.get_by_label("Reason, for the record")).to_have_value("INC-7")
        expect(page.get_by_label("Reason, for the record")).to_be_focused()
    source = FakeSource([rollout()], POLICY)
    with ServedPage(source, FakeAccess()) as served, opened_page(browser, served.url) as page:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        search = page.get_by_role("searchbox", name="Search")
        search.fill("resn")
        source.kept.append(rollout(service="third"))
        source.at += 60
        expect(page.get_by_role("link", name="third")).to_be_visible()
        expect(search).to_have_value("resn")
        expect(search).to_be_focused()
        assert console_errors(page) == []


def test_a_page_that_comes_back_by_the_back_button_is_live(browser: Browser) -> None:
    """The browser keeps it as it was, with its stream closed."""
    source = FakeSource([rollout()], POLICY)
    with ServedPage(source, FakeAccess()) as served, opened_page(browser, served.url) as page:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        for event in ("pagehide", "pageshow"):
            page.evaluate("name => window.dispatchEvent(new PageTransitionEvent(name, {persisted: true}))", event)
        source.kept = [
            replace(each, progress=with_stored_fields(each.progress, {"weight": 55})) for each in source.kept
        ]
        expect(page.locator(".row .num")).to_contain_text("55 %")


def test_without_the_right_there_is_no_button_and_the_api_refuses(browser: Browser) -> None:
    """A request that is made all the same gets the API server's 403."""
    access = FakeAccess(may_write=set(), error=Forbidden("ada cannot patch canaryrollouts", status=403))
    with ServedPage(_source(), access) as served:
        address = f"{served.url}/rollouts/models/mnist-00002"
        with opened_page(browser, address) as page:
            expect(page.locator("form button")).to_have_count(0)
            expect(page.get_by_text("You may look at this rollout, and not act on it")).to_be_visible()
            code = page.evaluate(
                "path => fetch(path, {method: 'POST', body: new URLSearchParams({verb: 'abort'})}).then(r => r.status)",
                "/rollouts/models/mnist-00002/act",
            )
            assert code == 403
    assert access.acts == []


def test_another_page_cannot_act(browser: Browser) -> None:
    """A form on a foreign site that the user is lured to."""
    access = FakeAccess()
    with ServedPage(_source(), access) as served, opened_page(browser, "about:blank") as page:
        target = f"{served.url}/rollouts/models/mnist-00002/act"
        page.set_content(f'<form method="post" action="{target}"><button name="verb" value="abort">x</button></form>')
        page.get_by_role("button").click()
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    assert access.acts == []


def test_hostile_names_and_messages_run_nothing(browser: Browser) -> None:
    """On every page, also when they come by a live update."""
    step = {**decision(60, "step_taken", 10, HOSTILE, HOSTILE), "requestedBy": HOSTILE, "requestReason": HOSTILE}
    bad = rollout(message=HOSTILE, decisions=(step, step))
    spec = {"model": {"storageUri": HOSTILE}}
    bad = replace(
        bad, candidate=HOSTILE, policy_name=HOSTILE, stable_spec=spec, candidate_spec={"model": {"a": HOSTILE}}
    )
    policy = replace(POLICY, name=HOSTILE, origin=HOSTILE, selector=Selector())
    source = FakeSource([bad], POLICY, [], [policy], {HOSTILE: [HOSTILE]}, cluster_name=HOSTILE, unread=[HOSTILE])
    with ServedPage(source, FakeAccess()) as served:
        for path in PATHS:
            with opened_page(browser, f"{served.url}{path}") as page:
                page.wait_for_timeout(100)
                assert page.evaluate("window.evil") is None, path
                assert [each for each in console_errors(page) if "404" not in each] == [], path
        with opened_page(browser, f"{served.url}/") as page:
            expect(page.get_by_text("live", exact=True)).to_be_visible()
            source.kept = [replace(bad, progress=replace(bad.progress, message=f"second {HOSTILE}"))]
            expect(page.get_by_text("second")).to_be_visible()
            assert page.evaluate("window.evil") is None
            assert console_errors(page) == []


def test_everything_can_be_read_and_done_without_javascript(browser: Browser, demo_page: DemoPage) -> None:
    """Plots, decisions and buttons."""
    demo = Demo("healthy", page=demo_page)
    demo.advance(200.0)
    with opened_page(browser, demo_page.address, java_script_enabled=False) as page:
        page.get_by_role("link", name="mnist").click()
        expect(page.locator(".weight-number")).to_have_text("25")
        expect(page.locator(".chart svg.plot").first).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("pause was requested")).to_be_visible()
        demo.advance(1.0)  # the request is written
        demo.advance(20.0)
        page.reload()
        expect(page.locator(".why .badge")).to_contain_text("Paused")
        page.get_by_role("link", name="History").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("mnist")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size["width"]))
def test_every_page_fits_and_is_accessible(browser: Browser, size: dict[str, int], scheme: str) -> None:
    """axe-core finds nothing serious; nothing is wider than the screen; the screenshots can be kept."""
    keep = os.environ.get("AUTOCANARY_TEST_SCREENSHOTS")
    with ServedPage(_source(), FakeAccess()) as served:
        for path in PATHS:
            with opened_page(browser, f"{served.url}{path}", viewport=size, color_scheme=scheme) as page:
                page.wait_for_timeout(100)
                for details in page.locator("details").all():
                    details.evaluate("each => { each.open = true }")
                assert serious_faults(page) == [], path
                assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
                if keep:
                    name = path.strip("/").replace("/", "-").replace("?", "") or "list"
                    page.screenshot(path=str(Path(keep) / f"{name}-{size['width']}-{scheme}.png"), full_page=True)


def test_the_report_opens_as_a_file(browser: Browser, tmp_path: Path) -> None:
    """Styled, without a network, and accessible."""
    with ServedPage(_source(), FakeAccess()) as served:
        path = tmp_path / "report.html"
        path.write_text(served.get("/rollouts/models/mnist-00002/report").text, "utf-8")
    with opened_page(browser, path.as_uri()) as page:
        assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderTopWidth") == "1px"
        assert serious_faults(page) == []
        assert console_errors(page) == []


def test_the_stream_comes_back_after_an_interruption(browser: Browser) -> None:
    """The server restarts; the page says that it is not live meanwhile."""
    source = FakeSource([rollout()], POLICY)
    with ServedPage(source, FakeAccess()) as served, opened_page(browser, served.url) as page:
        state: Callable[[Page], str] = lambda opened: opened.locator("#live-state").inner_text()  # noqa: E731
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.context.set_offline(True)
        served.page.live._end_all()
        expect(page.get_by_text("not live")).to_be_visible()
        page.context.set_offline(False)
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        assert state(page) == "live"
