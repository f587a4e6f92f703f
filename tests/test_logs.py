"""Tests of autocanary.logs."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import structlog

from autocanary import logs
from autocanary.errors import DeliveryError, SettingsError
from autocanary.model.reason import Reason


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Put structlog's and logging's global state back after each test."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**config)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(format: str = "json", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(format, level, stream)
    return stream


def test_json_line_begins_with_time_level_and_event() -> None:
    """A line is one JSON object whose first keys are timestamp (UTC), level and event."""
    stream = configured()
    logs.logger("autocanary.controller").info("step_taken", namespace="models", weight=25, reason=Reason.STEP_PASSED)
    [line] = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    logged = datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - logged).total_seconds()) < 3600
    assert line["level"] == "info"
    assert line["event"] == "step_taken"
    assert line["logger"] == "autocanary.controller"
    assert (line["namespace"], line["weight"], line["reason"]) == ("models", 25, "StepPassed")


def test_below_the_level_nothing_is_written() -> None:
    """The level is a floor."""
    stream = configured(level="warning")
    log = logs.logger("x")
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_logger_made_before_configure_follows_it() -> None:
    """Modules make their logger at import; configuring later still reaches it."""
    log = logs.logger("early")
    stream = configured()
    log.info("late")
    assert lines(stream)[0]["event"] == "late"


def test_console_is_readable_and_uncoloured_off_a_terminal() -> None:
    """The console format holds the event and the values, without escape codes in a file."""
    stream = configured("console")
    logs.logger("x").info("rollout_started", service="mnist")
    text = stream.getvalue()
    assert "rollout_started" in text
    assert "service=mnist" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("format", "level", "words"),
    [("xml", "info", "json or console"), ("json", "loud", "debug, info, warning or error")],
)
def test_unknown_choice_is_refused_with_the_known_ones(format: str, level: str, words: str) -> None:
    """A wrong format or level says what could be chosen."""
    with pytest.raises(SettingsError, match=words):
        logs.configure(format, level)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://u:p@host:9090/api", "http://***@host:9090/api"),
        ("https://u:p@ss@host/x", "https://***@host/x"),
        ("token@ https://host/a@b", "token@ https://host/a@b"),
        ("to https://hooks.slack.com/services/T0AAAA/B0BBBB/cccc!", "to https://hooks.slack.com/***"),
        ("https://hooks.slack.com:443/workflows/T0/A0/1/x failed", "https://hooks.slack.com/*** failed"),
        ("exceeded with url: /services/T0AAAA/B0BBBB/cccc (x)", "exceeded with url: /services/*** (x)"),
        ("GET /services/list", "GET /services/list"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("{'Authorization': 'Basic dTpw', 'x': 1}", "{'Authorization': '***', 'x': 1}"),
        ("sent bearer abcdefgh12345", "sent bearer ***"),
        ("the bearer is here", "the bearer is here"),
        ("xoxb-1234567890-abc", "***"),
        ("xapp-1-A0000-12345", "***"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.sig_x", "jwt ***"),
        ("https://ci/x?a=1&token=s3cr3t&b=2", "https://ci/x?a=1&token=***&b=2"),
        ("https://ci/x?access_token=s3cr3t", "https://ci/x?access_token=***"),
        ("time-to-first-token is 3 s", "time-to-first-token is 3 s"),
    ],
)  # fmt: skip
def test_redact(text: str, clean: str) -> None:
    """Secrets in text are replaced, and words that only look like one are not."""
    assert logs.redact(text) == clean


def test_secrets_never_reach_a_line() -> None:
    """Values are redacted at any depth, in exceptions too, and by the name of their key."""
    stream = configured(level="debug")
    try:
        try:
            raise OSError("https://a:b@host refused")
        except OSError as cause:
            raise DeliveryError("no answer from https://hooks.slack.com/services/T0AAAA/B0/abc") from cause
    except DeliveryError:
        logs.logger("x").error(
            "failed",
            exc_info=True,
            headers={"authorization": "s3cr3t", "list": ["http://u:s3cr3t@h/"]},
            slack_bot_token="s3cr3t",
            token_file="/etc/token",
            where=Exception("Bearer s3cr3ts3cr3t"),
        )
    text = stream.getvalue()
    assert "s3cr3t" not in text
    assert "a:b@" not in text
    assert "T0AAAA" not in text
    assert lines(stream)[0]["token_file"] == "/etc/token"


ADVERSARIAL = (
    "a.", "a+", "eyJ-", "eyJaaaaaaaa.", "://", "a://", "authorization:", "authorization ", "authorization: a ",
    "bearer ", "bearer\t", "?token", "?a_", "&secret=&", "xoxb-", "xoxb-a ", "hooks.slack.com:1", "hooks.slack.com/",
    "/services/AAAAAA", "/services/AAAAAA/", "_", "@", " ", "'", "=",
)  # fmt: skip


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_patterns_take_time_in_proportion_to_the_text(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the cut, 600 kB take about twice as long as 300 kB; a quadratic pattern takes four times as long."""

    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        times = []
        for _ in range(3):
            began = time.thread_time()
            logs.redact(text, limit=size)
            times.append(time.thread_time() - began)
        return min(times)

    assert seconds(600_000) < 3 * seconds(300_000) + 0.1


@pytest.mark.parametrize("unit", ["a.", "eyJ-", "\x1b[", "authorization:"])
def test_long_text_is_cut_before_it_is_matched(unit: str) -> None:
    """A field name of 600 kB in a policy is one line of bounded length, wherever it stands."""
    stream = configured(level="debug")
    text = unit * (600_000 // len(unit))
    try:
        raise ValueError(text)
    except ValueError:
        logs.logger("x").warning(
            "odd", exc_info=True, message=text, values=[text], names={text: text}, object=ValueError(text)
        )
    logging.getLogger("urllib3").warning("%s", text)
    first, second = stream.getvalue().splitlines()
    assert len(first) < 120_000  # six texts and a traceback, each character of them at most six in JSON
    assert len(second) < 30_000
    assert len(json.loads(first)["message"]) <= 4001


@pytest.mark.parametrize(
    ("secret", "padding"),
    [("https://bot:s3cr3ts3cr3t@ci.example/x", 3990), ("eyJhbGciOiJI.eyJzM2NyM3RzM2NyM3Qi.s3cr3t", 3970)],
)
def test_secret_at_the_cut_is_redacted(secret: str, padding: int) -> None:
    """What would end the secret is cut off."""
    stream = configured()
    for shift in range(30):
        logs.logger("x").info("odd", text="x " * ((padding - shift) // 2) + secret + " " + "y" * 5000)
    assert "s3c" not in stream.getvalue()
    assert "zM2N" not in stream.getvalue()


@pytest.mark.parametrize("format", ["json", "console"])
def test_control_characters_do_not_reach_the_terminal(format: str) -> None:
    """In values, keys, event names of libraries, exceptions and tracebacks."""
    stream = configured(format, "debug")
    text = "\x1b[2J\x1b]0;owned\x07\x9b1mno\u202e"
    try:
        raise ValueError(text)
    except ValueError:
        logs.logger("x").warning("odd", exc_info=True, value=text, nested={text: [text]}, other=ValueError(text))
    logging.getLogger("urllib3").warning("%s", text)
    written = stream.getvalue()
    assert not [each for each in written if not each.isprintable() and each not in "\n\t"]
    assert "\\u001b" not in written
    assert "owned" not in written


class _Odd:
    def __str__(self) -> str:
        raise RecursionError("too deep")


def test_no_value_costs_the_line() -> None:
    """Numbers of thousands of digits, endless nesting, many items, and values without a text."""
    stream = configured()
    endless: list[Any] = []
    endless.append(endless)
    logs.logger("x").info(
        "odd", number=10**6000, endless=endless, many=list(range(100_000)), odd=_Odd(), key={_Odd(): 1}
    )
    root = logging.getLogger()
    root.handlers[:] = root.handlers[-1:]  # without pytest's own handler, which raises for such a value
    logging.getLogger("urllib3").warning("%s", _Odd())
    first, second = lines(stream)
    assert first["number"] == "a number of 19932 bits"
    assert first["endless"] == [[[[[[[["…"]]]]]]]]
    assert (len(first["many"]), first["many"][-1]) == (201, "… 100000 in all")
    assert first["odd"] == "_Odd (not shown: RecursionError)"
    assert second["event"] == "%s"


def test_exception_is_one_sentence() -> None:
    """Above debug an exception is its type, its words and its cause, without a traceback."""
    stream = configured()
    try:
        try:
            raise TimeoutError("read\ntimed out")
        except TimeoutError as cause:
            raise DeliveryError("no answer") from cause
    except DeliveryError:
        logs.logger("x").exception("failed")
    [line] = lines(stream)
    assert line["level"] == "error"
    assert line["error"] == "DeliveryError: no answer"
    assert line["cause"] == "TimeoutError: read timed out"
    assert "traceback" not in line


def test_traceback_only_at_debug_and_on_the_same_line() -> None:
    """At debug the traceback is a field of the same single line."""
    stream = configured(level="debug")
    try:
        raise ValueError
    except ValueError as error:
        logs.logger("x").warning("failed", exc_info=error)
    [line] = lines(stream)
    assert line["error"] == "ValueError"
    assert "test_logs.py" in line["traceback"]


@pytest.mark.parametrize("nothing", [None, False, (None, None, None), ()])
def test_no_exception_adds_nothing(nothing: object) -> None:
    """An exc_info without an exception leaves no field behind."""
    stream = configured()
    logs.logger("x").info("fine", exc_info=nothing)
    assert not {"error", "cause", "exc_info"} & set(lines(stream)[0])


def test_numbers_without_a_json_word_are_strings() -> None:
    """NaN and the infinities would make a line that strict parsers refuse."""
    stream = configured()
    logs.logger("x").info("odd", value=float("nan"), limit=float("inf"), fine=1.5, flag=True, none=None)
    [line] = lines(stream)
    assert (line["value"], line["limit"], line["fine"], line["flag"], line["none"]) == (
        "nan",
        "inf",
        1.5,
        True,
        None,
    )


@pytest.mark.parametrize("name", ["apscheduler.scheduler", "urllib3.connectionpool", "uvicorn.error", "kubernetes.x"])
def test_library_records_take_our_format_from_warning_up(name: str) -> None:
    """A library's warning is a redacted line of ours; its info and debug are dropped even at debug."""
    stream = configured(level="debug")
    library = logging.getLogger(name)
    library.info("chatter")
    library.warning("retrying %s", "http://u:p@host/")
    [line] = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("retrying http://***@host/", "warning", name)


def test_library_exception_and_odd_records() -> None:
    """A library's exception becomes a sentence; a wrong format string and an own level are no failure."""
    stream = configured()
    library = logging.getLogger("somebody.else")
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        library.exception("job failed")
    root = logging.getLogger()
    root.handlers[:] = root.handlers[-1:]  # without pytest's own handler, which raises for a wrong format
    library.error("%d of", "x")
    library.critical("the end")
    first, second, third = lines(stream)
    assert first["error"] == "RuntimeError: boom"
    assert second["event"] == "%d of"
    assert (third["event"], third["level"]) == ("the end", "error")


def test_configuring_twice_does_not_double_lines() -> None:
    """The last call wins, and a library's record is still written once."""
    first = configured()
    second = configured()
    logging.getLogger("urllib3").warning("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_closed_stream_does_not_raise() -> None:
    """A log that cannot be written must not stop what is being done."""
    stream = configured()
    stream.close()
    logs.logger("x").info("unheard")
    assert stream.closed


def test_console_of_another_encoding_still_gets_the_line() -> None:
    """Letters that the stream cannot show are written as escapes."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        logs.configure("console", "info", stream)
        logs.logger("x").info("step", text="10 → 25 %")
        assert b"10 \\u2192 25 %" in raw.getvalue()


def test_default_stream_is_the_present_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Results belong to stdout, the log to stderr."""
    logs.configure("json", "info")
    logs.logger("x").info("here")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "here"


def test_capture_is_whole_under_threads_and_puts_everything_back() -> None:
    """Eight threads log at once; nothing is lost, nothing is written, and the old output returns."""
    stream = configured()
    log = logs.logger("x")

    def work(number: int) -> None:
        for count in range(50):
            log.info("seen", number=number, count=count, url="http://u:p@h/")

    with logs.capture() as captured:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.warning("other")
    log.info("after")
    assert len(captured.named("seen")) == 400
    assert {event["url"] for event in captured.named("seen")} == {"http://***@h/"}
    assert len(captured.events) == 401
    assert [line["event"] for line in lines(stream)] == ["after"]


def test_capture_honours_a_level() -> None:
    """A captured level is a floor as well."""
    with logs.capture("warning") as captured:
        logs.logger("x").info("quiet")
        logs.logger("x").error("loud")
    assert [event["event"] for event in captured.events] == ["loud"]
