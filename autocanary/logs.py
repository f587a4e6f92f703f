"""Logging: one JSON object a line (or a readable line on a console), records of libraries included.

The only module that knows structlog. Four promises hold for each line, whatever is logged: it is one line of
bounded length, it holds no secret and no control character, and an exception is a sentence (``error``,
``cause``) rather than a traceback, which is added only at level debug. A stream that is closed or full never
stops the caller: a rollback must not fail because the log cannot be written.

Texts are cut before a pattern is matched against them, and the patterns take time in proportion to their text:
a text of a tenant can neither stop nor flood the log.

Importing this module sends what is logged before ``configure`` to stderr, from warnings up; structlog's own
default would write to stdout, where commands print their results.

Over 300 lines because the formats, the levels and the lines of libraries are set up in one place.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from autocanary.errors import SettingsError
from autocanary.model.foreign_text import clean_text, printable_text

__all__ = ["CapturedLogs", "Logger", "capture", "configure", "logger", "redact"]

Logger = FilteringBoundLogger
"""What ``logger`` gives: ``log.info("event_name", key=value)``."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_FORMATS = ("json", "console")
_LIBRARIES = ("apscheduler", "kubernetes", "urllib3", "requests", "uvicorn", "asyncio")
_MAX_ERROR_LENGTH = 1000
_MAX_TEXT_LENGTH = 4000
_MAX_TRACEBACK_LENGTH = 20_000
_MAX_KEY_LENGTH = 100
_MAX_ITEMS = 200
_MAX_DEPTH = 8
_MAX_BITS = 64

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host: greedy up to the last @ of the authority, passwords may hold one. Of a cut
    # text, whose @ may be missing, too.
    (re.compile(r"(://)[^/\s?#'\"<>]*(@|…\Z)"), r"\1***\2"),
    # Slack's webhook URLs, whole or as the path that connection errors quote
    (re.compile(r"(?i)(hooks\.slack(?:-gov)?\.com)(?::\d+)?/[^\s'\"<>)]+"), r"\1/***"),
    (re.compile(r"/(services|workflows|triggers)/[A-Z0-9]{6,}/[^\s'\"<>)]+"), r"/\1/***"),
    (re.compile(r"\bx(?:ox[a-z]|app)-[A-Za-z0-9-]{6,}"), "***"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)(?:[a-z]+\s+)?[^\s'\",}]+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    # a JSON Web Token; of a cut text, its beginning
    (
        re.compile(
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}"
            r"(?:\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|(?:\.[A-Za-z0-9_-]*)?…\Z)"
        ),
        "***",
    ),
    (
        re.compile(r"(?i)([?&](?:[a-z_]*token|api_?key|key|password|secret|sig|signature)=)[^&\s'\"<>#]+"),
        r"\1***",
    ),
)
_SECRET_KEY = re.compile(r"(?i)(?:^|[_-])(?:password|passwd|token|secret|authorization|api_?key|webhook_url)$")


def redact(text: str, limit: int = _MAX_TEXT_LENGTH) -> str:
    """At most ``limit`` characters of ``text`` (then ``…``), without credentials in URLs, Slack webhook paths,
    tokens and Authorization headers.

    >>> redact("POST https://bot:pw@ci.example/x and https://hooks.slack.com/services/T0/B0/abc")
    'POST https://***@ci.example/x and https://hooks.slack.com/***'
    """
    if len(text) > limit:
        text = f"{text[:limit]}…"
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def configure(format: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Log as ``format`` ("json" or "console") from ``level`` up, to ``stream`` (stderr).

    Raises SettingsError for a format or level that does not exist. May be called again: the last call wins.
    """
    if format not in _FORMATS:
        raise SettingsError(f"log format {format!r} does not exist; choose json or console")
    number = _LEVELS.get(level.lower())
    if number is None:
        raise SettingsError(f"log level {level!r} does not exist; choose debug, info, warning or error")
    _configure_structlog(format, number, stream)
    _route_library_logs()


def logger(name: str) -> Logger:
    """A logger whose lines carry ``logger: name``; may be made at import, before ``configure``."""
    bound: Logger = structlog.get_logger(logger_name=name)  # `logger` is taken by structlog's own argument
    return bound


class CapturedLogs:
    """What was logged while ``capture`` was in force; may be written and read by several threads."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        with self._lock:
            self._events.append(dict(event))
        raise structlog.DropEvent

    @property
    def events(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._events)

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines with this event name, in the order in which they were logged."""
        return [each for each in self.events if each["event"] == event]


@contextmanager
def capture(level: str = "debug") -> Iterator[CapturedLogs]:
    """Capture what is logged instead of writing it, redacted as it would be written; for tests.

    structlog's own ``capture_logs`` changes a shared list of processors in place, which other threads see
    half done; here the whole list is replaced at once.
    """
    before = structlog.get_config()
    captured = CapturedLogs()
    structlog.configure(
        processors=[*_processors(tracebacks=False), captured],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    try:
        yield captured
    finally:
        structlog.configure(**before)


def _configure_structlog(format: str, level: int, stream: TextIO | None) -> None:
    structlog.configure(
        processors=[*_processors(tracebacks=level <= logging.DEBUG), _renderer(format, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_LineLogger(stream),
        context_class=dict,
        cache_logger_on_first_use=False,  # loggers made at import must follow a later configure
    )


def _processors(*, tracebacks: bool) -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception_processor(tracebacks=tracebacks),
        _redact_and_order,
    ]


def _renderer(format: str, stream: TextIO | None) -> Processor:
    if format == "json":
        return structlog.processors.JSONRenderer(serializer=json.dumps, default=str)
    return structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())


def _exception_processor(*, tracebacks: bool) -> Processor:
    def processor(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        given = event.pop("exc_info", None)
        error = _exception_of(given)
        if error is None:
            return event
        event["error"] = _describe_exception(error)
        if error.__cause__ is not None:
            event["cause"] = _describe_exception(error.__cause__)
        if tracebacks:
            event["traceback"] = printable_text("".join(traceback.format_exception(error)), _MAX_TRACEBACK_LENGTH)
        return event

    return processor


def _exception_of(given: object) -> BaseException | None:
    """The exception meant by structlog's and logging's several ways of saying ``exc_info``."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if len(given) > 1 and isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given else None


def _describe_exception(error: BaseException) -> str:
    text = clean_text(_text_of(error), _MAX_ERROR_LENGTH)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not cost the line
        return f"{type(value).__name__} (not shown: {type(error).__name__})"


def _redact_and_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Secrets out, numbers that JSON has no word for as strings, and the three fixed keys in front."""
    if "logger_name" in event:
        event["logger"] = event.pop("logger_name")
    front = ("timestamp", "level", "event")
    ordered = {key: event[key] for key in front if key in event} | {k: v for k, v in event.items() if k not in front}
    text = ordered.pop("traceback", None)
    line = {key: _to_json_value(value, key) for key, value in ordered.items()}
    return line if text is None else {**line, "traceback": redact(text, _MAX_TRACEBACK_LENGTH + 1)}


def _to_json_value(value: Any, key: str = "", depth: int = 0) -> Any:
    if key and _SECRET_KEY.search(key):
        return "***"
    if isinstance(value, str):
        return _log_text(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):  # str() refuses numbers of thousands of digits
        return value if value.bit_length() <= _MAX_BITS else f"a number of {value.bit_length()} bits"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _to_json_container(value, depth) if depth < _MAX_DEPTH else "…"
    return _log_text(_text_of(value))


def _to_json_container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        items = {clean_text(_text_of(name), _MAX_KEY_LENGTH): each for name, each in islice(value.items(), _MAX_ITEMS)}
        shown: Any = {name: _to_json_value(each, name, depth + 1) for name, each in items.items()}
        return shown if len(value) <= _MAX_ITEMS else {**shown, "…": f"{len(value)} in all"}
    shown = [_to_json_value(each, depth=depth + 1) for each in islice(value, _MAX_ITEMS)]
    return shown if len(value) <= _MAX_ITEMS else [*shown, f"… {len(value)} in all"]


def _log_text(text: str) -> str:
    return redact(clean_text(text, _MAX_TEXT_LENGTH))


class _LineLogger:
    """structlog's logger factory and logger in one: writes a line at a time, and never raises."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, *_: Any) -> _LineLogger:
        return self

    def _write(self, line: str) -> None:
        stream = self._stream or sys.stderr
        with self._lock:
            try:
                try:
                    stream.write(f"{line}\n")
                except UnicodeEncodeError:  # a console of another encoding: better odd letters than no line
                    stream.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")
                stream.flush()
            except (OSError, ValueError):
                return

    debug = info = warning = error = critical = _write


class _StructlogHandler(logging.Handler):
    """Gives the records of libraries to structlog, so that there is one format and one place to redact."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - the library's own format string is wrong, or a value cannot be shown
            message = _text_of(record.msg)
        extra: MutableMapping[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        name = logging.getLevelName(record.levelno).lower()
        write: Callable[..., Any] = getattr(logger(record.name), name if name in _LEVELS else "error")
        write(clean_text(message, _MAX_TEXT_LENGTH), **extra)


def _route_library_logs() -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _StructlogHandler)]:
        root.removeHandler(handler)
    root.addHandler(_StructlogHandler())
    root.setLevel(logging.WARNING)
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)  # even at debug: urllib3 logs whole URLs, apscheduler two lines a run
        library.propagate = True
        library.handlers.clear()


if not structlog.is_configured():
    _configure_structlog("console", logging.WARNING, None)
