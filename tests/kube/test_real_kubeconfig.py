"""Kubeconfigs on a real API server: what kubectl accepts is accepted, and what it refuses is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autocanary.errors import AutocanaryError
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.resource import Resource
from tests.testbed.servers import ApiServer, require_servers
from tests.testbed.servers.process import program

pytestmark = pytest.mark.real

CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
CLIENT = "client.authentication.k8s.io"

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    require_servers("kube-apiserver", "etcd", "kubectl")
    with ApiServer(folder=tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture
def write(api: ApiServer, tmp_path: Path) -> Write:
    """A kubeconfig with these members of cluster and user."""

    def put(user: dict[str, Any], **cluster: Any) -> Path:
        path = tmp_path / "config"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": api.url, "certificate-authority": str(api.ca), **cluster}}
            ],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(config))
        return path

    return put


def kubectl_works(path: Path, home: Path) -> tuple[bool, str]:
    done = subprocess.run(
        [program("kubectl"), "get", "namespace", "default", "--request-timeout=5s"],
        env={"KUBECONFIG": str(path), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode == 0, done.stderr


def autocanary_works(path: Path) -> tuple[bool, str]:
    try:
        client = ApiClient(find_credentials(str(path)))
        try:
            client.list_page(CONFIGMAPS, "default", limit=1)
        finally:
            client.close()
    except AutocanaryError as error:
        return False, str(error)
    return True, ""


@pytest.mark.parametrize(
    ("cluster", "works"),
    [
        ({"tls-server-name": "kubernetes.default.svc"}, True),
        ({"tls-server-name": "127.0.0.1"}, True),
        ({"tls-server-name": "other.example"}, False),
        ({"tls-server-name": ""}, True),
        ({"insecure-skip-tls-verify": True, "certificate-authority": ""}, True),
        ({"certificate-authority": ""}, False),
    ],
)
def test_server_name_of_the_certificate(
    api: ApiServer, write: Write, tmp_path: Path, cluster: dict[str, Any], works: bool
) -> None:
    """The name in the handshake is the one of the kubeconfig, not that of the address."""
    path = write({"token": api.token()}, **cluster)
    by_kubectl, complaint = kubectl_works(path, tmp_path)
    assert by_kubectl is works, complaint
    found, said = autocanary_works(path)
    assert found is works, said


PLUGIN = """#!/bin/sh
test -n "$AUTOCANARY_TEST_TOKEN" || exit 3
echo '{"apiVersion": "ANSWERED", "kind": "ExecCredential", "status": {"token": "'"$AUTOCANARY_TEST_TOKEN"'"}}'
"""


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (f"{CLIENT}/v1", f"{CLIENT}/v1"),
        (f"{CLIENT}/v1beta1", f"{CLIENT}/v1beta1"),
        (f"{CLIENT}/v1alpha1", f"{CLIENT}/v1alpha1"),
        (f"{CLIENT}/v1", f"{CLIENT}/v1beta1"),
        (f"{CLIENT}/v1beta1", f"{CLIENT}/v1"),
        ("other.example/v1", "other.example/v1"),
    ],
)
def test_credential_plugin_of_each_version(
    api: ApiServer, write: Write, tmp_path: Path, asked: str, answered: str
) -> None:
    """As kubectl: v1 and v1beta1, and an answer of the version that was asked for."""
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.replace("ANSWERED", answered))
    plugin.chmod(0o755)
    section = {
        "apiVersion": asked,
        "command": str(plugin),
        "args": ["get-token"],
        "env": [{"name": "AUTOCANARY_TEST_TOKEN", "value": api.token()}],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    path = write({"exec": section})
    by_kubectl, complaint = kubectl_works(path, tmp_path)
    found, said = autocanary_works(path)
    assert found is by_kubectl, (complaint, said)


@pytest.mark.parametrize("command", ["./plugin", "plugin-that-is-not-there"])
def test_credential_plugin_by_its_path(api: ApiServer, write: Write, tmp_path: Path, command: str) -> None:
    """A relative path is relative to the kubeconfig; what is not there is an error that names it."""
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.replace("ANSWERED", f"{CLIENT}/v1"))
    plugin.chmod(0o755)
    section = {
        "apiVersion": f"{CLIENT}/v1",
        "command": command,
        "env": [{"name": "AUTOCANARY_TEST_TOKEN", "value": api.token()}],
        "interactiveMode": "IfAvailable",
    }
    path = write({"exec": section})
    by_kubectl, complaint = kubectl_works(path, tmp_path)
    found, said = autocanary_works(path)
    assert found is by_kubectl, (complaint, said)
    if not found:
        assert command in said
