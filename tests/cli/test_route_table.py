"""``status -o wide``: routes with their revisions and percentages, below the rollouts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import ConditionStatus
from autocanary.model.progress import Phase
from tests.cli.conftest import Invoke
from tests.cli.fake_client import FakeRolloutClient, rollout

UseClient = Callable[[FakeRolloutClient], None]

SPLIT = Route(
    "mnist-predictor",
    "http://mnist-predictor.models.example.com",
    ConditionStatus.TRUE,
    (("mnist-predictor-00001", 90), ("mnist-predictor-00002", 10)),
)
BARE = Route("mnist-transformer", "", ConditionStatus.UNKNOWN, ())


def client() -> FakeRolloutClient:
    made = FakeRolloutClient(rollout(Phase.PROGRESSING))
    made.known_routes = [("models", SPLIT), ("models", BARE), ("other", SPLIT)]
    return made


@pytest.mark.parametrize("arguments", [("-o", "wide"), ("mnist", "-o", "wide")])
def test_routes_are_listed(invoke: Invoke, cluster: UseClient, arguments: tuple[str, ...]) -> None:
    """In the columns that kn has; what is not known is a dash."""
    cluster(client())
    head, first, second = invoke("status", *arguments).stdout.rstrip().splitlines()[-3:]
    assert head.split() == ["ROUTE", "URL", "READY", "TRAFFIC"]
    assert first.strip().split(None, 3) == [
        "mnist-predictor",
        "http://mnist-predictor.models.example.com",
        "True",
        "90% -> mnist-predictor-00001, 10% -> mnist-predictor-00002",
    ]
    assert second.split() == ["mnist-transformer", "–", "Unknown", "–"]


def test_with_all_namespaces_they_are_named(invoke: Invoke, cluster: UseClient) -> None:
    """As the rollouts above are."""
    cluster(client())
    lines = invoke("status", "-A", "-o", "wide").stdout.rstrip().splitlines()
    assert lines[-3].split()[:2] == ["NAMESPACE", "ROUTE"]
    assert lines[-2].split()[:2] == ["models", "mnist-predictor"]


def test_otherwise_routes_are_not_shown(invoke: Invoke, cluster: UseClient) -> None:
    """Nor asked for: they are another call for each service."""
    cluster(client())
    for arguments in ((), ("mnist",), ("-o", "json")):
        assert "ROUTE" not in invoke("status", *arguments).stdout
    quiet = FakeRolloutClient(rollout(Phase.PROGRESSING))
    cluster(quiet)
    assert "ROUTE" not in invoke("status", "-o", "wide").stdout.replace("ROLLOUT", "")
