"""Rollouts that were recorded on the real KServe 0.20 and Knative 1.21, with crashes, run again in the simulated world.

``tests/data/recorded_rollouts.jsonl`` holds what was written to each service and what happened to its pods, and where
the real controllers came to rest before the next event: traffic, revision names and seven conditions.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from autocanary.model.policy import Component
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.pod_behaviour import behaviour_from_uri
from autocanary.simulator.virtual_clock import VirtualClock

Row = dict[str, Any]

ROWS: list[Row] = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "recorded_rollouts.jsonl").read_text().splitlines()
]
CASES = {name: list(rows) for name, rows in groupby(ROWS, key=lambda row: str(row["case"]))}
AT_REST = 60.0
NAMESPACE, NAME = "models", "mnist"
NOT_COMPARED = {
    98: "deleted while the route was still unknown",
    191: "the Knative Service was deleted by hand meanwhile",
}


def _document(row: Row) -> dict[str, Any]:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": row["model"]}
    weight = {} if row["weight"] is None else {"canaryTrafficPercent": row["weight"]}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"predictor": {"minReplicas": 1, "model": model, **weight}},
    }


class Replay:
    """One service in a world of its own."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.kserve = KServeCluster(self.clock, behaviour_of=behaviour_from_uri)

    def act(self, row: Row, seconds: float) -> None:
        """What the row says, and then nothing for so many seconds."""
        if "model" in row:
            self.kserve.apply(_document(row), "kubectl", server_side=False)
        elif "crash" in row:
            self.kserve.crash(NAMESPACE, NAME, _revision(row["crash"]))
        elif "unready" in row:
            child = self.kserve.controller.children((NAMESPACE, NAME))[Component.PREDICTOR]
            child.pods_unready(child.revisions[_revision(row["unready"])])
        else:
            self.kserve.recover(NAMESPACE, NAME, _revision(row["recover"]))
        self.clock.advance(seconds)

    def state(self, conditions: list[str]) -> dict[str, Any]:
        """In the form of the recording."""
        status = self.kserve.document(NAMESPACE, NAME)["status"]
        part = status["components"]["predictor"]
        traffic: dict[str, int] = {}
        for entry in part.get("traffic", ()):
            number = entry["revisionName"][-5:]
            traffic[number] = traffic.get(number, 0) + entry["percent"]
        found = {each["type"]: each["status"] for each in status["conditions"]}
        return {
            "traffic": traffic,
            "names": [
                part.get(f"{which}Revision", "")[-5:]
                for which in ("latestRolledout", "previousRolledout", "latestReady", "latestCreated")
            ],
            "conditions": {kind: found.get(kind) for kind in conditions},
        }


def _revision(number: str) -> str:
    return f"{NAME}-predictor-{number}"


@pytest.mark.parametrize("case", CASES)
def test_simulated_status_matches_the_recording(case: str) -> None:
    """After each event the traffic, the revision names and the conditions are as recorded."""
    replay, rows = Replay(), CASES[case]
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        at_rest = row["at_rest"]
        gap = following["seconds"] - row["seconds"] if following is not None else AT_REST
        replay.act(row, AT_REST if at_rest is not None else max(gap, 0.1))
        if at_rest is not None and row["n"] not in NOT_COMPARED:
            assert replay.state(list(at_rest["conditions"])) == at_rest, f"row {row['n']}: {row}"


def test_every_row_at_rest_is_compared_or_listed() -> None:
    """213 events, of them 9 crashes, 3 times pods that are not ready and 8 recoveries; 126 came to rest."""
    assert len(ROWS) == 213
    assert [sum(kind in row for row in ROWS) for kind in ("crash", "unready", "recover")] == [9, 3, 8]
    at_rest = [row["n"] for row in ROWS if row["at_rest"] is not None]
    assert len(at_rest) == 126
    assert set(NOT_COMPARED) <= set(at_rest)
