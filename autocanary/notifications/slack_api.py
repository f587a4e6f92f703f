"""Slack's Web API: a call with the bot token, and what each of Slack's refusals means for the next try.

Slack answers 200 with ``{"ok": false, "error": "<a word>"}``; the words fall into three kinds:

- Slack is busy (``ratelimited`` with Retry-After, ``internal_error``, ...): tried again,
- a user must repair something (``invalid_auth``, ``not_in_channel``, ...): tried again too, for a token
  may be rotated and the app invited while the message waits; the log says what to do,
- the message itself is refused (``invalid_blocks``, ``msg_too_long``, ... and any other word): the same again
  will not help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocanary.errors import DeliveryError
from autocanary.logs import redact
from autocanary.outbound.http_client import NO_RETRY, HttpClient, read_secret, url_origin

__all__ = ["SlackApi", "SlackApiError"]

_TOKEN = re.compile(r"xox[a-z]?[-.][!-~]{1,500}", re.ASCII)
_ERROR_CODE = re.compile(r"[a-z_]{1,80}", re.ASCII)
_RESPONSE_LIMIT = 262_144
_TRANSIENT_ERRORS = frozenset(
    {
        "accesslimited",
        "fatal_error",
        "internal_error",
        "ratelimited",
        "rate_limited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
_NEW_TOKEN = "put the app's valid bot token (xoxb-...) into {file}"  # noqa: S105 - a sentence
_INVITE = "invite the app there (/invite @autocanary), or give it the scope chat:write.public"
_ACTION_BY_ERROR: Mapping[str, str] = {
    "account_inactive": _NEW_TOKEN,
    "channel_is_archived": "unarchive {channel} or name another channel",
    "channel_not_found": "{channel} does not exist, or is private and the app is not in it: invite it there",
    "invalid_auth": _NEW_TOKEN,
    "is_archived": "unarchive {channel} or name another channel",
    "missing_scope": "give the app the scope {needed} and install it again",
    "no_permission": "give the app the scope chat:write and install it again",
    "not_allowed_token_type": _NEW_TOKEN,
    "not_authed": _NEW_TOKEN,
    "not_in_channel": _INVITE,
    "restricted_action": "let apps post to {channel} in the workspace's settings",
    "restricted_action_read_only_channel": "let apps post to {channel}",
    "team_access_not_granted": "let the app into the workspace",
    "token_expired": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
}


class SlackApiError(DeliveryError):
    """Slack has understood and says no; ``error_code`` is its own for why."""

    def __init__(self, message: str, error_code: str, *, retry_after: float | None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.error_code = error_code


class SlackApi:
    """``url`` is where the methods are: https://slack.com/api, or another for GovSlack."""

    def __init__(self, token_file: Path, http: HttpClient, url: str) -> None:
        self._token_file, self._http, self._url = token_file, http, url.rstrip("/")

    def call(self, method: str, arguments: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
        """Slack's answer when it is yes; ``channel`` is the name that users know, for the messages."""
        token = read_secret(self._token_file, _TOKEN, "Slack's bot token (xoxb-...)")
        response = self._http.post(
            f"{self._url}/{method}",
            arguments,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json; charset=utf-8",
            },
            body_limit=_RESPONSE_LIMIT,
        )
        reply = _parse_object(response.body)
        where = f"Slack ({url_origin(self._url)}, {method} to {channel})"
        if response.status == 429 or reply.get("error") in ("ratelimited", "rate_limited"):
            wait = f" for {response.retry_after:g} s" if response.retry_after is not None else ""
            raise DeliveryError(f"{where} asks to wait{wait}: too many messages", retry_after=response.retry_after)
        if not response.ok or not isinstance(reply.get("ok"), bool):
            raise DeliveryError(f"{where} did not answer as Slack does: status {response.status}")
        if reply["ok"]:
            return reply
        raise self._error_from(reply, where, channel)

    def _error_from(self, reply: Mapping[str, Any], where: str, channel: str) -> SlackApiError:
        error = str(reply.get("error", ""))
        error_code = error if _ERROR_CODE.fullmatch(error) else "an error without a name"
        if error_code in _TRANSIENT_ERRORS:
            return SlackApiError(f"{where} says {error_code}", error_code, retry_after=None)
        if error_code in _ACTION_BY_ERROR:
            needed = redact(str(reply.get("needed", "chat:write")))[:100]
            hint = _ACTION_BY_ERROR[error_code].format(file=self._token_file, channel=channel, needed=needed)
            return SlackApiError(f"{where} says {error_code}: {hint}", error_code, retry_after=None)
        return SlackApiError(f"{where} says {error_code}{_details(reply)}", error_code, retry_after=NO_RETRY)


def _parse_object(body: bytes) -> Mapping[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return reply if isinstance(reply, dict) else {}


def _details(reply: Mapping[str, Any]) -> str:
    """What Slack says about which part of a message it refuses."""
    about = reply.get("response_metadata")
    lines = about.get("messages") if isinstance(about, dict) else None
    return f" ({redact(str(lines[0]))[:200]})" if isinstance(lines, list) and lines else ""
