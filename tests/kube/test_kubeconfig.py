"""Which cluster and which user: as kubectl would find them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from autocanary.errors import SettingsError
from autocanary.kube.kubeconfig import ClusterCredentials, find_credentials

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUd7/Tofbl9doz7jIOahuGuEsOvJYwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAgFw0yNjExMjIxNjU2NDBaGA8yMTI2MTAy
OTE2NTY0MFowFTETMBEGA1UEAwwKa3ViZXJuZXRlczBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABOODNj78Pgafs2dMcv/8yXMEphgPhRiqHbTskP4+xC6PV3N32obV
Dfx9p7+hpYmmmVxKdO2V9d3u5OwvnyYHw1yjUzBRMB0GA1UdDgQWBBQGwnXycaoa
BuBjFrFRZGyyU013LzAfBgNVHSMEGDAWgBQGwnXycaoaBuBjFrFRZGyyU013LzAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCICWWzxHNdBxiuCuyxnRe
2Twmx8ra5dSXxy7tgqofzCmfAiEAnnwd4JSckqRtsKcYqckzxRE5C3Y51YC70328
g5b3eVE=
-----END CERTIFICATE-----
"""

NOWHERE = Path("/nonexistent/serviceaccount")


def config(
    name: str = "one", *, current: str | None = None, user: dict[str, Any] | None = None, **cluster: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.example:8080"} | cluster}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    if current is not None:
        made["current-context"] = current
    return made


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def file(content: Any, name: str = "config") -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return file


def find(kubeconfig: str | None = None, context: str | None = None, **environ: str) -> ClusterCredentials:
    return find_credentials(
        kubeconfig, context, environ={"HOME": "/nonexistent"} | environ, service_account_dir=NOWHERE
    )


def token(credentials: ClusterCredentials) -> str:
    return str(credentials.load().get_api_key_with_prefix("BearerToken"))


def test_the_flag_names_the_only_file(write: Any) -> None:
    """$KUBECONFIG is not read beside --kubeconfig."""
    flag = write(config("flag", current="flag"), "flag")
    environment = write(config("env", current="env"), "env")
    credentials = find(flag, KUBECONFIG=environment)
    assert credentials.load().host == "http://flag.example:8080"
    assert token(credentials) == "Bearer token-of-flag"
    assert credentials.source == f"kubeconfig {flag}, context flag"
    assert credentials.namespace == "default"


def test_the_context_can_be_chosen(write: Any) -> None:
    """--context wins over current-context, and its namespace is the default one."""
    both = config("one", current="one")
    other = config("two")
    other["contexts"][0]["context"]["namespace"] = "models"
    for part in ("clusters", "users", "contexts"):
        both[part] += other[part]
    path = write(both)
    credentials = find(path, "two")
    assert (credentials.load().host, credentials.namespace) == ("http://two.example:8080", "models")
    assert find(path).load().host == "http://one.example:8080"


def test_of_several_files_the_first_that_says_a_thing_wins(write: Any) -> None:
    """As kubectl merges them; files that do not exist are skipped."""
    first = write(config("one", current="one"), "first")
    second = write(config("two", current="two"), "second")
    paths = os.pathsep.join(["/nonexistent", first, second])
    assert find(KUBECONFIG=paths).load().host == "http://one.example:8080"
    assert find(None, "two", KUBECONFIG=paths).load().host == "http://two.example:8080"


def test_the_first_file_need_not_have_a_context(write: Any) -> None:
    """An empty current-context does not hide the next file's."""
    first = write(config("one", current=""), "first")
    second = write(config("two", current="two"), "second")
    assert find(KUBECONFIG=os.pathsep.join([first, second])).load().host == "http://two.example:8080"


def test_the_home_folder_is_the_last_resort(tmp_path: Path) -> None:
    """~/.kube/config, when nothing names a file."""
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(yaml.safe_dump(config("home", current="home")))
    assert find(HOME=str(tmp_path)).load().host == "http://home.example:8080"


@pytest.fixture
def service_account_dir(tmp_path: Path, write: Any) -> Path:
    for name, content in (("token", "pod-token\n"), ("namespace", "autocanary\n"), ("ca.crt", CERTIFICATE)):
        write(content, name)
    return tmp_path


def test_a_pod_uses_its_service_account(service_account_dir: Path) -> None:
    """The service's own namespace comes with it."""
    environ = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "HOME": "/nonexistent",
    }
    credentials = find_credentials(environ=environ, service_account_dir=service_account_dir)
    assert credentials.namespace == "autocanary"
    assert credentials.load().host == "https://10.0.0.1:443"
    assert token(credentials).strip().lower() == "bearer pod-token"


def test_a_kubeconfig_wins_over_the_service_account(service_account_dir: Path, write: Any) -> None:
    """As kubectl in a pod does."""
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": write(config("one", current="one"))}
    assert (
        find_credentials(environ=environ, service_account_dir=service_account_dir).load().host
        == "http://one.example:8080"
    )


def test_names_a_broken_service_account(service_account_dir: Path) -> None:
    """The certificate was not mounted."""
    (service_account_dir / "ca.crt").unlink()
    environ = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "HOME": "/nonexistent",
    }
    with pytest.raises(SettingsError, match=r"service account.*certification file"):
        find_credentials(environ=environ, service_account_dir=service_account_dir).load()


def test_no_cluster_at_all_says_what_was_read() -> None:
    """The newcomer's first error."""
    with pytest.raises(SettingsError, match=r"no kubeconfig at /nonexistent/.kube/config.*--kubeconfig FILE"):
        find()
    with pytest.raises(SettingsError, match=r"'x'.*/a, /b"):
        find(None, "x", KUBECONFIG=f"/a{os.pathsep}/b")


def test_names_a_file_that_does_not_exist() -> None:
    """Named by the flag, so not skipped; or by the variable, when there is no other."""
    with pytest.raises(SettingsError, match="kubeconfig /nonexistent/x does not exist"):
        find("/nonexistent/x")
    words = r"kubeconfig /nope does not exist \(named by the variable KUBECONFIG\); correct the variable"
    with pytest.raises(SettingsError, match=words):
        find(KUBECONFIG="/nope")


def test_a_missing_current_context_names_the_contexts(write: Any) -> None:
    """And the two ways to choose one."""
    with pytest.raises(SettingsError, match=r"no current-context.*--context.*it has one"):
        find(write(config("one")))


def test_an_unknown_context_names_the_known(write: Any) -> None:
    """A typing error is seen at once."""
    with pytest.raises(SettingsError, match=r"no context 'tow'.*it has one"):
        find(write(config("one")), "tow")


@pytest.mark.parametrize(
    "content",
    ["", "just text", "- a\n- b\n", "a: [1", "contexts: 7\n", "contexts:\n- cluster: x\n", "\x00"],
)
def test_names_a_file_that_is_no_kubeconfig(write: Any, content: str) -> None:
    """One sentence with the path, whatever is in it."""
    path = write(content)
    with pytest.raises(SettingsError, match=path) as caught:
        find(path)
    assert "\n" not in str(caught.value)


def test_names_a_context_without_its_cluster(write: Any) -> None:
    """The context names a cluster that the file does not have."""
    broken = config("one", current="one")
    broken["clusters"] = []
    with pytest.raises(SettingsError, match=r"context one.*one"):
        find(write(broken)).load()


@pytest.mark.parametrize("server", ["k8s.example:6443", "ftp://k8s.example", "https://"])
def test_names_a_server_that_is_no_url(write: Any, server: str) -> None:
    """urllib3 would say something about schemes, much later."""
    with pytest.raises(SettingsError, match="is not an http"):
        find(write(config("one", current="one", server=server))).load()


SECURE = {"server": "https://k8s.example"}


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"certificate-authority": "/nonexistent/ca.crt"}, {}, "/nonexistent/ca.crt"),
        ({"certificate-authority-data": "!!!"}, {}, "context one"),
        ({"certificate-authority-data": base64.b64encode(b"no PEM").decode()}, {}, "not a PEM certificate"),
        ({}, {"client-certificate": "/nonexistent/me.crt"}, "/nonexistent/me.crt"),
        (
            {},
            {
                "client-certificate-data": base64.b64encode(b"no PEM").decode(),
                "client-key-data": base64.b64encode(b"no PEM").decode(),
            },
            "client certificate or its key",
        ),
    ],
)
def test_names_bad_certificates(write: Any, cluster: Any, user: Any, said: str) -> None:
    """Before the first call, with the file's name."""
    path = write(config("one", current="one", user=user, **SECURE, **cluster))
    with pytest.raises(SettingsError, match=path) as caught:
        find(path).load()
    assert said in str(caught.value)


def test_names_a_credential_plugin_that_fails(write: Any) -> None:
    """The library continues without a user, and the 401 that follows would not say why."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nonexistent/plugin"}
    user = {"exec": plugin | {"interactiveMode": "Never"}}
    with pytest.raises(SettingsError, match=r"/nonexistent/plugin.*gave no credentials"):
        find(write(config("one", current="one", user=user))).load()


def test_a_credential_plugin_that_works_is_used(write: Any, tmp_path: Path) -> None:
    """EKS, GKE and AKS all log in this way."""
    plugin = tmp_path / "plugin"
    credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"made"}}'
    plugin.write_text(f"#!/bin/sh\necho '{credential}'\n")
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    user["exec"]["interactiveMode"] = "Never"
    assert token(find(write(config("one", current="one", user=user)))) == "Bearer made"


@pytest.mark.parametrize("version", ["client.authentication.k8s.io/v1alpha1", "", None, {}])
def test_credential_plugin_of_a_version_that_kubectl_refuses(write: Any, version: Any) -> None:
    """The library would run it."""
    plugin = {"apiVersion": version, "command": "/bin/true", "interactiveMode": "Never"}
    with pytest.raises(SettingsError, match="the credential plugin's apiVersion is"):
        find(write(config("one", current="one", user={"exec": plugin}))).load()


def test_a_token_file_is_read_when_loading(write: Any) -> None:
    """So that a rotated one is found by the next load."""
    path = write("first", "token")
    credentials = find(write(config("one", current="one", user={"tokenFile": path})))
    assert token(credentials) == "Bearer first"
    Path(path).write_text("second")
    assert token(credentials) == "Bearer second"


@pytest.mark.parametrize(
    ("server", "proxied"),
    [
        ("http://127.0.0.1:6443", False),
        ("http://[::1]:6443", False),
        ("http://localhost:6443", False),
        ("http://k8s.example:6443", True),
    ],
)
def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    write: Any, monkeypatch: pytest.MonkeyPatch, server: str, proxied: bool
) -> None:
    """As kubectl has it; a tunnel to a cluster ends on this machine."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    credentials = find(write(config("one", current="one", server=server)))
    assert (credentials.load().proxy is not None) is proxied


def test_a_proxy_of_the_kubeconfig_is_always_used(write: Any) -> None:
    """A user has written it down for this very cluster."""
    cluster: dict[str, Any] = {"server": "http://127.0.0.1:1", "proxy-url": "http://p.example:1"}
    path = write(config("one", current="one", **cluster))
    assert find(path).load().proxy == "http://p.example:1"


IMPERSONATION = {
    "token": "t",
    "as": "ann@example.com",
    "as-uid": "u-1",
    "as-groups": ["dev", "ops"],
    "as-user-extra": {"scopes": ["view", "edit"], "acme.com/reason why": ["audit"]},
}


def test_impersonation_is_sent_as_kubectl_sends_it(write: Any) -> None:
    """One header per group and extra value; a key is escaped where a header's name cannot hold it."""
    assert sorted(find(write(config(current="one", user=IMPERSONATION))).headers) == [
        ("Impersonate-Extra-acme.com%2Freason%20why", "audit"),
        ("Impersonate-Extra-scopes", "edit"),
        ("Impersonate-Extra-scopes", "view"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "u-1"),
        ("Impersonate-User", "ann@example.com"),
    ]
    assert find(write(config(current="one"))).headers == ()


@pytest.mark.parametrize(
    "user",
    [
        {"as-groups": ["dev"]},
        {"as-user-extra": {"a": ["b"]}},
        {"as-uid": "1"},
        {"as": 7},
        {"as": "ann", "as-groups": "dev"},
        {"as": "ann", "as-groups": [7]},
        {"as": "ann", "as-user-extra": {"a": "b"}},
        {"as": "ann", "as-user-extra": ["a"]},
    ],
)
def test_impersonation_that_cannot_be_sent_is_an_error(write: Any, user: dict[str, Any]) -> None:
    """Nothing is sent as the user behind the token instead."""
    with pytest.raises(SettingsError, match=r"context one: .*as"):
        find(write(config(current="one", user={"token": "t", **user})))


def test_token_file_wins_over_the_token_beside_it(write: Any, tmp_path: Path) -> None:
    """Its path is relative to the kubeconfig; a file that cannot be read leaves the token."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "token").write_text("from-file\n")
    user = {"token": "inline", "tokenFile": "secrets/token"}
    credentials = find(write(config(current="one", user=user)))
    assert credentials.load().api_key["BearerToken"].split() == ["Bearer", "from-file"]
    (folder / "token").write_text("rotated")
    assert credentials.load().api_key["BearerToken"] == "Bearer rotated"
    (folder / "token").unlink()
    assert credentials.load().api_key["BearerToken"] == "Bearer inline"


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://bot:s3cr3t@proxy.example:1080", "PySocks"),
        ("ftp://proxy.example", "not an http, https or socks5 URL"),
        ("proxy.example:3128", "not an http, https or socks5 URL"),
    ],
)
def test_proxy_that_cannot_be_used_is_an_error(
    write: Any, proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence, without its password, before the first call."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=said) as caught:
        find(write(config(current="one", **cast(Any, {"proxy-url": proxy})))).load()
    assert "s3cr3t" not in str(caught.value)


def test_only_the_proxies_that_kubectl_uses_are_used(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ALL_PROXY is none of them; NO_PROXY makes a socks proxy of HTTPS_PROXY harmless."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    path = write(config(current="one"))
    assert find(path).load().proxy is None
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert find(path).load().proxy == "http://proxy.example:3128"
    monkeypatch.setenv("HTTP_PROXY", "socks5://proxy.example:1080")
    monkeypatch.setenv("NO_PROXY", ".example")
    assert find(path).load().host == "http://one.example:8080"


def test_tls_server_name_and_relative_certificates(write: Any, tmp_path: Path) -> None:
    """Certificates are found beside the file that names them, whatever the working directory is."""
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    cluster: Any = {
        "server": "https://one.example:6443",
        "certificate-authority": "ca.pem",
        "tls-server-name": "api.internal",
    }
    loaded = find(write(config(current="one", **cluster))).load()
    assert loaded.tls_server_name == "api.internal"
    assert loaded.ssl_ca_cert == str(tmp_path / "ca.pem")


def test_paths_of_merged_files_are_relative_to_their_own_file(write: Any, tmp_path: Path) -> None:
    """The context is of one file, the user with its token file of another in another folder."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "token").write_text("of-other")
    first = config("one", current="mixed")
    first["contexts"].append({"name": "mixed", "context": {"cluster": "one", "user": "two"}})
    second = write(config("two", user={"tokenFile": "token"}), "other/config")
    credentials = find(KUBECONFIG=os.pathsep.join([write(first), second]))
    assert credentials.load().api_key["BearerToken"] == "Bearer of-other"
