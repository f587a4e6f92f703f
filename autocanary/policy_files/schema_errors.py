"""Pydantic's errors about a document, in sentences for its author, with the known word nearest to a misspelt one.

Over 300 lines because each kind of Pydantic's errors has a sentence of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from autocanary.policy_files.policy_errors import FieldPath, FieldProblem
from autocanary.policy_files.units import format_value

__all__ = ["NO_METRIC", "closest_or_prefix", "closest_word", "did_you_mean", "schema_problems", "yaml_flow"]

_MAX_WORD_LENGTH = 100  # comparing costs the square of the length


def closest_word(word: str, known: Iterable[str]) -> str:
    """The known word that ``word`` was probably meant to be, "" when none is close.

    >>> closest_word("stepWieghts", ["stepWeights", "steps"])
    'stepWeights'
    """
    if len(word) > _MAX_WORD_LENGTH:
        return ""
    folded = {each.lower(): each for each in known}
    found = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def closest_or_prefix(word: str, known: Iterable[str]) -> str:
    """Like ``closest_word``; without one, the longest known word that ``word`` begins with."""
    words = list(known)
    starting = [each for each in words if len(each) > 2 and word.lower().startswith(each.lower())]
    return closest_word(word, words) or max(starting, key=len, default="")


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "known: ") -> str:
    """A hint: the nearest known word, or all of them."""
    words = list(known)
    near = closest_or_prefix(word, words)
    return f"did you mean {near}?" if near else f"{otherwise}{', '.join(words)}"


NO_METRIC = (
    "the policy has no metric, so nothing would stop a bad candidate",
    "start with - {name: request-success-rate, thresholdRange: {min: 99}}",
)

_NOT_AVAILABLE: dict[str, str] = {
    "stepWeight": "Flagger's stepWeight is not available in this version: list the weights in stepWeights",
    "maxWeight": "Flagger's maxWeight is not available in this version: list the weights in stepWeights",
    "iterations": "Flagger's iterations are not available in this version: use steps",
    "mirror": "mirroring traffic is not available in this version",
    "match": "routing by header is not available in this version: KServe splits traffic by weight",
    "templateRef": "metric templates are not available in this version: write the query here",
    "templateVariables": "metric templates are not available in this version: write the query here",
    "successCondition": "not available in this version: use thresholdRange",
    "failureCondition": "not available in this version: use thresholdRange",
    "provider": "a metric has no provider here: write query for Prometheus, or web for another service, in the metric",
    "alerts": "called notifications here",
    "analysisTemplate": "not available in this version: write the metrics under analysis",
    "experiment": "Argo Rollouts' experiment is not available in this version",
    "setCanaryScale": "not available in this version: KServe scales the candidate",
    "setHeaderRoute": "routing by header is not available in this version",
    "setMirrorRoute": "mirroring traffic is not available in this version",
    "skipAnalysis": "not available in this version: a policy always needs a metric",
    "suspend": "not available in this version: pause a rollout with autocanary pause",
}
"""Fields that users know from Flagger and Argo Rollouts, or from the plans of this format."""

_OF_WEB: dict[str, str] = {
    "timeoutSeconds": "here it is timeout, with its unit",
    "jsonPath": "the service answers one form of JSON: see answer",
    "headers": "credentials are configured by the operator: name them in credentialsRef",
    "authentication": "credentials are configured by the operator: name them in credentialsRef",
    "insecure": "certificates are always checked",
    "method": "the service is asked by GET",
    "body": "the service is asked by GET",
    "jsonBody": "the service is asked by GET",
}
"""Fields of Argo Rollouts' web provider."""

_RENAMED: dict[str, str] = {
    "threshold": "failureLimit, in each metric",
    "count": "failureLimit, in each metric",
    "initialDelay": "warmup",
    "inconclusiveLimit": "stepTimeout, with analysis.onInconclusive",
    "consecutiveErrorLimit": "analysis.onOutage, for queries without an answer",
    "timeoutSeconds": "stepTimeout, with its unit",
    "progressDeadlineSeconds": "progressDeadline, with its unit",
    "targetRef": "selector",
    "tz": "timezone",
    "timeZone": "timezone",
}

_KINDS = {
    "int_type": ("a whole number", "50"),
    "float_type": ("a number", "50"),
    "bool_type": ("true or false", "true"),
    "string_type": ("text", ""),
    "list_type": ("a list", ""),
    "dict_type": ("a mapping", ""),
    "model_type": ("a mapping", ""),
}


@dataclass(frozen=True, slots=True)
class _PydanticError:
    """One of pydantic's errors, and the JSON Schema, which knows the names of the fields."""

    path: FieldPath
    given: Any
    context: Mapping[str, Any]
    kind: str
    text: str
    schema: Mapping[str, Any]

    @property
    def here(self) -> Mapping[str, Any]:
        return _schema_at(self.schema, self.path)

    @property
    def sibling_fields(self) -> list[str]:
        """The names of the fields that are known beside this one."""
        return list(_schema_at(self.schema, self.path[:-1]).get("properties", ()))


def schema_problems(errors: list[dict[str, Any]], schema: Mapping[str, Any]) -> Iterator[FieldProblem]:
    """One problem for each error; ``schema`` is the JSON Schema of the document."""
    located = [
        _PydanticError(
            path=tuple(part for part in each["loc"] if part != "[key]"),
            given=each["input"],
            context=each.get("ctx", {}),
            kind=each["type"],
            text=each["msg"],
            schema=schema,
        )
        for each in errors
    ]
    for error in located:
        yield _FORMATTERS.get(error.kind, _other)(error)


def _quantity(error: _PydanticError) -> FieldProblem:
    return FieldProblem(error.path, error.context["message"], error.context["hint"])


def _missing(error: _PydanticError) -> FieldProblem:
    name, sibling_fields = str(error.path[-1]), error.path[:-1]
    example = _example(error.here)
    return FieldProblem(sibling_fields, f"{name} is missing", f"add {name}: {example}" if example else "")


def _unknown(error: _PydanticError) -> FieldProblem:
    name = str(error.path[-1])
    if name in _OF_WEB and error.path[-2:-1] == ("web",):
        return FieldProblem(error.path, "unknown field", _OF_WEB[name], at_key=True)
    if name in _NOT_AVAILABLE:
        return FieldProblem(error.path, _NOT_AVAILABLE[name], at_key=True)
    if name in _RENAMED:
        return FieldProblem(error.path, "unknown field", f"here it is {_RENAMED[name]}", at_key=True)
    hint = did_you_mean(name, error.sibling_fields)
    near, parent = closest_or_prefix(name, error.sibling_fields), _parent_of_field(error.schema, name)
    suggestion: FieldPath = (*error.path[:-1], near) if near else ()
    if parent and not closest_word(name, error.sibling_fields):
        hint = f"it belongs under {parent}"
        # Out of a list nothing is moved: the entry that it leaves would be another one.
        suggestion = (*parent.split("."), name) if all(isinstance(part, str) for part in error.path) else ()
    suggestion = suggestion if _matches_type(error.given, _schema_at(error.schema, suggestion)) else ()
    return FieldProblem(error.path, "unknown field", hint, at_key=True, suggestion=suggestion)


def _matches_type(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of the kind that a field holds; where it is not, the field was hardly meant."""
    if isinstance(value, dict | list):
        return bool(schema.get("type") == ("object" if isinstance(value, dict) else "array"))
    return bool(schema) and schema.get("type") not in ("object", "array")


def _choice(error: _PydanticError) -> FieldProblem:
    here = error.here
    known = [str(each) for each in here.get("enum", [here["const"]] if "const" in here else [])]
    given = error.given
    if isinstance(given, str) and (closest_word(given, known) or len(known) == 1):
        return FieldProblem(error.path, f"{format_value(given)!r} is not known here", did_you_mean(given, known))
    name = repr(format_value(given)) if isinstance(given, str) else format_value(given)
    return FieldProblem(error.path, f"{name} is not one of {', '.join(known)}")


def _kind(error: _PydanticError) -> FieldProblem:
    wanted, example = _KINDS[error.kind]
    hint = f"write it as {example}" if example else ""
    plain = not isinstance(error.given, dict | list)
    if error.kind == "string_type" and plain:
        hint = f'write it in quotes: "{format_value(error.given)}"'
    elif error.kind == "list_type":
        hint = f"write [{format_value(error.given)}]" if plain else "start each entry with -"
    elif error.kind == "model_type":
        fields = list(error.here.get("properties", ()))
        hint = f"with the fields {', '.join(fields)}" if fields else ""
    return FieldProblem(error.path, f"{format_value(error.given)} is not {wanted}", hint)


def _too_short(error: _PydanticError) -> FieldProblem:
    if error.path[-2:] == ("analysis", "metrics"):
        return FieldProblem(error.path, *NO_METRIC)
    return FieldProblem(error.path, "the list is empty", "leave the field out, or give at least one entry")


def _too_long(error: _PydanticError) -> FieldProblem:
    return FieldProblem(error.path, f"more than {error.context['max_length']} entries", "split the policy")


def _too_small(error: _PydanticError) -> FieldProblem:
    return FieldProblem(error.path, f"{format_value(error.given)} is less than {error.context['ge']}")


def _too_large(error: _PydanticError) -> FieldProblem:
    return FieldProblem(error.path, f"{format_value(error.given)} is more than {error.context['le']}")


def _other(error: _PydanticError) -> FieldProblem:
    text = f"{error.text[:1].lower()}{error.text[1:]}"
    return FieldProblem(error.path, f"{format_value(error.given)} is not usable here: {text}")


_FORMATTERS: dict[str, Callable[[_PydanticError], FieldProblem]] = {
    "quantity": _quantity,
    "missing": _missing,
    "extra_forbidden": _unknown,
    "enum": _choice,
    "literal_error": _choice,
    "too_short": _too_short,
    "too_long": _too_long,
    "greater_than_equal": _too_small,
    "less_than_equal": _too_large,
    **dict.fromkeys(_KINDS, _kind),
}


def _schema_at(schema: Mapping[str, Any], path: FieldPath) -> Mapping[str, Any]:
    """The part of the JSON Schema that describes a path; empty where it describes nothing."""
    here: Mapping[str, Any] = _resolve(schema, schema)
    for part in path:
        inner = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
        inner = inner if inner is not None else here.get("additionalProperties")
        if not isinstance(inner, dict):
            return {}
        here = _resolve(inner, schema)
    return here


def _resolve(here: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in here:
        target: Mapping[str, Any] = schema["$defs"][here["$ref"].rsplit("/", 1)[-1]]
        return {**target, **{key: value for key, value in here.items() if key != "$ref"}}
    return here


def _example(here: Mapping[str, Any]) -> str:
    """A value as it could be written."""
    examples = here.get("examples") or here.get("enum") or ([here["const"]] if "const" in here else [])
    return yaml_flow(examples[0]) if examples else ""


def yaml_flow(value: Any) -> str:
    """A value in YAML's flow style, on one line.

    >>> yaml_flow([{"name": "mnist", "from": "09:00", "max": 0.5, "on": True}])
    '[{name: mnist, from: "09:00", max: 0.5, on: true}]'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {yaml_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(yaml_flow(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and (not value or value[0] in "#\"'&*!%@`{[" or ":" in value or "{{" in value):
        return '"' + value.replace('"', '\\"') + '"' if '"' not in value else f"'{value}'"
    return str(value)


_STEP_ANALYSIS = "spec.steps.analysis"


def _parent_of_field(schema: Mapping[str, Any], name: str) -> str:
    """Where a field of this name does belong; "" when nowhere, or in several places.

    What a step may change in the analysis belongs to the analysis first.
    """
    found = [path for path in _walk(schema, schema["properties"]["spec"], "spec") if path.endswith(f".{name}")]
    found = [path for path in found if not path.startswith(_STEP_ANALYSIS)]
    return found[0].removesuffix(f".{name}") if len(found) == 1 else ""


def _walk(schema: Mapping[str, Any], here: Mapping[str, Any], path: str) -> Iterator[str]:
    here = _resolve(here, schema)
    if isinstance(here.get("items"), dict):
        yield from _walk(schema, here["items"], path)
    for name, inner in here.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _walk(schema, inner, f"{path}.{name}")
