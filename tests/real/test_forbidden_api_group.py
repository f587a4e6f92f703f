"""Two API groups are served, and only one of them may be read."""

from __future__ import annotations

import pytest

from autocanary.kube.rbac import rbac_rules
from tests.real.installation import PERSON, Installation
from tests.real.tested_service import NAME, ServiceUnderTest
from tests.testbed.servers.http import fetch

pytestmark = pytest.mark.real

KFSERVING = True


def test_older_api_group_may_be_forbidden(installation: Installation) -> None:
    """Served, and forbidden: it is announced once and at /readyz, and KServe's services are rolled out."""
    place = ServiceUnderTest(installation, "kserve-only")
    gone = ServiceUnderTest(installation, "kserve-gone", stepDuration="30m")
    for each in (place, gone):
        each.serve()
        each.serving()
    less = [rule for rule in rbac_rules() if rule["apiGroups"] != ["serving.kubeflow.org"]]
    installation.api.grant(PERSON, less, name="kserve-only")
    spaces = ("--namespace", place.namespace, "--namespace", gone.namespace)
    instance = installation.run(*spaces, "--no-leader-election", user=PERSON)
    notified = "cannot list inferenceservices.serving.kubeflow.org in namespace kserve-only: "
    _, body = fetch(f"http://127.0.0.1:{instance.port}/readyz")
    assert body.decode().startswith(f"ok\nbut: {notified}")
    assert body.decode().endswith("; grant it with the chart's roles\n")
    (event,) = instance.events("services_not_watched")
    assert event["error"].startswith(notified)
    place.release()
    gone.release()
    gone.until_weight(10)
    gone.write("inferenceservices", NAME, {}, method="DELETE")
    gone.until(lambda: gone.phase == "Abandoned", "the rollout of the deleted service to end", 60)
    place.finish()
    assert place.ended == ("Promoted", "Promoted"), place.story()
