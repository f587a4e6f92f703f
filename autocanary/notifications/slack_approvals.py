"""Promote and abort by the buttons of Slack's messages, over Socket Mode: no ingress, one outgoing WebSocket.

Decisions
- Slack authenticates the connection; who may act is a list of members in the settings, because every member of a
  channel can press its buttons. Others get a message that they alone see.
- A click is a user request like any other: written to the CanaryRollout's ``spec``, answered by the leader, recorded
  with the member's name. It names the weight that the button showed, so an old button passes no later step.
- Slack sends a click to one of the connections, and again when it got no answer. So every replica listens, and the
  request's id is made of the click: the same one twice is one request.
- The connection is the Slack library's (its built-in client needs no other package). A dead connection delays nothing:
  it is made again, and the commands work meanwhile.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from autocanary import logs
from autocanary.errors import AutocanaryError, ClusterError, DeliveryError, SettingsError
from autocanary.model.foreign_text import clean_text
from autocanary.model.rollout import Request, Rollout, Verb
from autocanary.notifications.slack_api import SlackApi
from autocanary.outbound.http_client import read_secret

__all__ = ["ABORT", "PROMOTE", "SlackApprovals", "button_value"]

PROMOTE, ABORT = "autocanary_promote", "autocanary_abort"
"""The ``action_id`` of the buttons."""

_VERBS = {PROMOTE: Verb.PROMOTE, ABORT: Verb.ABORT}
_APP_TOKEN = re.compile(r"xapp-[!-~]{1,500}", re.ASCII)
_MEMBER = re.compile(r"[UW][A-Z0-9]{2,30}", re.ASCII)
_CHANNEL = re.compile(r"[CDG][A-Z0-9]{2,30}", re.ASCII)
_ACTION_TS = re.compile(r"\d{1,15}\.\d{1,9}", re.ASCII)
_VALUE_LIMIT = 2000
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_PING_SECONDS = 5.0
_CLOSE_SECONDS = 0.5

ReadRollout = Callable[[str, str], Rollout | None]
WriteRequest = Callable[[str, str, Request], object]


def button_value(rollout: Rollout, weight: int) -> str:
    """What a button says about the rollout that it is for; Slack sends it back with a click."""
    place = {"namespace": rollout.namespace, "rollout": rollout.name, "uid": rollout.uid, "weight": weight}
    return json.dumps(place, separators=(",", ":"))


class SlackApprovals:
    """Listens for clicks from ``start`` to ``stop``. ``read`` and ``write`` raise ClusterError.

    SettingsError when the Slack library is not installed.
    """

    def __init__(
        self,
        app_token_file: Path,
        api: SlackApi,
        *,
        url: str,
        approvers: Sequence[str],
        read: ReadRollout,
        write: WriteRequest,
    ) -> None:
        self._token_file, self._api, self._url = app_token_file, api, f"{url.rstrip('/')}/"
        self._approvers = frozenset(approvers)
        self._read, self._write = read, write
        self._library = _library()
        self._stopped = threading.Event()
        self._client: Any = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._connect, name="slack-approvals", daemon=True)
        self._log = logs.logger("autocanary.notifications.slack_approvals")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the connection; a click that is being handled is finished."""
        self._stopped.set()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.auto_reconnect_enabled = False
            client.disconnect()
            # The library's close joins threads that sleep up to a ping's interval; they end without being waited for.
            closing = threading.Thread(target=client.close, name="slack-closing", daemon=True)
            closing.start()
            closing.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            self._thread.join(2.0)

    @property
    def is_connected(self) -> bool:
        with self._lock:
            return self._client is not None and bool(self._client.is_connected())

    # --- the connection ----------------------------------------------------------------------------------

    def _connect(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            client: Any = None
            try:
                token = read_secret(self._token_file, _APP_TOKEN, "Slack's app-level token (xapp-...)")
                client = self._new_client(token)
                client.connect()
            except Exception as error:  # noqa: BLE001 - the library raises its own errors and the socket's
                if client is not None:
                    client.close()
                self._log.warning("slack_not_connected", error=_describe(error), retry_seconds=pause)
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            with self._lock:
                if not self._stopped.is_set():
                    self._client = client
                    self._log.info("slack_connected", approvers=len(self._approvers))
                    return
            client.close()
            return

    def _new_client(self, token: str) -> Any:
        quiet = logging.getLogger("autocanary.slack_sdk")
        quiet.propagate = False
        if not quiet.handlers:
            quiet.addHandler(_LibraryLog(self._log))
        quiet.setLevel(logging.WARNING)
        web = self._library.WebClient(base_url=self._url, logger=quiet, timeout=10)
        client = self._library.socket_mode.SocketModeClient(
            app_token=token, web_client=web, logger=quiet, ping_interval=_PING_SECONDS, concurrency=2
        )
        client.issue_new_wss_url = self._fresh_url(client)
        client.socket_mode_request_listeners.append(self._on_envelope)
        return client

    def _fresh_url(self, client: Any) -> Callable[[], str]:
        """The library's own, with the token as it is in the file now: it may have been rotated."""
        issue = client.issue_new_wss_url

        def fresh() -> str:
            client.app_token = read_secret(self._token_file, _APP_TOKEN, "Slack's app-level token (xapp-...)")
            return str(issue())

        return fresh

    def _on_envelope(self, client: Any, envelope: Any) -> None:
        """Acknowledged at once: Slack waits 3 s, and sends it again otherwise."""
        client.send_socket_mode_response(
            self._library.socket_mode.response.SocketModeResponse(envelope_id=envelope.envelope_id)
        )
        if envelope.type != "interactive" or not isinstance(envelope.payload, Mapping):
            return
        try:
            self.on_click(envelope.payload)
        except Exception as error:  # noqa: BLE001 - one strange click must not end the connection
            self._log.error("slack_click_failed", error=_describe(error))

    # --- a click -----------------------------------------------------------------------------------------

    def on_click(self, payload: Mapping[str, Any]) -> None:
        """Every known action of a ``block_actions`` payload; anything else is ignored."""
        if payload.get("type") != "block_actions":
            return
        user, channel = _mapping(payload.get("user")), _mapping(payload.get("channel"))
        member = str(user.get("id", ""))
        if not _MEMBER.fullmatch(member):
            return
        for action in payload.get("actions") or ():
            verb = _VERBS.get(str(_mapping(action).get("action_id", "")))
            if verb is not None:
                name = clean_text(str(user.get("username") or user.get("name") or member), 80)
                answer = self._act(verb, _mapping(action), member, f"{name} (Slack {member})")
                self._reply(str(channel.get("id", "")), member, answer)

    def _act(self, verb: Verb, action: Mapping[str, Any], member: str, by: str) -> str:
        """Write the request; what the member should know, "" when the rollout's own message says it."""
        place = _parse_value(action.get("value"))
        stamp = str(action.get("action_ts", ""))
        if place is None or not _ACTION_TS.fullmatch(stamp):
            return "This button is not one that this version of autocanary made. Use the command line."
        namespace, name, uid, weight = place
        command = f"kubectl autocanary {verb.value} {name} -n {namespace}"
        if member not in self._approvers:
            self._log.warning("slack_click_refused", user=by, verb=verb.value, namespace=namespace, rollout=name)
            return (
                f"You are not among the approvers of autocanary, so nothing was changed. `{command}` works with "
                "your rights in the cluster."
            )
        try:
            rollout = self._read(namespace, name)
            refusal = _refusal(rollout, uid, f"{namespace}/{name}")
            if refusal:
                return refusal
            request = Request(f"slack-{stamp}-{member}", verb.value, by, weight if verb is Verb.PROMOTE else None)
            if rollout is not None and request.id in (rollout.progress.requests.answered_id, _request_id(rollout)):
                return ""
            self._write(namespace, name, request)
        except ClusterError as error:
            self._log.warning("slack_click_not_written", user=by, verb=verb.value, error=str(error))
            return f"The request could not be written ({clean_text(str(error), 200)}). Press again, or: `{command}`"
        self._log.info("slack_click", user=by, verb=verb.value, namespace=namespace, rollout=name, weight=weight)
        return ""

    def _reply(self, channel: str, member: str, text: str) -> None:
        """To the member alone; a lost reply is logged."""
        if not text or not _CHANNEL.fullmatch(channel):
            return
        try:
            self._api.call("chat.postEphemeral", {"channel": channel, "user": member, "text": text}, channel)
        except DeliveryError as error:
            self._log.warning("slack_reply_failed", error=str(error))


def _refusal(rollout: Rollout | None, uid: str, place: str) -> str:
    if rollout is None:
        return f"The rollout {place} is gone; nothing was changed."
    if uid and rollout.uid != uid:
        return f"This button is for an earlier rollout of the name {place}; nothing was changed."
    if rollout.is_final:
        return f"The rollout {place} has ended: {rollout.progress.phase.value}. Nothing was changed."
    return ""


def _request_id(rollout: Rollout) -> str:
    return rollout.request.id if rollout.request is not None else ""


def _parse_value(value: Any) -> tuple[str, str, str, int | None] | None:
    if not isinstance(value, str) or len(value) > _VALUE_LIMIT:
        return None
    try:
        raw = json.loads(value)
    except (ValueError, RecursionError):
        return None
    raw = _mapping(raw)
    texts = tuple(raw.get(name) for name in ("namespace", "rollout", "uid"))
    weight = raw.get("weight")
    if not all(isinstance(each, str) for each in texts) or not texts[0] or not texts[1]:
        return None
    is_weight = isinstance(weight, int) and not isinstance(weight, bool) and 0 <= weight <= 100
    return str(texts[0]), str(texts[1]), str(texts[2]), weight if is_weight else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _describe(error: BaseException) -> str:
    """Without what a library quotes: the class, and our own sentences whole."""
    return str(error) if isinstance(error, AutocanaryError) else logs.redact(f"{type(error).__name__}: {error}")[:300]


class _LibraryLog(logging.Handler):
    """The library's warnings as log events of ours, redacted."""

    def __init__(self, log: Any) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.warning("slack_connection", error=logs.redact(record.getMessage())[:300])


def _library() -> Any:
    try:
        library = import_module("slack_sdk")
        import_module("slack_sdk.socket_mode")
        import_module("slack_sdk.socket_mode.response")
    except ImportError as error:
        raise SettingsError(
            "SLACK_APP_TOKEN_FILE needs the Slack library, which is not installed: pip install 'autocanary[slack]'"
        ) from error
    return library
