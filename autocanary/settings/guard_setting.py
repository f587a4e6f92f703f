"""Where the chart's guard holds releases, so that services there without a policy can be named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator

from autocanary.model.guard import Guard, LabelOperator, LabelRequirement
from autocanary.settings import value_types

__all__ = ["GuardSetting"]

_FIELDS = ("namespaces", "objectSelector")
_WITHOUT_VALUES = (LabelOperator.EXISTS, LabelOperator.DOES_NOT_EXIST)


def _parse_guard(value: Any) -> Guard:
    if isinstance(value, Guard):
        return value
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            value = None
    if not isinstance(value, Mapping) or not value:
        raise value_types.invalid_value("expected namespaces, objectSelector or both, as YAML or JSON")
    for name in value:
        if name not in _FIELDS:
            raise value_types.invalid_value(f"{name!r} is unknown{value_types.did_you_mean(str(name), _FIELDS)}")
    guard = Guard(
        namespaces=value_types.parse_namespaces(value.get("namespaces") or ()),
        requirements=tuple(_requirements(value.get("objectSelector") or {})),
    )
    if guard == Guard():
        raise value_types.invalid_value("expected a namespace or a label")
    return guard


def _requirements(selector: Any) -> Iterator[LabelRequirement]:
    """Of a LabelSelector."""
    if not isinstance(selector, Mapping) or set(selector) - {"matchLabels", "matchExpressions"}:
        raise value_types.invalid_value("objectSelector: expected matchLabels, matchExpressions or both")
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    if not isinstance(labels, Mapping) or not all(isinstance(each, str) for each in labels.values()):
        raise value_types.invalid_value("objectSelector.matchLabels: expected labels with texts as values")
    for key, value in labels.items():
        yield LabelRequirement(str(key), LabelOperator.IN, (value,))
    for each in expressions:
        try:
            operator, values = LabelOperator(each["operator"]), tuple(str(value) for value in each.get("values") or ())
            key = str(each["key"])
        except (KeyError, TypeError, ValueError, AttributeError):
            operators = ", ".join(each.value for each in LabelOperator)
            raise value_types.invalid_value(
                f"objectSelector.matchExpressions: expected key, operator ({operators}) and values"
            ) from None
        if (operator in _WITHOUT_VALUES) is bool(values):
            raise value_types.invalid_value(f"objectSelector.matchExpressions: {operator.value} of {key}: wrong values")
        yield LabelRequirement(key, operator, values)


GuardSetting = Annotated[Guard, BeforeValidator(_parse_guard)]
