"""The page over HTTP: what each user is shown, what is refused, and the headers of every answer."""

from __future__ import annotations

import gzip
import http.client
import re
from dataclasses import replace

import pytest

from autocanary import logs
from autocanary.errors import Conflict, Forbidden, Unreachable
from autocanary.model.policy import Selector
from autocanary.model.progress import Phase
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from autocanary.page import PageOptions
from tests.cli.fake_client import POLICY, START, decision, observation, rollout
from tests.page.served import NOW, FakeAccess, FakeSource, ServedPage

HOSTILE = '"><script>alert(1)</script>'
PATHS = (
    "/",
    "/policies",
    "/services/models/mnist",
    "/rollouts/models/mnist-00002",
    "/rollouts/models/mnist-00002/report",
    "/rollouts/models/mnist-00002/decisions/1",
    "/live",
    "/rollouts/models/mnist-00002/live",
)


def _source(**more: object) -> FakeSource:
    steps = (decision(5, "rollout_started", 0, "RolloutStarted", "it began"), decision(60, "step_taken", 10, "X", "y"))
    found = rollout(
        decisions=steps, series={"weight": "0,0 60,10,10", "metric/request-success-rate": "60,99.7 75,99.6"}
    )
    other = rollout(Phase.ROLLED_BACK, namespace="vision", service="resnet", reason=Reason.METRIC_VIOLATION)
    values = {"kept": [found, other], "policy": POLICY, "active": [POLICY], "seen": [observation(found, 25)]}
    return FakeSource(**{**values, **more})  # type: ignore[arg-type]


def test_a_restore_stands_in_the_rollout_that_caused_it() -> None:
    """On its page, in its report and in the history: what was put back, and what the manifest still has."""
    ended = rollout(Phase.ROLLED_BACK, reason=Reason.REVISION_FAILED, repairing=True, restored=True, finished_at=NOW)
    stable, candidate = ({"model": {"storageUri": f"gs://b/{side}"}} for side in ("stable", "candidate"))
    source = FakeSource([replace(ended, stable_spec=stable, candidate_spec=candidate)], POLICY)
    text = "spec.predictor was set back to gs://b/stable; your manifest still has gs://b/candidate"
    with ServedPage(source, FakeAccess()) as served:
        for path in (
            "/",
            "/rollouts/models/mnist-00002",
            "/rollouts/models/mnist-00002/report",
            "/services/models/mnist",
        ):
            assert text in served.get(path).text, path


def test_what_comes_next_begins_with_its_time() -> None:
    """Behind the sentence it would read as part of its condition."""
    waiting = rollout(reason=Reason.NO_DATA, no_data_since=NOW, verified_at=NOW, step=0)
    with ServedPage(FakeSource([waiting], POLICY, at=NOW + 10), FakeAccess()) as served:
        text = re.sub(r"<[^>]+>", "", served.get("/rollouts/models/mnist-00002").text)
    assert re.search(r"in \d+m\d*s?: a rollback, if there are still no usable metrics", text)


def test_every_page_is_served_with_the_headers_that_keep_it_safe() -> None:
    """No script but ours, no frame, no cookie, nothing kept by a cache."""
    with ServedPage(_source(), FakeAccess()) as served:
        for path in PATHS[:-2]:
            answer = served.get(path)
            assert answer.status == 200, path
            policy = answer.headers["content-security-policy"]
            assert policy.startswith(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
            )
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in answer.headers
            assert " style=" not in answer.text
            assert "<script>" not in answer.text


def test_the_list_shows_what_needs_the_visitor_first() -> None:
    """Then what runs, then what has ended."""
    paused = rollout(Phase.PAUSED, service="zebra", reason=Reason.AWAITING_APPROVAL)
    source = _source(kept=[*_source().kept, paused])
    with ServedPage(source, FakeAccess()) as served:
        text = served.get("/").text
        assert text.index(">zebra<") < text.index(">mnist<") < text.index(">resnet<")
        assert "25 %" in text
        assert ">zebra<" in served.get("/?show=attention").text
        assert ">mnist<" not in served.get("/?show=attention").text
        assert ">resnet<" not in served.get("/?show=running").text
        assert ">mnist<" not in served.get("/?namespace=vision").text
        assert ">resnet<" in served.get("/?q=rolledback%20RESNET").text
        assert "No rollout matches" in served.get("/?q=nothing").text


def test_only_the_newest_rollout_of_a_service_is_listed() -> None:
    """The others are its history."""
    older = rollout(Phase.PROMOTED, number=1, started_at=START - 5000)
    with ServedPage(_source(kept=[older, rollout()]), FakeAccess()) as served:
        text = served.get("/").text
        assert "mnist-00002" in text
        assert "mnist-00001" not in text
        history = served.get("/services/models/mnist").text
        assert history.index("mnist-predictor-00002") < history.index("mnist-predictor-00001")


def test_long_lists_have_pages() -> None:
    """A hundred rows each; a number beyond the last page is the last page."""
    many = [rollout(service=f"s{number:03d}") for number in range(250)]
    with ServedPage(_source(kept=many), FakeAccess()) as served:
        first, last = served.get("/").text, served.get("/?page=999").text
        assert first.count('role="row" id=') == 100
        assert last.count('role="row" id=') == 50
        assert "3 of 3, 250 services" in last
        assert served.get("/?page=-1&page=x").status == 200


def test_a_visitor_sees_the_namespaces_that_may_be_read_and_no_others() -> None:
    """Neither rows, nor counts, nor names, nor the existence of an object."""
    with ServedPage(_source(), FakeAccess(may_read={"models"})) as served:
        text = served.get("/").text
        assert "vision" not in text
        assert "resnet" not in text
        hidden = served.get("/rollouts/vision/resnet-00002")
        absent = served.get("/rollouts/nowhere/resnet-00002")
        assert hidden.status == absent.status == 403
        assert hidden.text.replace("vision", "") == absent.text.replace("nowhere", "")
        for path in PATHS[2:]:
            if "live" not in path:
                assert served.get(path.replace("models/mnist", "vision/resnet")).status == 403, path
        assert served.get("/rollouts/vision/resnet-00002/live").status == 403


def test_without_a_login_nothing_is_shown() -> None:
    """Not even whether something is there."""
    with ServedPage(_source(), FakeAccess(signed_in=False)) as served:
        for path in PATHS:
            answer = served.get(path)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "mnist" not in answer.text
        assert served.post("/rollouts/models/mnist-00002/act", "verb=abort").status == 401


@pytest.mark.parametrize("path", ["/rollouts/models/none", "/services/models/none", "/x", "/static/../page_source.py"])
def test_what_is_not_there_is_not_found(path: str) -> None:
    """With a page that leads back."""
    with ServedPage(_source(), FakeAccess()) as served:
        assert served.get(path).status == 404
        assert served.get("/rollouts/models/mnist-00002/decisions/99").status == 404


def test_an_act_is_written_in_the_visitors_name() -> None:
    """And the page that follows says what became of it."""
    source, access = _source(), FakeAccess()
    with ServedPage(source, access) as served:
        answer = served.post("/rollouts/models/mnist-00002/act", "verb=promote&weight=25&reason=INC-7")
        assert answer.status == 303
        [(name, about, paused, request)] = access.acts
        assert request is not None
        assert (name, about, paused) == ("ada", "mnist-00002", None)
        assert (request.verb, request.by, request.weight, request.reason) == ("promote", "ada", 25, "INC-7")
        assert answer.headers["location"] == f"/rollouts/models/mnist-00002?asked={request.id}"
        source.kept[0] = replace(source.kept[0], request=request)
        assert "promote was requested" in served.get(answer.headers["location"]).text
        done = with_stored_fields(
            source.kept[0].progress, {"answered_request_id": request.id, "request_answer": "the step is passed"}
        )
        source.kept[0] = replace(source.kept[0], progress=done)
        assert "the step is passed" in served.get(answer.headers["location"]).text
        assert "the step is passed" not in served.get("/rollouts/models/mnist-00002?asked=other").text


def test_a_promotion_is_undone_in_the_visitors_name() -> None:
    """The former model is released again; the page says so, and that the manifest has the other one."""
    specs = [{"model": {"storageUri": f"gs://b/{number}"}} for number in (1, 2)]
    ended = rollout(Phase.PROMOTED, reason=Reason.PROMOTED, finished_at=NOW)
    ended = replace(ended, stable_spec=specs[0], candidate_spec=specs[1], stable_digest="one")
    now = replace(observation(ended, 100), spec_digest="two", uid=ended.service_uid)
    source, access = FakeSource([ended], POLICY, [now]), FakeAccess(may_release=True)
    path = "/rollouts/models/mnist-00002"
    with ServedPage(source, access) as served:
        assert 'value="undo"' in served.get(path).text
        answer = served.post(f"{path}/act", "verb=undo&reason=it+labels+7+as+1")
        assert answer.status == 303
        said = served.get(answer.headers["location"]).text
        assert "gs://b/1 is released again, from 0 %" in said
        assert "Your manifest still has gs://b/2" in said
        [(name, target, reason)] = access.undone
        assert (name, target.spec, reason) == ("ada", specs[0], "it labels 7 as 1")

        access.may_release = False
        assert 'value="undo"' not in served.get(path).text
        assert served.post(f"{path}/act", "verb=undo").status == 403
        access.may_release = True
        source.kept.append(rollout(number=3, started_at=NOW))  # a newer release
        assert 'value="undo"' not in served.get(path).text
        assert served.post(f"{path}/act", "verb=undo").status == 409
        source.kept.pop()
        source.seen[0] = replace(now, uid="another service of the same name")
        assert served.post(f"{path}/act", "verb=undo").status == 409
    assert len(access.undone) == 1


def test_a_pause_is_written_to_the_spec() -> None:
    """``spec.paused`` and a request that says the user and the reason."""
    access = FakeAccess()
    with ServedPage(_source(), access) as served:
        assert served.post("/rollouts/models/mnist-00002/act", "verb=pause&reason=lunch").status == 303
    [(_, _, paused, request)] = access.acts
    assert paused is True
    assert isinstance(request, Request)
    assert request.verb == "pause"


def test_without_the_right_there_is_no_button_and_the_api_servers_no_is_shown() -> None:
    """A button is a courtesy; the API server decides."""
    access = FakeAccess(may_write=set(), error=Forbidden("ada may not patch it", status=403))
    with ServedPage(_source(), access) as served:
        page = served.get("/rollouts/models/mnist-00002").text
        assert "<button name=" not in page
        assert "takes the right to patch canaryrollouts in namespace models" in page
        answer = served.post("/rollouts/models/mnist-00002/act", "verb=abort")
        assert answer.status == 403
        assert "ada may not patch it" in answer.text


@pytest.mark.parametrize(
    ("error", "status"), [(Conflict("changed"), 409), (Unreachable("the API server is away"), 503)]
)
def test_other_errors_of_the_api_server_are_said(error: Conflict | Unreachable, status: int) -> None:
    """In its words."""
    with ServedPage(_source(), FakeAccess(error=error)) as served:
        answer = served.post("/rollouts/models/mnist-00002/act", "verb=abort")
        assert (answer.status, str(error) in answer.text) == (status, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "http://evil.example.com"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_no_other_page_can_act(headers: dict[str, str]) -> None:
    """A form on another site has another origin."""
    access = FakeAccess()
    with ServedPage(_source(), access) as served:
        assert served.post("/rollouts/models/mnist-00002/act", "verb=abort", **headers).status == 403
    assert access.acts == []


def test_a_get_changes_nothing() -> None:
    """On no address."""
    access = FakeAccess()
    with ServedPage(_source(), access) as served:
        assert served.get("/rollouts/models/mnist-00002/act?verb=abort").status == 405
        for path in PATHS[:-2]:
            served.get(f"{path}?verb=abort&reason=x")
    assert access.acts == []


@pytest.mark.parametrize(
    ("body", "status"), [("verb=explode", 409), ("", 409), ("verb=retry", 409), ("verb=abort&x=" + "y" * 9000, 400)]
)
def test_odd_forms_change_nothing(body: str, status: int) -> None:
    """And are answered."""
    access = FakeAccess()
    with ServedPage(_source(), access) as served:
        assert served.post("/rollouts/models/mnist-00002/act", body).status == status
    assert access.acts == []


def test_hostile_texts_are_texts_on_every_page() -> None:
    """Names, messages, models, requests and search words."""
    step = {**decision(60, "step_taken", 10, HOSTILE, HOSTILE), "requestedBy": HOSTILE, "requestReason": HOSTILE}
    bad = rollout(message=HOSTILE, decisions=(step, step), reason=Reason.ANALYSING)
    bad = replace(bad, candidate=HOSTILE, policy_name=HOSTILE, stable_spec={"model": {"storageUri": HOSTILE}})
    source = _source(
        kept=[bad],
        active=[replace(POLICY, name=HOSTILE, origin=HOSTILE, selector=Selector())],
        faults={HOSTILE: [HOSTILE]},
        unread=[HOSTILE],
        cluster_name=HOSTILE,
    )
    with ServedPage(source, FakeAccess(error=Unreachable(HOSTILE))) as served:
        for path in (*PATHS[:-2], f"/?q={HOSTILE}&namespace={HOSTILE}".replace('"', "%22").replace(">", "%3E")):
            text = served.get(path.replace("<", "%3C")).text
            assert "<script>alert" not in text, path
            assert "&lt;script&gt;" in text, path
        assert "<script>alert" not in served.post("/rollouts/models/mnist-00002/act", "verb=abort").text
        stream = served.stream("/live")
        received = b"".join(stream.readline() for _ in range(4))
        stream.close()
        assert b"<script>alert" not in received
        assert b"&lt;script&gt;" in received


def test_a_token_is_the_beginning_of_every_address() -> None:
    """And of every link; without it nothing is there."""
    with ServedPage(_source(), FakeAccess(), PageOptions(token="t0ken")) as served:
        for path in ("/", "/policies", "/static/page.css", "/wrong/", "/t0keX/", "//t0ken/"):
            assert served.get(path).status == 404, path
        text = served.get("/t0ken/").text
        assert 'href="/t0ken/rollouts/models/mnist-00002"' in text
        assert 'src="/t0ken/static/page.js"' in text
        assert served.get("/t0ken/static/page.js").status == 200
        assert (
            served.post("/t0ken/rollouts/models/mnist-00002/act", "verb=abort")
            .headers["location"]
            .startswith("/t0ken/")
        )


def test_a_foreign_host_is_not_answered() -> None:
    """A name that an attacker points at 127.0.0.1."""
    with ServedPage(_source(), FakeAccess()) as served:
        served.page.application.allow_hosts([served.host])
        assert served.get("/").status == 200
        assert served.get("/", Host="evil.example.com").status == 421
        assert served.get("/", Host=f"evil.example.com:{served.server.port}").status == 421


def test_tokens_enter_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the dashboard's nor a visitor's, even when a page fails."""
    with logs.capture() as kept:
        source = _source()
        source.policy_of = None  # type: ignore[assignment]
        with ServedPage(source, FakeAccess(), PageOptions(token="t0ken")) as served:
            assert served.get("/t0ken/", Authorization="Bearer s3cret").status == 500
        text = repr(kept.events) if hasattr(kept, "events") else repr(vars(kept))
    assert "page_failed" in text
    assert "t0ken" not in text
    assert "s3cret" not in text + caplog.text


def test_pages_are_compressed() -> None:
    """For browsers that say they can."""
    with ServedPage(_source(), FakeAccess()) as served:
        connection = http.client.HTTPConnection(served.host)
        connection.request("GET", "/", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.headers["content-encoding"] == "gzip"
        assert b"Rollouts" in gzip.decompress(body)


def test_static_files_are_asked_for_again() -> None:
    """And not sent again while they are the same."""
    with ServedPage(_source(), FakeAccess()) as served:
        first = served.get("/static/page.css")
        assert first.headers["content-type"].startswith("text/css")
        assert served.get("/static/page.css", If_None_Match=first.headers["etag"]).status == 304


def test_what_cannot_be_read_is_said() -> None:
    """An old cache looks like peace."""
    with ServedPage(_source(unread=["The rollouts shown may be old"]), FakeAccess()) as served:
        assert "The rollouts shown may be old" in served.get("/").text


def test_the_policies_page_says_who_governs_what() -> None:
    """Invalid policies and services without one included."""
    alone = observation(rollout(service="alone"), 0)
    source = _source(faults={"models/broken": ["spec.steps: empty"]})
    source.seen.append(alone)
    with ServedPage(source, FakeAccess()) as served:
        text = served.get("/policies").text
    assert "spec.steps: empty" in text
    assert "invalid, not in force" in text
    assert text.index(">alone<") < text.index(">mnist<")
    assert NOW > START
