"""What users ask of a rollout, with the commands and with kubectl, in every phase in which it can stand.

Over 300 lines because the phases are many and each test walks through one of them from its beginning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from autocanary.simulator.kserve_controller import KServeController
from tests.real.installation import Autocanary, Installation
from tests.real.manifests import Document
from tests.real.run_command import CommandOutput, autocanary
from tests.testbed.servers import KubectlError

pytestmark = pytest.mark.real

SILENT = {"name": "silence", "query": "nothing_measures_this", "thresholdRange": {"max": 1}}
ANALYSIS = {
    "interval": "1s",
    "warmup": "1s",
    "window": "5s",
    "minRequests": 5,
    "source": "knative",
    "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 50}}],
}
POLICIES: dict[str, Document] = {
    # named after the services that they govern; a step never ends on its own
    "long": {"stepWeights": [10, 50, 100], "stepDuration": "30m", "bake": "30m"},
    "manual": {
        "steps": [
            {"setWeight": 10},
            {"pause": {}},
            {"setWeight": 100},
        ],
        "stepWeights": None,
        "stepDuration": None,
        "bake": "30m",
    },
    "silent": {
        "stepWeights": [10, 50, 100],
        "stepDuration": "30m",
        "bake": "30m",
        "analysis": {**ANALYSIS, "metrics": [SILENT], "onNoData": {"hold": "30m", "then": "hold"}},
    },
    "quick": {"stepWeights": [10, 100], "stepDuration": "1s", "bake": "0s"},
}


@pytest.fixture(scope="module")
def service(installation: Installation) -> Autocanary:
    """One service for all tests; each has a namespace of its own in it."""
    for name, spec in POLICIES.items():
        whole = {"analysis": ANALYSIS, "selector": {"names": [name]}, "progressDeadline": "30m", **spec}
        installation.policy(name, **whole)
        file = installation.policies / f"{name}.yaml"
        document = yaml.safe_load(file.read_text())
        document["spec"] = {field: value for field, value in document["spec"].items() if value is not None}
        file.write_text(yaml.safe_dump(document))
    return installation.run("--no-leader-election")


@pytest.fixture
def namespace(installation: Installation, request: pytest.FixtureRequest) -> str:
    """A fresh namespace; what runs goes on for the other tests."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")
    installation.namespace(name)
    return name


class RolloutUnderTest:
    """One service and its rollout, and a user who asks things of it."""

    def __init__(self, installation: Installation, namespace: str, service: str) -> None:
        self.installation, self.namespace, self.service = installation, namespace, service
        self.rollout = f"{service}-00002"

    def ask(self, verb: str, *flags: str, name: str = "") -> CommandOutput:
        return self.command(verb, name or self.service, *flags)

    def command(self, *arguments: str, seconds: float = 60.0) -> CommandOutput:
        kubeconfig = str(self.installation.api.kubeconfig())
        where = ("-n", self.namespace, "--kubeconfig", kubeconfig)
        return autocanary(*arguments, *where, home=self.installation.folder, seconds=seconds)

    def says(self, verb: str, *flags: str, code: int, text: str) -> None:
        """The verb's answer is one sentence about this rollout, with this in it, and this exit code."""
        said = self.ask(verb, *flags)
        assert said.sentence.startswith(f"{self.namespace}/{self.service}"), said
        assert text in said.sentence, said
        assert said.code == code, said
        assert bool(said.out), said

    def has_ended(self, verb: str, how: str) -> None:
        """Nothing can be asked of it any more."""
        said = self.ask(verb)
        assert "promote, pause, resume and abort work only while it runs" in said.sentence
        assert how in said.sentence or (how.startswith("Promoted") and " was promoted at " in said.sentence)
        assert (said.code, said.out) == (1, "")

    def kubectl(self, spec: Document) -> str:
        return self.installation.api.kubectl(
            *("-n", self.namespace, "patch", "crl", self.rollout),
            *("--type", "merge", "-p", json.dumps({"spec": spec})),
        )

    @property
    def status(self) -> Document:
        found: Document = self.installation.rollouts(self.namespace).get(self.rollout, {}).get("status") or {}
        return found

    @property
    def written(self) -> list[int | None]:
        return self.installation.weights_written(self.namespace, self.service)

    def becomes(self, phase: str, **also: Any) -> Document:
        """Waits for a phase, and for fields of the status beside it."""
        wanted = {"phase": phase, **also}
        self.installation.eventually(
            lambda: {field: self.status.get(field) for field in wanted} == wanted,
            f"{self.rollout} to be {wanted} (it is {self.status.get('phase')}: {self.status.get('message')})",
            seconds=90,
        )
        return self.status

    def reaches(self, phase: str, weight: int) -> Document:
        """Waits until a weight is in effect."""
        self.installation.eventually(
            lambda: (
                (self.status.get("phase"), self.status.get("weight")) == (phase, weight)
                and self.status["progress"].get("verified_at") is not None
            ),
            f"{self.rollout} to be {phase} at {weight} %, in effect",
        )
        assert self.share == weight
        return self.status

    @property
    def share(self) -> int:
        """What the candidate really gets."""
        split = self.installation.split()[self.namespace, self.service]
        return split.get(f"{self.service}-predictor-00002", 0)

    def staged(self, version: str = "v2-slow60") -> RolloutUnderTest:
        self.installation.released(self.namespace, self.service)
        self.installation.serve(self.namespace, self.service, version, 0)
        self.becomes("Staging")
        return self

    def progressing(self) -> RolloutUnderTest:
        self.installation.released(self.namespace, self.service)
        self.installation.serve(self.namespace, self.service, "v2", 0)
        self.reaches("Progressing", 10)
        return self

    def baking(self) -> RolloutUnderTest:
        self.progressing()
        for number, (phase, weight) in enumerate((("Progressing", 50), ("Baking", 100))):
            self.kubectl({"request": {"id": f"to-{number}", "verb": "promote"}})
            self.reaches(phase, weight)
        return self


@pytest.fixture
def long(installation: Installation, service: Autocanary, namespace: str) -> RolloutUnderTest:
    return RolloutUnderTest(installation, namespace, "long")


# --- the commands ----------------------------------------------------------------------------------------


def test_promote_passes_one_step_at_a_time(long: RolloutUnderTest) -> None:
    """From 10 to 50 to 100 to promoted; then there is nothing left to ask."""
    long.progressing()
    long.says("promote", code=0, text="going to 50 %")
    long.reaches("Progressing", 50)
    long.says("promote", code=0, text="going to 100 %")
    long.reaches("Baking", 100)
    long.says("promote", code=0, text=": promoted")
    status = long.becomes("Promoted", reason="PromotedByUser")
    assert "the bake was ended by admin" in status["message"]
    assert long.written == [10, 50, 100]
    long.has_ended("abort", "Promoted (PromotedByUser)")
    long.says("retry", code=1, text="only a rolled-back rollout can be tried again; this one is Promoted")
    assert long.written == [10, 50, 100]


def test_promote_full_passes_all_steps(long: RolloutUnderTest) -> None:
    """From 10 to 100 and done, without the bake; asked once more, it has ended."""
    long.progressing()
    long.says("promote", "--full", code=0, text="going to 100 %")
    long.becomes("Promoted")
    said = long.ask("promote", "--full")
    assert (said.code, "work only while it runs" in said.sentence) == (1, True)
    assert long.written == [10, 100]
    assert long.share == 100


def test_a_candidate_that_is_not_ready(long: RolloutUnderTest) -> None:
    """Cannot be promoted, is not there to be tried again, and can be promoted as soon as it is ready."""
    long.staged("v2-slow25")
    long.says("promote", code=1, text="long-predictor-00002 is not ready yet; nothing was changed")
    long.says("retry", code=1, text="nothing to retry: the rollout is still running")
    long.says("resume", code=0, text="is not paused; nothing was changed")
    long.says("promote", "--full", code=0, text="will go to 100 % as soon as the revision is ready")
    assert long.written == []
    long.becomes("Promoted")
    assert long.written == [100]


def test_a_staged_candidate_is_paused_resumed_and_aborted(long: RolloutUnderTest) -> None:
    """Nothing is ever written: the weight is 0 already."""
    long.staged()
    long.says("pause", code=0, text="is paused: paused at 0 % by ")
    long.says("pause", code=0, text="is already paused; nothing was changed")
    long.says("resume", code=0, text="resumed")
    long.becomes("Staging")
    long.says("resume", code=0, text="is not paused; nothing was changed")
    long.says("abort", code=0, text="rolling back")
    status = long.becomes("RolledBack", reason="AbortedByUser")
    assert "aborted by admin" in status["message"]
    long.has_ended("abort", "RolledBack (AbortedByUser)")
    assert long.written == []


def test_a_held_step_is_paused_and_resumed(long: RolloutUnderTest) -> None:
    """Asked twice is asked once; the weight stays."""
    long.progressing()
    long.says("pause", code=0, text="is paused: paused at 10 % by ")
    paused = long.becomes("Paused", reason="PausedByUser")
    assert {each["type"]: each["status"] for each in paused["conditions"]}["Progressing"] == "False"
    long.says("pause", code=0, text="is already paused; nothing was changed")
    long.says("resume", code=0, text="resumed")
    long.becomes("Progressing")
    long.says("resume", code=0, text="is not paused; nothing was changed")
    assert long.installation.rollouts(long.namespace)[long.rollout]["spec"]["paused"] is False
    assert long.written == [10]


def test_a_step_is_passed_in_a_pause(long: RolloutUnderTest) -> None:
    """The weight moves, the pause stays: it is another request."""
    long.progressing()
    long.ask("pause")
    long.says("promote", code=0, text="going to 50 %")
    long.becomes("Paused", weight=50)
    long.installation.eventually(lambda: long.share == 50, "50 % in effect")
    long.says("resume", code=0, text="resumed")
    long.reaches("Progressing", 50)
    assert long.written == [10, 50]


def test_a_held_step_is_aborted_and_tried_again(long: RolloutUnderTest) -> None:
    """A rolled-back candidate gets a second attempt once, and only while no other runs."""
    long.progressing()
    long.says("abort", code=0, text="rolling back")
    long.becomes("RolledBack", reason="AbortedByUser")
    assert long.written == [10, 0]
    assert long.share == 0
    for verb in ("abort", "promote", "pause", "resume"):
        long.has_ended(verb, "RolledBack (AbortedByUser)")
    long.says("retry", code=0, text="started long-00002-r2")
    again = RolloutUnderTest(long.installation, long.namespace, "long")
    again.rollout = "long-00002-r2"
    again.reaches("Progressing", 10)
    assert again.installation.rollouts(long.namespace)["long-00002-r2"]["spec"]["attempt"] == 2
    said = long.ask("retry", name="long-00002")
    assert (said.code, "another rollout of this service is running" in said.sentence) == (1, True), said
    long.says("retry", code=1, text="nothing to retry: the rollout is still running")
    assert long.written == [10, 0, 10]
    long.says("abort", code=0, text="rolling back")
    again.becomes("RolledBack")
    assert long.written == [10, 0, 10, 0]


def test_a_bake_is_paused_resumed_and_aborted(long: RolloutUnderTest) -> None:
    """After 100 % the way back is to the revision before."""
    long.baking()
    long.says("pause", code=0, text="is paused: paused at 100 % by ")
    long.says("resume", code=0, text="resumed")
    long.reaches("Baking", 100)
    long.says("abort", code=0, text="rolling back")
    long.becomes("RolledBack", reason="AbortedByUser")
    assert long.written == [10, 50, 100, 0]
    assert long.installation.split()[long.namespace, "long"]["long-predictor-00001"] == 100


def test_running_rollback_cannot_be_stopped(long: RolloutUnderTest) -> None:
    """The ingress does not move the traffic: asking again changes nothing."""
    long.progressing()
    name = (long.namespace, "long")

    def hold_ingress(rules: KServeController, held: bool) -> None:
        [child] = rules.children(name).values()
        child.ingress_held = held
        child.reconcile_soon()

    long.installation.kserve.do(lambda rules: hold_ingress(rules, True))
    long.says("abort", code=0, text="rolling back")
    long.becomes("RollingBack")
    long.says("abort", code=0, text="is already rolling back; nothing was changed")
    long.says("promote", code=1, text="it is rolling back already (AbortedByUser)")
    long.says("pause", code=1, text="is rolling back, which a pause does not stop; nothing was changed")
    long.says("resume", code=0, text="is not paused; nothing was changed")
    assert long.share == 10
    long.installation.kserve.do(lambda rules: hold_ingress(rules, False))
    long.becomes("RolledBack", reason="AbortedByUser")
    assert long.written == [10, 0]
    assert long.share == 0


def test_a_manual_step_waits_for_approval(installation: Installation, service: Autocanary, namespace: str) -> None:
    """``pause: {}`` is passed by promote alone; pausing it besides is possible and undone by resume."""
    case = RolloutUnderTest(installation, namespace, "manual")
    installation.released(namespace, "manual")
    installation.serve(namespace, "manual", "v2", 0)
    status = case.becomes("Paused", reason="AwaitingApproval")
    assert "waits for approval: promote or abort" in status["message"]
    case.says("pause", code=0, text="is paused: the step at 10 % passed and waits for approval")
    assert case.written == [10]
    case.says("resume", code=1, text="waits for approval, which a resume is not")
    case.says("promote", code=0, text="going to 100 %")
    case.reaches("Baking", 100)
    assert case.written == [10, 100]
    case.says("abort", code=0, text="rolling back")
    case.becomes("RolledBack")


def test_a_weight_set_by_hand_pauses_until_a_user_resumes(long: RolloutUnderTest) -> None:
    """The message names the client; resumed, it goes on from there; promoted, to the next step above it."""
    long.progressing()
    patch = '{"spec":{"predictor":{"canaryTrafficPercent":30}}}'
    long.installation.api.kubectl(
        "-n",
        long.namespace,
        "patch",
        "isvc",
        "long",
        "--type",
        "merge",
        "-p",
        patch,
        "--field-manager=jenkins",
    )
    status = long.becomes("Paused", reason="ExternalChange")
    assert "jenkins set canaryTrafficPercent from 10 to 30" in status["message"]
    long.says("resume", code=0, text="resumed")
    long.reaches("Progressing", 30)
    long.says("promote", code=0, text="going to 50 %")
    long.reaches("Progressing", 50)
    assert long.written == [10, 50]


@pytest.fixture
def holding(installation: Installation, service: Autocanary, namespace: str) -> RolloutUnderTest:
    """A rollout whose metrics no exporter measures."""
    case = RolloutUnderTest(installation, namespace, "silent")
    installation.released(namespace, "silent")
    installation.serve(namespace, "silent", "v2", 0)
    case.becomes("Holding", reason="NoData")
    return case


def test_a_hold_is_paused_resumed_and_aborted(holding: RolloutUnderTest) -> None:
    """No data is no reason to ignore a user."""
    holding.says("resume", code=0, text="is not paused; nothing was changed")
    holding.says("pause", code=0, text="is paused: paused at 10 % by ")
    holding.says("resume", code=0, text="resumed")
    holding.becomes("Holding", reason="NoData")
    holding.says("abort", code=0, text="rolling back")
    holding.becomes("RolledBack", reason="AbortedByUser")
    assert holding.written == [10, 0]


def test_a_hold_is_overruled_by_promote(holding: RolloutUnderTest) -> None:
    """A user knows better than silence: one step, and then all."""
    holding.says("promote", code=0, text="going to 50 %")
    holding.becomes("Holding", weight=50)
    holding.says("promote", "--full", code=0, text="going to 100 %")
    holding.becomes("Promoted")
    assert holding.written == [10, 50, 100]


def test_what_does_not_exist_cannot_be_asked(long: RolloutUnderTest) -> None:
    """One sentence, exit code 1."""
    for verb in ("promote", "pause", "resume", "abort", "retry"):
        said = long.ask(verb, name="unknown")
        assert (said.code, said.out) == (1, "")
        assert f"there is no rollout of unknown in namespace {long.namespace}" in said.sentence


# --- kubectl ---------------------------------------------------------------------------------------------


def test_kubectl_aborts(long: RolloutUnderTest) -> None:
    """The same request in the object's spec is answered in its status, once per id."""
    long.progressing()
    abort = {"request": {"id": "1", "verb": "abort"}}
    long.kubectl(abort)
    status = long.becomes("RolledBack", reason="AbortedByUser")
    assert status["answeredRequest"] == {"id": "1", "message": "rolling back"}
    assert "aborted by a user" in status["message"]
    assert "no change" in long.kubectl(abort)
    long.kubectl({"request": {"id": "2", "verb": "abort"}})
    answer = "this rollout has ended: RolledBack (AbortedByUser)"
    long.becomes("RolledBack", answeredRequest={"id": "2", "message": answer})
    assert long.written == [10, 0]
    long.kubectl({"request": {"id": "3", "verb": "retry"}})
    long.becomes("RolledBack", answeredRequest={"id": "3", "message": "started long-00002-r2"})


def test_kubectl_promotes_once_per_id(long: RolloutUnderTest) -> None:
    """The same id is the same request; what is no request is refused by the API server, which says what is one."""
    long.progressing()
    promote = {"request": {"id": "1", "verb": "promote", "by": "lee"}}
    long.kubectl(promote)
    long.reaches("Progressing", 50)
    assert "no change" in long.kubectl(promote)
    for wrong, expected in (
        (
            {"id": "2", "verb": "launch"},
            'supported values: "promote", "promote-full", "pause", "resume", "abort", "retry"',
        ),
        ({"id": None, "verb": "abort"}, "spec.request.id: Required value"),
        ({"id": 2}, "spec.request.id: Invalid value"),
    ):
        with pytest.raises(KubectlError, match=expected):
            long.kubectl({"request": wrong})
    assert long.written == [10, 50]
    assert long.status["answeredRequest"]["id"] == "1"
    long.kubectl({"request": {"id": "3", "verb": "promote-full"}})
    long.becomes("Promoted")
    assert long.written == [10, 50, 100]


def test_kubectl_pauses_and_resumes(long: RolloutUnderTest) -> None:
    """``spec.paused`` alone, without a request; false again is enough to go on."""
    long.progressing()
    long.kubectl({"paused": True})
    long.becomes("Paused", reason="PausedByUser")
    long.kubectl({"request": {"id": "1", "verb": "resume"}})
    refused = "spec.paused is still true; set it to false to resume"
    long.becomes("Paused", answeredRequest={"id": "1", "message": refused})
    long.says("pause", code=0, text="is already paused; nothing was changed")
    long.kubectl({"paused": False})
    long.becomes("Progressing")
    assert long.written == [10]


# --- status ----------------------------------------------------------------------------------------------


def test_status_of_a_running_rollout(long: RolloutUnderTest) -> None:
    """As a table, wide, as JSON and YAML that kubectl's own agree with, and one of them in full."""
    long.progressing()
    table = long.command("status")
    head, row = table.out.splitlines()
    assert head.split() == ["SERVICE", "PHASE", "WEIGHT", "CANDIDATE", "REASON", "AGE"]
    assert row.split()[:4] == ["long", "Progressing", "10%", "long-predictor-00002"]
    wide = long.command("status", "-o", "wide").out.splitlines()[1].split()
    assert wide[6:9] == ["long-predictor-00001", "long-00002", "long"]
    truth = long.installation.rollouts(long.namespace)["long-00002"]
    listed = json.loads(long.command("status", "-o", "json").out)
    assert (listed["kind"], len(listed["items"])) == ("List", 1)
    for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        shown = read(long.command("status", "long", "-o", output).out)
        assert shown["metadata"]["uid"] == truth["metadata"]["uid"]
        assert shown["spec"] == truth["spec"]
        assert shown["status"]["phase"] == "Progressing"
    full = long.command("status", "long").out
    assert "10 % candidate" in full
    assert "request-success-rate" in full or "WarmingUp" in full
    everywhere = autocanary(
        "status", "-A", "--kubeconfig", str(long.installation.api.kubeconfig()), home=long.installation.folder
    )
    assert everywhere.out.splitlines()[0].split()[0] == "NAMESPACE"
    assert long.namespace in everywhere.out


def test_status_waits_for_the_end_and_shows_it(long: RolloutUnderTest) -> None:
    """1 while it has not ended in time, 1 when it was rolled back, each with a sentence."""
    long.progressing()
    late = long.command("status", "long", "--timeout", "1s")
    assert late.code == 1
    assert "did not end within 1s: Progressing, waits for the end of the step" in late.err
    long.kubectl({"request": {"id": "1", "verb": "abort"}})
    for flags in (("--timeout", "30s"), ("--watch",), ("--watch", "--timeout", "30s")):
        ended = long.command("status", "long", *flags)
        assert ended.code == 1
        assert "RolledBack: long-predictor-00002 rolled back" in ended.err
    assert long.command("status", "long").code == 0, "without waiting it only shows"


def test_status_follows_a_release_to_its_promotion(
    installation: Installation, service: Autocanary, namespace: str
) -> None:
    """Asked before there is any rollout, as a pipeline does right after ``kubectl apply``: 0 when promoted."""
    case = RolloutUnderTest(installation, namespace, "quick")
    too_early = case.command("status", "quick", "--timeout", "1s")
    assert too_early.code == 1
    assert "no rollout of quick started within 1s" in too_early.err
    installation.released(namespace, "quick")
    installation.serve(namespace, "quick", "v2-slow4", 0)
    followed = case.command("status", "quick", "--watch", "--timeout", "60s", seconds=90)
    assert followed.code == 0, followed
    assert "Promoted: " in followed.err
    assert [line for line in followed.out.splitlines() if "StepPassed" in line], followed.out
    assert case.written == [10, 100]
    missing = case.command("status", "unknown")
    assert (missing.code, missing.out) == (1, "")
    assert "there is no rollout of unknown" in missing.err


# --- no service to answer ------------------------------------------------------------------------------


@pytest.fixture
def unattended(long: RolloutUnderTest, service: Autocanary) -> Iterator[RolloutUnderTest]:
    """A rollout whose service is down; it is back afterwards."""
    long.progressing()
    assert service.terminate() < 10
    yield long
    if service.process.poll() is not None:
        service.start()
        long.installation.eventually(service.is_ready, "autocanary to be ready")


def test_request_waits_for_the_controller(unattended: RolloutUnderTest, service: Autocanary) -> None:
    """It is said that no service answers; the newest request counts, and is answered when the service is back."""
    case = unattended
    said = case.ask("promote", "--timeout", "1s")
    assert said.code == 1
    assert "no answer within 1s" in said.err
    assert "is autocanary running and watching this namespace?" in said.err
    again = case.ask("promote", "--timeout", "1s")
    assert again.code == 1
    assert "promote was already requested by admin and is not answered yet" in again.err
    other = case.ask("abort", "--no-wait")
    assert (other.code, "this replaces promote by admin" in other.err) == (0, True)
    assert "requested; the answer appears in its status" in other.out
    assert case.written == [10]
    service.start()
    case.becomes("RolledBack", reason="AbortedByUser")
    assert case.written == [10, 0]
