"""Who a user is and may do what, and a client with a token of its own."""

from __future__ import annotations

import json

import pytest

from autocanary.errors import Forbidden
from autocanary.kube.access_review import credentials_with_token, own_identity, own_right, right_of_user
from autocanary.kube.api_client import ApiClient
from autocanary.kube.resource import ROLLOUTS
from tests.kube.fake_api import FakeApi, Reply, status


def _answer(**more: object) -> Reply:
    return Reply(201, json.dumps({"status": more}).encode())


def test_the_identity_is_what_the_api_server_says(api: FakeApi) -> None:
    """Not what a token claims."""
    user = {"username": "ada", "groups": ["ml", "system:authenticated"]}
    api.reply("POST", "selfsubjectreviews", _answer(userInfo=user))
    assert own_identity(api.client()) == ("ada", ("ml", "system:authenticated"))
    [made] = api.made("POST")
    assert made.path == "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def test_an_old_api_server_knows_no_identity(api: FakeApi) -> None:
    """Before Kubernetes 1.28."""
    api.unserved.add("selfsubjectreviews")
    assert own_identity(api.client()) == ("", ())


@pytest.mark.parametrize(("answer", "allowed"), [({"allowed": True}, True), ({"allowed": False}, False), ({}, False)])
def test_a_right_is_asked_for_exactly(api: FakeApi, answer: dict[str, object], allowed: bool) -> None:
    """What is not a clear yes is a no."""
    api.reply("POST", "selfsubjectaccessreviews", _answer(**answer))
    assert own_right(api.client(), "patch", ROLLOUTS, "ml") is allowed
    [made] = api.made("POST")
    assert made.body["spec"] == {
        "resourceAttributes": {
            "verb": "patch",
            "group": "autocanary.dev",
            "resource": "canaryrollouts",
            "namespace": "ml",
        }
    }


def test_the_right_of_another_user_is_asked_for_with_the_groups(api: FakeApi) -> None:
    """A SubjectAccessReview, which takes a right of its own."""
    api.reply("POST", "subjectaccessreviews", _answer(allowed=True))
    assert right_of_user(api.client(), "ada", ("ml",), "list", ROLLOUTS, "")
    [made] = api.made("POST")
    assert (made.body["spec"]["user"], made.body["spec"]["groups"]) == ("ada", ["ml"])


def test_a_client_of_a_token_sends_nothing_else(api: FakeApi) -> None:
    """Neither the service's token nor the user that it impersonates."""
    client = ApiClient(credentials_with_token(api.credentials(), "visitor.token-1"))
    api.reply("POST", "selfsubjectaccessreviews", _answer(allowed=True))
    own_right(client, "list", ROLLOUTS, "")
    client.close()
    [made] = api.made("POST")
    assert made.headers["authorization"] == "Bearer visitor.token-1"
    assert api.token not in repr(made.headers)
    assert not [name for name in made.headers if name.startswith("impersonate")]


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "ü", "a" * 20_000])
def test_what_is_no_token_is_sent_nowhere(api: FakeApi, token: str) -> None:
    """It would be a header of its own."""
    with pytest.raises(Forbidden) as caught:
        credentials_with_token(api.credentials(), token)
    assert caught.value.status == 401


def test_a_refused_token_is_forbidden(api: FakeApi) -> None:
    """Expired, or of another cluster."""
    api.reply("POST", "selfsubjectreviews", Reply(401, status(401, "Unauthorized", "Unauthorized")))
    with pytest.raises(Forbidden):
        own_identity(api.client())
