"""The types that the fields of a policy are made of, for the schema modules.

Everything is strict: no number is made of text, no text of a number, because a policy that was understood
differently than it was meant is worse than one that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import time
from functools import cache
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from autocanary.limits import URL_LENGTH, WEB_METRIC_SECONDS
from autocanary.policy_files import units
from autocanary.policy_files.schema_errors import closest_word
from autocanary.policy_files.units import QuantityError, format_number, format_value

__all__ = [
    "Channel",
    "Confidence",
    "Duration",
    "Glob",
    "LabelValue",
    "Margin",
    "Mention",
    "MetricName",
    "Name",
    "Namespace",
    "ParsedWith",
    "PositiveDuration",
    "Quantile",
    "StrictModel",
    "ThresholdValue",
    "TimeZone",
    "Url",
    "UrlTemplate",
    "WebTimeout",
    "Weight",
    "WindowEnd",
    "WindowStart",
]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_GLOB = re.compile(r"[-a-z0-9.*?]+")
_METRIC = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_WIDEST_MARGIN = 50.0
_CONFIDENCES = (80.0, 99.999)
_PLACEHOLDER = re.compile(r"\{\{\s*[\w.]+\s*\}\}", re.ASCII)
_MENTION = re.compile(r"here|channel|[UWS][A-Z0-9]{6,28}")
_CHANNEL = re.compile(r"#[^\s,#]{1,80}|[CGD][A-Z0-9]{6,}")


class StrictModel(BaseModel):
    """Base of every part of the document: camelCase in YAML, unknown fields refused, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class ParsedWith:
    """Annotation: the field's value is what ``read`` returns for it; ``schema`` is its JSON Schema."""

    def __init__(self, read: Callable[[Any], Any], **schema: Any) -> None:
        self._read = read
        self._schema = schema

    def _validate(self, value: Any) -> Any:
        try:
            return self._read(value)
        except QuantityError as error:
            # The message goes in as a value: text from the document may hold braces.
            context = {"message": error.message, "hint": error.hint}
            raise PydanticCustomError("quantity", "{message}", context) from error

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self._schema)


def _positive(value: Any) -> float:
    seconds = units.parse_duration(value)
    if seconds == 0:
        raise QuantityError("the duration must be longer than zero", "write it as 30s, 5m or 1h30m")
    return seconds


def _web_timeout(value: Any) -> float:
    seconds = _positive(value)
    if seconds > WEB_METRIC_SECONDS:
        message = f"{format_value(value)} is too long for one answer"
        raise QuantityError(message, f"use at most {WEB_METRIC_SECONDS}s: what takes longer is computed beforehand")
    return seconds


def _text(value: Any, kind: str, pattern: re.Pattern[str], longest: int, rule: str) -> str:
    if not isinstance(value, str):
        raise QuantityError(
            f"{format_value(value)} is not text, and {kind} is",
            f'write it in quotes: "{format_value(value)}"',
        )
    if len(value) > longest:
        raise QuantityError(f"{format_value(value)!r} is too long for {kind}", f"use at most {longest} characters")
    if not pattern.fullmatch(value):
        raise QuantityError(f"{format_value(value)!r} is not {kind}", rule)
    return value


def _name(value: Any) -> str:
    return _text(value, "a name", _DNS_NAME, 253, "use lower case letters, digits, - and .")


def _namespace(value: Any) -> str:
    return _text(value, "a namespace", _DNS_LABEL, 63, "use lower case letters, digits and -")


def _setting_name(value: Any) -> str:
    return _text(value, "a name", _DNS_LABEL, 63, "use lower case letters, digits and -")


def _glob(value: Any) -> str:
    rule = "use lower case letters, digits, - and ., with * and ? as wildcards"
    return _text(value, "a name or pattern", _GLOB, 253, rule)


def _metric_name(value: Any) -> str:
    return _text(value, "a metric's name", _METRIC, 63, "use letters, digits, -, _ and .")


def _label_value(value: Any) -> str:
    return _text(value, "a label's value", _LABEL_VALUE, 63, "use letters, digits, -, _ and .")


def _channel(value: Any) -> str:
    rule = 'write the name with its # in quotes, as in "#ml-ops", or the channel\'s ID'
    return _text(value, "a Slack channel", _CHANNEL, 81, rule)


def _mention(value: Any) -> str:
    rule = "write a member's ID (U012AB3CD), a user group's (S012AB3CD), here or channel; names do not work"
    return _text(value, "a mention that Slack knows", _MENTION, 30, rule)


def _weight(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        hint = "KServe's canaryTrafficPercent takes whole percent: write 10, not 0.1 or 10%"
        raise QuantityError(f"{format_value(value)} is not a whole number", hint)
    if not 1 <= value <= 100:
        hint = "a candidate starts at 0 anyway" if value == 0 else ""
        raise QuantityError(f"the weight {format_value(value)} is not within 1 and 100 percent", hint)
    return value


def _quantile(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"{format_value(value)} is not a quantile", "write it as a number between 0 and 1: 0.99")
    if not 0 < value < 1:
        likely = f"write {units.format_number(value / 100)}" if 1 < value < 100 else "0.99 is usual"
        raise QuantityError(f"the quantile {format_value(value)} is not between 0 and 1", likely)
    return float(value)


def _margin(value: Any) -> float:
    points = units.percent(value)
    if points == 0:
        hint = "no number of requests shows that two revisions are exactly alike; 0.1% is a small margin"
        raise QuantityError("the margin must be more than zero", hint)
    if points > _WIDEST_MARGIN:
        raise QuantityError(
            f"a margin of {format_value(value)} would let almost everything pass",
            "it is in percentage points: with 0.5% a candidate may fail 1.75 % where stable fails 1 %",
        )
    return points


def _confidence(value: Any) -> float:
    percent = units.percent(value, one_is_ratio=True)
    low, high = _CONFIDENCES
    if not low <= percent <= high:
        hint = f"write {format_number(low)}% to {format_number(high)}%; nothing finite is certain, 99% is strict"
        raise QuantityError(f"{format_value(value)} is no confidence that a comparison can have", hint)
    return percent


def _bound(value: Any) -> Any:
    """A threshold; what it means depends on the metric, so cross_field_checks reads it with the metric's unit."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise QuantityError(f"{format_value(value)} is not a threshold", "write a number, 99% or 500ms")
    return value


def _zone(value: Any) -> ZoneInfo:
    if not isinstance(value, str):
        raise QuantityError(f"{format_value(value)} is not a time zone", "write its name, as in Asia/Seoul or UTC")
    try:
        zone = ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        near = closest_word(value, _zones())
        hint = f"did you mean {near}?" if near else "write its IANA name, as in Asia/Seoul or UTC"
        raise QuantityError(f"there is no time zone {format_value(value)!r}", hint) from None
    return zone


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise QuantityError(f"{format_value(value)} is not a URL", "write it as http://host/path or https://host/path")
    if len(value) > URL_LENGTH:
        raise QuantityError(f"the URL has {len(value):,} characters", f"use at most {URL_LENGTH:,}")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        if usable and (parts.username or parts.password):
            raise QuantityError(
                "the URL holds a user name or password, which every reader of the policy would see",
                "leave them out; let the receiver trust the network, or a token in its path",
            )
    if not usable or re.search(r"[\s\x00-\x1f]", value):
        raise QuantityError(f"{format_value(value)!r} is not an http or https URL", "write it as https://host/path")
    return value


def _url_template(value: Any) -> str:
    """A URL with placeholders; what they are is checked with the other fields."""
    if isinstance(value, str):
        _url(_PLACEHOLDER.sub("x", value))
    else:
        _url(value)
    if len(value) > URL_LENGTH:
        raise QuantityError(f"the URL has {len(value):,} characters", f"use at most {URL_LENGTH:,}")
    return str(value)


_DURATION = {
    "type": "string",
    "pattern": units.DURATION_PATTERN,
    "examples": ["500ms", "30s", "5m", "1h30m"],
}
_TIME = {"type": "string", "pattern": units.TIME_PATTERN}
_PERCENT = {"type": ["number", "string"], "pattern": units.PERCENT_PATTERN}

Duration = Annotated[float, ParsedWith(units.parse_duration, **_DURATION)]
"""A duration that may be zero."""

PositiveDuration = Annotated[float, ParsedWith(_positive, **_DURATION)]
"""A duration longer than zero."""

WebTimeout = Annotated[float, ParsedWith(_web_timeout, **_DURATION)]
"""A duration longer than zero, and no longer than a web metric may take."""

Weight = Annotated[int, ParsedWith(_weight, type="integer", minimum=1, maximum=100)]
Quantile = Annotated[float, ParsedWith(_quantile, type="number", exclusiveMinimum=0, exclusiveMaximum=1)]
Margin = Annotated[float, ParsedWith(_margin, **_PERCENT, exclusiveMinimum=0, maximum=_WIDEST_MARGIN)]
"""Percentage points."""

Confidence = Annotated[float, ParsedWith(_confidence, **_PERCENT, minimum=_CONFIDENCES[0], maximum=_CONFIDENCES[1])]
ThresholdValue = Annotated[float | str, ParsedWith(_bound, type=["number", "string"], examples=[99, "0.5%", "500ms"])]
Name = Annotated[str, ParsedWith(_name, type="string", pattern=f"^{_DNS_NAME.pattern}$", maxLength=253)]
Namespace = Annotated[str, ParsedWith(_namespace, type="string", pattern=f"^{_DNS_LABEL.pattern}$", maxLength=63)]
SettingName = Annotated[str, ParsedWith(_setting_name, type="string", pattern=f"^{_DNS_LABEL.pattern}$", maxLength=63)]
Glob = Annotated[str, ParsedWith(_glob, type="string", pattern=f"^{_GLOB.pattern}$", maxLength=253)]
MetricName = Annotated[str, ParsedWith(_metric_name, type="string", pattern=f"^{_METRIC.pattern}$", maxLength=63)]
LabelValue = Annotated[str, ParsedWith(_label_value, type="string", pattern=f"^{_LABEL_VALUE.pattern}$", maxLength=63)]
Channel = Annotated[str, ParsedWith(_channel, type="string", pattern=f"^({_CHANNEL.pattern})$")]
Mention = Annotated[str, ParsedWith(_mention, type="string", pattern=f"^({_MENTION.pattern})$")]
Url = Annotated[str, ParsedWith(_url, type="string", pattern="^https?://[^\\s]+$", maxLength=URL_LENGTH)]
UrlTemplate = Annotated[
    str, ParsedWith(_url_template, type="string", pattern="^https?://[^\\s].*$", maxLength=URL_LENGTH)
]
"""A URL with ``{{ placeholders }}``."""

TimeZone = Annotated[ZoneInfo, ParsedWith(_zone, type="string")]
WindowStart = Annotated[time, ParsedWith(units.parse_time_of_day, **_TIME)]
WindowEnd = Annotated[time, ParsedWith(lambda value: units.parse_time_of_day(value, end=True), **_TIME)]
