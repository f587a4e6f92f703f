"""Incidents worked through with the page alone: what happened, why, what autocanary did, and what to do now."""

from __future__ import annotations

import html
import re
import urllib.request
from dataclasses import dataclass

import pytest

from autocanary.app.demo_page import DemoPage
from autocanary.app.demo_run import Demo


@dataclass(frozen=True)
class Incident:
    """``happened``, ``why``, ``done`` and ``to_do`` must be found on the page; ``in_list`` in the list of rollouts."""

    scenario: str
    seconds: float
    in_list: str
    happened: str
    why: str
    done: str
    to_do: str


INCIDENTS = (
    Incident(
        "worse-than-stable",
        900,
        "Rolled back",
        "mnist-predictor-00002 rolled back: error rate is worse than stable's",
        r"canary \d+/\d+ = [\d.]+ %, stable \d+/\d+ = [\d.]+ %, [\d.]+x \(confidence 95 %\)",
        "mnist-predictor-00001 has 100 %",
        "Read mnist-predictor-00002's logs (kubectl logs -n worse-than-stable",
    ),
    Incident(
        "crash-restored",
        900,
        "spec.predictor was set back to gs://models/mnist/1",
        "mnist-predictor-00002 rolled back: failed after it was ready: Container failed with: model crashed",
        "it had 25 %",
        "spec.predictor was set back to gs://models/mnist/1",
        "Your manifest still has gs://models/mnist/2: change it, because the next apply brings it back.",
    ),
    Incident(
        "outage",
        360,
        "success rate: Prometheus does not answer",
        "success rate: Prometheus does not answer",
        "MetricsOutage",
        "held at 25 % until there are metrics again",
        "Check Prometheus: it does not answer the policy's queries.",
    ),
    Incident(
        "no-traffic",
        200,
        "no data: nothing measures models/mnist",
        "success rate: no data: nothing measures models/mnist",
        r"in \d+m\d*s?: a rollback, if there are still no usable metrics",
        "held at 10 %, rollback after 5m",
        "check that clients call the service, and that Prometheus scrapes mnist-predictor-00002",
    ),
    Incident(
        "approval",
        230,
        "Needs you 1",
        "the step at 10 % has passed and waits for approval",
        r"Requests \d+",
        "25 % of the traffic to mnist-predictor-00002, after your approval",
        "Promote one step",
    ),
)


def _text(address: str) -> str:
    with urllib.request.urlopen(address) as answer:  # noqa: S310 - the page of the test
        body = re.sub(r"<(script|style).*?</\1>", "", answer.read().decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"</?(code|strong|span)[^>]*>", "", body))).replace("> <", "><")


def _plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda each: each.scenario)
def test_the_page_answers_what_the_one_on_call_asks(incident: Incident) -> None:
    """In the list, and on the page of the rollout."""
    page = DemoPage()
    try:
        demo = Demo(incident.scenario, page=page)
        demo.advance(incident.seconds)
        listed = _plain(_text(page.address))
        shown = _plain(_text(f"{page.address}rollouts/{incident.scenario}/mnist-00002"))
    finally:
        page.close()
    assert incident.in_list in listed
    for part in (incident.happened, incident.done, incident.to_do):
        assert part in shown, part
    assert re.search(incident.why, shown)
    assert "gs://models/mnist/1" in shown
    assert "gs://models/mnist/2" in shown
    assert "`" not in shown


def test_the_demo_says_why_nothing_can_be_done_in_a_scenario_that_has_ended() -> None:
    """No time passes in it, so a retry would never be answered, and no right is missing."""
    page = DemoPage()
    try:
        Demo("errors", page=page).advance(900)
        shown = _plain(_text(f"{page.address}rollouts/errors/mnist-00002"))
    finally:
        page.close()
    assert "You may look at this rollout, and not act on it: the demo's scenario errors has ended." in shown
    assert "right to patch" not in shown
