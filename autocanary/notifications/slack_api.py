"""Slack's Web API: a call with the bot token, and what each of Slack's refusals means for the next try.

Slack answers 200 with ``{"ok": false, "error": "<a word>"}``; the words fall into three kinds:

- Slack is busy (``ratelimited`` with Retry-After, ``internal_error``, ...): tried again,
- a person must put something right (``invalid_auth``, ``not_in_channel``, ...): tried again too, for a token
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
from autocanary.notifications.http_client import NEVER, Http, place, read_secret

__all__ = ["SlackApi", "SlackRefusal"]

_TOKEN = re.compile(r"xox[a-z]?[-.][!-~]{1,500}", re.ASCII)
_WORD = re.compile(r"[a-z_]{1,80}", re.ASCII)
_LONGEST_ANSWER = 262_144
_BUSY = frozenset(
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
_PERSON: Mapping[str, str] = {
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


class SlackRefusal(DeliveryError):
    """Slack has understood and says no; ``word`` is its own for why."""

    def __init__(self, message: str, word: str, *, retry_after: float | None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.word = word


class SlackApi:
    """``url`` is where the methods are: https://slack.com/api, or another for GovSlack."""

    def __init__(self, token_file: Path, http: Http, url: str) -> None:
        self._token_file, self._http, self._url = token_file, http, url.rstrip("/")

    def call(self, method: str, arguments: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
        """Slack's answer when it is yes; ``channel`` is as people know it, for the sentences."""
        token = read_secret(self._token_file, _TOKEN, "Slack's bot token (xoxb-...)")
        answer = self._http.post(
            f"{self._url}/{method}",
            arguments,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json; charset=utf-8",
            },
            most=_LONGEST_ANSWER,
        )
        given = _object(answer.body)
        where = f"Slack ({place(self._url)}, {method} to {channel})"
        if answer.status == 429 or given.get("error") in ("ratelimited", "rate_limited"):
            wait = f" for {answer.retry_after:g} s" if answer.retry_after is not None else ""
            raise DeliveryError(
                f"{where} asks to wait{wait}: too many messages", retry_after=answer.retry_after
            )
        if not answer.ok or not isinstance(given.get("ok"), bool):
            raise DeliveryError(f"{where} did not answer as Slack does: status {answer.status}")
        if given["ok"]:
            return given
        raise self._refusal(given, where, channel)

    def _refusal(self, given: Mapping[str, Any], where: str, channel: str) -> SlackRefusal:
        error = str(given.get("error", ""))
        word = error if _WORD.fullmatch(error) else "an error without a name"
        if word in _BUSY:
            return SlackRefusal(f"{where} says {word}", word, retry_after=None)
        if word in _PERSON:
            needed = redact(str(given.get("needed", "chat:write")))[:100]
            hint = _PERSON[word].format(file=self._token_file, channel=channel, needed=needed)
            return SlackRefusal(f"{where} says {word}: {hint}", word, retry_after=None)
        return SlackRefusal(f"{where} says {word}{_details(given)}", word, retry_after=NEVER)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def _details(given: Mapping[str, Any]) -> str:
    """What Slack says about which part of a message it refuses."""
    about = given.get("response_metadata")
    lines = about.get("messages") if isinstance(about, dict) else None
    return f" ({redact(str(lines[0]))[:200]})" if isinstance(lines, list) and lines else ""
