"""The HTTP client against a server that answers, refuses, hangs and cuts."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from kubernetes.client import Configuration

from autocanary import __version__
from autocanary.errors import Busy, ClusterError, Conflict, Forbidden, SettingsError, Unreachable
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import ClusterCredentials
from autocanary.kube.resource import EVENTS, LEASES, ROLLOUTS
from autocanary.logs import capture
from tests.kube.fake_api import FakeApi, Reply, status

LEASE = {"metadata": {"name": "a", "namespace": "ml"}, "spec": {}}


def test_objects_are_created_read_changed_and_deleted(api: FakeApi) -> None:
    """The five ways to touch an object, with the paths of core and of named groups."""
    client = api.client()
    made = client.create(LEASES, "ml", LEASE)
    assert client.get(LEASES, "ml", "a") == made
    patched = client.patch(LEASES, "ml", "a", {"spec": {"holderIdentity": "x"}})
    assert patched["spec"] == {"holderIdentity": "x"}
    with pytest.raises(Conflict, match=r"update Lease ml/a.*modified"):
        client.replace(LEASES, "ml", "a", made)
    assert client.replace(LEASES, "ml", "a", {**patched, "spec": {}})["spec"] == {}
    client.delete(LEASES, "ml", "a", uid=made["metadata"]["uid"])
    assert not api.objects
    assert api.requests[0].path == "/apis/coordination.k8s.io/v1/namespaces/ml/leases"
    assert EVENTS.path("ml", "e") == "/api/v1/namespaces/ml/events/e"
    assert ROLLOUTS.path("", "") == "/apis/autocanary.dev/v1alpha1/canaryrollouts"
    assert LEASES.path("a/b", "../c").endswith("/namespaces/a%2Fb/leases/..%2Fc")


def test_every_write_names_its_manager_and_its_kind_of_patch(api: FakeApi) -> None:
    """A patch without a content type would be sent as something the server refuses for custom resources."""
    client = api.client()
    client.create(LEASES, "ml", LEASE)
    client.patch(LEASES, "ml", "a", {"spec": {}})
    client.patch(LEASES, "ml", "a", {"spec": {}}, manager="autocanary-cli")
    create, patch, ask = api.requests
    assert create.query["fieldManager"] == patch.query["fieldManager"] == "autocanary"
    assert ask.query["fieldManager"] == "autocanary-cli"
    assert patch.headers["content-type"] == "application/merge-patch+json"
    assert create.headers["content-type"] == "application/json"


def test_the_client_says_who_it_is(api: FakeApi) -> None:
    """Operators look for the user agent in audit logs; the token goes with every request."""
    api.client().list_page(LEASES, limit=5)
    headers = api.requests[0].headers
    assert headers["user-agent"] == f"autocanary/{__version__}"
    assert headers["authorization"] == "Bearer throw-away"


def test_calls_are_counted_by_verb_and_code(api: FakeApi) -> None:
    """Every call is counted once, also the one without an answer."""
    seen: list[tuple[str, str]] = []
    client = api.client(count=lambda verb, code: seen.append((verb, code)), timeout=(0.5, 0.05))
    client.list_page(LEASES, "ml", limit=5)
    client.create(LEASES, "ml", LEASE)
    api.reply("PUT", "/leases/a", Reply(409, status(409, "Conflict", "x")))
    with pytest.raises(Conflict):
        client.replace(LEASES, "ml", "a", LEASE)
    api.reply("GET", "/leases/a", Reply(delay=1))
    with pytest.raises(Unreachable):
        client.get(LEASES, "ml", "a")
    assert seen == [("list", "200"), ("create", "201"), ("update", "409"), ("get", "error")]


def test_a_hanging_server_is_given_up(api: FakeApi) -> None:
    """The read timeout is the only end of a call that is never answered."""
    api.reply("GET", "/leases", Reply(delay=5))
    with pytest.raises(Unreachable, match="no answer in time"):
        api.client(timeout=(0.5, 0.05)).get(LEASES, "ml", "a")


def test_a_call_is_never_repeated(api: FakeApi) -> None:
    """A write whose answer was lost may have happened; the next tick reads first."""
    api.reply("POST", "/leases", Reply(503, b"", {"Retry-After": "1"}))
    with pytest.raises(Busy) as caught:
        api.client().create(LEASES, "ml", LEASE)
    assert caught.value.retry_after == 1.0
    assert len(api.requests) == 1


def test_an_answer_cut_in_the_middle_is_no_answer(api: FakeApi) -> None:
    """Half of a JSON document must not be taken for a whole one."""
    api.reply("GET", "/leases", Reply(200, b'{"spec": {}', cut=True))
    with pytest.raises(Unreachable, match="cut"):
        api.client().get(LEASES, "ml", "a")


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"[1]"])
def test_a_200_that_is_not_the_api_servers_is_no_answer(api: FakeApi, body: bytes) -> None:
    """Login pages and captive portals answer 200 to everything."""
    api.reply("GET", "/leases", Reply(200, body))
    with pytest.raises(Unreachable, match="not JSON"):
        api.client().get(LEASES, "ml", "a")


def test_redirects_are_not_followed(api: FakeApi) -> None:
    """The token must not go where a redirect points."""
    api.reply("GET", "/leases", Reply(302, b"", {"Location": f"{api.url}/elsewhere"}))
    with pytest.raises(Unreachable, match="answered 302"):
        api.client().get(LEASES, "ml", "a")
    assert len(api.requests) == 1


def test_a_refused_connection_names_the_address() -> None:
    """The most common failure of a newcomer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = ApiClient(ClusterCredentials("test", "default", lambda: configuration(url)))
        with pytest.raises(Unreachable) as caught:
            client.get(LEASES, "ml", "a")
        client.close()
    assert str(caught.value) == (
        f"cannot reach the API server at {url}: connection refused; "
        "check that it runs and that this is the right kubeconfig and context"
    )


def test_a_token_with_a_line_break_is_used_without_it(api: FakeApi) -> None:
    """Token files end with a line break more often than not."""
    api.token = "throw-away\n"
    api.client().list_page(LEASES, limit=5)
    assert api.requests[0].headers["authorization"] == "Bearer throw-away"


def test_a_token_that_cannot_be_sent_is_not_shown(api: FakeApi) -> None:
    """Neither in the sentence nor in the chained cause."""
    api.token = "sec\nret"
    with pytest.raises(Unreachable, match="stray characters") as caught:
        api.client().list_page(LEASES, limit=5)
    assert caught.value.__cause__ is None
    assert "sec" not in str(caught.value)


def test_expired_credentials_are_read_again_once_a_minute(api: FakeApi) -> None:
    """Tokens and certificates rotate while the service runs."""
    now = [0.0]
    client = api.client(clock=lambda: now[0])
    refused = Reply(401, status(401, "Unauthorized", "Unauthorized"))
    api.token = "fresh"
    for at in (10.0, 61.0):
        now[0] = at
        api.reply("GET", "/leases", refused)
        with pytest.raises(Forbidden):
            client.list_page(LEASES, limit=5)
    client.list_page(LEASES, limit=5)
    assert [each.headers["authorization"] for each in api.requests] == [
        "Bearer throw-away",
        "Bearer throw-away",
        "Bearer fresh",
    ]


def test_credentials_that_cannot_be_read_now_leave_the_old_ones(api: FakeApi) -> None:
    """A file may be half-written at that moment."""
    now, loads = [0.0], [0]

    def load() -> Configuration:
        loads[0] += 1
        if loads[0] == 2:
            raise SettingsError("gone for a moment")
        return api.credentials().load()

    client = ApiClient(ClusterCredentials("test", "default", load), clock=lambda: now[0])
    now[0] = 61.0
    api.reply("GET", "/leases", Reply(401, status(401, "Unauthorized", "Unauthorized")))
    with capture() as log, pytest.raises(Forbidden):
        client.list_page(LEASES, limit=5)
    assert "gone for a moment" in log.named("credentials_not_reloaded")[0]["error"]
    assert client.list_page(LEASES, limit=5).items == []
    assert loads[0] == 2
    client.close()


def test_names_credentials_that_cannot_be_used(api: FakeApi) -> None:
    """A token file that has vanished, a login plugin that fails: in one sentence, and before the call."""

    def broken(_: Configuration) -> None:
        raise FileNotFoundError(2, "No such file", "/var/run/token")

    def load() -> Configuration:
        made = api.credentials().load()
        made.refresh_api_key_hook = broken  # type: ignore[assignment]
        return made

    client = ApiClient(ClusterCredentials("the kubeconfig x", "default", load))
    with pytest.raises(Forbidden, match=r"cannot use the credentials of the kubeconfig x.*/var/run/token"):
        client.list_page(LEASES, limit=5)
    client.close()
    assert api.requests == []


def test_impersonation_goes_with_every_request(api: FakeApi) -> None:
    """Repeated headers are repeated, not joined."""
    headers = (("Impersonate-User", "ann"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops"))
    client = ApiClient(ClusterCredentials("test", "default", api.credentials().load, headers))
    client.list_page(LEASES, limit=5)
    client.close()
    assert api.requests[0].headers["impersonate-user"] == "ann"
    sent = api.requests[0].all_headers
    assert [value for name, value in sent if name.lower() == "impersonate-group"] == ["dev", "ops"]


def configuration(url: str) -> Configuration:
    made = Configuration(host=url)
    made.proxy = None
    return made


def test_as_many_calls_as_threads_keep_their_connections(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    """An API server that is slow for everything holds a connection of each thread; none is thrown away after."""
    client, count = api.client(), 80
    client.create(LEASES, "ml", LEASE)
    for _ in range(count):
        api.reply("GET", "/leases/a", Reply(delay=1.0))
    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(client.get, LEASES, "ml", "a") for _ in range(count)]
    assert all(future.exception() is None or isinstance(future.exception(), ClusterError) for future in futures)
    assert not [each for each in caplog.messages if "pool is full" in each]
