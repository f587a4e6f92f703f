"""Slack as a bot sees it: the Web API's methods, its answers and its refusals, over real HTTP.

What it answers is what Slack's reference of chat.postMessage and chat.update and its developers' reports say:
errors come with status 200 and a word, except for the rate limit; a message's timestamp is its identity; a
name of a channel can be posted to, but only its ID can be updated in; an answer to a thread whose parent is
gone, and has no answers, becomes a message of the channel without a word about it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.notifications.http_receiver import Received, Reply

TOKEN = "xoxb-1111-2222-c4n4ry"


def limited(seconds: str | None = None) -> Reply:
    """The rate limit's answer."""
    return Reply(429, b'{"ok":false,"error":"ratelimited"}', {"Retry-After": seconds} if seconds else {})


@dataclass
class SlackChannel:
    """A channel of the workspace."""

    id: str
    name: str
    private: bool = False
    member: bool = True
    archived: bool = False


@dataclass
class Post:
    """A message in it; ``versions`` is what it has said, the newest last."""

    channel: str
    ts: str
    versions: list[Mapping[str, Any]]
    thread: str | None = None
    broadcast: bool = False
    by: str = "B0AUTOCANARY"

    @property
    def text(self) -> str:
        return str(self.versions[-1]["text"])

    @property
    def shown(self) -> str:
        """Everything a reader of it sees now."""
        return shown(self.versions[-1])


@dataclass
class Slack:
    """Set as a receiver's ``answering``. ``calls`` is what was asked, in order; ``scripted`` are answers instead
    of the true ones to the next requests, None being the true one."""

    tokens: dict[str, str] = field(default_factory=lambda: {TOKEN: "B0AUTOCANARY"})
    scopes: set[str] = field(default_factory=lambda: {"chat:write"})
    channels: list[SlackChannel] = field(
        default_factory=lambda: [SlackChannel("C0ML0000", "ml-ops"), SlackChannel("C0CALL00", "ml-oncall")]
    )
    posts: list[Post] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    scripted: list[Reply | None] = field(default_factory=list)
    editable: bool = True
    clock: int = 1_767_225_600

    def __call__(self, got: Received) -> Reply:
        scripted = self.scripted.pop(0) if self.scripted else None
        if scripted is not None:
            return scripted
        method = got.path.rpartition("/")[2]
        answer = self._answer(method, got)
        return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json; charset=utf-8"})

    # --- what a test looks at and does -------------------------------------------------------------------

    def top_level_posts(self, channel: str = "C0ML0000") -> list[Post]:
        """What a reader of the channel sees at first, answers in threads left out."""
        return [each for each in self.posts if each.channel == channel and each.thread is None and self._is_there(each)]

    def thread(self, head: Post) -> list[Post]:
        return [each for each in self.posts if each.thread == head.ts and each.channel == head.channel]

    def delete(self, head: Post) -> None:
        self.deleted.add(head.ts)

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    # --- the protocol ------------------------------------------------------------------------------------

    def _answer(self, method: str, got: Received) -> Mapping[str, Any]:
        methods: dict[str, Callable[[Mapping[str, Any], str], Mapping[str, Any]]] = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
        }
        if method not in methods:
            return _error("unknown_method")
        token = got.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return _error("not_authed")
        if token in self.revoked:
            return _error("token_revoked")
        if token not in self.tokens:
            return _error("invalid_auth")
        if not got.headers.get("Content-Type", "").startswith("application/json"):
            return _error("invalid_form_data")
        try:
            arguments = got.json
        except ValueError:
            return _error("invalid_json")
        if "chat:write" not in self.scopes:
            return {**_error("missing_scope"), "needed": "chat:write", "provided": "users:read"}
        fault = _fault(arguments)
        if fault:
            return fault
        self.calls.append((method, arguments))
        return methods[method](arguments, self.tokens[token])

    def _post(self, arguments: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        channel = self._channel(str(arguments.get("channel", "")), by_name=True)
        if channel is None:
            return _error("channel_not_found")
        if channel.archived:
            return _error("is_archived")
        if not channel.member:
            return _error("not_in_channel" if not channel.private else "channel_not_found")
        if not arguments.get("text") and not arguments.get("attachments"):
            return _error("no_text")
        thread = arguments.get("thread_ts")
        if thread is not None and not self._can_answer(channel.id, thread):
            thread = None
        self.clock += 1
        made = Post(channel.id, f"{self.clock}.000100", [arguments], thread, bool(arguments.get("reply_broadcast")), by)
        self.posts.append(made)
        message = {
            "type": "message",
            "ts": made.ts,
            "bot_id": by,
            "text": made.text,
            "attachments": arguments["attachments"],
        }
        return {
            "ok": True,
            "channel": channel.id,
            "ts": made.ts,
            "message": message | ({"thread_ts": thread} if thread else {}),
        }

    def _update(self, arguments: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        channel = self._channel(str(arguments.get("channel", "")), by_name=False)
        if channel is None:
            return _error("channel_not_found")
        for post in self.posts:
            if post.channel == channel.id and post.ts == arguments.get("ts") and self._is_there(post):
                if post.by != by:
                    return _error("cant_update_message")
                if not self.editable:
                    return _error("edit_window_closed")
                post.versions.append(arguments)
                return {
                    "ok": True,
                    "channel": channel.id,
                    "ts": post.ts,
                    "text": post.text,
                    "message": {"text": post.text},
                }
        return _error("message_not_found")

    def _channel(self, name: str, *, by_name: bool) -> SlackChannel | None:
        for channel in self.channels:
            if name == channel.id or (by_name and name.removeprefix("#") == channel.name):
                return channel
        return None

    def _is_there(self, post: Post) -> bool:
        return post.ts not in self.deleted

    def _can_answer(self, channel: str, ts: str) -> bool:
        there = any(each.ts == ts and each.channel == channel and self._is_there(each) for each in self.posts)
        return there or any(each.thread == ts for each in self.posts)


def shown(content: Mapping[str, Any]) -> str:
    """Everything a reader of a message sees."""
    texts = [content["text"]]
    for block in content["attachments"][0]["blocks"]:
        texts += [block["text"]["text"]] if "text" in block else []
        texts += [each["text"] for each in (*block.get("fields", ()), *block.get("elements", ()))]
    return "\n".join(texts)


def fits(content: Mapping[str, Any]) -> bool:
    """Whether Block Kit takes the blocks of a message's attachments."""
    blocks = [block for attachment in content.get("attachments", []) for block in attachment["blocks"]]
    return len(blocks) <= 50 and all(map(_valid, blocks))


def _error(word: str) -> dict[str, Any]:
    return {"ok": False, "error": word}


def _fault(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if len(str(arguments.get("text", ""))) > 40_000:
        return _error("msg_too_long")
    if not fits(arguments):
        about = "[ERROR] must be less than 3001 characters [json-pointer:/attachments/0/blocks/0/text]"
        return {**_error("invalid_blocks"), "response_metadata": {"messages": [about]}}
    return None


def _valid(block: Mapping[str, Any]) -> bool:
    if block["type"] == "context":
        return 1 <= len(block["elements"]) <= 10 and all(map(_text, block["elements"]))
    fields = block.get("fields", [])
    return (
        block["type"] == "section"
        and _text(block["text"])
        and len(fields) <= 10
        and all(_text(each, 2000) for each in fields)
    )


def _text(given: Mapping[str, Any], limit: int = 3000) -> bool:
    return given["type"] == "mrkdwn" and 1 <= len(given["text"]) <= limit
