"""Microsoft Teams, Discord, PagerDuty and some 180 more, through the Apprise library where it is installed.

The URLs hold secrets; they are lines of a file that is read at each use. Channel ``apprise:<n>`` is the n-th
of them: a rotated URL keeps its name in the rollout store, and each line waits, fails and is retried on its own.

Decisions
- Apprise says whether a message went, and not why or for how long to wait. So every failure is tried again.
- Its log is not adopted: some of its 180 services quote what they were configured with. The one line that
  says why is kept, without anything that is in the URL.
- Its own timeouts are short (4 s), and ``_SECONDS`` limits a whole call, so that a receiver that sends one
  byte at a time cannot hold up the others; the thread that waits for it runs until it ends.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from autocanary.errors import DeliveryError, SettingsError
from autocanary.logs import redact
from autocanary.model.decision import Event
from autocanary.notifications.channel import Channel, PolicyOf, no_policy, wanted_by_default_channels
from autocanary.notifications.message_text import action_taken, advice, release_text, summary, title
from autocanary.notifications.metric_rows import rows_to_show
from autocanary.outbound.http_client import read_secret
from autocanary.ports import Message

__all__ = ["AppriseUrls", "text"]

_SECONDS = 15.0
_LINES = re.compile(r"[\s\S]+")
_PIECES = re.compile(r"[^A-Za-z0-9_-]+")
_SHORTEST_SECRET = 6
_NOTIFY_TYPES: Mapping[str, str] = {
    Event.PROMOTED.value: "success",
    Event.HELD.value: "warning",
    Event.PAUSED.value: "warning",
    Event.EXTERNAL_CHANGE.value: "warning",
    Event.ROLLBACK.value: "failure",
    Event.ROLLED_BACK.value: "failure",
    Event.WARNING.value: "failure",
}


class AppriseUrls:
    """The services of a file's URLs: called with a message, gives its channels.

    Raises SettingsError when the library is not installed, or the file holds no URL that it knows: both are
    said when the service starts, and not when the first canary is rolled back.
    """

    def __init__(self, urls_file: Path, *, cluster: str = "", policy_of: PolicyOf = no_policy) -> None:
        self._file, self._cluster, self._policy_of = urls_file, cluster, policy_of
        self._library = _library()
        try:
            urls = self._urls()
        except DeliveryError as error:
            raise SettingsError(f"APPRISE_URLS_FILE: {error}") from None
        for number, url in enumerate(urls, start=1):
            if self._service(url) is None:
                raise SettingsError(
                    f"APPRISE_URLS_FILE: URL {number} of {urls_file} is none that Apprise knows; "
                    "its wiki lists them: https://github.com/caronc/apprise/wiki"
                )
        self._count = len(urls)

    def __call__(self, message: Message) -> tuple[Channel, ...]:  # noqa: ARG002 - each channel asks for itself
        with suppress(DeliveryError):  # as many as there were; each says why it cannot send
            self._count = len(self._urls())
        return tuple(_AppriseUrl(self, number) for number in range(1, self._count + 1))

    def send(self, message: Message, number: int) -> None:
        urls = self._urls()
        if number > len(urls):
            return  # its line was taken out of the file
        url = urls[number - 1]
        service = self._service(url)
        if service is None:
            raise DeliveryError(f"URL {number} of {self._file} is none that Apprise knows")
        apprise = self._library.Apprise(asset=self._asset())
        apprise.add(service)
        result = apprise.notify(
            title=title(message),
            body=text(message, self._cluster, self._policy_of),
            notify_type=_NOTIFY_TYPES.get(message.notification.event, "info"),
            body_format="text",
            timeout=_SECONDS,
        )
        if not result:
            reason = next((str(each.message) for each in result.logs()), "no reason was given")
            name = str(getattr(service, "service_name", "") or "the service")
            raise DeliveryError(f"URL {number} of {self._file} ({name}): {_redact_url(reason, url)}")

    def _urls(self) -> tuple[str, ...]:
        lines = read_secret(self._file, _LINES, "Apprise URLs, one a line,").splitlines()
        urls = tuple(each for line in lines if (each := line.strip()) and not each.startswith("#"))
        if not urls:
            raise DeliveryError(f"{self._file} must hold Apprise URLs, one a line, and holds none")
        return urls

    def _service(self, url: str) -> Any:
        return self._library.Apprise.instantiate(url, asset=self._asset(), suppress_exceptions=True)

    def _asset(self) -> Any:
        return self._library.AppriseAsset(
            app_id="autocanary", app_desc="autocanary", async_mode=False, secure_logging=True
        )


class _AppriseUrl:
    """Channel ``apprise:<n>``."""

    def __init__(self, urls: AppriseUrls, number: int) -> None:
        self._urls, self._number = urls, number

    @property
    def name(self) -> str:
        return f"apprise:{self._number}"

    def wants(self, message: Message) -> bool:
        return wanted_by_default_channels(message)

    def send(self, message: Message) -> None:
        self._urls.send(message, self._number)


def text(message: Message, cluster: str, policy_of: PolicyOf) -> str:
    """The message in plain lines: what, on what numbers, what autocanary does, what to do, where."""
    rollout = message.rollout
    lines = [f"{summary(message)} ({message.notification.reason})"]
    for row in rows_to_show(message, policy_of(rollout)):
        first, *others = row.lines
        lines += [f"- {row.title}: {first}", *(f"  {line}" for line in others)]
    if action := action_taken(message):
        lines.append(action)
    lines.extend(f"{name}: {words}" for name, words in message.details)
    if todo := advice(message):
        lines.append(f"To do: {todo}")
    if release := release_text(message):
        lines.append(release)
    place = f"{rollout.namespace}/{rollout.name}, policy {rollout.policy_name}"
    lines.append(f"{cluster}: {place}" if cluster else place)
    lines += [f"{name}: {url}" for name, url in (("Page", message.page_url), ("Runbook", message.runbook_url)) if url]
    return "\n".join(lines)


def _library() -> Any:
    try:
        library = import_module("apprise")
    except ImportError as error:
        raise SettingsError(
            "APPRISE_URLS_FILE needs the Apprise library, which is not installed: pip install 'autocanary[apprise]'"
        ) from error
    log = logging.getLogger("apprise")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # otherwise the logging module prints what no handler takes
    return library


def _redact_url(reason: str, url: str) -> str:
    """Apprise's words, without what is in the URL."""
    for piece in sorted(_PIECES.split(url), key=len, reverse=True):
        if len(piece) >= _SHORTEST_SECRET:
            reason = reason.replace(piece, "***")
    return redact(" ".join(reason.split()))[:300]
