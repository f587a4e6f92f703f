"""Whether a query is well formed, its type, and what it reads.

The only importer of ``promql_parser``, which runs in native code: deep nesting overflows its stack, and its memory
grows with the square of the operators. ``size_problem`` bounds a query before the parser sees it, by a tokenizer.
A query is parsed once, when its policy is read. The parser knows PromQL up to Prometheus 2.45 and a little more:
where it rejects something newer, a real Prometheus decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import promql_parser as parser

from autocanary.limits import QUERY_BYTES, QUERY_DEPTH, QUERY_OPERANDS, QUERY_OPERATORS, QUERY_PLACEHOLDERS
from autocanary.promql.literals import promql_duration, quote_string, tokens

__all__ = ["metric_names", "result_type", "sample_times", "size_problem", "syntax_error"]


_TYPE_CACHE_SIZE = 8192  # queries whose type is remembered
_MATCH_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_MAX_SELECTORS = 8  # metrics of a query whose newest samples are looked for
_AGE_STEPS = 30  # instants of a range at which they are looked for
_SYNTAX_TOKEN = re.compile(r"(?P<word>[\w:.]+)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<symbol>[=!~<>]{1,2}|\S)")
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
_NO_OPERATORS = frozenset({",", "@", '"', "'", "`"})


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
    for token in tokens(query):
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
