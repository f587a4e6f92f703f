"""KFServing's v1alpha2 on a real API server: default and canary, as the rules of KFServing 0.4 have them.

The two manifests in ``tests/data/kfserving`` are those of a published walk-through, in which a user does
by hand what autocanary does here: the same model stands on both sides. Where a canary must differ from
default, its ``storageUri`` is another.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.real.installation import Installation, Sampler
from tests.real.kfserving_service import CANARY, DEFAULT, FIRST, NAME, URI, KFServingService, model, serving
from tests.real.manifests import Document
from tests.real.run_command import autocanary
from tests.testbed.servers import wait_until

pytestmark = pytest.mark.real

KFSERVING = True


@pytest.fixture
def service(installation: Installation, namespace: str) -> KFServingService:
    """Default serves, and a policy of few seconds selects it."""
    return serving(installation, namespace)


def test_kfserving_canary_example_is_promoted(installation: Installation, namespace: str) -> None:
    """Both manifests with kubectl; then 90 10, 75 25, 50 50, 100 on the canary, and all on default again."""
    installation.policy()
    service = KFServingService(installation, namespace)
    service.apply("tensorflow.yaml")
    wait_until(lambda: service.columns()["READY"] == "True", seconds=30, what="default to be ready")
    shown = service.columns()
    assert (shown["NAME"], shown["READY"], shown["DEFAULT TRAFFIC"]) == (NAME, "True", "100")
    assert shown["CANARY TRAFFIC"] == ""
    assert shown["URL"] == f"http://{NAME}.{namespace}.example.com/v1/models/{NAME}"
    process = installation.run("--namespace", namespace, "--no-leader-election")
    with Sampler(service.split) as splits:
        service.apply("tensorflow-canary.yaml")
        rollout = service.ended()
        wait_until(lambda: splits.seen[-1] == ("100", ""), seconds=10, what="the canary's column to be empty")
    assert rollout["status"]["phase"] == "Promoted"
    stepped = [pair for pair in splits.seen if pair not in (("100", ""), ("", ""))]
    assert stepped == [("90", "10"), ("75", "25"), ("50", "50"), ("", "100")]
    assert service.spec == {"default": model(URI)}
    clearing = {"canary": None, "canaryTrafficPercent": None}
    assert service.written_specs() == [
        *({"canaryTrafficPercent": weight} for weight in (25, 50, 100)),
        clearing,
    ]
    row = service.kubectl("get", "crl", FIRST).splitlines()[1].split()
    assert row[5:7] == [f"{DEFAULT}-00001", f"{CANARY}-00001"]
    assert process.audit_trail() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


def test_another_model_is_copied_into_default(installation: Installation, service: KFServingService) -> None:
    """At 100 %, which stays until default's own revision of it is ready; unknown fields come along."""
    installation.run("--namespace", service.namespace, "--no-leader-election")
    odd = {**model("pvc://models/mnist-2/"), "x-odd": {"list": [1, {"a": "b"}], "big": 9007199254740993}}
    service.edit(canary=odd, canaryTrafficPercent=10)
    wait_until(lambda: service.spec["default"] == odd, seconds=90, what="the copy", every=0.02)
    assert service.spec == {"default": odd, "canary": odd, "canaryTrafficPercent": 100}
    assert service.ended()["status"]["phase"] == "Promoted"
    assert service.spec == {"default": odd}
    assert installation.split()[service.namespace, NAME] == {f"{DEFAULT}-00002": 100}
    assert service.split() == ("100", "")


def test_a_bad_canary_is_rolled_back_and_kept(installation: Installation, service: KFServingService) -> None:
    """Percent 0, default untouched, the canary left for inspection."""
    installation.traffic.behave(f"{CANARY}-00001", errors=0.2)
    installation.run("--namespace", service.namespace, "--no-leader-election")
    before = service.spec["default"]
    try:
        service.canary("pvc://models/bad/")
        rollout = service.ended()
    finally:
        installation.traffic.behave(f"{CANARY}-00001")
    assert (rollout["status"]["phase"], rollout["status"]["reason"]) == ("RolledBack", "MetricViolation")
    assert "success rate" in rollout["status"]["message"]
    assert service.written_specs() == [{"canaryTrafficPercent": 0}]
    assert service.spec == {
        "default": before,
        "canary": model("pvc://models/bad/"),
        "canaryTrafficPercent": 0,
    }
    assert service.split() == ("100", "")
    kubeconfig = {"KUBECONFIG": str(installation.api.kubeconfig())}
    said = autocanary("status", "-n", service.namespace, "-o", "wide", home=installation.folder, environment=kubeconfig)
    head, *rows = [line.split() for line in said.out.splitlines()[-3:]]
    assert head == ["ROUTE", "URL", "READY", "TRAFFIC"]
    assert rows == [
        [name, f"http://{name}.{service.namespace}.example.com", "True", "100%", "->", f"{name}-00001"]
        for name in (CANARY, DEFAULT)
    ], "as kn route list has them"


def _is_at_100(spec: Document) -> bool:
    return bool(spec.get("canaryTrafficPercent") == 100)


def _is_copied(spec: Document) -> bool:
    return bool(spec.get("canary") == spec["default"])


def _is_cleared(spec: Document) -> bool:
    return "canary" not in spec


@pytest.mark.parametrize("so_far", [_is_at_100, _is_copied, _is_cleared])
def test_kill_between_the_two_writes_of_a_promotion(
    installation: Installation, service: KFServingService, so_far: Callable[[Document], bool]
) -> None:
    """kill -9 right after each of them; another process makes the rest, in the same order, each once."""
    process = installation.run("--namespace", service.namespace, "--no-leader-election")
    service.canary("pvc://models/mnist-2/")
    wait_until(lambda: so_far(service.spec), seconds=90, what=so_far.__name__, every=0.03)
    os.kill(process.process.pid, signal.SIGKILL)
    process.process.wait(10)
    assert installation.phase(service.namespace, FIRST) in ("Progressing", "Baking", "Finalizing")
    installation.run("--namespace", service.namespace, "--no-leader-election")
    assert service.ended()["status"]["phase"] == "Promoted"
    assert service.spec == {"default": model("pvc://models/mnist-2/")}
    assert service.written_specs() == [
        {"canaryTrafficPercent": 50},
        {"canaryTrafficPercent": 100},
        {"default": {"predictor": {"tensorflow": {"storageUri": "pvc://models/mnist-2/"}}}},
        {"canary": None, "canaryTrafficPercent": None},
    ]


def test_the_canary_is_removed_by_hand(installation: Installation, service: KFServingService) -> None:
    """That is the owner's rollback: said, and nothing is written any more."""
    installation.run("--namespace", service.namespace, "--no-leader-election")
    service.canary("pvc://models/mnist-2/")
    service.wait_for_weight_in_effect(50)
    service.edit(canary=None, canaryTrafficPercent=None)
    rollout = service.ended()
    assert (rollout["status"]["phase"], rollout["status"]["reason"]) == ("Superseded", "Reverted")
    assert service.written_specs() == [{"canaryTrafficPercent": 50}]
    assert service.spec == {"default": model(URI)}
    wait_until(lambda: service.split() == ("100", ""), seconds=10, what="default to have everything")


def test_another_canary_is_pushed(installation: Installation, service: KFServingService) -> None:
    """It takes the first one's place, starts at the first step, and is what is promoted."""
    installation.run("--namespace", service.namespace, "--no-leader-election")
    service.canary("pvc://models/mnist-2/")
    service.wait_for_weight_in_effect(50)
    service.edit(canary=model("pvc://models/mnist-3/"))
    second = service.ended(f"{NAME}-canary-00002")
    assert second["status"]["phase"] == "Promoted"
    assert service.ended()["status"]["reason"] == "NewRevision"
    weights = [
        spec["canaryTrafficPercent"] for spec in service.written_specs() if len(spec) == 1 and "default" not in spec
    ]
    assert weights == [50, 0, 10, 50, 100]
    assert service.spec == {"default": model("pvc://models/mnist-3/")}


def test_default_is_edited_during_a_canary(installation: Installation, service: KFServingService) -> None:
    """The attempt ends, and the next one holds the same canary against the new default."""
    installation.run("--namespace", service.namespace, "--no-leader-election")
    service.canary("pvc://models/mnist-2/")
    service.wait_for_weight_in_effect(50)
    service.edit(default=model("pvc://models/hotfix/"))
    rollout = service.ended()
    assert (rollout["status"]["phase"], rollout["status"]["reason"]) == ("Superseded", "StableChanged")
    again = service.ended(f"{FIRST}-r2")
    assert again["spec"]["stable"] == f"{DEFAULT}-00002"
    assert again["status"]["phase"] == "Promoted"
    assert service.spec == {"default": model("pvc://models/mnist-2/")}


def test_both_api_groups_in_one_cluster(installation: Installation, service: KFServingService) -> None:
    """One process rolls out a service of each, each by its own rules."""
    prefix = installation.released(service.namespace)
    installation.run("--namespace", service.namespace, "--no-leader-election")
    service.canary("pvc://models/mnist-2/")
    installation.serve(service.namespace, "mnist", "v2", 0)
    assert service.ended()["status"]["phase"] == "Promoted"
    assert service.ended("mnist-00002")["status"]["phase"] == "Promoted"
    assert installation.split()[service.namespace, "mnist"] == {f"{prefix}-00002": 100}
    assert installation.split()[service.namespace, NAME] == {f"{DEFAULT}-00002": 100}
