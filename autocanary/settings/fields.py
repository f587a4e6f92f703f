"""Every setting: its type, its default, and which of them belong together.

The YAML file that the flag or the environment names.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from autocanary.errors import SettingsError
from autocanary.settings.guard_setting import GuardSetting
from autocanary.settings.prometheus_servers import PrometheusServers
from autocanary.settings.value_types import (
    ENV_PREFIX,
    DurationSeconds,
    FilePath,
    HeaderName,
    Headers,
    HostPort,
    ListenAddress,
    LogLevel,
    Namespaces,
    ObjectName,
    Paths,
    QueryParams,
    SlackChannel,
    SlackMembers,
    SlackMentions,
    Url,
    UrlTemplate,
    WebhookHostPatterns,
    did_you_mean,
    invalid_value,
)
from autocanary.settings.web_credentials import WebCredentialsList

__all__ = ["Settings", "read_settings_file"]


def read_settings_file(path: Path, known: Collection[str]) -> dict[str, Any]:
    """What the file holds of the settings that are ``known``; SettingsError says where it is wrong."""
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
        if name not in known:
            raise SettingsError(f"{path}: {name!r} is not a setting{did_you_mean(str(name), known)}")
    return {name: value for name, value in document.items() if value is not None}


class Settings(BaseSettings):
    """All settings of ``autocanary run``. Times are seconds; an empty text means "not set"."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        validate_default=False,
    )

    config: FilePath | None = None
    """The YAML file with any of the settings below, in lower case and without the prefix."""
    policies: Paths = ()
    """Files and folders with policies; policies that are custom resources need none."""
    prometheus_url: Url | None = None
    prometheus_token_file: FilePath | None = None
    prometheus_username: str = ""
    prometheus_password_file: FilePath | None = None
    prometheus_headers: Headers = Field(default=(), repr=False)
    """Sent with every query, e.g. ``X-Scope-OrgID=team-a``; may hold secrets, so it is never printed."""
    prometheus_params: QueryParams = Field(default=(), repr=False)
    """Query parameters sent with every query, e.g. ``partial_response=false``."""
    prometheus_ca_file: FilePath | None = None
    prometheus_timeout: DurationSeconds = Field(default=5.0, gt=0, le=120)
    prometheus_servers: PrometheusServers = ()
    """Further servers, which policies name in ``prometheusRef``."""
    web_credentials: WebCredentialsList = ()
    """Credentials for web metrics, which policies name in ``credentialsRef``."""
    namespaces: Namespaces = ()
    """Watched namespaces; empty: all."""
    guard: GuardSetting | None = None
    """Where the chart's guard holds releases; services there that no policy governs are named. None: nowhere."""
    tick: DurationSeconds = Field(default=1.0, ge=0.1, le=60)
    listen: ListenAddress = HostPort("0.0.0.0", 8080)  # noqa: S104  # probes come from outside the pod
    page_listen: ListenAddress | None = None
    """Where the web page is served, on a port of its own; None: nowhere."""
    page_user_header: HeaderName = ""
    """The header in which a proxy names the user; empty: every request carries the user's own bearer token."""
    page_groups_header: HeaderName = ""
    """The header with the user's groups, separated by commas."""
    leader_election: bool = True
    lease_name: ObjectName = "autocanary"
    lease_namespace: ObjectName | None = None
    """None: the namespace the service itself runs in."""
    lease_duration: DurationSeconds = Field(default=6.0, ge=3, le=120)
    """How long a silent leader keeps the Lease; it stops writing after two thirds of it."""
    identity: str = ""
    """Who this instance is among its replicas; empty: the host's name."""
    dry_run: bool = False
    log_format: Literal["json", "console"] | None = None
    """None: console on a terminal, json elsewhere."""
    log_level: LogLevel = "info"
    slack_webhook_url_file: FilePath | None = None
    slack_bot_token_file: FilePath | None = None
    slack_channel: SlackChannel = ""
    """The channel of rollouts whose policy names no Slack channel; empty: none."""
    slack_mention: SlackMentions = ()
    """Who is mentioned in that channel when a rollout is rolled back or needs a user."""
    slack_app_token_file: FilePath | None = None
    """A Slack app-level token: messages have buttons, and approvers promote and abort with them."""
    slack_approvers: SlackMembers = ()
    """Members who may; by ID."""
    slack_api_url: Url = "https://slack.com/api"
    """Another one for GovSlack."""
    apprise_urls_file: FilePath | None = None
    webhook_url: Annotated[Url | None, Field(repr=False)] = None
    webhook_hosts: WebhookHostPatterns = ()
    """Hosts that policies' webhooks may reach at private addresses, and whose words are shown."""
    history_limit: int = Field(default=10, ge=1, le=1000)
    """Finished rollouts kept per service."""
    author_annotation: str = ""
    """The annotation of an InferenceService that names the author of its spec; empty: none does."""
    external_url: UrlTemplate = ""
    """Where the web page is reached; messages, Events and the log then hold permalinks to it."""
    runbook_url: UrlTemplate = ""
    """The runbook that messages name; {namespace}, {service}, {rollout} and {reason} are filled in."""
    cluster_name: str = ""
    """Named in every message, for users with several clusters."""

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
    def _check_combinations(self) -> Settings:
        if bool(self.prometheus_username) != bool(self.prometheus_password_file):
            raise invalid_value("PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD_FILE belong together: set both or neither")
        if self.prometheus_token_file and self.prometheus_password_file:
            raise invalid_value("PROMETHEUS_TOKEN_FILE and PROMETHEUS_PASSWORD_FILE exclude each other: set one")
        if self.slack_bot_token_file and self.slack_webhook_url_file:
            raise invalid_value("SLACK_BOT_TOKEN_FILE and SLACK_WEBHOOK_URL_FILE exclude each other: set one")
        if (self.slack_channel or self.slack_mention) and not self.slack_bot_token_file:
            raise invalid_value(
                "SLACK_CHANNEL and SLACK_MENTION need SLACK_BOT_TOKEN_FILE: an incoming webhook posts to the "
                "channel that it was made for"
            )
        if (self.page_user_header or self.page_groups_header) and self.page_listen is None:
            raise invalid_value("PAGE_USER_HEADER and PAGE_GROUPS_HEADER need PAGE_LISTEN: the page is not served")
        if self.page_groups_header and not self.page_user_header:
            raise invalid_value("PAGE_GROUPS_HEADER needs PAGE_USER_HEADER: groups belong to a user")
        if self.page_listen is not None and self.page_listen.port != 0 and self.page_listen.port == self.listen.port:
            raise invalid_value("PAGE_LISTEN and LISTEN are the same port: give the page one of its own")
        if self.slack_mention and not self.slack_channel:
            raise invalid_value("SLACK_MENTION needs SLACK_CHANNEL; a policy's channel has mentions of its own")
        if bool(self.slack_app_token_file) != bool(self.slack_approvers):
            raise invalid_value(
                "SLACK_APP_TOKEN_FILE and SLACK_APPROVERS belong together: buttons that no member may press, and "
                "approvers without buttons, do nothing"
            )
        if self.slack_app_token_file and not self.slack_bot_token_file:
            raise invalid_value("SLACK_APP_TOKEN_FILE needs SLACK_BOT_TOKEN_FILE: the bot's messages have the buttons")
        return self


class _ConfigFile(PydanticBaseSettingsSource):
    """The YAML file that the flag or the environment named."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  # theirs
        return None, field_name, False  # the file is read as a whole, in __call__

    def __call__(self) -> dict[str, Any]:
        path = self.current_state.get("config")
        names = [each for each in self.settings_cls.model_fields if each != "config"]
        return read_settings_file(Path(str(path)).expanduser(), names) if path else {}
