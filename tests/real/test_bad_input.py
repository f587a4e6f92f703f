"""What users get wrong: each fault is one sentence that says where and what to do, and nothing is half done.

Over 300 lines because there are many ways to be wrong, and each is shown here from beginning to end.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.kube.crds import definitions
from tests.real.installation import SERVICE_ACCOUNT, Installation
from tests.real.manifests import Document, policy_document
from tests.real.run_command import CommandOutput, autocanary, in_background
from tests.testbed.servers import (
    LOGIN_PAGE,
    ApiServer,
    HttpSink,
    free_port,
    install_inferenceservice_crd,
    wait_until,
)
from tests.testbed.servers.crds import wait_served
from tests.testbed.servers.http import fetch

pytestmark = pytest.mark.real

NOWHERE = "http://127.0.0.1:9"
VERBS = ("promote", "pause", "resume", "abort", "retry")


def complaint(said: CommandOutput) -> str:
    """The one sentence, which is not on stdout and not a line of the log."""
    assert said.out == ""
    [line] = [line for line in said.err.splitlines() if not line.startswith("{")]
    return line


def writes(api: ApiServer, namespace: str = "", user: str = SERVICE_ACCOUNT) -> list[tuple[str, str]]:
    """What the service wrote to services and rollouts, refused attempts included."""
    return [
        (event["verb"], event["objectRef"]["resource"])
        for event in api.audit(user)
        if event["verb"] in ("create", "update", "patch", "delete")
        and event["objectRef"]["resource"] in ("inferenceservices", "canaryrollouts")
        and namespace in ("", event["objectRef"].get("namespace"))
    ]


# --- policies --------------------------------------------------------------------------------------------


def metric(**fields: Any) -> Document:
    """A policy's analysis with one metric like this."""
    analysis = {**policy_document("x")["spec"]["analysis"], "metrics": [fields]}
    return {"analysis": analysis}


WRONG: dict[str, tuple[str | Document, str]] = {
    # a text, or what is put into a good policy; and the place and the words of the answer
    "not-yaml": ("apiVersion: [autocanary.dev\nkind: RolloutPolicy\n", r":2:5: .*"),
    "unit-of-a-duration": (
        metric(name="request-duration", quantile=0.99, thresholdRange={"max": 500}),
        r":\d+:\d+: .*500.*(ms|unit)",
    ),
    "unit-of-a-rate": (
        metric(name="request-success-rate", thresholdRange={"min": 0.99}),
        r":\d+:\d+: .*0\.99.*percent",
    ),
    "unknown-field": ({"stepDurations": "5m"}, r":\d+:\d+: .*stepDurations.*did you mean stepDuration\?"),
    "unknown-metric": (
        metric(name="request-sucess-rate", thresholdRange={"min": 99}),
        r":\d+:\d+: .*request-sucess-rate.*did you mean request-success-rate",
    ),
    "weights-not-increasing": ({"stepWeights": [50, 25, 100]}, r":\d+:\d+: .*the weight 25 follows 50"),
    "no-steps": ({"stepWeights": []}, r":\d+:\d+: .*stepWeights"),
    "time-without-unit": ({"stepDuration": 5}, r":\d+:\d+: .*stepDuration.*(5m|unit|duration)"),
}


def write_policy(folder: Path, name: str, content: str | Document) -> Path:
    file = folder / f"{name}.yaml"
    if isinstance(content, str):
        file.write_text(content)
    else:
        document = policy_document(name)
        document["spec"] |= content
        file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


@pytest.mark.parametrize("name", WRONG)
def test_validate_says_where_and_what(tmp_path: Path, name: str) -> None:
    """file:line:column, the fault, what was expected; exit code 1."""
    content, answer = WRONG[name]
    file = write_policy(tmp_path, name, content)
    said = autocanary("validate", str(file), home=tmp_path)
    assert said.code == 1, said
    errors = [line for line in said.out.splitlines() if "warning: " not in line]
    assert len(errors) == 1, said
    assert re.fullmatch(f"{re.escape(str(file))}{answer}.*", errors[0]), errors[0]
    assert said.err == "1 error: not valid\n"


def test_validate_prints_all_errors(tmp_path: Path) -> None:
    """Every fault of every file, each with its place."""
    for name, (content, _) in WRONG.items():
        apart = content if isinstance(content, str) else content | {"selector": {"names": [name]}}
        write_policy(tmp_path, name, apart)
    said = autocanary("validate", str(tmp_path), home=tmp_path)
    assert said.code == 1
    places = [line.split(":", 1)[0] for line in said.out.splitlines() if "warning: " not in line]
    assert sorted(places) == sorted(str(tmp_path / f"{name}.yaml") for name in WRONG)
    assert said.err == f"{len(WRONG)} errors: not valid\n"


def test_validate_of_promql_that_does_not_parse(tmp_path: Path) -> None:
    """Offline, with the place of the query."""
    broken = metric(name="drift", query="sum(rate(x[{{ window }}])", thresholdRange={"max": 0})
    file = write_policy(tmp_path, "promql", broken)
    said = autocanary("validate", str(file), home=tmp_path)
    assert said.code == 1
    [error] = [line for line in said.out.splitlines() if "warning: " not in line]
    assert re.match(rf"{re.escape(str(file))}:\d+:\d+: .*(PromQL|parenthesis|parse)", error), error


def test_validate_of_nothing(tmp_path: Path) -> None:
    """A path that is not there, and a folder without policies."""
    absent = tmp_path / "absent.yaml"
    said = autocanary("validate", str(absent), home=tmp_path)
    assert (said.code, said.out) == (1, f"{absent}: there is no such file or folder (check the path)\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    said = autocanary("validate", str(empty), home=tmp_path)
    assert said.code == 1
    assert "no policy is in this folder" in said.out
    assert "no RolloutPolicy was found: nothing to check" in said.err


def test_invalid_policies_start_no_rollout(installation: Installation, namespace: str) -> None:
    """``run`` names each fault once and goes on; no rollout begins by what cannot be read."""
    for name, (content, _) in WRONG.items():
        write_policy(installation.policies, name, content)
    installation.released(namespace)
    running = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.eventually(
        lambda: installation.predictor(namespace, "mnist").get("latestReadyRevision") == "mnist-predictor-00002",
        "the candidate to be ready",
    )
    time.sleep(6)  # the files are read again meanwhile
    assert running.is_ready()
    faults = [line["problem"] for line in running.events("policy_invalid") if line["level"] in ("error", "warning")]
    for name, (_, answer) in WRONG.items():
        file = re.escape(str(installation.policies / f"{name}.yaml"))
        notified = [fault for fault in faults if re.fullmatch(f"{file}{answer}.*", fault)]
        assert len(notified) == 1, (name, faults)
    assert installation.rollouts(namespace) == {}
    assert writes(installation.api, namespace) == []
    assert "Traceback" not in running.text()


def test_a_policy_path_that_is_not_there(tmp_path: Path) -> None:
    """The service does not start: it would run without the policies that the operator named."""
    said = autocanary("run", "--no-leader-election", "--policies", "/nowhere/policies", home=tmp_path)
    assert said.code == 2
    assert "--policies: there is no file or folder /nowhere/policies; correct the path" in said.err


def test_tied_policies_start_no_rollout(installation: Installation, namespace: str, tmp_path: Path) -> None:
    """``validate`` names both and where they are; ``run`` says it once and starts nothing."""
    for name in ("one", "other"):
        installation.policy(name, selector={"names": ["mnist"]})
    said = autocanary("validate", str(installation.policies), home=tmp_path)
    assert said.code == 1
    [error] = [line for line in said.out.splitlines() if "warning: " not in line]
    for name in ("one", "other"):
        assert f"{name} ({installation.policies / name}.yaml:1)" in error
    assert "make one selector more specific" in error
    installation.released(namespace)
    running = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    installation.eventually(lambda: bool(running.events("rollout_refused")), "the tie to be notified")
    time.sleep(3)
    [refused] = running.events("rollout_refused")
    assert (refused["namespace"], refused["service"], refused["reason"]) == (namespace, "mnist", "PolicyTie")
    for name in ("one", "other"):
        assert f"{name} ({installation.policies / name}.yaml:1)" in refused["message"]
    assert installation.rollouts(namespace) == {}
    assert writes(installation.api, namespace) == []
    (installation.policies / "other.yaml").unlink()
    installation.wait_for_weight(namespace, "mnist", 10)


def test_promql_that_prometheus_refuses(installation: Installation, namespace: str) -> None:
    """Offline the syntax cannot be known, so ``run`` asks: it holds, says whose words they are, and goes no further."""
    installation.policy("promql", **metric(name="drift", query="sum(rate(x[{{ window }}])", thresholdRange={"max": 0}))
    installation.released(namespace)
    running = installation.run("--namespace", namespace, "--no-leader-election")
    installation.serve(namespace, "mnist", "v2", 0)
    held = installation.wait_for_phase(namespace, "mnist-00002", "Holding")["status"]
    assert held["reason"] == "MetricsOutage"
    assert "drift: the query is refused: " in held["message"]
    assert "parse error" in held["message"]
    assert installation.weights_written(namespace, "mnist") == [10]
    assert "Traceback" not in running.text()


# --- Prometheus ------------------------------------------------------------------------------------------


@pytest.fixture
def login_page() -> Iterator[HttpSink]:
    """What stands in front of Prometheus when no user has logged in."""
    with HttpSink() as sink:
        sink.answer(LOGIN_PAGE.status, LOGIN_PAGE.body, headers=dict(LOGIN_PAGE.headers))
        yield sink


def test_a_login_page_instead_of_prometheus(installation: Installation, namespace: str, login_page: HttpSink) -> None:
    """``run`` holds and says what answers there, ``validate`` says it at once; neither takes it for data."""
    installation.policy()
    said = autocanary(
        *("validate", str(installation.policies), "--prometheus-url", login_page.url),
        home=installation.folder,
    )
    assert said.code == 3
    last = said.err.splitlines()[-1]
    assert login_page.url.rstrip("/") in last
    assert "not Prometheus" in last or "web page" in last or "login" in last, last
    installation.released(namespace)
    running = installation.run("--namespace", namespace, "--no-leader-election", "--prometheus-url", login_page.url)
    installation.serve(namespace, "mnist", "v2", 0)
    held = installation.wait_for_phase(namespace, "mnist-00002", "Holding")["status"]
    assert held["reason"] == "MetricsOutage"
    assert login_page.url.rstrip("/") in held["message"], held["message"]
    time.sleep(3)
    assert running.is_ready()
    assert installation.weights_written(namespace, "mnist") == [10]
    assert len(running.events("rollout_held")) == 1
    assert "Traceback" not in running.text()


def test_validate_with_a_prometheus_that_is_down(installation: Installation) -> None:
    """Exit code 3: the policies may be right."""
    write_policy(installation.policies, "good", {})
    said = autocanary("validate", str(installation.policies), "--prometheus-url", NOWHERE, home=installation.folder)
    installation.end_all()
    assert said.code == 3
    assert NOWHERE in said.err.splitlines()[-1]


def test_run_without_prometheus(installation: Installation) -> None:
    """Refused before anything is done, with the flag and the variable."""
    before = len(installation.api.audit(SERVICE_ACCOUNT))
    said = autocanary(
        "run", "--kubeconfig", str(installation.api.kubeconfig(SERVICE_ACCOUNT)), home=installation.folder
    )
    assert said.code == 2
    sentence = complaint(said)
    assert "no Prometheus is named" in sentence
    assert "--prometheus-url http" in sentence
    assert "AUTOCANARY_PROMETHEUS_URL" in sentence
    assert len(installation.api.audit(SERVICE_ACCOUNT)) == before


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--prometheus-url", "prometheus:9090"), "--prometheus-url: expected a URL"),
        (("--tick", "fast"), "--tick: expected a duration such as 500ms"),
        (("--tick", "5ms"), "--tick: .*greater than or equal to 0.1 seconds"),
        (("--listen", "everywhere"), "--listen: expected HOST:PORT"),
        (("--namespace", "Not_A_Name"), "--namespace: .*'Not_A_Name' cannot be the name of a namespace"),
        (("--log-level", "loud"), "--log-level: expected .*'debug'"),
        (("--config", "/nowhere.yaml"), "/nowhere.yaml: the settings file cannot be read"),
        (("--polices", "x"), "No such option: --polices"),
        (("surplus",), "unexpected extra argument"),
    ],
)
def test_wrong_settings(tmp_path: Path, flags: tuple[str, ...], expected: str) -> None:
    """The flag, what was expected; exit code 2."""
    said = autocanary("run", *flags, home=tmp_path)
    assert said.code == 2, said
    assert re.search(expected, complaint(said)), said


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("promote",), "Missing argument 'NAME...'"),
        (("abort", "x", "--timeout", "soon"), "'--timeout': expected a duration"),
        (("status", "--timeout", "5s"), "it needs the NAME of the service to wait for"),
        (("status", "x", "-A"), "leave out one of the two"),
        (("status", "x", "--watch", "-o", "json"), "leave out --watch"),
        (("status", "x", "-o", "xml"), "xml"),
        (("validate",), "Missing argument"),
        (("launch",), "No such command 'launch'"),
    ],
)
def test_wrong_usage(tmp_path: Path, command: tuple[str, ...], expected: str) -> None:
    """One sentence and exit code 2, before any cluster is asked for."""
    said = autocanary(*command, home=tmp_path)
    assert said.code == 2, said
    assert expected in complaint(said), said


# --- clusters --------------------------------------------------------------------------------------------


def commands(*kubeconfig: str) -> Iterator[tuple[str, ...]]:
    """One of each kind: the service, an evaluation, a request."""
    yield ("run", "--prometheus-url", NOWHERE, "--listen", "127.0.0.1:0", *kubeconfig)
    yield ("status", *kubeconfig)
    yield ("abort", "mnist", *kubeconfig)


def assert_all_say(home: Path, code: int, expected: str, *kubeconfig: str) -> None:
    """Every command gives this answer; all at once, for each takes a second to start."""
    answers: dict[str, CommandOutput] = {}

    def run(command: tuple[str, ...]) -> None:
        answers[command[0]] = autocanary(*command, home=home)

    threads = [threading.Thread(target=run, args=(command,)) for command in commands(*kubeconfig)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert set(answers) == {"run", "status", "abort"}
    for name, said in answers.items():
        sentence = complaint(said)
        assert sentence.startswith(f"autocanary {name}: "), said
        assert re.search(expected, sentence), said
        assert said.code == code, said
    logged = [json.loads(line) for line in answers["run"].err.splitlines() if line.startswith("{")]
    assert [each["event"] for each in logged] == ["not_started"]
    assert logged[0]["level"] == "error"
    assert re.search(expected, logged[0]["error"])


def kubeconfig_for(folder: Path, server: str, token: str, **cluster: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path


def test_no_kubeconfig_at_all(tmp_path: Path) -> None:
    """Where it was looked for, and how to name one."""
    expected = rf"no cluster is configured: no kubeconfig at {tmp_path}/.kube/config.*--kubeconfig FILE"
    assert_all_say(tmp_path, 2, expected)


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    """The path, as it was given."""
    assert_all_say(tmp_path, 2, "kubeconfig /nowhere does not exist", "--kubeconfig", "/nowhere")


def test_a_variable_that_names_no_kubeconfig(tmp_path: Path) -> None:
    """The path, and that the variable names it."""
    said = autocanary("status", home=tmp_path, environment={"KUBECONFIG": "/nope"})
    assert said.code == 2
    assert "kubeconfig /nope does not exist (named by the variable KUBECONFIG)" in complaint(said)


def test_a_file_that_is_no_kubeconfig(tmp_path: Path) -> None:
    """The path, and that it cannot be read."""
    path = tmp_path / "kubeconfig"
    path.write_text("{clusters: [")
    assert_all_say(tmp_path, 2, rf"kubeconfig {path} cannot be read", "--kubeconfig", str(path))


def test_an_unknown_context(tmp_path: Path) -> None:
    """Which ones there are."""
    path = str(kubeconfig_for(tmp_path, "https://127.0.0.1:1", "any"))
    expected = r"has no context 'prod' \(it has x\)"
    assert_all_say(tmp_path, 2, expected, "--kubeconfig", path, "--context", "prod")


def test_an_unreachable_cluster(tmp_path: Path) -> None:
    """Its address and why, exit code 3; the command does not wait for long."""
    server = f"https://127.0.0.1:{free_port()}"
    path = str(kubeconfig_for(tmp_path, server, "any"))
    expected = rf"cannot reach the API server at {server}: connection refused; check that it runs"
    assert_all_say(tmp_path, 3, expected, "--kubeconfig", path)


def test_something_else_than_an_api_server(tmp_path: Path, login_page: HttpSink) -> None:
    """A proxy's login page."""
    path = str(kubeconfig_for(tmp_path, login_page.url.rstrip("/"), "any"))
    expected = "not JSON.*web page.*check the kubeconfig's server"
    assert_all_say(tmp_path, 3, expected, "--kubeconfig", path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster in which nothing of ours, and nothing of KServe's, is installed."""
    with ApiServer(users=["unknown", "half"], folder=tmp_path_factory.mktemp("bare")) as api:
        yield api


def test_credentials_that_are_not_accepted(bare: ApiServer, tmp_path: Path) -> None:
    """401: they may have expired."""
    path = kubeconfig_for(tmp_path, bare.url, "stale", **{"certificate-authority": str(bare.ca)})
    expected = "the API server does not accept the credentials; they may have expired"
    assert_all_say(tmp_path, 3, expected, "--kubeconfig", str(path))


def test_a_cluster_whose_certificate_is_not_trusted(bare: ApiServer, tmp_path: Path) -> None:
    """What to look at."""
    path = kubeconfig_for(tmp_path, bare.url, bare.token())
    expected = "TLS failed.*check the kubeconfig's certificate-authority"
    assert_all_say(tmp_path, 3, expected, "--kubeconfig", str(path))


def test_credentials_without_rights(bare: ApiServer, tmp_path: Path) -> None:
    """403: what was tried, the server's own words, and where the rights come from."""
    path = str(bare.kubeconfig("unknown"))
    expected = "cannot list canaryrollouts.autocanary.dev.*forbidden.*grant it with the chart's roles"
    assert_all_say(tmp_path, 3, expected, "--kubeconfig", path)
    assert writes(bare, user="unknown") == []


def test_definitions_that_are_not_installed(bare: ApiServer, tmp_path: Path) -> None:
    """The command that installs them."""
    path = str(bare.kubeconfig())
    expected = r"CustomResourceDefinitions are not installed.*`autocanary crds \| kubectl apply -f -`"
    assert_all_say(tmp_path, 3, expected, "--kubeconfig", path)


def _of_kserve(failures: list[Document]) -> list[Document]:
    """Without those about KFServing's groups, whose definitions are not there and need not be."""
    return [each for each in failures if "kubeflow" not in str(each["resource"])]


def test_rights_that_are_missing_in_part(bare: ApiServer, tmp_path: Path) -> None:
    """The service runs, is not ready, and says which right it waits for; it goes on when it is there."""
    bare.apply(*definitions())
    for name in ("canaryrollouts", "rolloutpolicies"):
        wait_served(bare, "autocanary.dev", "v1alpha1", name)
    install_inferenceservice_crd(bare, "minimal")
    follow = ["get", "list", "watch"]
    ours: Document = {"apiGroups": ["autocanary.dev"], "resources": ["*"], "verbs": follow}
    bare.grant("half", [ours], name="half")
    port = free_port()

    def ready() -> tuple[int, str]:
        try:
            status, body = fetch(f"http://127.0.0.1:{port}/readyz")
        except OSError:
            return 0, ""
        return status, body.decode()

    flags = ["--kubeconfig", str(bare.kubeconfig("half")), "--prometheus-url", NOWHERE]
    flags += ["--listen", f"127.0.0.1:{port}", "--no-leader-election", "--log-format", "json"]
    with in_background("run", *flags, home=tmp_path) as log:

        def finalized() -> bool:
            """What may be read has been read by now; only what is forbidden is missing."""
            body = ready()[1]
            return "forbidden" in body and "CanaryRollouts" not in body

        wait_until(finalized, seconds=60, what="/readyz to say that only the InferenceServices are missing")
        status, body = ready()
        assert status == 503
        assert "InferenceServices" in body
        assert "inferenceservices" in body
        [failed] = _of_kserve(log.events("watch_failed"))
        assert failed["resource"] == "inferenceservices.serving.kserve.io"
        assert "grant it with the chart's roles" in failed["error"]
        services: Document = {
            "apiGroups": ["serving.kserve.io"],
            "resources": ["inferenceservices"],
            "verbs": follow,
        }
        bare.grant("half", [ours, services], name="half")
        wait_until(lambda: ready()[0] == 200, seconds=60, what="the service to be ready")
        assert ready()[1] == "ok\n"  # KFServing's group is not served, which needs no right
    assert writes(bare, user="half") == []
