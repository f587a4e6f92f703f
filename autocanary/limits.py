"""How much a user's document may hold: one table, checked before any parser and printed by the policy reference.

A limit bounds what one policy, one query or one namespace can cost the service. Nothing here is configurable:
a snapshot that one version accepted must be readable by every replica.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "FILE_BYTES",
    "FILE_VALUES",
    "LIMITS",
    "NAMESPACE_POLICIES",
    "NAMESPACE_WEBHOOKS",
    "NAMESPACE_WEB_METRICS",
    "POLICY_BYTES",
    "POLICY_DEPTH",
    "POLICY_LABELS",
    "POLICY_METRICS",
    "POLICY_NOTIFICATIONS",
    "POLICY_SELECTORS",
    "POLICY_STEPS",
    "POLICY_VALUES",
    "POLICY_WEBHOOKS",
    "POLICY_WEB_METRICS",
    "POLICY_WILDCARDS",
    "POLICY_WINDOWS",
    "QUERY_BYTES",
    "QUERY_DEPTH",
    "QUERY_OPERANDS",
    "QUERY_OPERATORS",
    "QUERY_PLACEHOLDERS",
    "URL_LENGTH",
    "WEBHOOK_METADATA",
    "WEBHOOK_RETRIES",
    "WEBHOOK_SECONDS",
    "WEB_ANSWER_BYTES",
    "WEB_METRIC_SECONDS",
    "Limit",
]

FILE_BYTES = 1024 * 1024
FILE_VALUES = 50_000

POLICY_BYTES = 256 * 1024  # a snapshot must fit into a CanaryRollout, of which etcd stores 1.5 MiB
POLICY_DEPTH = 40
POLICY_VALUES = 5_000
POLICY_SELECTORS = 500
POLICY_WILDCARDS = 200  # a pattern of 500 names with 120 wildcards each takes seconds to compile
POLICY_LABELS = 50
POLICY_STEPS = 500
POLICY_METRICS = 50
POLICY_WINDOWS = 50
POLICY_WEBHOOKS = 20
POLICY_NOTIFICATIONS = 20
POLICY_WEB_METRICS = 10

QUERY_BYTES = 16 * 1024
QUERY_OPERATORS = 100  # the parser's memory grows with the square: 100 take 1 MB, 2,000 take 600 MB
QUERY_OPERANDS = 250
QUERY_DEPTH = 50
QUERY_PLACEHOLDERS = 100

URL_LENGTH = 2048
WEBHOOK_RETRIES = 10
WEBHOOK_SECONDS = 300
WEBHOOK_METADATA = 50

WEB_METRIC_SECONDS = 10
WEB_ANSWER_BYTES = 16 * 1024

NAMESPACE_POLICIES = 100
NAMESPACE_WEBHOOKS = 100
NAMESPACE_WEB_METRICS = 100


class Limit(NamedTuple):
    """One row of the table in the documentation."""

    subject: str
    most: int
    unit: str


LIMITS = (
    Limit("A file with policies", FILE_BYTES, "bytes"),
    Limit("All documents of a file", FILE_VALUES, "values"),
    Limit("A policy, as JSON without its metadata", POLICY_BYTES, "bytes"),
    Limit("Nesting of a policy", POLICY_DEPTH, "levels"),
    Limit("A policy, aliases unfolded", POLICY_VALUES, "values"),
    Limit("`selector.names`, `selector.namespaces`", POLICY_SELECTORS, "entries each"),
    Limit("Wildcards of `selector.names` and `selector.namespaces` together", POLICY_WILDCARDS, "wildcards"),
    Limit("`selector.matchLabels`", POLICY_LABELS, "labels"),
    Limit("`steps`", POLICY_STEPS, "entries"),
    Limit("`analysis.metrics`", POLICY_METRICS, "metrics"),
    Limit("`windows`", POLICY_WINDOWS, "windows"),
    Limit("`webhooks`", POLICY_WEBHOOKS, "webhooks"),
    Limit("`notifications`", POLICY_NOTIFICATIONS, "entries"),
    Limit("A `query`", QUERY_BYTES, "bytes"),
    Limit("Operators of a query (`+`, `>`, `or`, a sign …)", QUERY_OPERATORS, "operators"),
    Limit("Names, numbers and texts of a query outside `{}`", QUERY_OPERANDS, "operands"),
    Limit("Parentheses, braces and brackets of a query within each other", QUERY_DEPTH, "levels"),
    Limit("Placeholders of a query", QUERY_PLACEHOLDERS, "placeholders"),
    Limit("A URL", URL_LENGTH, "characters"),
    Limit("`retries` of a webhook", WEBHOOK_RETRIES, "retries"),
    Limit("All calls of a webhook together: `timeout` × (1 + `retries`)", WEBHOOK_SECONDS, "seconds"),
    Limit("`metadata` of a webhook", WEBHOOK_METADATA, "entries"),
    Limit("`web` metrics of a policy, those of its steps included", POLICY_WEB_METRICS, "metrics"),
    Limit("`timeout` of a `web` metric", WEB_METRIC_SECONDS, "seconds"),
    Limit("An answer to a `web` metric", WEB_ANSWER_BYTES, "bytes"),
    Limit("Custom resources of a namespace that are in force, the oldest first", NAMESPACE_POLICIES, "policies"),
    Limit("Webhooks of these policies together", NAMESPACE_WEBHOOKS, "webhooks"),
    Limit("`web` metrics of these policies together", NAMESPACE_WEB_METRICS, "metrics"),
)
