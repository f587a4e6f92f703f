"""URLs with ``{{ placeholders }}`` in their path and query. A value is percent-encoded and never becomes syntax.

Scheme, host and port are written out: what a URL reaches does not depend on a service's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from autocanary.errors import InputError

__all__ = ["URL_PLACEHOLDERS", "fill_url", "url_placeholders"]

URL_PLACEHOLDERS: Mapping[str, str] = {
    "namespace": "namespace of the InferenceService",
    "service": "name of the InferenceService",
    "name": "the same as service (Flagger's word)",
    "component": "predictor, transformer or explainer",
    "revision": "the revision that is asked about: the candidate, or stable where it is compared with",
    "candidateRevision": "the candidate, in both questions",
    "stableRevision": "the stable revision, in both questions",
    "window": "the metric's window in seconds, as 60s",
    "interval": "the same as window (Flagger's word)",
}

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def url_placeholders(template: str) -> tuple[str, ...]:
    """The names in the order in which they stand there; InputError for braces that are no placeholder."""
    rest = _PLACEHOLDER.sub("", template)
    if (braces := _BRACES.search(rest)) is not None:
        excerpt = rest[braces.start() : braces.start() + 30]
        raise InputError(f"malformed placeholder at {excerpt!r}: expected {{{{ name }}}} with one name")
    return tuple(match[1] for match in _PLACEHOLDER.finditer(template))


def fill_url(template: str, values: Mapping[str, str | float]) -> str:
    """The URL with every placeholder replaced; a number is seconds, written as ``60s``.

    InputError for a name without a value, for braces that are no placeholder, and for one before the path.
    """
    for name in url_placeholders(template):
        if name not in values:
            raise InputError(f"unknown placeholder {{{{ {name} }}}}: {', '.join(values)} can be filled in")
    origin = _ORIGIN.match(template)
    if origin is not None and "{{" in origin[0]:
        raise InputError("a placeholder stands before the path: write scheme, host and port out")
    return _PLACEHOLDER.sub(lambda match: quote(_text(values[match[1]]), safe=""), template)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.15g}s"
