"""Every recorded request to the real KServe 0.20 and Knative 1.21, run again in the simulated world.

``tests/data/settled.jsonl`` holds what was asked and where the real controllers came to rest: the traffic,
the four revision names and seven conditions. After each row the simulated status must be the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from autocanary.errors import Busy, ClusterError, Conflict, NotFound, Refused
from autocanary.model.policy import Component
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.knative_controller import SpecTarget
from autocanary.simulator.pod_behaviour import behaviour_from_uri
from autocanary.simulator.virtual_clock import VirtualClock

Row = dict[str, Any]

ROWS: list[Row] = [
    json.loads(line) for line in (Path(__file__).parent.parent / "data" / "settled.jsonl").read_text().splitlines()
]
SCENARIOS = {name: list(rows) for name, rows in groupby(ROWS, key=lambda row: str(row["scenario"]))}

CONDITIONS = (
    "PredictorReady",
    "PredictorRouteReady",
    "PredictorConfigurationReady",
    "LatestDeploymentReady",
    "RoutesReady",
    "IngressReady",
    "Ready",
)
RECORDED_PROGRESS_DEADLINE = 30.0
AT_REST = 60.0

NOT_RUN = {
    297: "a JSON patch: neither autocanary nor the world in memory speaks it",
    322: "a JSON patch: neither autocanary nor the world in memory speaks it",
    299: "a strategic merge patch: does not exist for custom resources",
    324: "a strategic merge patch: does not exist for custom resources",
}
RUN_BUT_NOT_COMPARED = {
    392: "recorded in the middle of a slow pass (1.6 s after the request, status still the old one)",
    406: "the first of a burst: the next request follows before anything moves",
    407: "in the middle of a burst",
    409: "in the middle of a burst",
    410: "in the middle of a burst",
    411: "in the middle of a burst",
    468: "recorded once for five starts of the controller, with the state after the last",
}
WAIT = {
    392: 1.6,
    395: 1.0,
    398: 1.2,
    406: 0.01,
    407: 0.01,
    409: 0.01,
    410: 0.01,
    411: 0.01,
    485: 1.2,
    488: 1.2,
    489: 0.2,
}
"""Seconds until the state was recorded, where that was not a state of rest."""

ERRORS: dict[int, type[ClusterError]] = {400: Refused, 404: NotFound, 409: Conflict, 422: Refused, 500: Busy}


class Replay:
    """One scenario in a world of its own."""

    def __init__(self, scenario: str) -> None:
        self.clock = VirtualClock()
        self.kserve = KServeCluster(
            self.clock,
            behaviour_of=behaviour_from_uri,
            progress_deadline=RECORDED_PROGRESS_DEADLINE,
            minimal_crd=scenario.endswith("-min"),
        )
        self.scenario = scenario
        self.namespace = scenario.split("_")[0] + ("-min" if scenario.endswith("-min") else "")
        self.name = f"m{self.namespace}"
        self.refused = False

    def revision(self, number: int) -> str:
        return f"{self.name}-predictor-{number:05d}"

    def replay(self, row: Row) -> None:
        self.before(row)
        if "method" in row:
            expected = ERRORS.get(row["code"])
            if expected is None:
                self.request(row)
            else:
                with pytest.raises(expected):
                    self.request(row)
        self.after(row)
        self.clock.advance(WAIT.get(row["n"], AT_REST))
        self.at_rest(row)

    def request(self, row: Row) -> None:
        method, kind, body = row["method"], row["path"].split("/")[1], row.get("body", {})
        target = row["path"].rsplit("/", 1)[-1]
        if kind == "services":
            self.touch_child(method)
        elif kind == "revisions":
            self.kserve.delete_revision(self.namespace, self.name, target)
        elif row["path"].startswith("/apis"):
            self.kserve.set_runtime_image("edited" if "restore" not in row["trigger"] else "runtime:1")
        elif method == "POST":
            self.kserve.create(body)
        elif method == "DELETE":
            self.kserve.delete(self.namespace, target)
        elif method == "GET":
            assert self.kserve.document(self.namespace, target)["metadata"]["name"] == target
        elif method == "PUT":
            self.replace_without_weight()
        elif row.get("type") == "apply-patch+yaml":
            self.kserve.apply(body, "gitops", force="force=true" in row["query"])
        elif row.get("type") == "json-patch+json":
            self.kserve.patch(self.namespace, target, {"spec": {"predictor": {"canaryTrafficPercent": 12}}})
        else:
            self.kserve.patch(self.namespace, target, self.with_live_version(row))

    def with_live_version(self, row: Row) -> dict[str, Any]:
        """The recorded body; "the current version" is another one here."""
        body: dict[str, Any] = row["body"]
        if "current resourceVersion" not in row["trigger"]:
            return body
        live = self.kserve.document(self.namespace, self.name)["metadata"]["resourceVersion"]
        return {**body, "metadata": {"resourceVersion": live}}

    def touch_child(self, method: str) -> None:
        controller, name = self.kserve.controller, (self.namespace, self.name)
        if method == "DELETE":
            controller.drop_child(name, Component.PREDICTOR)
        else:
            by_hand = (SpecTarget("", 50), SpecTarget(self.revision(1), 50))
            controller.edit_child(name, Component.PREDICTOR, by_hand)

    def replace_without_weight(self) -> None:
        live = self.kserve.document(self.namespace, self.name)
        predictor = {k: v for k, v in live["spec"]["predictor"].items() if k != "canaryTrafficPercent"}
        self.kserve.replace({**live, "spec": {"predictor": predictor}})

    def manifest(self, uri: str, weight: int | None = None) -> dict[str, Any]:
        predictor: dict[str, Any] = {
            "minReplicas": 1,
            "model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri},
        }
        if weight is not None:
            predictor["canaryTrafficPercent"] = weight
        return {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"predictor": predictor},
        }

    def before(self, row: Row) -> None:
        """What was done beside the request, just before it."""
        trigger = row["trigger"]
        if "while revision creation is refused" in trigger:
            self.kserve.refuse_revisions(self.namespace, self.name)
        elif "while the Knative controller is down" in trigger:
            self.kserve.set_knative_down()
        elif self.scenario.startswith("s30") and trigger == "pct=100":
            self.kserve.set_knative_down(False)
            self.clock.advance(AT_REST)
        elif "while KServe (webhook server) is down" in trigger:
            self.kserve.set_kserve_down()
        elif "while the Knative webhook is down" in trigger:
            self.kserve.set_kserve_down(False)
            self.kserve.set_knative_webhook_down()
        elif trigger == "pct=25 while the ingress is not programmed":
            self.kserve.hold_ingress(self.namespace, self.name)
        elif "initloop" in trigger:
            self.kserve.controller.freeze((self.namespace, self.name))
        elif self.scenario.startswith("s05g") and trigger.startswith("revert"):
            self.kserve.controller.freeze((self.namespace, self.name), False)

    def after(self, row: Row) -> None:
        """Triggers that are not requests."""
        act = TRIGGERS.get(row["trigger"]) if "method" not in row else None
        if act is not None:
            act(self)

    def at_rest(self, row: Row) -> None:
        """What was done once the request had taken effect, before the state was recorded."""
        combined = COMBINED.get((self.scenario[:4].rstrip("_"), row["trigger"]))
        if combined is not None:
            combined(self)
            self.clock.advance(AT_REST)

    def crash(self, number: int) -> None:
        self.kserve.crash(self.namespace, self.name, self.revision(number))

    def recover(self, number: int) -> None:
        self.kserve.recover(self.namespace, self.name, self.revision(number))

    def kubectl_apply(self, uri: str, weight: int | None = None) -> None:
        self.kserve.apply(self.manifest(uri, weight), server_side=False)


def _unseen(_: Replay) -> None:
    """Readiness probes, a part of the pods, idle pods: Knative does not change its mind, nor do the rules."""


TRIGGERS: dict[str, Callable[[Replay], None]] = {
    "all canary pods start crash-looping": lambda it: it.crash(2),
    "all STABLE pods crash-loop": lambda it: it.crash(1),
    "canary pods recover by themselves": lambda it: it.recover(2),
    "pods become ready": lambda it: it.recover(2),
    "canary pods not ready": _unseen,
    "pods recover": _unseen,
    "ONE of two canary pods crash-loops": _unseen,
    "v1 idle: scale to zero": _unseen,
    "v2 idle: scale to zero": _unseen,
    "container now crash-loops (never was ready)": _unseen,
    "storage-initializer now crash-loops": _unseen,
    "revision creation allowed again": lambda it: it.kserve.refuse_revisions(it.namespace, it.name, ""),
    "ingress programmed": lambda it: it.kserve.hold_ingress(it.namespace, it.name, False),
    "Knative controller started": lambda it: it.kserve.set_knative_down(False),
    "Knative webhook started": lambda it: it.kserve.set_knative_webhook_down(False),
    "kubectl apply v1": lambda it: it.kubectl_apply("gs://b/v1"),
    "kubectl apply v2 manifest without field": lambda it: it.kubectl_apply("gs://b/v2"),
    "kubectl apply ORIGINAL v1 manifest without field (mid-rollout)": lambda it: it.kubectl_apply("gs://b/v1"),
    "kubectl apply v2 with pct=10 in git": lambda it: it.kubectl_apply("gs://b/v2", 10),
    "git drops the field, kubectl apply v2": lambda it: it.kubectl_apply("gs://b/v2"),
}
COMBINED: dict[tuple[str, str], Callable[[Replay], None]] = {
    ("s20b", "v2 + pct=10"): lambda it: it.crash(1),
    ("s26", "v2 + pct=10"): lambda it: it.crash(2),
    ("s27", "v2 + pct=10"): lambda it: it.crash(2),
    ("s25", "v2 + pct=10"): lambda it: it.kserve.controller.lose_rolled_out((it.namespace, it.name)),
}


def said(replay: Replay) -> dict[str, Any]:
    """The simulated state in the form of the recording."""
    document = replay.kserve.objects.find((replay.namespace, replay.name))
    status = (document or {}).get("status", {})
    part = status.get("components", {}).get("predictor", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return {
        "traffic": [
            [entry["revisionName"][-5:], entry["percent"], entry["latestRevision"], entry.get("tag")]
            for entry in part.get("traffic", ())
        ],
        "names": [
            part.get(f"{which}Revision", "")[-5:]
            for which in ("latestRolledout", "previousRolledout", "latestReady", "latestCreated")
        ],
        "conditions": {kind: conditions[kind] for kind in CONDITIONS if kind in conditions},
    }


def recorded(row: Row) -> dict[str, Any]:
    final = row["settled"]
    conditions = {kind: text.split(":")[0] for kind, text in final["conditions"].items()}
    return {
        "traffic": final["traffic"],
        "names": final["names"],
        "conditions": {kind: conditions[kind] for kind in CONDITIONS if kind in conditions},
    }


def compared(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        if row["n"] not in NOT_RUN and row["n"] not in RUN_BUT_NOT_COMPARED:
            yield row


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_simulated_status_matches_the_recording(scenario: str) -> None:
    """After each recorded action the traffic, the revision names and the conditions are as recorded."""
    replay = Replay(scenario)
    rows = SCENARIOS[scenario]
    expected = {row["n"] for row in compared(rows)}
    for row in rows:
        if row["n"] in NOT_RUN:
            continue
        replay.replay(row)
        if row["n"] in expected:
            assert said(replay) == recorded(row), f"row {row['n']}: {row['trigger']}"


def test_every_recorded_row_is_compared_or_listed() -> None:
    """508 rows were recorded; 497 are compared, 7 only run, 4 left out for the reasons given above."""
    assert len(ROWS) == 508
    assert sum(1 for _ in compared(ROWS)) == 497
    assert len(NOT_RUN) == 4
    assert len(RUN_BUT_NOT_COMPARED) == 7
