"""Which cluster, and as whom: found as kubectl finds it.

``--kubeconfig`` names the only file; else the files of $KUBECONFIG together, where the first file that says
a thing wins and missing files are skipped; else ``~/.kube/config``; else the pod's service account. The
library differs from kubectl in three ways that are set right here: it reads $KUBECONFIG once at import, the
*last* file's current-context wins, and a proxy from the environment is used for loopback addresses as well.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, incluster_config, kube_config

from autocanary.errors import SettingsError
from autocanary.model.foreign_text import clean_text

__all__ = ["ClusterCredentials", "find_credentials"]

# The library's loaders carry no annotations.
_Merger: Any = kube_config.KubeConfigMerger
_Loader: Any = kube_config.KubeConfigLoader
_InClusterLoader: Any = incluster_config.InClusterConfigLoader

_SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KUBECONFIG_ERRORS = (
    ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    KeyError,
)
"""What the library lets through for files that are no kubeconfigs; bad base64 and UTF-8 are ValueErrors."""


@dataclass(frozen=True, slots=True)
class ClusterCredentials:
    """A cluster and credentials; ``load`` reads them anew, for they rotate; ``source`` says where from."""

    source: str
    namespace: str
    load: Callable[[], Configuration]


def find_credentials(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    service_account_dir: Path = _SERVICE_ACCOUNT_DIR,
) -> ClusterCredentials:
    """The login to use; SettingsError says which file lacks what. ``service_account_dir`` holds a pod's token."""
    environ = os.environ if environ is None else environ
    paths = _paths(kubeconfig, environ)
    if paths:
        return _from_files(paths, context)
    if context:
        raise SettingsError(
            f"there is no kubeconfig to find context {context!r} in; looked at {_searched_paths(environ)}"
        )
    if (service_account_dir / "token").is_file() and environ.get("KUBERNETES_SERVICE_HOST"):
        return _from_service_account(service_account_dir, environ)
    if environ.get("KUBECONFIG"):
        raise SettingsError(
            f"kubeconfig {_searched_paths(environ)} does not exist (named by the variable KUBECONFIG); "
            "correct the variable, or give --kubeconfig FILE"
        )
    raise SettingsError(
        f"no cluster is configured: no kubeconfig at {_searched_paths(environ)}, and this is not a pod with a "
        "service account; set KUBECONFIG or give --kubeconfig FILE"
    )


def _paths(kubeconfig: str | None, environ: Mapping[str, str]) -> list[Path]:
    if kubeconfig:
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise SettingsError(f"kubeconfig {path} does not exist (given with --kubeconfig)")
        return [path]
    return [path for path in _candidate_paths(environ) if path.is_file()]


def _candidate_paths(environ: Mapping[str, str]) -> list[Path]:
    named = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if named:
        return [Path(part).expanduser() for part in named]
    home = environ.get("HOME") or str(Path.home())
    return [Path(home) / ".kube" / "config"]


def _searched_paths(environ: Mapping[str, str]) -> str:
    return ", ".join(str(path) for path in _candidate_paths(environ))


def _from_files(paths: list[Path], context: str | None) -> ClusterCredentials:
    where = "kubeconfig " + ", ".join(str(path) for path in paths)
    loader = _loader(paths, context, where)
    current: dict[str, Any] = loader.current_context
    name = current["name"]
    source = f"{where}, context {name}"
    return ClusterCredentials(
        source=source,
        namespace=(current.get("context") or {}).get("namespace") or "default",
        load=lambda: _configure(_loader(paths, name, where), source),
    )


def _loader(paths: list[Path], context: str | None, where: str) -> Any:
    try:
        merged = _Merger(os.pathsep.join(str(path) for path in paths))
        files = [merged.config_files[path] for path in merged.paths]
        name = context or next((each["current-context"] for each in files if each.get("current-context")), None)
        contexts = [each["name"] for file in files for each in file.get("contexts") or ()]
    except _KUBECONFIG_ERRORS as error:
        raise SettingsError(f"{where} cannot be read: {_one_line(error)}") from error
    if name is None:
        raise SettingsError(
            f"{where} has no current-context; choose one with --context or `kubectl config use-context NAME` "
            f"({_describe_contexts(contexts)})"
        )
    if name not in contexts:
        raise SettingsError(f"{where} has no context {name!r} ({_describe_contexts(contexts)})")
    try:
        return _Loader(
            config_dict=merged.config,
            active_context=name,
            config_base_path=None,
            config_persister=merged.save_changes,
        )
    except _KUBECONFIG_ERRORS as error:
        raise SettingsError(f"{where}, context {name}: {_one_line(error)}") from error


def _describe_contexts(contexts: list[str]) -> str:
    return "it has " + ", ".join(contexts) if contexts else "it has no contexts"


def _configure(loader: Any, source: str) -> Configuration:
    configuration = Configuration()
    try:
        loader.load_and_set(configuration)
    except _KUBECONFIG_ERRORS as error:
        raise SettingsError(f"{source}: {_one_line(error)}") from error
    user = loader._user
    if user is not None and "exec" in user and not (configuration.api_key or configuration.cert_file):
        # The library logs a failing plugin and goes on as nobody; the 401 that follows would not say why.
        raise SettingsError(
            f"{source}: the credential plugin `{user['exec'].safe_get('command')}` gave no credentials; "
            "run a kubectl command to see what it says"
        )
    return _validate(configuration, source)


def _from_service_account(service_account_dir: Path, environ: Mapping[str, str]) -> ClusterCredentials:
    source = f"the pod's service account at {service_account_dir}"

    def load() -> Configuration:
        configuration = Configuration()
        try:
            _InClusterLoader(
                token_filename=str(service_account_dir / "token"),
                cert_filename=str(service_account_dir / "ca.crt"),
                environ=environ,
            ).load_and_set(configuration)
        except _KUBECONFIG_ERRORS as error:
            raise SettingsError(f"{source}: {_one_line(error)}") from error
        return _validate(configuration, source)

    namespace = service_account_dir / "namespace"
    return ClusterCredentials(source, namespace.read_text().strip() if namespace.is_file() else "default", load)


def _validate(configuration: Configuration, source: str) -> Configuration:
    address = urlsplit(configuration.host)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise SettingsError(f"{source}: server {configuration.host!r} is not an http(s) URL")
    if configuration._proxy_from_env and _is_loopback(address.hostname):
        configuration.proxy = None
    if address.scheme == "https":
        _check_certificates(configuration, source)
    return configuration


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_certificates(configuration: Configuration, source: str) -> None:
    """Tried here, because urllib3 would say "unknown error" at the first call."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if configuration.ssl_ca_cert and configuration.verify_ssl:
            context.load_verify_locations(configuration.ssl_ca_cert)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{source}: the certificate-authority {configuration.ssl_ca_cert} is not a PEM certificate "
            f"({_one_line(error)})"
        ) from error
    try:
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{source}: the client certificate or its key is not usable ({_one_line(error)})"
        ) from error


def _one_line(error: BaseException) -> str:
    """One line without the library's boilerplate; KeyErrors are only the key."""
    text = clean_text(str(error)).removeprefix("Invalid kube-config file. ")
    return f"{text} is missing" if isinstance(error, KeyError) else text or type(error).__name__
