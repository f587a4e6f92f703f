# ruff: noqa: T201 - it prints what it measures
"""`python -m tests.kserve_ground`: how long a rollback takes on the real controllers of KServe and Knative.

Three figures, three runs each: from a violation, from a crash that blocks the route, and from the return of KServe's
webhook, until the Ingress object that Knative writes gives the candidate nothing. `--runs` says how many.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kserve_ground.installation import KServeInstallation
from tests.testbed.servers import wait_until

STABLE, CANDIDATE = "mnist-predictor-00001", "mnist-predictor-00002"
POLICY: dict[str, Any] = {
    "stepWeights": [10, 25, 50, 100],
    "stepDuration": "60s",
    "bake": "10s",
    "progressDeadline": "2m",
    "analysis": {
        "interval": "2s",
        "warmup": "2s",
        "window": "10s",
        "minRequests": 5,
        "source": "knative",
        "metrics": [
            {"name": "request-success-rate", "thresholdRange": {"min": 95}, "failureLimit": 2},
            {"name": "request-duration", "quantile": 0.99, "thresholdRange": {"max": "500ms"}, "failureLimit": 2},
        ],
    },
}


class Measurements:
    """One installation; each measurement takes a namespace of its own."""

    def __init__(self, installation: KServeInstallation) -> None:
        self._installation = installation
        self._broken: set[tuple[str, str]] = set()
        installation.traffic.quality_of = lambda *revision: 0.3 if revision in self._broken else 0.0
        self._number = 0

    def violation(self) -> float:
        """The candidate at 10 % begins to fail 30 % of its requests."""
        namespace = self._rolled_out()
        self._broken.add((namespace, CANDIDATE))
        return self._until_out(namespace)

    def blocked_route(self) -> float:
        """All pods of the candidate at 10 % crash: Knative applies no weight until stable's spec is back and ready."""
        namespace = self._rolled_out()
        self._installation.cluster.nodes.crash(namespace, CANDIDATE)
        return self._until_out(namespace)

    def webhook_returns(self) -> float:
        """KServe's webhook is down for 45 s while a violation is rolled back: from its return on."""
        namespace = self._rolled_out()
        webhook = self._installation.cluster.webhook
        webhook.refuse()
        self._broken.add((namespace, CANDIDATE))
        time.sleep(45)
        assert self._share(namespace) == 10, "the webhook was away and the weight changed"
        webhook.listen()
        seconds = self._until_out(namespace)
        time.sleep(5)
        model = self._installation.isvc(namespace, "mnist")["spec"]["predictor"]["model"]
        assert model["storageUri"].endswith("/v2"), "the user's spec was overwritten without need"
        return seconds

    def _rolled_out(self) -> str:
        """A namespace in which a healthy candidate has had 10 % for ten seconds."""
        self._number += 1
        namespace = f"measured-{self._number}"
        self._installation.namespace(namespace)
        self._installation.policy(namespace, **POLICY, selector={"namespaces": [namespace]})
        self._installation.released(namespace)
        time.sleep(6)  # the policy's file is read every five seconds
        self._installation.serve(namespace, "mnist", "v2", 0)
        wait_until(lambda: self._share(namespace) == 10, seconds=60, what="the candidate at 10 %")
        time.sleep(10)
        return namespace

    def _share(self, namespace: str) -> int:
        return self._installation.split().get((namespace, "mnist"), {}).get(CANDIDATE, 0)

    def _until_out(self, namespace: str) -> float:
        began = time.monotonic()
        wait_until(lambda: self._share(namespace) == 0, seconds=120, what="no traffic on the candidate", every=0.02)
        return time.monotonic() - began


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each figure; exit code 1 when one is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kserve_ground", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args(arguments).runs
    with (
        tempfile.TemporaryDirectory(prefix="autocanary-kserve-") as folder,
        KServeInstallation(Path(folder), crd="full") as installation,
    ):
        installation.run()
        measured = Measurements(installation)
        figures: list[tuple[str, float, Callable[[], float]]] = [
            ("violation until the ingress is clean", 8.0, measured.violation),
            ("crash that blocks the route until the ingress is clean", 13.0, measured.blocked_route),
            ("KServe's webhook back until the ingress is clean", 3.0, measured.webhook_returns),
        ]
        missed = 0
        for what, limit, measure in figures:
            seconds = [measure() for _ in range(runs)]
            missed += max(seconds) > limit
            shown = " ".join(f"{each:.1f}" for each in seconds)
            print(
                f"{what}: {shown} s (median {statistics.median(seconds):.1f}, at most {limit:.0f} wanted)", flush=True
            )
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
