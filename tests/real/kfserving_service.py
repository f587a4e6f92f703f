"""The article's service on the stage: KFServing's v1alpha2, as a user handles it and looks at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.real.installation import SERVICE_ACCOUNT, Installation
from tests.real.manifests import Document
from tests.testbed.servers import wait_until

__all__ = ["CANARY", "DEFAULT", "FIRST", "NAME", "URI", "KFServingService", "model", "policy", "serving"]

MANIFESTS = Path(__file__).resolve().parents[1] / "data" / "kfserving"
NAME = "tensorflow-mnist"
FIRST = f"{NAME}-canary-00001"
DEFAULT, CANARY = (f"{NAME}-predictor-{side}" for side in ("default", "canary"))
URI = "pvc://kfserving-models-pvc/models/tensorflow/mnist/"
_PATH = "/apis/serving.kubeflow.org/v1alpha2/namespaces/{}/inferenceservices/" + NAME
_POLICY: Document = {
    "stepWeights": [10, 50, 100],
    "stepDuration": "2s",
    "bake": "2s",
    "analysis": {
        "interval": "1s",
        "warmup": "1s",
        "window": "5s",
        "minRequests": 5,
        "source": "knative",
        "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}, "failureLimit": 2}],
    },
}


def model(uri: str) -> Document:
    return {"predictor": {"tensorflow": {"storageUri": uri}}}


class KFServingService:
    """The article's service in one namespace of the stage."""

    def __init__(self, installation: Installation, namespace: str) -> None:
        self.installation, self.namespace = installation, namespace

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.installation.api.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "-f", str(MANIFESTS / manifest))

    def canary(self, uri: str, weight: int = 10) -> None:
        """The second manifest, with another model in the canary's place."""
        text = (MANIFESTS / "tensorflow-canary.yaml").read_text()
        head, place, tail = text.rpartition(URI)
        assert place
        text = f"{head}{uri}{tail}".replace("canaryTrafficPercent: 10", f"canaryTrafficPercent: {weight}")
        self.kubectl("apply", "-f", "-", stdin=text)

    def edit(self, **spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        self.kubectl("patch", "inferenceservices.serving.kubeflow.org", NAME, "--type=merge", "-p", patch)

    def get(self) -> Document:
        """The object; without kubectl, which is too slow to catch a moment."""
        status, body = self.installation.api.request(_PATH.format(self.namespace))
        assert status == 200, body
        found: Document = json.loads(body)
        return found

    @property
    def spec(self) -> Document:
        found: Document = self.get()["spec"]
        return found

    def columns(self) -> dict[str, str]:
        """The row of ``kubectl get inferenceservices.serving.kubeflow.org``, by column."""
        head, row = self.kubectl("get", "inferenceservices.serving.kubeflow.org", NAME).splitlines()
        names = ["NAME", "URL", "READY", "DEFAULT TRAFFIC", "CANARY TRAFFIC", "AGE"]
        starts = [head.index(name) for name in names]
        ends = [*starts[1:], max(len(head), len(row))]
        return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}

    def split(self) -> tuple[str, str]:
        found = self.columns()
        return found["DEFAULT TRAFFIC"], found["CANARY TRAFFIC"]

    def serving(self) -> None:
        """The first manifest of the article, applied and served."""
        self.apply("tensorflow.yaml")
        wait_until(lambda: self.split() == ("100", ""), seconds=30, what="default to serve")

    def ended(self, rollout: str = FIRST) -> Document:
        return self.installation.wait_for_phase(
            self.namespace,
            rollout,
            "Promoted",
            "RolledBack",
            "Superseded",
            "Abandoned",
            "Missed",
            seconds=120,
        )

    def wait_for_weight_in_effect(self, weight: int) -> None:
        wait_until(
            lambda: self.get()["status"].get("canaryTraffic", 0) == weight,
            seconds=60,
            what=f"{weight} % on the canary",
            every=0.05,
        )

    def written_specs(self) -> list[Document]:
        """The specs that autocanary wrote, in order, as the audit log has them."""
        found = []
        for event in self.installation.api.audit(SERVICE_ACCOUNT):
            where = event.get("objectRef", {})
            mine = where.get("resource") == "inferenceservices" and where.get("namespace") == self.namespace
            if mine and event["verb"] == "patch" and event["responseStatus"]["code"] == 200:
                found.append(event["requestObject"]["spec"])
        return found


def policy(installation: Installation, name: str = "quick", **spec: Any) -> None:
    """A policy of few seconds that selects everything."""
    installation.policy(name, **{**_POLICY, **spec})


def serving(installation: Installation, namespace: str) -> KFServingService:
    """Default serves, and a policy of few seconds selects it."""
    policy(installation)
    sided = KFServingService(installation, namespace)
    sided.serving()
    return sided
