"""The rollouts that a user reads: all of them over many pages, one rollout, and a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocanary import logs
from autocanary.app.user_client import UserClient, open_client
from autocanary.errors import Conflict, Forbidden, NotFound, SettingsError, Unreachable
from autocanary.kube import api_client
from autocanary.model.policy import Component
from autocanary.model.rollout import Request, Verb
from autocanary.model.rollout_json import to_document
from autocanary.settings import ClusterAccess
from tests.kube.fake_api import FakeApi, Reply, status
from tests.kube.samples import rollout, service


@pytest.fixture
def store(api: FakeApi) -> Iterator[UserClient]:
    made = UserClient(api.client())
    yield made
    made.close()


def fill(api: FakeApi, number: int, namespace: str = "ml") -> list[str]:
    names = [f"mnist-{each:05d}" for each in range(number)]
    for name in names:
        api.put("canaryrollouts", to_document(rollout(name, namespace)))
    return names


@pytest.mark.parametrize("number", [0, 1, 3, 4, 7])
def test_all_pages_are_read(api: FakeApi, store: UserClient, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Every rollout once and in order, also when the last page is full."""
    monkeypatch.setattr(api_client, "_PAGE_SIZE", 3)
    names = fill(api, number)
    assert [each.name for each in store.rollouts(None)] == names
    pages = api.made("GET", "canaryrollouts")
    assert len(pages) == max(1, -(-number // 3))
    assert {page.query["limit"] for page in pages} == {"3"}


def test_one_namespace_or_all(api: FakeApi, store: UserClient) -> None:
    """The namespace is asked of the server, not filtered here."""
    fill(api, 2, "ml")
    fill(api, 1, "vision")
    assert len(store.rollouts(None)) == 3
    assert [each.namespace for each in store.rollouts("vision")] == ["vision"]
    assert api.made("GET", "/namespaces/vision/canaryrollouts")
    assert store.rollouts("nowhere") == []


def test_a_rollout_that_cannot_be_read_is_left_out_and_said(
    api: FakeApi, store: UserClient, captured: logs.CapturedLogs
) -> None:
    """Of a newer version, or made by hand: the others are shown all the same."""
    fill(api, 1)
    foreign = to_document(rollout("from-the-future"))
    foreign["status"]["progress"]["version"] = 99
    api.put("canaryrollouts", foreign)
    by_hand = {"metadata": {"name": "by-hand", "namespace": "ml"}, "spec": {}}
    api.put("canaryrollouts", by_hand)
    odd = to_document(rollout("odd")) | {"status": "Promoted"}
    api.put("canaryrollouts", odd)
    assert [each.name for each in store.rollouts(None)] == ["mnist-00000"]
    assert {each["rollout"] for each in captured.named("rollout_unreadable")} == {
        "by-hand",
        "from-the-future",
        "odd",
    }


def test_reading_one(api: FakeApi, store: UserClient) -> None:
    """As it is now; None when there is none."""
    fill(api, 1)
    found = store.read("ml", "mnist-00000")
    assert found is not None
    assert found.name == "mnist-00000"
    assert store.read("ml", "mnist-99999") is None


def test_request_is_written_to_the_spec(api: FakeApi, store: UserClient) -> None:
    """A client without leadership writes it; the status is not touched."""
    fill(api, 1)
    before = api.objects["canaryrollouts", "ml", "mnist-00000"]["status"]
    asked = store.write_request("ml", "mnist-00000", paused=None, request=Request("7", Verb.ABORT.value, "ann"))
    assert asked.request == Request("7", "abort", "ann")
    held = api.objects["canaryrollouts", "ml", "mnist-00000"]
    assert held["spec"]["request"] == {"id": "7", "verb": "abort", "by": "ann"}
    assert held["status"] == before


def test_request_for_a_missing_rollout_is_not_found(store: UserClient) -> None:
    """NotFound, for a sentence that the command makes of it."""
    with pytest.raises(NotFound):
        store.write_request("ml", "mnist-00000", paused=True, request=None)


def test_a_list_that_is_forbidden_is_said(api: FakeApi, store: UserClient) -> None:
    """As the API server said it."""
    refusal = status(403, "Forbidden", 'canaryrollouts is forbidden: User "ann" cannot list resource')
    api.reply("GET", "canaryrollouts", Reply(403, refusal))
    with pytest.raises(Forbidden, match="cannot list"):
        store.rollouts(None)


def test_observes_the_service_of_a_rollout(api: FakeApi, store: UserClient) -> None:
    """The component that it is about; nothing once the service has gone."""
    assert store.observe(rollout()) is None
    api.put("inferenceservices", service())
    seen = store.observe(rollout())
    assert seen is not None
    assert (seen.created, seen.weight) == ("mnist-predictor-00002", 10)
    assert store.observe(rollout(component=Component.TRANSFORMER)) is None


def test_a_service_that_may_not_be_read_is_not_there(api: FakeApi, store: UserClient) -> None:
    """Who may see rollouts need not be allowed to see services; nor need this version know their kind."""
    refusal = status(403, "Forbidden", 'inferenceservices is forbidden: User "ann" cannot get resource')
    api.reply("GET", "inferenceservices", Reply(403, refusal))
    assert store.observe(rollout()) is None
    assert store.observe(rollout(api_version="serving.kserve.io/v9")) is None


def test_a_limit_bounds_every_call(api: FakeApi, store: UserClient) -> None:
    """A server that says nothing is not waited for longer; a long limit does not lengthen anything."""
    asked: list[tuple[float, float]] = []
    for seconds in (0.0, 1.5, 600.0, float("inf")):
        store.set_timeout(seconds)
        asked.append(store._client.timeout)
    assert asked == [(1.0, 1.0), (2.5, 2.5), (3.0, 10.0), (3.0, 10.0)]


def test_hanging_server_times_out(api: FakeApi, store: UserClient) -> None:
    """As an answer that never comes."""
    store._default_timeout = (0.1, 0.1)
    store.set_timeout(0.0)
    api.reply("GET", "canaryrollouts", Reply(200, b"{}", delay=5.0))
    with pytest.raises(Unreachable):
        store.rollouts(None)


def test_the_namespace_is_the_contexts(api: FakeApi, store: UserClient) -> None:
    """What kubectl would use without -n."""
    assert store.namespace == "default"


def test_opening_without_a_kubeconfig_says_which(tmp_path: Path) -> None:
    """The path that was given, and where it was given."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml does not exist"):
        open_client(ClusterAccess(kubeconfig=str(tmp_path / "nowhere.yaml")))


def test_opening_makes_no_request(tmp_path: Path) -> None:
    """A server that is not there is found by the first call."""
    config = tmp_path / "config"
    config.write_text(KUBECONFIG)
    store = open_client(ClusterAccess(kubeconfig=str(config)))
    try:
        assert store.namespace == "ml"
        with pytest.raises(Unreachable):
            store.read("ml", "mnist-00002")
    finally:
        store.close()


def test_the_user_is_the_one_that_the_server_sees(api: FakeApi, store: UserClient) -> None:
    """By a SelfSubjectReview of the newest version that is served; asked once."""
    review = {"status": {"userInfo": {"username": "ada@example.com", "groups": ["ml"]}}}
    api.reply("POST", "/v1/selfsubjectreviews", Reply(404, b"404 page not found"))
    api.reply("POST", "/v1beta1/selfsubjectreviews", Reply(201, json.dumps(review).encode()))
    assert (store.user_name(), store.user_name()) == ("ada@example.com", "ada@example.com")
    assert len(api.made("POST", "selfsubjectreviews")) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, b"404 page not found"),
        Reply(403, status(403, "Forbidden", "no")),
        Reply(201, b'{"status": {"userInfo": 7}}'),
        Reply(201, b"{}"),
    ],
)
def test_an_old_server_does_not_say_who_the_user_is(api: FakeApi, store: UserClient, reply: Reply) -> None:
    """Older than 1.26, without the right, or with another answer: the login name is used then."""
    api.reply("POST", "selfsubjectreviews", reply, reply, reply)
    assert store.user_name() == ""


def test_a_release_is_staged_and_names_its_author(api: FakeApi, store: UserClient) -> None:
    """The former spec at weight 0, by a field manager of its own, with the user and the reason beside it."""
    api.put("inferenceservices", service(weight=None))
    store.release(rollout(), {"model": {"storageUri": "s3://m/v1"}}, by="ada", reason="wrong labels")
    held = api.objects["inferenceservices", "ml", "mnist"]
    assert held["spec"]["predictor"] == {"model": {"storageUri": "s3://m/v1"}, "canaryTrafficPercent": 0}
    assert held["metadata"]["annotations"] == {
        "autocanary.dev/released-by": "ada",
        "autocanary.dev/release-reason": "wrong labels",
    }
    (patch,) = api.made("PATCH")
    assert patch.query["fieldManager"] == "autocanary-undo"
    assert patch.body["metadata"]["resourceVersion"]


def test_a_release_survives_status_writes_but_no_change_of_the_spec(api: FakeApi, store: UserClient) -> None:
    """KServe writes the status all the time; another user's spec is not overwritten."""
    api.put("inferenceservices", service())
    conflict = Reply(409, status(409, "Conflict", "the object has been modified"))
    api.reply("PATCH", "inferenceservices", conflict, conflict)
    store.release(rollout(), {"model": {"storageUri": "s3://m/v1"}}, by="", reason="")
    assert api.objects["inferenceservices", "ml", "mnist"]["spec"]["predictor"]["model"] == {"storageUri": "s3://m/v1"}
    other = service()
    other["spec"]["predictor"]["model"]["storageUri"] = "s3://m/v9"
    api.reply("PATCH", "inferenceservices", conflict)
    api.reply("GET", "inferenceservices", Reply(200, json.dumps(service()).encode()))
    api.put("inferenceservices", other)
    with pytest.raises(Conflict, match="was changed at the same time; nothing was applied"):
        store.release(rollout(), {"model": {"storageUri": "s3://m/v1"}}, by="", reason="")


def test_a_release_of_a_service_that_is_gone_is_not_found(store: UserClient) -> None:
    """NotFound, for a sentence that the command makes of it."""
    with pytest.raises(NotFound):
        store.release(rollout(), {}, by="", reason="")


def test_services_and_policies_are_listed(api: FakeApi, store: UserClient) -> None:
    """Each component once, although the server has three API versions; of one namespace or of all."""
    api.put("inferenceservices", service())
    api.put("inferenceservices", service("iris", "vision"))
    assert sorted(str(each.key) for each in store.services(None)) == ["ml/mnist", "vision/iris"]
    assert [each.key.name for each in store.services("vision")] == ["iris"]
    assert store.policy_documents(None) == []


KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: throw-away}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: ml}}]
current-context: x
"""
