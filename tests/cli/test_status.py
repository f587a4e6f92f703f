"""``autocanary status``: lists, one rollout, and following it to its end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from rich.console import Console

from autocanary.cli import follow, printing
from autocanary.errors import AutocanaryError, Forbidden, Unreachable
from autocanary.model.measurement import Measurement, MeasurementKind, Source, Unit
from autocanary.model.observation import Observation
from autocanary.model.progress import MetricState, Phase
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import from_document
from tests.cli.conftest import Invoke
from tests.cli.fake_client import START, FakeController, FakeRolloutClient, decision, observation, rollout

UseClient = Callable[[FakeRolloutClient], None]

RUNNING = rollout(number=3, started_at=START + 600)
OLD = rollout(Phase.PROMOTED, reason=Reason.PROMOTED, message="all steps passed")
IRIS = rollout(
    Phase.ROLLED_BACK,
    service="iris",
    namespace="team-a",
    reason=Reason.METRIC_VIOLATION,
    message="7 % errors",
    weight=0,
)


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocanary.cli.follow.now", lambda: START + 660)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        printing,
        "console",
        lambda stream=None, **_: Console(file=stream or sys.stdout, force_terminal=True, width=120, color_system=None),
    )


def service_reaching(phase: Phase, **changes: Any) -> FakeController:
    return lambda before: replace(before, progress=with_stored_fields(before.progress, {"phase": phase, **changes}))


def same(before: Rollout) -> Rollout:
    return before


def rows(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_the_list_has_one_line_per_service(invoke: Invoke, cluster: UseClient) -> None:
    """The running rollout or the last one; each cell of a pipe is one word; nothing on stderr."""
    cluster(FakeRolloutClient(OLD, RUNNING))
    result = invoke("status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(result.stdout) == [
        ["SERVICE", "PHASE", "WEIGHT", "CANDIDATE", "REASON", "AGE"],
        ["mnist", "Progressing", "25%", "mnist-predictor-00003", "Analysing", "1m"],
    ]


def test_a_finished_rollout_waits_for_nothing(invoke: Invoke, cluster: UseClient) -> None:
    """It says how it ended."""
    cluster(FakeRolloutClient(OLD))
    assert rows(invoke("status", "-o", "wide").stdout)[1][-1] == "all steps passed"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns without colour."""
    monkeypatch.setattr(
        printing,
        "console",
        lambda stream=None, **_: Console(file=stream or sys.stdout, force_terminal=True, width=80, color_system=None),
    )


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("arguments", [("status",), ("status", "-A")])
def test_the_list_fits_80_columns(invoke: Invoke, cluster: UseClient, arguments: tuple[str, ...]) -> None:
    """One line per service; long sentences and names are cut, numbers and reasons are not."""
    long = rollout(
        Phase.HOLDING,
        service="recommendation-ranker-large",
        number=17,
        reason=Reason.METRICS_OUTAGE,
        message="Prometheus does not answer: connection refused by http://prometheus-operated.monitoring:9090",
    )
    cluster(
        FakeRolloutClient(long, RUNNING, rollout(Phase.ROLLING_BACK, service="iris", reason=Reason.METRIC_VIOLATION))
    )
    lines = invoke(*arguments).stdout.splitlines()
    assert len(lines) == 4
    assert [line for line in lines if len(line) > 80] == []
    assert "…" in lines[-1]
    assert "00017" in lines[-1]
    assert "MetricsOutage" in lines[-1]
    assert lines[-1].split()[-1] == "11m"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_what_each_rollout_waits_for(invoke: Invoke, cluster: UseClient) -> None:
    """The sentence follows the reason, as far as the line goes."""
    cluster(FakeRolloutClient(RUNNING))
    assert "Analysing: waits for the end of the step in 4m" in invoke("status").stdout


def test_running_rollouts_come_first(invoke: Invoke, cluster: UseClient) -> None:
    """Before those that have ended, whatever their names."""
    cluster(FakeRolloutClient(rollout(Phase.PROMOTED, service="a"), rollout(service="b")))
    assert [row[0] for row in rows(invoke("status").stdout)] == ["SERVICE", "b", "a"]


@pytest.mark.usefixtures("interrupted", "narrow")
def test_watching_shows_every_service(invoke: Invoke, cluster: UseClient) -> None:
    """One line each, so that a screen has room for all of them."""
    cluster(FakeRolloutClient(*(rollout(service=f"service-{number}") for number in range(8))))
    shown = invoke("status", "--watch").stdout
    assert [number for number in range(8) if f"service-{number} " not in shown] == []


def test_all_namespaces_have_a_column(invoke: Invoke, cluster: UseClient) -> None:
    """-A wins over -n, as in kubectl."""
    cluster(FakeRolloutClient(RUNNING, IRIS))
    for arguments in (("-A",), ("--all-namespaces", "-n", "models")):
        table = rows(invoke("status", *arguments).stdout)
        assert table[0][0] == "NAMESPACE"
        assert [row[:2] for row in table[1:]] == [["models", "mnist"], ["team-a", "iris"]]


def test_the_namespace_flag_narrows(invoke: Invoke, cluster: UseClient) -> None:
    """Else the context's namespace counts."""
    cluster(FakeRolloutClient(RUNNING, IRIS))
    assert "iris" in invoke("status", "-n", "team-a").stdout
    assert "iris" not in invoke("status").stdout


def test_wide_shows_more(invoke: Invoke, cluster: UseClient) -> None:
    """Stable, the object's name, the policy, the evidence (none without comparisons) and the reason."""
    cluster(FakeRolloutClient(RUNNING))
    header, row = rows(invoke("status", "-o", "wide").stdout)
    assert header[6:11] == ["STABLE", "ROLLOUT", "POLICY", "EVIDENCE", "REASON"]
    assert row[6:11] == ["mnist-predictor-00002", "mnist-00003", "prod", "–", "Analysing"]


def test_wide_shows_the_series_of_each_metric(invoke: Invoke, cluster: UseClient) -> None:
    """Which exporter was found, by which labels, over which window, and how often it is scraped."""
    last = Measurement(
        MeasurementKind.VALUE,
        99.5,
        Unit.PERCENT,
        source=Source.ISTIO,
        exporter="istio_requests_total{destination_service}",
        window=180,
        scrape_interval=59.98,
    )
    metrics = {"request-success-rate": MetricState(ok=True, last=last)}
    measured = replace(
        RUNNING, progress=replace(RUNNING.progress, analysis=replace(RUNNING.progress.analysis, metrics=metrics))
    )
    cluster(FakeRolloutClient(measured))
    header, row = rows(invoke("status", "-o", "wide").stdout)[-2:]
    assert header == ["SERVICE", "METRIC", "SOURCE", "SERIES", "WINDOW", "SCRAPES"]
    series = "istio_requests_total{destination_service}"
    assert row == ["mnist", "request-success-rate", "istio", series, "3m", "every 1m"]
    assert "SERIES" not in invoke("status").stdout


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_json_and_yaml_are_the_objects(invoke: Invoke, cluster: UseClient, output: str) -> None:
    """A list of them, or the one that was named: what a program can read back."""
    cluster(FakeRolloutClient(RUNNING))
    read = json.loads if output == "json" else yaml.safe_load
    found = read(invoke("status", "-o", output).stdout)
    assert found["kind"] == "List"
    assert [from_document(each).name for each in found["items"]] == ["mnist-00003"]
    one = read(invoke("status", "mnist", "-o", output).stdout)
    assert (one["kind"], one["metadata"]["name"]) == ("CanaryRollout", "mnist-00003")


def test_empty_list_is_a_notice_on_stderr(invoke: Invoke, cluster: UseClient) -> None:
    """Where it was looked is part of it; programs get an empty list."""
    cluster(FakeRolloutClient())
    result = invoke("status")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "there are no rollouts in namespace models\n"
    assert invoke("status", "-A").stderr == "there are no rollouts in any namespace\n"
    assert json.loads(invoke("status", "-o", "json").stdout)["items"] == []


def test_one_rollout_is_shown_with_its_history(invoke: Invoke, cluster: UseClient) -> None:
    """The demo's panel, and the recorded transitions with their times."""
    shown = rollout(decisions=(decision(10, "step_taken", 25, "StepPassed", "25 % goes to 00002"),))
    cluster(FakeRolloutClient(shown))
    result = invoke("status", "mnist")
    assert result.exit_code == 0
    for each in (
        "mnist-predictor-00002 instead of",
        "25 % candidate",
        "success rate",
        "WHAT HAPPENED",
    ):
        assert each in result.stdout
    assert "2026-01-01T00:00:10Z" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110


def test_an_old_rollout_can_be_named(invoke: Invoke, cluster: UseClient) -> None:
    """By the name of its object."""
    cluster(FakeRolloutClient(OLD, RUNNING))
    assert "mnist-predictor-00002 instead of" in invoke("status", OLD.name).stdout


def test_a_rollout_whose_policy_cannot_be_read_is_shown(invoke: Invoke, cluster: UseClient) -> None:
    """Of another version, for example: without its steps."""
    cluster(FakeRolloutClient(replace(RUNNING, policy_document={"stepWeights": "from the future"})))
    result = invoke("status")
    assert result.exit_code == 0
    assert rows(invoke("status", "-o", "wide").stdout)[1][2] == "2"


def test_unknown_name_exits_1(invoke: Invoke, cluster: UseClient) -> None:
    """With what may be the reason."""
    cluster(FakeRolloutClient(RUNNING))
    result = invoke("status", "mnits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no rollout of mnits in namespace models: is the name right" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--timeout", "5m"),
            "Invalid value for '--timeout': it needs the NAME",
        ),
        (("mnist", "-A"), "Invalid value for '-A': NAME is searched in one namespace"),
        (("-w", "-o", "json"), "Invalid value for '-o': json is printed once"),
        (("mnist", "--timeout", "1m", "-o", "yaml"), "Invalid value for '-o': yaml is printed once"),
        (("mnist", "--timeout", "5 min"), "Invalid value for '--timeout': expected a duration"),
        (("-o", "xml"), "'xml' is not a format; expected one of table, wide, json, yaml"),
    ],
)
def test_wrong_flags_are_reported_before_the_cluster_is_read(
    invoke: Invoke, arguments: tuple[str, ...], sentence: str
) -> None:
    """In one sentence, with exit code 2."""
    result = invoke("status", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (Phase.PROMOTED, 0),
        (Phase.ROLLED_BACK, 1),
        (Phase.SUPERSEDED, 1),
        (Phase.ABANDONED, 1),
        (Phase.MISSED, 1),
    ],
)
def test_follow_exits_with_the_outcome(invoke: Invoke, cluster: UseClient, end: Phase, code: int) -> None:
    """What a pipeline branches on."""
    client = FakeRolloutClient(RUNNING)
    client.script = [same, same, service_reaching(end, message="because")]
    cluster(client)
    result = invoke("status", "mnist", "--watch")
    assert result.exit_code == code
    assert result.stderr.endswith(f"instead of mnist-predictor-00002: {end.value}: because\n")
    assert client.closed


def test_a_timeout_alone_waits_too(invoke: Invoke, cluster: UseClient, slept: list[float]) -> None:
    """Not ended in time is a no that says what is waited for; the last evaluation is at the deadline."""
    cluster(FakeRolloutClient(RUNNING))
    result = invoke("status", "mnist", "--timeout", "5s")
    assert result.exit_code == 1
    assert "did not end within 5s: Progressing, waits for the end of the step in 4m" in result.stderr
    assert slept == [2.0, 2.0, 1.0]


def test_following_prints_each_transition_once(invoke: Invoke, cluster: UseClient) -> None:
    """A log of the release, on stdout."""
    one, two = (decision(at, "step_taken", weight, "StepPassed", "") for at, weight in ((10, 25), (70, 50)))
    client = FakeRolloutClient(rollout(decisions=(one,)))
    client.script = [same, same, service_reaching(Phase.PROMOTED, decisions=(one, two))]
    cluster(client)
    result = invoke("status", "mnist", "-w")
    assert [line.split("  ")[3] for line in result.stdout.splitlines()] == ["25 %", "50 %"]
    assert result.stdout.startswith("2026-01-01T00:00:10Z  models/mnist  step_taken")


def test_waits_for_a_rollout_to_start(invoke: Invoke, cluster: UseClient, slept: list[float]) -> None:
    """A pipeline asks right after kubectl apply."""
    client = FakeRolloutClient()
    cluster(client)

    def begin(seconds: float) -> None:
        slept.append(seconds)
        client.objects[RUNNING.namespace, RUNNING.name] = replace(RUNNING, progress=OLD.progress)

    follow.sleep = begin  # the fixture restores it
    result = invoke("status", "mnist", "--timeout", "10s")
    assert result.exit_code == 0
    assert result.stderr.startswith("waiting for a rollout of mnist in namespace models\n")


def test_exits_1_when_no_rollout_starts(invoke: Invoke, cluster: UseClient) -> None:
    """After the time that was given."""
    cluster(FakeRolloutClient())
    result = invoke("status", "mnist", "--timeout", "10s")
    assert result.exit_code == 1
    assert "no rollout of mnist started within 10s; does a policy select the service?" in result.stderr


def test_keeps_following_the_first_rollout(invoke: Invoke, cluster: UseClient, slept: list[float]) -> None:
    """The one that was found first is followed to its end."""
    client = FakeRolloutClient(RUNNING)
    cluster(client)
    newer = rollout(Phase.PROMOTED, number=9, started_at=START + 900)

    def supersede(seconds: float) -> None:
        slept.append(seconds)
        client.objects[newer.namespace, newer.name] = newer
        client.objects[RUNNING.namespace, RUNNING.name] = service_reaching(Phase.SUPERSEDED)(RUNNING)

    follow.sleep = supersede
    assert invoke("status", "mnist", "--watch").exit_code == 1


def test_deleted_rollout_exits_1(invoke: Invoke, cluster: UseClient) -> None:
    """With its service, for example."""
    client = FakeRolloutClient(RUNNING)
    client.script = [same, lambda before: replace(before, uid="deleted")]
    cluster(client)
    result = invoke("status", "mnist", "--watch")
    assert (result.exit_code, "the rollout was deleted" in result.stderr) == (1, True)


def test_tolerates_a_short_api_server_outage(invoke: Invoke, cluster: UseClient) -> None:
    """And said once."""
    client = FakeRolloutClient(RUNNING)
    client.script = [
        same,
        Unreachable("no answer"),
        Unreachable("no answer"),
        service_reaching(Phase.PROMOTED),
    ]
    cluster(client)
    result = invoke("status", "mnist", "--watch")
    assert result.exit_code == 0
    assert result.stderr.count("no answer; trying again for 30 s") == 1


def test_long_api_server_outage_exits_3(invoke: Invoke, cluster: UseClient) -> None:
    """Nothing is known of the release; that is not a rollback."""
    client = FakeRolloutClient(RUNNING)
    client.script = [same, *[Unreachable("no answer")] * 99]
    cluster(client)
    result = invoke("status", "mnist", "--watch")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (3, "autocanary status: no answer")


@pytest.mark.usefixtures("terminal")
def test_updates_live_on_a_terminal(invoke: Invoke, cluster: UseClient) -> None:
    """And no lines are printed into it."""
    client = FakeRolloutClient(rollout(decisions=(decision(10, "step_taken", 25, "StepPassed", "x"),)))
    client.script = [same, service_reaching(Phase.PROMOTED)]
    cluster(client)
    result = invoke("status", "mnist", "--watch")
    assert result.exit_code == 0
    assert "Progressing" in result.stdout
    assert "Promoted" in result.stdout
    assert "step_taken" not in result.stdout


@pytest.fixture
def interrupted(slept: list[float]) -> None:
    """Ctrl-C at the third sleep."""

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    follow.sleep = sleep


@pytest.mark.usefixtures("interrupted")
def test_watching_all_goes_on_until_ctrl_c(invoke: Invoke, cluster: UseClient) -> None:
    """Lines elsewhere; a cluster that was down for a moment is no end."""
    client = FakeRolloutClient(rollout(decisions=(decision(10, "step_taken", 25, "StepPassed", "x"),)))
    client.script = [same, Unreachable("no answer"), same]
    cluster(client)
    result = invoke("status", "--watch")
    assert (result.exit_code, len(result.stdout.splitlines())) == (130, 1)
    assert client.closed


@pytest.mark.usefixtures("interrupted", "terminal")
def test_watching_all_on_a_terminal_is_a_table(invoke: Invoke, cluster: UseClient) -> None:
    """An empty one says so until something begins."""
    cluster(FakeRolloutClient(RUNNING))
    assert "REASON" in invoke("status", "--watch").stdout


@pytest.mark.usefixtures("interrupted", "terminal")
def test_watching_nothing_says_so(invoke: Invoke, cluster: UseClient) -> None:
    """Instead of an empty screen."""
    cluster(FakeRolloutClient())
    assert "there are no rollouts in namespace models yet" in invoke("status", "--watch").stdout


def test_missing_rights_end_a_watch_at_once(invoke: Invoke, cluster: UseClient) -> None:
    """They do not come by waiting."""
    client = FakeRolloutClient(RUNNING)
    client.script = [same, Forbidden("dev may not get canaryrollouts", status=403)]
    cluster(client)
    result = invoke("status", "mnist", "--watch")
    assert (result.exit_code, result.stderr) == (3, "autocanary status: dev may not get canaryrollouts\n")


def test_the_real_clock_is_epoch_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are computed from the times in the CanaryRollout."""
    monkeypatch.undo()
    assert follow.now() > START - 10 * 365 * 86400


# --- which rollout is meant, right after `kubectl apply`


def applied(of: Rollout, created: str = "", **changes: Any) -> Observation:
    """A service whose spec is that of a rollout's candidate, but for the changes."""
    look = replace(observation(of, 0), spec_digest=of.candidate_digest, created=created or of.candidate)
    return replace(look, **changes)


ENDED = replace(
    rollout(Phase.PROMOTED, message="all steps passed"), candidate_digest="two", stable_digest="one", service_uid="uid"
)
NEXT = replace(rollout(number=3, started_at=START + 600), candidate_digest="three", service_uid="uid")


def watched(cluster: UseClient, service: Observation | AutocanaryError | None, *there: Rollout) -> FakeRolloutClient:
    client = FakeRolloutClient(*there)
    if service is not None:
        client.observations["mnist"] = service
    cluster(client)
    return client


@pytest.mark.parametrize(
    "service",
    [
        applied(ENDED, spec_digest="three"),
        applied(ENDED, created="mnist-predictor-00003"),
        applied(ENDED, uid="another"),
    ],
    ids=["the status lags behind the spec", "a new revision of the same spec", "the service is a new one"],
)
def test_does_not_follow_the_rollout_of_an_older_spec(
    invoke: Invoke, cluster: UseClient, slept: list[float], service: Observation
) -> None:
    """Its end is no answer to a pipeline that has just applied something else."""
    client = watched(cluster, service, ENDED)
    seconds = 0.0

    def begin(more: float) -> None:
        nonlocal seconds
        slept.append(more)
        seconds += more
        if seconds >= 6:
            client.observations["mnist"] = applied(NEXT)
            done = replace(NEXT.progress, phase=Phase.ROLLED_BACK, message="7 % errors")
            client.objects[NEXT.namespace, NEXT.name] = replace(NEXT, progress=done)

    follow.sleep = begin
    result = invoke("status", "mnist", "--timeout", "1m")
    assert (result.exit_code, seconds) == (1, 6.0)
    waiting, outcome = result.stderr.splitlines()
    assert waiting == (
        "the rollout of mnist-predictor-00002 is Promoted; a newer spec was applied to mnist: waiting for its rollout"
    )
    assert "mnist-predictor-00003" in outcome
    assert "RolledBack: 7 % errors" in outcome


def test_does_not_follow_a_rollout_about_to_be_superseded(
    invoke: Invoke, cluster: UseClient, slept: list[float]
) -> None:
    """Applied while the release before it is still on its way."""
    running = replace(ENDED, progress=NEXT.progress)
    client = watched(cluster, applied(running, spec_digest="three"), running)

    def supersede(more: float) -> None:
        slept.append(more)
        client.objects[running.namespace, running.name] = service_reaching(Phase.SUPERSEDED)(running)
        client.objects[NEXT.namespace, NEXT.name] = service_reaching(Phase.PROMOTED)(NEXT)
        client.observations["mnist"] = applied(NEXT)

    follow.sleep = supersede
    assert invoke("status", "mnist", "--watch").exit_code == 0


@pytest.mark.parametrize(
    ("service", "end"),
    [
        (applied(ENDED), ENDED),
        (applied(ENDED, created=""), ENDED),
        (applied(ENDED, spec_digest="other", stopped=True), ENDED),
        (applied(ENDED, spec_digest="other", deleting=True), ENDED),
        (applied(ENDED, spec_digest="one", created="mnist-predictor-00003"), replace(
            ENDED, progress=replace(ENDED.progress, phase=Phase.ROLLED_BACK, rollback=replace(ENDED.progress.rollback, restored=True))
        )),
        (applied(ENDED, spec_digest="unknown"), replace(ENDED, candidate_digest="")),
        (None, ENDED),
    ],
    ids=["applied", "no status", "stopped", "deleted", "restored", "of an old version", "not to be read"],
)  # fmt: skip
def test_prints_the_outcome_of_the_applied_spec_at_once(
    invoke: Invoke, cluster: UseClient, slept: list[float], service: Observation | None, end: Rollout
) -> None:
    """A pipeline that is run again without a change gets the same answer."""
    watched(cluster, service, end)
    result = invoke("status", "mnist", "--watch")
    assert (result.exit_code, slept) == (0 if end.progress.phase is Phase.PROMOTED else 1, [])


def test_a_rollout_by_its_own_name_is_followed_whatever_is_applied(invoke: Invoke, cluster: UseClient) -> None:
    """There is nothing to guess."""
    watched(cluster, applied(ENDED, spec_digest="three"), ENDED)
    assert invoke("status", ENDED.name, "--watch").exit_code == 0


def test_exits_1_when_the_newer_rollout_never_starts(invoke: Invoke, cluster: UseClient) -> None:
    """No policy selects it any more, for example."""
    watched(cluster, applied(ENDED, spec_digest="three"), ENDED)
    result = invoke("status", "mnist", "--timeout", "10s")
    assert result.exit_code == 1
    assert result.stderr.endswith("no rollout of mnist started within 10s; does a policy select the service?\n")


def test_tolerates_a_briefly_missing_service(invoke: Invoke, cluster: UseClient) -> None:
    """Only at the first evaluation is an error one at once."""
    watched(cluster, Unreachable("no answer"), ENDED)
    assert invoke("status", "mnist", "--watch").exit_code == 3


def test_the_timeout_bounds_each_call(invoke: Invoke, cluster: UseClient) -> None:
    """A server that accepts and says nothing must not hold a pipeline for longer."""
    client = watched(cluster, None, RUNNING)
    assert invoke("status", "mnist", "--timeout", "3s").exit_code == 1
    assert client.limits == [3.0, 1.0, 0.0]


def test_unreachable_cluster_at_the_deadline_exits_3(invoke: Invoke, cluster: UseClient) -> None:
    """Whether it was promoted in the meantime is not known; that is no rollback."""
    client = watched(cluster, None, RUNNING)
    client.script = [same, *[Unreachable("no answer")] * 9]
    result = invoke("status", "mnist", "--timeout", "10")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (3, "autocanary status: no answer")
