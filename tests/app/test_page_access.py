"""The three ways in: whose identity is used for what, and how long an answer is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from autocanary import logs
from autocanary.app.page_access import BearerTokenAccess, ForwardedUserAccess, KubeconfigAccess, RememberedAnswers
from autocanary.errors import Forbidden
from autocanary.model.rollout import Request, Rollout
from autocanary.model.rollout_json import to_document
from autocanary.page import AccessDenied
from tests.kube.fake_api import FakeApi, status
from tests.kube.fake_api import Request as ApiRequest
from tests.kube.samples import rollout

Rights = Callable[[ApiRequest], bool]


def answer_reviews(api: FakeApi, users: Mapping[str, str], may: Callable[[str, str, str], bool]) -> None:
    """Answer reviews as an API server does: ``users`` by token, ``may`` of user, verb and namespace."""
    true_answer = api.handle

    def handle(request: ApiRequest) -> tuple[int, bytes]:
        kind = request.path.rpartition("/")[2]
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in users:
            return 401, status(401, "Unauthorized", "Unauthorized")
        user = users[token]
        if kind == "selfsubjectreviews":
            return 201, json.dumps({"status": {"userInfo": {"username": user, "groups": ["ml"]}}}).encode()
        if kind in ("selfsubjectaccessreviews", "subjectaccessreviews"):
            spec: dict[str, Any] = request.body["spec"]
            about = spec.get("user", user)
            asked = spec["resourceAttributes"]
            return 201, json.dumps({"status": {"allowed": may(about, asked["verb"], asked["namespace"])}}).encode()
        if request.method == "PATCH" and not may(user, "patch", request.path.split("/")[5]):
            return 403, status(403, "Forbidden", f"{user} cannot patch canaryrollouts")
        return true_answer(request)

    api.handle = handle  # type: ignore[method-assign]


def _stored(api: FakeApi, namespace: str = "ml") -> Rollout:
    made = rollout("mnist-00002", namespace)
    api.put("canaryrollouts", to_document(made))
    return made


USERS = {"t-ada": "ada", "t-bob": "bob", "throw-away": "autocanary"}


def _may(user: str, verb: str, namespace: str) -> bool:
    return (user, verb, namespace) in {
        ("ada", "list", "ml"),
        ("ada", "patch", "ml"),
        ("bob", "list", ""),
        ("autocanary", "patch", "ml"),
        ("autocanary", "list", ""),
    }


def test_a_visitor_is_who_the_own_token_says(api: FakeApi) -> None:
    """And sees what that token may list: one namespace, or all."""
    answer_reviews(api, USERS, _may)
    access = BearerTokenAccess(api.credentials())
    ada, bob = (access.identify({"authorization": f"Bearer {token}"}) for token in ("t-ada", "t-bob"))
    assert (ada.name, bob.name) == ("ada", "bob")
    assert access.readable(ada, {"ml", "vision"}) == {"ml"}
    assert access.readable(bob, {"ml", "vision"}) == {"ml", "vision"}
    assert (access.may_act(ada, "ml"), access.may_act(ada, "vision"), access.may_act(bob, "ml")) == (True, False, False)
    assert {each.headers["authorization"] for each in api.requests} == {"Bearer t-ada", "Bearer t-bob"}
    access.close()


def test_an_act_is_a_patch_with_the_visitors_own_token(api: FakeApi) -> None:
    """The audit log of the API server names the visitor; autocanary's own account takes no part."""
    answer_reviews(api, USERS, _may)
    access, about = BearerTokenAccess(api.credentials()), _stored(api)
    ada, bob = (access.identify({"authorization": f"Bearer {token}"}) for token in ("t-ada", "t-bob"))
    access.act(ada, about, paused=None, request=Request("1", "abort", "ada"))
    [patch] = api.made("PATCH")
    assert patch.headers["authorization"] == "Bearer t-ada"
    assert patch.body == {
        "spec": {"request": {"id": "1", "verb": "abort", "by": "ada", "weight": None, "reason": None}}
    }
    with pytest.raises(Forbidden, match="bob cannot patch"):
        access.act(bob, about, paused=None, request=Request("2", "abort", "bob"))
    access.close()


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer wrong", "Bearer a b", "Bearer a\x00b"]
)
def test_without_a_token_that_the_api_server_accepts_nothing_is_shown(api: FakeApi, header: str | None) -> None:
    """401, with a sentence that does not hold the token."""
    answer_reviews(api, USERS, _may)
    access = BearerTokenAccess(api.credentials())
    with pytest.raises((AccessDenied, Forbidden)) as caught:
        access.identify({} if header is None else {"authorization": header})
    assert getattr(caught.value, "status", 0) == 401
    assert "wrong" not in str(caught.value)
    access.close()


def test_tokens_are_in_no_text(api: FakeApi) -> None:
    """Not in a visitor's repr, a key, or the log."""
    answer_reviews(api, USERS, _may)
    access = BearerTokenAccess(api.credentials())
    with logs.capture() as kept:
        visitor = access.identify({"authorization": "Bearer t-ada"})
        access.readable(visitor, {"ml"})
    assert "t-ada" not in repr(visitor) + visitor.key + repr(vars(kept))
    access.close()


def test_answers_are_believed_for_a_short_time(api: FakeApi) -> None:
    """A page of a hundred rows asks once; a right that was taken away is gone in half a minute."""
    answer_reviews(api, USERS, _may)
    access = BearerTokenAccess(api.credentials())
    ada = access.identify({"authorization": "Bearer t-ada"})
    for _ in range(5):
        access.readable(ada, {"ml"})
        access.may_act(ada, "ml")
        access.identify({"authorization": "Bearer t-ada"})
    assert len(api.made("POST", "selfsubjectreviews")) == 1
    assert len(api.made("POST", "selfsubjectaccessreviews")) == 3
    access.close()


def test_remembered_answers_end_and_are_bounded() -> None:
    """By time and by number; an error is not remembered."""
    now = [0.0]
    answers: RememberedAnswers[int] = RememberedAnswers(10.0, 2, lambda: now[0])
    asked = iter(range(100))
    assert [answers.get("a", lambda: next(asked)) for _ in range(3)] == [0, 0, 0]
    now[0] = 10.0
    assert answers.get("a", lambda: next(asked)) == 1
    answers.get("b", lambda: next(asked))
    answers.get("c", lambda: next(asked))
    assert answers.get("a", lambda: next(asked)) == 4
    with pytest.raises(ZeroDivisionError):
        answers.get("d", lambda: 1 // 0)
    assert answers.get("d", lambda: 7) == 7


def test_the_dashboard_acts_with_the_kubeconfigs_identity(api: FakeApi) -> None:
    """What it could read, it shows; what it may do, the API server says."""
    answer_reviews(api, USERS, _may)
    access, about = KubeconfigAccess(api.client()), _stored(api)
    visitor = access.identify({"authorization": "Bearer t-ada"})
    assert visitor.name == "autocanary"
    assert access.readable(visitor, {"ml", "vision"}) == {"ml", "vision"}
    assert (access.may_act(visitor, "ml"), access.may_act(visitor, "vision")) == (True, False)
    access.act(visitor, about, paused=True, request=None)
    [patch] = api.made("PATCH")
    assert patch.headers["authorization"] == "Bearer throw-away"
    access.close()


def test_a_forwarded_user_is_asked_for_and_written_by_autocanary(api: FakeApi) -> None:
    """The proxy's word for the name; the API server's for the rights, asked again before a write."""
    answer_reviews(api, USERS, _may)
    access, about = ForwardedUserAccess(api.client(), "X-Forwarded-User", "X-Forwarded-Groups"), _stored(api)
    ada = access.identify({"x-forwarded-user": "ada", "x-forwarded-groups": "ml, system:masters,"})
    assert (ada.name, ada.groups) == ("ada", ("ml", "system:authenticated"))
    assert access.readable(ada, {"ml", "vision"}) == {"ml"}
    access.act(ada, about, paused=None, request=Request("1", "abort", "ada"))
    assert len(api.made("PATCH")) == 1
    bob = access.identify({"x-forwarded-user": "bob"})
    with pytest.raises(AccessDenied, match="bob may not patch canaryrollouts in namespace ml"):
        access.act(bob, about, paused=None, request=Request("2", "abort", "bob"))
    assert len(api.made("PATCH")) == 1
    for headers in ({}, {"x-forwarded-user": " "}, {"x-forwarded-user": "a" * 400}):
        with pytest.raises(AccessDenied):
            access.identify(headers)
    access.close()


def test_an_undo_takes_the_right_to_patch_the_service_and_the_visitors_own_token(api: FakeApi) -> None:
    """Behind a proxy that names users in a header there is none: autocanary would replace specs for whomever it names."""
    asked: list[str] = []

    answer_reviews(api, USERS, _may)
    true_answer = api.handle

    def handle(request: ApiRequest) -> tuple[int, bytes]:
        if request.path.endswith("selfsubjectaccessreviews"):
            asked.append(request.body["spec"]["resourceAttributes"]["resource"])
        return true_answer(request)

    api.handle = handle  # type: ignore[method-assign]
    access, about = BearerTokenAccess(api.credentials()), _stored(api)
    ada, bob = (access.identify({"authorization": f"Bearer {token}"}) for token in ("t-ada", "t-bob"))
    assert (access.may_undo(ada, about), access.may_undo(bob, about)) == (True, False)
    assert set(asked) == {"inferenceservices"}
    forwarded = ForwardedUserAccess(api.client(), "X-Forwarded-User", "")
    assert not forwarded.may_undo(forwarded.identify({"x-forwarded-user": "ada"}), about)
