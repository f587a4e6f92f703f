"""PromQL as text: whether it is well formed, its type, and how values get into it safely.

Three things are kept apart on purpose: a *template* holds ``{{ placeholders }}``, a *query* holds none, and a
*value* never becomes part of the query's syntax: it is escaped for the string literal that holds it, and for RE2 as
well when that string is the right-hand side of ``=~`` or ``!~``.
Must never be here: a request to Prometheus, or what a policy means.
"""

from autocanary.promql.literals import escape_regex, promql_duration, quote_string
from autocanary.promql.placeholders import PLACEHOLDERS, fill_placeholders, find_placeholders
from autocanary.promql.query_syntax import metric_names, result_type, sample_times, size_problem, syntax_error

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
