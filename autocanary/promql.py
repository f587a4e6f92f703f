"""PromQL as text: whether it is well formed, its type, and how values get into it safely.

The only importer of ``promql_parser``. Three things are kept apart on purpose: a *template* holds
``{{ placeholders }}``, a *query* holds none, and a *value* never becomes part of the query's syntax: it is
escaped for the string literal that holds it, and for RE2 as well when that string is the right-hand side of
``=~`` or ``!~``.

The parser runs in native code: deep nesting overflows its stack, and its memory grows with the square of
the operators. ``size_problem`` bounds a query before the parser sees it, by a tokenizer. A query is parsed
once, when its policy is read. The parser knows PromQL up to Prometheus 2.45 and a little more: where it
rejects something newer, a real Prometheus decides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import promql_parser as parser

from autocanary.errors import InputError
from autocanary.limits import (
    QUERY_BYTES,
    QUERY_DEPTH,
    QUERY_OPERANDS,
    QUERY_OPERATORS,
    QUERY_PLACEHOLDERS,
)

__all__ = [
    "PLACEHOLDERS",
    "escape_regex",
    "fill_placeholders",
    "find_placeholders",
    "metric_names",
    "promql_duration",
    "quote_string",
    "result_type",
    "sample_times",
    "size_problem",
    "syntax_error",
]

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

_TYPE_CACHE_SIZE = 8192  # queries whose type is remembered
_MATCH_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_MAX_SELECTORS = 8  # metrics of a query whose newest samples are looked for
_AGE_STEPS = 30  # instants of a range at which they are looked for
_SYNTAX_TOKEN = re.compile(r"(?P<word>[\w:.]+)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<symbol>[=!~<>]{1,2}|\S)")
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
_NO_OPERATORS = frozenset({",", "@", '"', "'", "`"})
_MAX_SHOWN_NAME = 60
_LINE_END = re.compile(r"[\r\n]")
_NAME = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}")
_RE2_SPECIAL = re.compile(r"[\\.*+?|(){}$^\[\]]")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))


# --- whether it is well formed, and its type


def size_problem(query: str) -> str | None:
    """What is too large about a query or a template; None when it may be parsed.

    Operators and operands are counted outside ``{}`` and ``[]``, words in any case.
    """
    if len(query) > QUERY_BYTES or len(query.encode("utf-8", "replace")) > QUERY_BYTES:
        return f"the query is longer than {QUERY_BYTES:,} bytes"
    size = _query_size(query)
    for count, most, what in (
        (size.placeholders, QUERY_PLACEHOLDERS, "placeholders"),
        (size.operators, QUERY_OPERATORS, "operators"),
        (size.operands, QUERY_OPERANDS, "names, numbers and texts"),
    ):
        if count > most:
            return f"the query has {count:,} {what}, and at most {most} are read"
    if size.depth > QUERY_DEPTH:
        return f"the query is nested {size.depth:,} levels deep, and at most {QUERY_DEPTH} are read"
    return None


@dataclass(slots=True)
class _QuerySize:
    operators: int = 0
    operands: int = 0
    depth: int = 0
    placeholders: int = 0


def _query_size(query: str) -> _QuerySize:
    size = _QuerySize()
    open_brackets: list[str] = []
    for token in _tokens(query):
        size.placeholders += token.text.count("{{")
        if token.comment:
            continue
        if token.quote_mark:
            size.operands += not {"{", "["} & set(open_brackets)
            continue
        for found in _SYNTAX_TOKEN.finditer(token.text):
            text = found[0]
            if found.lastgroup == "open":
                open_brackets.append(text)
                size.depth = max(size.depth, len(open_brackets))
            elif found.lastgroup == "close":
                del open_brackets[-1:]
            elif {"{", "["} & set(open_brackets[-1:]):
                continue
            elif found.lastgroup == "word" and text.lower() not in _WORD_OPERATORS:
                size.operands += 1
            elif text not in _NO_OPERATORS:
                size.operators += 1
    return size


def syntax_error(query: str) -> str | None:
    """None when the query parses, else one sentence that says why not. Placeholders must be filled first."""
    if not query.strip():
        return "the query is empty"
    try:
        _parse(query)
    except ValueError as why:
        return f"not valid PromQL: {why}"
    return None


@lru_cache(maxsize=_TYPE_CACHE_SIZE)
def result_type(query: str) -> str | None:
    """``vector``, ``scalar``, ``matrix`` or ``string``; None when the parser does not understand it."""
    try:
        return _type_of(_parse(query))
    except (ValueError, RecursionError):  # a tree of a thousand operators is deeper than Python's stack
        return None


def _parse(query: str) -> parser.Expr:
    """The syntax tree; ValueError with the parser's own words otherwise."""
    if (too_large := size_problem(query)) is not None:
        raise ValueError(too_large)
    try:
        query.encode()
    except UnicodeEncodeError:
        raise ValueError("the query holds half of a surrogate pair, which is not text") from None
    try:
        return parser.parse(query)
    except BaseException as error:
        # A panic of the native parser is no Exception; `a[inf]` causes one.
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the parser failed: {error}") from None


@lru_cache(maxsize=_TYPE_CACHE_SIZE)
def sample_times(query: str) -> tuple[str, ...]:
    """For each metric that the query reads, PromQL for the time of its newest sample (epoch seconds).

    What is read of another time on purpose (``offset``, ``@``) is left out. Empty where the parser does not
    understand the query, or where it reads too many metrics.
    """
    try:
        selectors = _selectors(_parse(query), None)
        found = dict.fromkeys(each for selector, span in selectors for each in _newest_sample(selector, span))
    except (ValueError, RecursionError):
        return ()
    return tuple(found) if len(found) <= _MAX_SELECTORS else ()


def metric_names(query: str) -> tuple[str, ...]:
    """The metrics that the query reads by their names; empty where the parser does not understand it."""
    try:
        found = [selector.name for selector, _ in _selectors(_parse(query), None, past=True)]
    except (ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(name for name in found if name))


def _selectors(
    tree: object, span: float | None, *, past: bool = False
) -> Iterator[tuple[parser.VectorSelector, float | None]]:
    """The selectors, each with the range (seconds) in which it is read; those of another time only with ``past``.

    ``span`` is the range in which a subquery reads the selectors below it.
    """
    if isinstance(tree, parser.VectorSelector):
        if past or (tree.offset is None and tree.at is None):
            yield tree, span
    elif isinstance(tree, parser.MatrixSelector):
        if past or (tree.vector_selector.offset is None and tree.vector_selector.at is None):
            yield tree.vector_selector, tree.range.total_seconds()
    elif isinstance(tree, parser.SubqueryExpr):
        if past or (tree.offset is None and tree.at is None):
            yield from _selectors(tree.expr, tree.range.total_seconds() if tree.range is not None else span, past=past)
    elif isinstance(tree, parser.BinaryExpr):
        yield from _selectors(tree.lhs, span, past=past)
        yield from _selectors(tree.rhs, span, past=past)
    elif isinstance(tree, parser.Call):
        for each in tree.args:
            yield from _selectors(each, span, past=past)
    elif isinstance(tree, parser.AggregateExpr | parser.ParenExpr | parser.UnaryExpr):
        yield from _selectors(tree.expr, span, past=past)


def _newest_sample(selector: parser.VectorSelector, span: float | None) -> Iterator[str]:
    """A metric that is no longer scraped is read within a range all the same: its last sample is looked for there."""
    if selector.matchers.or_matchers:
        return
    matchers = [
        f"{each.name}{_MATCH_OPERATORS[str(each.op)]}{quote_string(each.value)}" for each in selector.matchers.matchers
    ]
    newest = f"timestamp({selector.name or ''}{{{','.join(matchers)}}})"
    if span is not None:
        step = promql_duration(max(1.0, span / _AGE_STEPS))
        newest = f"{newest} or max_over_time({newest}[{promql_duration(span)}:{step}])"
    yield f"max({newest})"


def _type_of(tree: object) -> str | None:
    if isinstance(tree, parser.ParenExpr | parser.UnaryExpr):
        return _type_of(tree.expr)
    if isinstance(tree, parser.BinaryExpr):
        return "scalar" if _type_of(tree.lhs) == _type_of(tree.rhs) == "scalar" else "vector"
    if isinstance(tree, parser.Call):
        return _FUNCTION_TYPES.get(str(tree.func.return_type).rpartition(".")[2])
    return next((name for node, name in _NODE_TYPES if isinstance(tree, node)), None)


_FUNCTION_TYPES = {"Vector": "vector", "Scalar": "scalar", "Matrix": "matrix", "String": "string"}
_NODE_TYPES: tuple[tuple[type, str], ...] = (
    (parser.VectorSelector, "vector"),
    (parser.AggregateExpr, "vector"),
    (parser.NumberLiteral, "scalar"),
    (parser.MatrixSelector, "matrix"),
    (parser.SubqueryExpr, "matrix"),
    (parser.StringLiteral, "string"),
)


# --- templates


def find_placeholders(template: str) -> tuple[str, ...]:
    """The names between ``{{ }}``, each once, in order of appearance; InputError for a malformed one."""
    found: dict[str, None] = {}

    def note(name: str, _before: str) -> str:
        found[name] = None
        return ""

    for token in _tokens(template):
        if not token.comment:
            _replace(token.text, note)
    return tuple(found)


def fill_placeholders(template: str, values: Mapping[str, str | float], *, keep: Collection[str] = ()) -> str:
    """The query with every placeholder replaced; a number is a duration in seconds, printed as ``1m30s``.

    Those to ``keep`` stay, for another call. InputError for a name that is unknown or has no value, and for text
    outside quotes that is not a duration: there it would become syntax. Comments are left alone.
    """
    return "".join(_fill_token(token, values, keep) for token in _tokens(template))


def _fill_token(token: _Token, values: Mapping[str, str | float], keep: Collection[str]) -> str:
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
        return _escape(escape_regex(found) if token.regex else found, token.quote_mark)

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


def _reject_split_escape(token: _Token, name: str, before: str) -> None:
    """A backslash that is not part of a pair would swallow the first character of the value."""
    slashes = len(before) - len(before.rstrip("\\"))
    if token.quote_mark != "`":
        odd = slashes % 2 == 1
        slashes //= 2
    else:
        odd = False
    if odd or (token.regex and slashes % 2 == 1):
        raise InputError(f"a backslash is right before {{{{ {name} }}}}: it would escape part of the value")


# --- values


def promql_duration(seconds: float) -> str:
    """As Prometheus prints it: 60 is ``1m``, 90 is ``1m30s``, 0.5 is ``500ms``."""
    left = round(seconds * 1000)
    parts = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def escape_regex(text: str) -> str:
    """``text`` as an RE2 expression that matches exactly it."""
    # A class needs no backslash, so the same text is right in raw strings and readable in quoted ones.
    return _RE2_SPECIAL.sub(_escape_regex_character, text)


def _escape_regex_character(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in "\\^[]" else f"[{found[0]}]"


def quote_string(text: str) -> str:
    """``text`` as a PromQL string literal in double quotes."""
    return f'"{_escape(text, chr(34))}"'


def _escape(text: str, quote_character: str) -> str:
    """``text`` for the inside of a string literal that is delimited by ``quote_character``."""
    if quote_character == "`":
        if "`" in text:
            raise InputError("a value with a back quote cannot be in a back-quoted string: use double quotes")
        return text
    if text.isprintable():
        return text.replace("\\", "\\\\").replace(quote_character, f"\\{quote_character}")
    return "".join(_escape_character(character, quote_character) for character in text)


def _escape_character(character: str, quote_character: str) -> str:
    if character in ("\\", quote_character):
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        raise InputError("a value holds half of a surrogate pair, which is not text")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


# --- the lexer: strings, comments and everything else


@dataclass(frozen=True, slots=True)
class _Token:
    """A stretch of template: the inside of a string literal (``quote_mark`` is its mark), a comment, or code."""

    text: str
    quote_mark: str = ""
    regex: bool = False
    comment: bool = False


def _tokens(template: str) -> Iterator[_Token]:
    """Pieces that, joined, are the template again; the marks themselves belong to the code around."""
    at = start = 0
    matching = False  # whether the code so far ends in a regular-expression operator
    while at < len(template):
        character = template[at]
        if character in "\"'`":
            yield _Token(template[start : at + 1])
            end = _end_of_string(template, at)
            yield _Token(template[at + 1 : end], quote_mark=character, regex=matching)
            start, at, matching = end, end + 1, False
        elif character == "#":
            yield _Token(template[start:at])
            start = at
            newline = _LINE_END.search(template, at)
            at = newline.start() if newline is not None else len(template)
            yield _Token(template[start:at], comment=True)
            start = at
        else:
            if not character.isspace():
                matching = template[max(start, at - 1) : at + 1] in ("=~", "!~")
            at += 1
    yield _Token(template[start:])


def _end_of_string(template: str, start: int) -> int:
    """Where the string that begins at ``start`` ends: at its closing mark, or at the end of the text."""
    quote_character = template[start]
    at = start + 1
    while at < len(template) and template[at] != quote_character:
        at += 2 if template[at] == "\\" and quote_character != "`" else 1
    return min(at, len(template))
