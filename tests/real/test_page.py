"""The page on a real API server, in a real browser: whose rights count, and which user the audit log names."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.page.browser import console_errors, open_browser, opened_page
from tests.real.installation import PERSON, Installation
from tests.real.run_command import autocanary, in_background
from tests.testbed.servers import free_port

pytestmark = pytest.mark.real

SLOW: dict[str, Any] = {"stepWeights": [10, 50, 100], "stepDuration": "10m", "bake": "0s"}
READ = {"apiGroups": ["autocanary.dev"], "resources": ["canaryrollouts"], "verbs": ["get", "list", "watch"]}
ACT = {"apiGroups": ["autocanary.dev"], "resources": ["canaryrollouts"], "verbs": ["patch"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def _grant(installation: Installation, namespace: str, *rules: dict[str, Any]) -> None:
    """Give the visitor these rights in one namespace."""
    group, metadata = "rbac.authorization.k8s.io", {"name": "visitor", "namespace": namespace}
    installation.api.apply(
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "visitor"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": PERSON}],
        },
    )


def _patches_by(installation: Installation, user: str) -> list[dict[str, Any]]:
    return [
        each
        for each in installation.api.audit(user)
        if each["verb"] == "patch" and each["objectRef"]["resource"] == "canaryrollouts"
    ]


def _status(port: int, path: str, token: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_in_the_cluster_the_visitors_own_token_reads_and_writes(
    installation: Installation, namespace: str, browser: Browser
) -> None:
    """No right: nothing. The right to list: no button, and 403. The right to patch: an abort in the user's name."""
    installation.policy(**SLOW)
    installation.released(namespace)
    port = free_port()
    running = installation.run(
        "--namespace",
        namespace,
        "--no-leader-election",
        environment={"AUTOCANARY_PAGE_LISTEN": f"127.0.0.1:{port}"},
    )
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_weight(namespace, "mnist", 10)
    token = installation.api.token(PERSON)
    path = f"/rollouts/{namespace}/mnist-00002"
    assert _status(port, "/") == 401
    assert _status(port, "/", "not-a-token") == 401
    assert _status(port, path, token) == 403
    _grant(installation, namespace, READ)
    headers = {"Authorization": f"Bearer {token}"}
    with opened_page(browser, "about:blank", extra_http_headers=headers) as page:
        installation.eventually(lambda: _status(port, path, token) == 200, "the right to list", 60)
        page.goto(f"http://127.0.0.1:{port}{path}")
        expect(page.locator(".weight-number")).to_have_text("10")
        expect(page.get_by_text(PERSON)).to_be_visible()
        expect(page.locator("form button")).to_have_count(0)
        refused = page.evaluate(
            "path => fetch(path, {method: 'POST', body: new URLSearchParams({verb: 'abort'})}).then(r => r.status)",
            f"{path}/act",
        )
        assert refused == 403
        _grant(installation, namespace, READ, ACT)
        installation.eventually(lambda: _offers_abort(page), "the right to patch", 60)
        page.get_by_label("Reason, for the record").fill("INC-7")
        page.get_by_role("button", name="Abort").click()
        expect(page.locator(".why .badge")).to_contain_text("Rolled back", timeout=60_000)
        expect(page.locator("#answer")).not_to_be_empty()
        assert console_errors(page) == [
            "Failed to load resource: the server responded with a status of 403 (Forbidden)"
        ]
    status = installation.rollouts(namespace)["mnist-00002"]["status"]
    assert status["reason"] == "AbortedByUser"
    done = _patches_by(installation, PERSON)
    assert [each["responseStatus"]["code"] for each in done] == [403, 200]
    assert token not in running.text()
    assert running.terminate() < 10


def _offers_abort(page: Any) -> bool:
    page.reload()
    return bool(page.get_by_role("button", name="Abort").count())


def test_the_dashboard_acts_with_the_kubeconfigs_identity(
    installation: Installation, namespace: str, browser: Browser
) -> None:
    """It shows the namespace that may be read, promotes by a click, and ends with an interrupt."""
    installation.policy(**SLOW)
    installation.released(namespace)
    installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_weight(namespace, "mnist", 10)
    _grant(installation, namespace, READ, ACT)
    kubeconfig = str(installation.api.kubeconfig(PERSON))
    arguments = ("dashboard", "-n", namespace, "--kubeconfig", kubeconfig)
    before = len(_patches_by(installation, PERSON))
    with in_background(*arguments, home=installation.folder) as log:
        installation.eventually(lambda: "http://127.0.0.1:" in log.file.read_text(), "the address")
        [address] = [line for line in log.file.read_text().splitlines() if line.startswith("http://127.0.0.1:")]
        with opened_page(browser, address) as page:
            page.get_by_role("link", name="mnist").click()
            page.get_by_role("button", name="Promote one step").click()
            expect(page.locator(".weight-number")).to_have_text("50", timeout=60_000)
            assert console_errors(page) == []
    assert len(_patches_by(installation, PERSON)) == before + 1
    installation.wait_for_weight(namespace, "mnist", 50)


def test_a_promotion_is_undone_on_the_dashboard(
    installation: Installation, namespace: str, browser: Browser, tmp_path: Path
) -> None:
    """The former model is released again, staged like any release, with the user's own right to patch the service."""
    installation.policy(stepWeights=[10, 100], stepDuration="6s", bake="0s")
    installation.released(namespace)
    installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_phase(namespace, "mnist-00002", "Promoted")
    services = {"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"]}
    _grant(installation, namespace, READ, ACT, {**services, "verbs": ["get", "list", "watch", "patch"]})
    kubeconfig = str(installation.api.kubeconfig(PERSON))
    arguments = ("dashboard", "-n", namespace, "--kubeconfig", kubeconfig)
    with in_background(*arguments, home=tmp_path) as log:
        installation.eventually(lambda: "http://127.0.0.1:" in log.file.read_text(), "the address")
        [address] = [line for line in log.file.read_text().splitlines() if line.startswith("http://127.0.0.1:")]
        with opened_page(browser, address) as page:
            page.get_by_role("link", name="mnist").click()
            page.get_by_label("Reason, for the record").fill("it labels 7 as 1")
            page.get_by_role("button", name="Undo").click()
            expect(page.locator("#answer")).to_contain_text("is released again")
            assert console_errors(page) == []
    installation.wait_for_phase(namespace, "mnist-00003", "Promoted")
    done = [
        each
        for each in installation.api.audit(PERSON)
        if each["verb"] == "patch" and each["objectRef"]["resource"] == "inferenceservices"
    ]
    assert [each["responseStatus"]["code"] for each in done if each["objectRef"]["namespace"] == namespace] == [200]


def test_the_report_of_a_real_record(installation: Installation, namespace: str) -> None:
    """The definition keeps the series: they come back from the API server."""
    installation.policy(stepWeights=[10, 100], stepDuration="6s", bake="0s")
    installation.released(namespace)
    installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.wait_for_phase(namespace, "mnist-00002", "Promoted")
    series = installation.rollouts(namespace)["mnist-00002"]["status"]["progress"]["series"]
    assert [key for key in series if key.startswith("metric/")]
    kubeconfig = str(installation.api.kubeconfig())
    made = autocanary("report", "mnist", "-n", namespace, "--kubeconfig", kubeconfig, home=installation.folder)
    assert made.code == 0
    assert "Promoted" in made.out
    assert made.out.count('class="plot"') >= 2
    assert json.dumps(series)
