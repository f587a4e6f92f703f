"""One service in a namespace of its own, changed and read without kubectl: many of them run at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import yaml

from autocanary.model.policy import Component
from autocanary.simulator.knative_controller import KnativeService, Revision
from autocanary.simulator.kserve_controller import KServeController
from tests.real.installation import SERVICE_ACCOUNT, Installation
from tests.real.manifests import Document, analysis, policy_document, service_document
from tests.testbed.servers import wait_until
from tests.testbed.servers.http import fetch

__all__ = [
    "FIRST",
    "NAME",
    "ROLLOUT",
    "SECOND",
    "ServiceUnderTest",
    "places",
    "recording_traffic_splits",
    "without_repetitions",
]

NAME = "mnist"
FIRST, SECOND = (f"{NAME}-predictor-{number:05d}" for number in (1, 2))
ROLLOUT = f"{NAME}-00002"
_PATHS = {
    "inferenceservices": "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices/",
    "canaryrollouts": "/apis/autocanary.dev/v1alpha1/namespaces/{}/canaryrollouts/",
    "leases": "/apis/coordination.k8s.io/v1/namespaces/{}/leases/",
    "events": "/api/v1/namespaces/{}/events/",
}
_PATIENCE = 3.0  # a shared machine
_FINAL = ("Promoted", "RolledBack", "Superseded", "Abandoned", "Missed")


class ServiceUnderTest:
    """``mnist`` in one namespace, with a policy of a few seconds. Every ``until`` fails the test when it is late."""

    def __init__(self, installation: Installation, namespace: str, **policy: Any) -> None:
        self.installation, self.namespace = installation, namespace
        self.shares: list[Mapping[str, int]] = []
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        status, _ = installation.api.request("/api/v1/namespaces", method="POST", body=body, seconds=30)
        assert status in (201, 409)
        self.policy(**policy)

    def policy(self, **spec: Any) -> None:
        """In force from the next start of autocanary on, or within five seconds."""
        half = self.installation.folder / f"{self.namespace}.half"
        half.write_text(yaml.safe_dump(_policy(self.namespace, spec)))
        half.replace(self.installation.policies / f"{self.namespace}.yaml")

    # --- acting ------------------------------------------------------------------------------------------

    def write(
        self,
        plural: str,
        name: str,
        body: object,
        *,
        method: str = "PATCH",
        namespace: str = "",
        by: str = "kim",
    ) -> Document:
        """As the admin."""
        api = self.installation.api
        path = _PATHS[plural].format(namespace or self.namespace) + name
        kind = "merge-patch+json" if method == "PATCH" else "json"
        status, answer = fetch(
            f"{api.url}{path.rstrip('/')}?fieldManager={by}",
            method=method,
            headers={"Authorization": f"Bearer {api.token()}", "Content-Type": f"application/{kind}"},
            ca=api.ca,
            body=json.dumps(body).encode(),
            seconds=30,
        )
        assert status in (200, 201, 202), answer
        found: Document = json.loads(answer)
        return found

    def serve(self) -> None:
        """The first version."""
        self.write("inferenceservices", "", service_document(self.namespace, NAME, "v1"), method="POST")

    def serving(self) -> None:
        """Until the first version is rolled out."""
        self.until(lambda: self._predictor().get("latestRolledoutRevision") == FIRST, "v1 to be rolled out", 60)

    def release(self, weight: int | None = 0) -> None:
        """The second version, at once with this weight."""
        predictor = {"canaryTrafficPercent": weight, "model": {"storageUri": f"gs://models/{NAME}/v2"}}
        self.write("inferenceservices", NAME, {"spec": {"predictor": predictor}})

    def fail_candidate_requests(self) -> None:
        """The candidate answers every fifth request with an error from now on."""
        before = self.installation.traffic.quality_of
        self.installation.traffic.quality_of = lambda namespace, revision: (
            0.2 if (namespace, revision) == (self.namespace, SECOND) else before(namespace, revision)
        )

    def crash(self) -> None:
        """The candidate's pods crash-loop, so that Knative takes no more changes of its route."""

        def act(controller: KServeController) -> None:
            child: KnativeService = controller.children((self.namespace, NAME))[Component.PREDICTOR]
            revision: Revision = child.revisions[SECOND]
            child.pods_crash(revision)

        self.installation.kserve.do(act)

    def ask(self, verb: str) -> None:
        request = {"id": f"request-{time.time_ns()}", "verb": verb, "by": "kim"}
        self.write("canaryrollouts", ROLLOUT, {"spec": {"request": request}})

    # --- looking -----------------------------------------------------------------------------------------

    def read(self, plural: str, name: str = "", *, namespace: str = "") -> Document | None:
        path = _PATHS[plural].format(namespace or self.namespace) + name
        status, body = self.installation.api.request(path.rstrip("/"), seconds=30)
        assert status in (200, 404), body
        found: Document = json.loads(body)
        return found if status == 200 else None

    def _predictor(self) -> Document:
        status = (self.read("inferenceservices", NAME) or {}).get("status") or {}
        found: Document = (status.get("components") or {}).get("predictor") or {}
        return found

    def spec(self) -> Document:
        found: Document = (self.read("inferenceservices", NAME) or {})["spec"]["predictor"]
        return found

    def status(self) -> Document:
        found: Document = (self.read("canaryrollouts", ROLLOUT) or {}).get("status") or {}
        return found

    @property
    def phase(self) -> str:
        return str(self.status().get("phase", ""))

    @property
    def ended(self) -> tuple[str, str]:
        status = self.status()
        return str(status.get("phase", "")), str(status.get("reason", ""))

    def share(self) -> int:
        return self.installation.split().get((self.namespace, NAME), {}).get(SECOND, 0)

    def requests(self, *verbs: str, accepted: bool = True) -> Iterator[Document]:
        """autocanary's requests in this namespace by the audit log; ``accepted`` only those that were."""
        for event in self.installation.api.audit():
            where, user = event.get("objectRef") or {}, event["user"].get("username", "")
            if where.get("namespace") != self.namespace or not user.startswith(SERVICE_ACCOUNT):
                continue
            if verbs and event["verb"] not in verbs:
                continue
            if not accepted or event["responseStatus"]["code"] < 300:
                yield event

    def weights(self) -> list[int | None]:
        """The weights that autocanary wrote, in order."""
        return [
            event["requestObject"]["spec"]["predictor"].get("canaryTrafficPercent")
            for event in self.requests("patch", "update")
            if event["objectRef"].get("resource") == "inferenceservices"
        ]

    def notified_events(self) -> list[str]:
        """What the Events on the rollout say, in order; each is there once, whichever instance repeated it."""
        items = (self.read("events") or {}).get("items", ())
        mine = [item for item in items if item["involvedObject"]["name"] == ROLLOUT]
        assert all(item.get("count") == 1 for item in mine)
        mine.sort(key=lambda item: (item["firstTimestamp"], item["metadata"]["creationTimestamp"]))
        return [f"{item['reason']}: {item['message']}" for item in mine]

    def until(self, so: Callable[[], object], what: str, seconds: float = 120) -> None:
        try:
            wait_until(lambda: bool(so()), seconds=seconds * _PATIENCE, what=what, every=0.3)
        except TimeoutError as error:
            raise AssertionError(f"{self.namespace}: {error}: {self.story()}") from error

    def until_weight(self, weight: int) -> None:
        """Until this weight is in effect and recorded so."""
        self.until(lambda: self.share() == weight and self.status().get("observedWeight") == weight, f"{weight} %")

    def finish(self) -> None:
        """Until the rollout has ended and its notifications are delivered."""
        self.until(lambda: self.phase in _FINAL, "the end")
        self.until(lambda: not self.status()["progress"].get("pending_notifications"), "everybody to know it", 60)

    def story(self) -> str:
        status = self.status()
        return f"{status.get('phase')}/{status.get('reason')} ({status.get('message')}), wrote {self.weights()}"


def places(installation: Installation, *namespaces: str, **policy: Any) -> dict[str, ServiceUnderTest]:
    """Several at once, each serving its first version."""
    found = {namespace: ServiceUnderTest(installation, namespace, **policy) for namespace in namespaces}
    for place in found.values():
        place.serve()
    for place in found.values():
        place.serving()
    return found


@contextmanager
def recording_traffic_splits(*watched: ServiceUnderTest) -> Iterator[None]:
    """Notes how each one's traffic is split, at every change."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            split = watched[0].installation.split()
            for place in watched:
                shares = dict(split.get((place.namespace, NAME), {}))
                if not place.shares or place.shares[-1] != shares:
                    place.shares.append(shares)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


def without_repetitions(values: list[Any]) -> list[Any]:
    """Without identical neighbours."""
    return [value for value, _ in groupby(values)]


def _policy(namespace: str, spec: Mapping[str, Any]) -> Document:
    defaults: Document = {
        "selector": {"namespaces": [namespace]},
        "stepWeights": [10, 50, 100],
        "stepDuration": "2s",
        "bake": "2s",
        "progressDeadline": "10m",
        "analysis": analysis(warmup="1s"),
    }
    return policy_document(namespace, **{**defaults, **spec})
