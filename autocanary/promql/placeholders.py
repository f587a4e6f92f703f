"""Templates: the ``{{ placeholders }}`` of a query, and how values get into it safely."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping

from autocanary.errors import InputError
from autocanary.promql.literals import Token, escape, escape_regex, promql_duration, tokens

__all__ = ["PLACEHOLDERS", "fill_placeholders", "find_placeholders"]


PLACEHOLDERS: Mapping[str, str] = {
    "namespace": "namespace of the InferenceService",
    "name": "name of the InferenceService",
    "service": "name of the InferenceService (Flagger's word)",
    "component": "predictor, transformer or explainer",
    "revision": "the candidate revision",
    "stableRevision": "the stable revision",
    "window": "range of rate() and increase(), as a Prometheus duration",
    "interval": "the same as window (Flagger's word)",
}
_MAX_SHOWN_NAME = 60
_NAME = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")


def find_placeholders(template: str) -> tuple[str, ...]:
    """The names between ``{{ }}``, each once, in order of appearance; InputError for a malformed one."""
    found: dict[str, None] = {}

    def note(name: str, _before: str) -> str:
        found[name] = None
        return ""

    for token in tokens(template):
        if not token.comment:
            _replace(token.text, note)
    return tuple(found)


def fill_placeholders(template: str, values: Mapping[str, str | float], *, keep: Collection[str] = ()) -> str:
    """The query with every placeholder replaced; a number is a duration in seconds, printed as ``1m30s``.

    Those to ``keep`` stay, for another call. InputError for a name that is unknown or has no value, and for text
    outside quotes that is not a duration: there it would become syntax. Comments are left alone.
    """
    return "".join(_fill_token(token, values, keep) for token in tokens(template))


def _fill_token(token: Token, values: Mapping[str, str | float], keep: Collection[str]) -> str:
    def value(name: str, before: str) -> str:
        if name in keep:
            return f"{{{{ {name} }}}}"
        if name not in values:
            raise InputError(_unknown_placeholder_text(name, values))
        found = values[name]
        if not isinstance(found, str):
            return promql_duration(found)
        if not token.quote_mark and _DURATION.fullmatch(found):
            return found
        if not token.quote_mark:
            raise InputError(
                f"{{{{ {name} }}}} is outside quotes, where its value would be read as PromQL: "
                f'write ="{{{{ {name} }}}}" or =~"{{{{ {name} }}}}"'
            )
        _reject_split_escape(token, name, before)
        return escape(escape_regex(found) if token.regex else found, token.quote_mark)

    return token.text if token.comment else _replace(token.text, value)


def _replace(text: str, value: Callable[[str, str], str]) -> str:
    """``text`` with each placeholder replaced by ``value(name, text before it)``."""
    done: list[str] = []
    at = 0
    while (start := text.find("{{", at)) >= 0:
        match = _NAME.match(text, start)
        if match is None:
            excerpt = text[start : start + 30].split("\n")[0]
            raise InputError(f"malformed placeholder at {excerpt!r}: expected {{{{ name }}}} with one name")
        done += [text[at:start], value(match[1], text[:start])]
        at = match.end()
    return "".join([*done, text[at:]])


def _unknown_placeholder_text(name: str, values: Mapping[str, str | float]) -> str:
    name = name[:_MAX_SHOWN_NAME]
    known = sorted(values)
    folded = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower().rpartition(".")[2], folded, n=1, cutoff=0.6)
    hint = f"did you mean {{{{ {folded[near[0]]} }}}}? " if near else ""
    listing = ", ".join(known) or "none"
    return f"unknown placeholder {{{{ {name} }}}}: {hint}known are {listing}"


def _reject_split_escape(token: Token, name: str, before: str) -> None:
    """A backslash that is not part of a pair would swallow the first character of the value."""
    slashes = len(before) - len(before.rstrip("\\"))
    if token.quote_mark != "`":
        odd = slashes % 2 == 1
        slashes //= 2
    else:
        odd = False
    if odd or (token.regex and slashes % 2 == 1):
        raise InputError(f"a backslash is right before {{{{ {name} }}}}: it would escape part of the value")
