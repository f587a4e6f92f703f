"""Which cluster, and as which user: found as kubectl finds it.

``--kubeconfig`` names the only file; else the files of $KUBECONFIG together, where the first file with a value
wins and missing files are skipped; else ``~/.kube/config``; else the pod's service account. The library differs
from kubectl, which is corrected here: it reads $KUBECONFIG once at import, the *last* file's current-context wins,
``token`` wins over ``tokenFile``, ``as`` and its companions are ignored, and of the environment's proxies it uses
ALL_PROXY, and any for loopback addresses.

Over 300 lines because every way to log in has its own errors.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

import yaml
from kubernetes.client import Configuration
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config import ConfigException, incluster_config, kube_config

from autocanary.errors import SettingsError
from autocanary.logs import redact
from autocanary.model.foreign_text import clean_text

__all__ = ["ClusterCredentials", "find_credentials"]

# The library's loaders carry no annotations.
_Merger: Any = kube_config.KubeConfigMerger
_Loader: Any = kube_config.KubeConfigLoader
_InClusterLoader: Any = incluster_config.InClusterConfigLoader

_SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HEADER_CHARACTERS = "!#$&'*+-.^_`|~"
"""What a header's name may hold besides letters and digits; all else is escaped, as kubectl does."""
_PLUGIN_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h", "socks4", "socks4a")
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
    """A cluster and credentials: ``source`` says where they are from, ``load`` reads them again, because they
    rotate. ``headers`` are sent with every request: the user, groups and extra values to impersonate.
    """

    source: str
    namespace: str
    load: Callable[[], Configuration]
    headers: tuple[tuple[str, str], ...] = ()


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
            f"there is no kubeconfig to find context {context!r} in; searched {_searched_paths(environ)}"
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
        headers=_impersonation(_user(loader), source),
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


def _user(loader: Any) -> dict[str, Any]:
    """The user's section of the kubeconfig, as the library keeps and reads it."""
    node = loader._user
    section = node.value if node is not None else None
    return section if isinstance(section, dict) else {}


def _impersonation(user: Mapping[str, Any], source: str) -> tuple[tuple[str, str], ...]:
    """The headers for ``as``, ``as-uid``, ``as-groups`` and ``as-user-extra``, as kubectl sends them."""
    name, uid = user.get("as") or "", user.get("as-uid") or ""
    groups, extra = user.get("as-groups") or [], user.get("as-user-extra") or {}
    lists = [groups, *(extra.values() if isinstance(extra, dict) else [None])]
    texts = [name, uid, *(each for values in lists if isinstance(values, list) for each in values)]
    if not all(isinstance(each, list) for each in lists) or not all(isinstance(each, str) for each in texts):
        raise SettingsError(
            f"{source}: `as` and `as-uid` are texts, `as-groups` is a list of texts, and `as-user-extra` has a list "
            "of texts for each name; correct the user's section"
        )
    if not name:
        if uid or groups or extra:
            raise SettingsError(f"{source}: as-uid, as-groups and as-user-extra need `as`, the user to impersonate")
        return ()
    return (
        ("Impersonate-User", name),
        *([("Impersonate-Uid", uid)] if uid else []),
        *(("Impersonate-Group", group) for group in groups),
        *(
            (f"Impersonate-Extra-{quote(str(key), safe=_HEADER_CHARACTERS)}", value)
            for key, values in extra.items()
            for value in values
        ),
    )


def _check_plugin(user: Mapping[str, Any], source: str) -> None:
    """As kubectl: the library runs a plugin of any version."""
    plugin = user.get("exec")
    version = plugin.get("apiVersion") if isinstance(plugin, dict) else ""
    if plugin and version not in _PLUGIN_VERSIONS:
        raise SettingsError(
            f"{source}: the credential plugin's apiVersion is {clean_text(str(version))!r}; kubectl reads "
            f"{' and '.join(_PLUGIN_VERSIONS)}; update the plugin, and its section of the kubeconfig"
        )


def _drop_empty_texts(loader: Any) -> None:
    """As kubectl: an empty text is the same as none. The library takes it for the name of a file."""
    for node in (loader._cluster, loader._user):
        section = node.value if node is not None else None
        if isinstance(section, dict):
            for name in [name for name, value in section.items() if value == ""]:
                del section[name]


def _prefer_token_file(loader: Any) -> None:
    """As kubectl: a token file that can be read wins over a token beside it."""
    user = _user(loader)
    if not (user.get("token") and user.get("tokenFile")):
        return
    try:
        path = Path(loader._get_base_path(loader._user.path), user["tokenFile"])
        readable = bool(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError, TypeError):
        readable = False
    del user["token" if readable else "tokenFile"]


def _describe_contexts(contexts: list[str]) -> str:
    return "it has " + ", ".join(contexts) if contexts else "it has no contexts"


def _configure(loader: Any, source: str) -> Configuration:
    configuration = Configuration()
    _check_plugin(_user(loader), source)
    try:
        _drop_empty_texts(loader)
        _prefer_token_file(loader)
        loader.load_and_set(configuration)
    except _KUBECONFIG_ERRORS as error:
        raise SettingsError(f"{source}: {_one_line(error)}") from error
    user = loader._user
    if user is not None and "exec" in user and not (configuration.api_key or configuration.cert_file):
        # The library logs a failing plugin and goes on without credentials; the 401 that follows does not say why.
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
    if configuration._proxy_from_env:
        configuration.proxy = None if _is_loopback(address.hostname) else getproxies().get(address.scheme)
    _check_proxy(configuration, source)
    if address.scheme == "https":
        _check_certificates(configuration, source)
    return configuration


def _check_proxy(configuration: Configuration, source: str) -> None:
    """Tried here, because the library raises an ImportError or a ValueError at the first call."""
    proxy = configuration.proxy
    if not proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        return
    shown = redact(str(proxy))
    scheme = urlsplit(str(proxy)).scheme.lower()
    if scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        raise SettingsError(
            f"{source}: the proxy {shown} needs the package PySocks, which is not installed; install it, or name an "
            "http or https proxy (proxy-url, HTTPS_PROXY)"
        )
    if scheme not in _PROXY_SCHEMES:
        raise SettingsError(
            f"{source}: the proxy {shown} is not an http, https or socks5 URL; correct proxy-url or HTTPS_PROXY"
        )


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
