"""What is wrong with a setting, in a sentence that names where it was given."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["PREFIX", "flag_of", "nearest", "sentence"]

PREFIX = "AUTOCANARY_"

_EXPECTED = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "string_type": "expected a text",
}


def sentence(fault: Any, flags: Mapping[str, Any]) -> str:
    if not fault["loc"]:
        return f"settings: {fault['msg']}"
    name = str(fault["loc"][0])
    context, kind = fault.get("ctx") or {}, fault["type"]
    if kind == "literal_error":
        expected = f"expected {context['expected']}"
    elif kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        expected = f"{fault['msg'].removeprefix('Input ')}{_unit(name)}"
    else:
        expected = _EXPECTED.get(kind, fault["msg"])
    return f"{_place(name, flags)}: {expected}"


def _unit(name: str) -> str:
    return " seconds" if name in ("tick", "prometheus_timeout") else ""


def _place(name: str, flags: Mapping[str, Any]) -> str:
    """Where the value in force came from, so that people look in the right place."""
    if name in flags:
        return flag_of(name)
    variables = [each for each in os.environ if each.upper() == PREFIX + name.upper() and os.environ[each]]
    if variables:
        return variables[0]
    config = flags.get("config") or os.environ.get(f"{PREFIX}CONFIG")
    return f"{config}: {name}"


def flag_of(name: str) -> str:
    """The flag of a setting; the lists are given by repeating a flag in the singular."""
    return {"namespaces": "--namespace"}.get(name, "--" + name.replace("_", "-"))


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A question to whoever meant another setting; nothing when none is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
