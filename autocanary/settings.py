"""What the service is told when it starts: flags over environment (``AUTOCANARY_…``) over a YAML file.

Only this module knows pydantic-settings. Secrets are paths here (``…_FILE``); whoever uses one reads the
file at that moment, so that a rotated secret is picked up, and no error or log can contain it. A value is
repeated in an error only where it cannot be a secret. The file is long because the table of settings and
how each is read from text are one idea.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from autocanary.core.duration import parse_duration
from autocanary.errors import SettingsError

__all__ = ["PREFIX", "ClusterAccess", "Listen", "Settings", "flag_of", "load", "unknown_variables"]

PREFIX = "AUTOCANARY_"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)

_SLACK_CHANNEL = re.compile(r"#[^\s,#]{1,80}|[CGD][A-Z0-9]{6,}", re.ASCII)
_SLACK_MENTION = re.compile(r"here|channel|[UWS][A-Z0-9]{6,28}", re.ASCII)

# What Kubernetes puts into every pod for a Service whose name is, or begins with, "autocanary".
_SERVICE_LINK = re.compile(
    r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"(?:.+_)?PORT")
_PORT_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


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


def _no(message: str) -> PydanticCustomError:
    return PydanticCustomError("autocanary", "{message}", {"message": message})  # a brace in it stays itself


def _duration(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _no("expected a duration such as 500ms, 5s or 10m")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise _no(str(error)) from None


def _items(value: Any) -> tuple[Any, ...]:
    """A comma-separated text, or a list of a YAML file or a repeated flag, without empty items."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | Path) for each in value):
        raise _no("expected a list, comma-separated")
    return tuple(each for each in (str(each).strip() for each in value) if each)


def _namespaces(value: Any) -> tuple[str, ...]:
    names = _items(value)
    for name in names:
        if not _LABEL.fullmatch(name):
            raise _no(f"{name!r} cannot be the name of a namespace")
    return names


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = (
        value.items() if isinstance(value, Mapping) else [item.partition("=")[::2] for item in _items(value)]
    )
    headers = tuple((str(name).strip(), str(content).strip()) for name, content in pairs)
    for name, content in headers:
        if not _HEADER.fullmatch(name) or not content or not content.isprintable():
            raise _no("expected headers as Name=value, comma-separated")
    return headers


_URL = "expected a URL that begins with http:// or https:// and names a host"


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise _no(_URL)
    text = value.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _no(_URL) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _no(_URL)
    if "@" in parts.netloc:
        raise _no("a password does not belong into a URL; give it in a file")
    return text.rstrip("/")


def _listen(value: Any) -> Listen:
    if isinstance(value, Listen):
        return value
    host, colon, port = str(value).strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise _no("expected HOST:PORT such as 0.0.0.0:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _no("expected an IPv6 address in brackets, such as [::]:8080")
    return Listen(host or "0.0.0.0", int(port))  # noqa: S104  # ":8080" means everywhere


def _log_level(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _object_name(value: Any) -> str:
    if not isinstance(value, str) or not _SUBDOMAIN.fullmatch(value.strip()):
        raise _no("expected a Kubernetes name: lower-case letters, digits, '-' and '.'")
    return value.strip()


def _slack_channel(value: Any) -> str:
    if not isinstance(value, str) or not _SLACK_CHANNEL.fullmatch(value.strip()):
        raise _no("expected a Slack channel: its name with the # (in YAML in quotes), or its ID")
    return value.strip()


def _slack_mentions(value: Any) -> tuple[str, ...]:
    ids = _items(value)
    for each in ids:
        if not _SLACK_MENTION.fullmatch(each):
            raise _no(f"{each!r} is neither a member's or user group's ID (U..., S...) nor here or channel")
    return ids


def _file(value: Any) -> Any:
    """Whether the file is there is asked when it is used: a secret may be mounted a moment later."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise _no("expected the path of a file")
    return Path(str(value).strip()).expanduser()


Seconds = Annotated[float, BeforeValidator(_duration)]
Namespaces = Annotated[tuple[str, ...], BeforeValidator(_namespaces)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_items)]
Headers = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_headers)]
Url = Annotated[str, BeforeValidator(_url)]
File = Annotated[Path, BeforeValidator(_file)]
ObjectName = Annotated[str, BeforeValidator(_object_name)]
SlackChannel = Annotated[str, BeforeValidator(_slack_channel)]
SlackMentions = Annotated[tuple[str, ...], BeforeValidator(_slack_mentions)]


class Settings(BaseSettings):
    """Everything ``autocanary run`` can be told. Times are seconds; an empty text means "not given"."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        validate_default=False,
    )

    config: File | None = None
    """The YAML file with any of the settings below, in lower case and without the prefix."""
    policies: Paths = ()
    """Files and folders with policies; policies that are custom resources need none."""
    prometheus_url: Url | None = None
    prometheus_token_file: File | None = None
    prometheus_username: str = ""
    prometheus_password_file: File | None = None
    prometheus_headers: Headers = Field(default=(), repr=False)
    """Sent with every query, e.g. ``X-Scope-OrgID=team-a``; may hold secrets, so it is never printed."""
    prometheus_ca_file: File | None = None
    prometheus_timeout: Seconds = Field(default=5.0, gt=0, le=120)
    namespaces: Namespaces = ()
    """Watched namespaces; empty: all."""
    tick: Seconds = Field(default=1.0, ge=0.1, le=60)
    listen: Annotated[Listen, BeforeValidator(_listen)] = Listen("0.0.0.0", 8080)  # noqa: S104  # probes come from outside the pod
    leader_election: bool = True
    lease_name: ObjectName = "autocanary"
    lease_namespace: ObjectName | None = None
    """None: the namespace the service itself runs in."""
    identity: str = ""
    """Who this instance is among its replicas; empty: the host's name."""
    dry_run: bool = False
    log_format: Literal["json", "console"] | None = None
    """None: console on a terminal, json elsewhere."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_log_level)] = "info"
    slack_webhook_url_file: File | None = None
    slack_bot_token_file: File | None = None
    slack_channel: SlackChannel = ""
    """Where rollouts are told whose policy names no Slack channel; empty: nowhere."""
    slack_mention: SlackMentions = ()
    """Whom to call in that channel when a rollout is rolled back or needs a person."""
    slack_api_url: Url = "https://slack.com/api"
    """Another one for GovSlack."""
    apprise_urls_file: File | None = None
    webhook_url: Annotated[Url | None, Field(repr=False)] = None
    history_limit: int = Field(default=10, ge=1, le=1000)
    """Finished rollouts kept per service."""
    cluster_name: str = ""
    """Told in every message, for people with several clusters."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the signature is theirs
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # so is this
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _ConfigFile(settings_cls)

    @model_validator(mode="after")
    def _belong_together(self) -> Settings:
        if bool(self.prometheus_username) != bool(self.prometheus_password_file):
            raise _no(
                "PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD_FILE belong together: give both or neither"
            )
        if self.prometheus_token_file and self.prometheus_password_file:
            raise _no("PROMETHEUS_TOKEN_FILE and PROMETHEUS_PASSWORD_FILE exclude each other: give one")
        if self.slack_bot_token_file and self.slack_webhook_url_file:
            raise _no("SLACK_BOT_TOKEN_FILE and SLACK_WEBHOOK_URL_FILE exclude each other: give one")
        if (self.slack_channel or self.slack_mention) and not self.slack_bot_token_file:
            raise _no(
                "SLACK_CHANNEL and SLACK_MENTION need SLACK_BOT_TOKEN_FILE: an incoming webhook posts to the "
                "channel that it was made for"
            )
        if self.slack_mention and not self.slack_channel:
            raise _no("SLACK_MENTION needs SLACK_CHANNEL; a policy's channel has mentions of its own")
        return self


class _ConfigFile(PydanticBaseSettingsSource):
    """The YAML file that the flag or the environment named."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  # theirs
        return None, field_name, False  # the file is read as a whole, in __call__

    def __call__(self) -> dict[str, Any]:
        path = self.current_state.get("config")
        return _read(Path(str(path)).expanduser()) if path else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: the settings file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: the settings file is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SettingsError(f"{place}: the settings file is not valid YAML") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: expected settings as 'name: value', one a line")
    for name in document:
        if name not in Settings.model_fields or name == "config":
            hint = _nearest(str(name), (each for each in Settings.model_fields if each != "config"))
            raise SettingsError(f"{path}: {name!r} is not a setting{hint}")
    return {name: value for name, value in document.items() if value is not None}


def load(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings from ``flags`` (those given, by field name; None: not given), environment and file.

    Raises SettingsError with one sentence for each fault.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        sentences = [
            _sentence(fault, given) for fault in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError("\n".join(sentences)) from None  # the cause holds the values, secrets too


_EXPECTED = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "string_type": "expected a text",
}


def _sentence(fault: Any, flags: Mapping[str, Any]) -> str:
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


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each ``AUTOCANARY_…`` variable that is no setting; values are never repeated.

    Kubernetes' service links (``AUTOCANARY_SERVICE_HOST`` and the like) are nobody's mistake.
    """
    known = {name.upper() for name in Settings.model_fields}
    given = {each: each.upper().removeprefix(PREFIX) for each in environ if each.upper().startswith(PREFIX)}
    return tuple(
        f"{variable} is not a setting and has no effect{_nearest(name, known, PREFIX)}"
        for variable, name in sorted(given.items())
        if name not in known and not _is_service_link(name, environ[variable])
    )


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return bool(_SERVICE_PORT.fullmatch(name) and _PORT_VALUE.match(value))


def _nearest(name: str, known: Iterator[str] | set[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
