"""How each kind of setting is read from text: durations, lists, addresses, names, paths.

What is wrong with a setting, in a sentence that names where it was given.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from autocanary.model.time_format import parse_duration

__all__ = [
    "PREFIX",
    "ClusterAccess",
    "File",
    "Headers",
    "Listen",
    "ListenAddress",
    "LogLevel",
    "Namespaces",
    "ObjectName",
    "Paths",
    "Seconds",
    "SlackChannel",
    "SlackMentions",
    "Url",
    "flag_of",
    "nearest",
    "refused",
    "sentence",
]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)

_SLACK_CHANNEL = re.compile(r"#[^\s,#]{1,80}|[CGD][A-Z0-9]{6,}", re.ASCII)
_SLACK_MENTION = re.compile(r"here|channel|[UWS][A-Z0-9]{6,28}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Which cluster, as kubectl's flags say it; None: found as kubectl finds it ($KUBECONFIG, in-cluster)."""

    kubeconfig: str | None = None
    context: str | None = None


class Listen(NamedTuple):
    """Where the HTTP server listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def refused(message: str) -> PydanticCustomError:
    """For a validator to raise."""
    return PydanticCustomError("autocanary", "{message}", {"message": message})  # a brace in it stays itself


def _duration(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise refused("expected a duration such as 500ms, 5s or 10m")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise refused(str(error)) from None


def _items(value: Any) -> tuple[Any, ...]:
    """A comma-separated text, or a list of a YAML file or a repeated flag, without empty items."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | Path) for each in value):
        raise refused("expected a list, comma-separated")
    return tuple(each for each in (str(each).strip() for each in value) if each)


def _namespaces(value: Any) -> tuple[str, ...]:
    names = _items(value)
    for name in names:
        if not _LABEL.fullmatch(name):
            raise refused(f"{name!r} cannot be the name of a namespace")
    return names


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = (
        value.items() if isinstance(value, Mapping) else [item.partition("=")[::2] for item in _items(value)]
    )
    headers = tuple((str(name).strip(), str(content).strip()) for name, content in pairs)
    for name, content in headers:
        if not _HEADER.fullmatch(name) or not content or not content.isprintable():
            raise refused("expected headers as Name=value, comma-separated")
    return headers


_URL = "expected a URL that begins with http:// or https:// and names a host"


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise refused(_URL)
    text = value.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise refused(_URL) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise refused(_URL)
    if "@" in parts.netloc:
        raise refused("a password does not belong into a URL; give it in a file")
    return text.rstrip("/")


def _listen(value: Any) -> Listen:
    if isinstance(value, Listen):
        return value
    host, colon, port = str(value).strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise refused("expected HOST:PORT such as 0.0.0.0:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise refused("expected an IPv6 address in brackets, such as [::]:8080")
    return Listen(host or "0.0.0.0", int(port))  # noqa: S104  # ":8080" means everywhere


def _log_level(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _object_name(value: Any) -> str:
    if not isinstance(value, str) or not _SUBDOMAIN.fullmatch(value.strip()):
        raise refused("expected a Kubernetes name: lower-case letters, digits, '-' and '.'")
    return value.strip()


def _slack_channel(value: Any) -> str:
    if not isinstance(value, str) or not _SLACK_CHANNEL.fullmatch(value.strip()):
        raise refused("expected a Slack channel: its name with the # (in YAML in quotes), or its ID")
    return value.strip()


def _slack_mentions(value: Any) -> tuple[str, ...]:
    ids = _items(value)
    for each in ids:
        if not _SLACK_MENTION.fullmatch(each):
            raise refused(
                f"{each!r} is neither a member's or user group's ID (U..., S...) nor here or channel"
            )
    return ids


def _file(value: Any) -> Any:
    """Whether the file is there is asked when it is used: a secret may be mounted a moment later."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise refused("expected the path of a file")
    return Path(str(value).strip()).expanduser()


Seconds = Annotated[float, BeforeValidator(_duration)]
Namespaces = Annotated[tuple[str, ...], BeforeValidator(_namespaces)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_items)]
Headers = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_headers)]
Url = Annotated[str, BeforeValidator(_url)]
ListenAddress = Annotated[Listen, BeforeValidator(_listen)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_log_level)]
File = Annotated[Path, BeforeValidator(_file)]
ObjectName = Annotated[str, BeforeValidator(_object_name)]
SlackChannel = Annotated[str, BeforeValidator(_slack_channel)]
SlackMentions = Annotated[tuple[str, ...], BeforeValidator(_slack_mentions)]


PREFIX = "AUTOCANARY_"

_EXPECTED = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "string_type": "expected a text",
}


def sentence(fault: Any, flags: Mapping[str, Any]) -> str:
    if not fault["loc"]:
        return f"settings: {fault['msg']}"
    name = str(fault["loc"][0])
    context, kind = fault.get("ctx") or {}, fault["type"]
    if kind == "literal_error":
        expected = f"expected {context['expected']}"
    elif kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        expected = f"{fault['msg'].removeprefix('Input ')}{_unit(name)}"
    else:
        expected = _EXPECTED.get(kind, fault["msg"])
    return f"{_place(name, flags)}: {expected}"


def _unit(name: str) -> str:
    return " seconds" if name in ("tick", "prometheus_timeout") else ""


def _place(name: str, flags: Mapping[str, Any]) -> str:
    """Where the value in force came from, so that people look in the right place."""
    if name in flags:
        return flag_of(name)
    variables = [each for each in os.environ if each.upper() == PREFIX + name.upper() and os.environ[each]]
    if variables:
        return variables[0]
    config = flags.get("config") or os.environ.get(f"{PREFIX}CONFIG")
    return f"{config}: {name}"


def flag_of(name: str) -> str:
    """The flag of a setting; the lists are given by repeating a flag in the singular."""
    return {"namespaces": "--namespace"}.get(name, "--" + name.replace("_", "-"))


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A question to whoever meant another setting; nothing when none is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
