"""How each kind of setting is read from text: durations, lists, addresses, names, paths.

What is wrong with a setting, in a sentence that names where it comes from.

Over 300 lines because every type of a setting is one short parser with its own error.
"""

from __future__ import annotations

import difflib
import ipaddress
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
from autocanary.views.links import unknown_placeholder

__all__ = [
    "DNS_LABEL",
    "ENV_PREFIX",
    "ClusterAccess",
    "DurationSeconds",
    "FilePath",
    "HeaderName",
    "Headers",
    "HostPort",
    "ListenAddress",
    "LogLevel",
    "Namespaces",
    "ObjectName",
    "Paths",
    "QueryParams",
    "SlackChannel",
    "SlackMembers",
    "SlackMentions",
    "Url",
    "UrlTemplate",
    "WebhookHostPatterns",
    "describe_error",
    "did_you_mean",
    "flag_of",
    "invalid_value",
    "parse_headers",
    "parse_namespaces",
    "parse_query_params",
    "parse_seconds",
    "parse_url",
    "split_list",
]

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_PARAM_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]+", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)

_SLACK_CHANNEL = re.compile(r"#[^\s,#]{1,80}|[CGD][A-Z0-9]{6,}", re.ASCII)
_WEBHOOK_HOST = re.compile(r"[A-Za-z0-9*]([-A-Za-z0-9.*]{0,251}[A-Za-z0-9*])?", re.ASCII)
_SLACK_MEMBER = re.compile(r"[UW][A-Z0-9]{6,28}", re.ASCII)
_SLACK_MENTION = re.compile(r"here|channel|[UWS][A-Z0-9]{6,28}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Which cluster, as kubectl's flags say it; None: found as kubectl finds it ($KUBECONFIG, in-cluster)."""

    kubeconfig: str | None = None
    context: str | None = None


class HostPort(NamedTuple):
    """Where the HTTP server listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def invalid_value(message: str) -> PydanticCustomError:
    """For a validator to raise."""
    return PydanticCustomError("autocanary", "{message}", {"message": message})  # a brace in it stays itself


def parse_seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise invalid_value("expected a duration such as 500ms, 5s or 10m")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise invalid_value(str(error)) from None


def _parse_header_name(value: Any) -> str:
    if not isinstance(value, str) or (value and not _HEADER_NAME.fullmatch(value)):
        raise invalid_value("expected the name of a header, such as X-Forwarded-User")
    if value.lower() in ("authorization", "host", "origin", "cookie"):
        raise invalid_value(f"{value} cannot name a user: browsers or clients set it themselves")
    return value


def split_list(value: Any) -> tuple[Any, ...]:
    """A comma-separated text, or a list of a YAML file or a repeated flag, without empty items."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | Path) for each in value):
        raise invalid_value("expected a list, comma-separated")
    return tuple(each for each in (str(each).strip() for each in value) if each)


def parse_namespaces(value: Any) -> tuple[str, ...]:
    names = split_list(value)
    for name in names:
        if not DNS_LABEL.fullmatch(name):
            raise invalid_value(f"{name!r} cannot be the name of a namespace")
    return names


def parse_headers(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, Mapping) else [item.partition("=")[::2] for item in split_list(value)]
    headers = tuple((str(name).strip(), str(content).strip()) for name, content in pairs)
    for name, content in headers:
        if not _HEADER_NAME.fullmatch(name) or not content or not content.isprintable():
            raise invalid_value("expected headers as Name=value, comma-separated")
    return headers


def parse_query_params(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, Mapping) else [item.partition("=")[::2] for item in split_list(value)]
    params = tuple((str(name).strip(), _param_text(content)) for name, content in pairs)
    for name, content in params:
        if not _PARAM_NAME.fullmatch(name) or not content or not content.isprintable():
            raise invalid_value("expected query parameters as name=value, comma-separated")
        if name in ("query", "time", "timeout"):
            raise invalid_value(f"the query parameter {name} is set by autocanary: leave it out")
    return params


def _param_text(content: Any) -> str:
    """YAML's true and false as servers write them."""
    return str(content).lower() if isinstance(content, bool) else str(content).strip()


_URL_ERROR = "expected a URL that begins with http:// or https:// and names a host"


def parse_url(value: Any) -> str:
    if not isinstance(value, str):
        raise invalid_value(_URL_ERROR)
    text = value.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise invalid_value(_URL_ERROR) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise invalid_value(_URL_ERROR)
    if "@" in parts.netloc:
        raise invalid_value("a password does not belong into a URL; put it into a file")
    return text.rstrip("/")


def _parse_url_template(value: Any) -> str:
    url = parse_url(value)
    fault = unknown_placeholder(url)
    if fault is not None:
        raise invalid_value(f"{fault}; write a brace that is none as {{{{ or }}}}")
    return url


def _parse_address(value: Any) -> HostPort:
    if isinstance(value, HostPort):
        return value
    host, colon, port = str(value).strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise invalid_value("expected HOST:PORT such as 0.0.0.0:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise invalid_value("expected an IPv6 address in brackets, such as [::]:8080")
    return HostPort(host or "0.0.0.0", int(port))  # noqa: S104  # ":8080" means everywhere


def _parse_log_level(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _parse_object_name(value: Any) -> str:
    if not isinstance(value, str) or not _DNS_SUBDOMAIN.fullmatch(value.strip()):
        raise invalid_value("expected a Kubernetes name: lower-case letters, digits, '-' and '.'")
    return value.strip()


def _parse_slack_channel(value: Any) -> str:
    if not isinstance(value, str) or not _SLACK_CHANNEL.fullmatch(value.strip()):
        raise invalid_value("expected a Slack channel: its name with the # (in YAML in quotes), or its ID")
    return value.strip()


def _parse_slack_mentions(value: Any) -> tuple[str, ...]:
    ids = split_list(value)
    for each in ids:
        if not _SLACK_MENTION.fullmatch(each):
            raise invalid_value(f"{each!r} is neither a member's or user group's ID (U..., S...) nor here or channel")
    return ids


def _parse_slack_members(value: Any) -> tuple[str, ...]:
    ids = split_list(value)
    for each in ids:
        if not _SLACK_MEMBER.fullmatch(each):
            raise invalid_value(f"{each!r} is not a member's ID (U..., W...); in Slack: profile, Copy member ID")
    return ids


def _parse_webhook_hosts(value: Any) -> tuple[str, ...]:
    hosts = split_list(value)
    for each in hosts:
        if not _WEBHOOK_HOST.fullmatch(each) and not _is_network(each):
            raise invalid_value(
                f"{each!r} is not a host: expected a name, a name with * such as *.ml.svc, an address, or a network "
                "such as 10.0.0.0/8; without scheme, port and path"
            )
    return hosts


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _parse_path(value: Any) -> Any:
    """Whether the file is there is asked when it is used: a secret may be mounted a moment later."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise invalid_value("expected the path of a file")
    return Path(str(value).strip()).expanduser()


DurationSeconds = Annotated[float, BeforeValidator(parse_seconds)]
Namespaces = Annotated[tuple[str, ...], BeforeValidator(parse_namespaces)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(split_list)]
Headers = Annotated[tuple[tuple[str, str], ...], BeforeValidator(parse_headers)]
QueryParams = Annotated[tuple[tuple[str, str], ...], BeforeValidator(parse_query_params)]
Url = Annotated[str, BeforeValidator(parse_url)]
HeaderName = Annotated[str, BeforeValidator(_parse_header_name)]
UrlTemplate = Annotated[str, BeforeValidator(_parse_url_template)]
ListenAddress = Annotated[HostPort, BeforeValidator(_parse_address)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_parse_log_level)]
FilePath = Annotated[Path, BeforeValidator(_parse_path)]
ObjectName = Annotated[str, BeforeValidator(_parse_object_name)]
SlackChannel = Annotated[str, BeforeValidator(_parse_slack_channel)]
WebhookHostPatterns = Annotated[tuple[str, ...], BeforeValidator(_parse_webhook_hosts)]
SlackMembers = Annotated[tuple[str, ...], BeforeValidator(_parse_slack_members)]
SlackMentions = Annotated[tuple[str, ...], BeforeValidator(_parse_slack_mentions)]


ENV_PREFIX = "AUTOCANARY_"

_EXPECTED = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "string_type": "expected a text",
}


def describe_error(fault: Any, flags: Mapping[str, Any]) -> str:
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
    return f"{_source_of(name, flags)}: {expected}"


def _unit(name: str) -> str:
    return " seconds" if name in ("tick", "prometheus_timeout", "lease_duration") else ""


def _source_of(name: str, flags: Mapping[str, Any]) -> str:
    """Where the value in force comes from: a flag, a variable or the file."""
    if name in flags:
        return flag_of(name)
    variables = [each for each in os.environ if each.upper() == ENV_PREFIX + name.upper() and os.environ[each]]
    if variables:
        return variables[0]
    config = flags.get("config") or os.environ.get(f"{ENV_PREFIX}CONFIG")
    return f"{config}: {name}"


def flag_of(name: str) -> str:
    """The flag of a setting; a list is a flag in the singular, repeated."""
    return {"namespaces": "--namespace"}.get(name, "--" + name.replace("_", "-"))


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A question for a user who meant another setting; nothing when none is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
