"""The admission webhooks of KServe and of KFServing: what they refuse and the API server would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.errors import CanaryUnsupported, Refused
from autocanary.kserve.v1alpha2 import CANARY_UNSUPPORTED_MESSAGE, V1Alpha2
from autocanary.kserve.v1beta1 import WEIGHT
from autocanary.model.policy import Component

__all__ = ["admit"]

_V1ALPHA2 = V1Alpha2().api_version


def admit(document: Mapping[str, Any], *, without_canaries: bool = False) -> dict[str, Any]:
    """The document's spec as it is stored, or Refused.

    ``without_canaries``: KFServing's webhook is that of 0.5 or 0.6, which refuses every weight in v1alpha2.
    """
    if document["apiVersion"] != _V1ALPHA2:
        return _by_kserve(document)
    spec = _by_kfserving(dict(document.get("spec") or {}))
    if without_canaries and WEIGHT in spec:
        raise CanaryUnsupported(
            f"cannot write {document['metadata']['name']}: {CANARY_UNSUPPORTED_MESSAGE}", status=400
        )
    return spec


def _by_kserve(document: Mapping[str, Any]) -> dict[str, Any]:
    """KServe's webhook decodes into Go types: any int64 passes (101 too), anything else is a 400."""
    result = dict(document.get("spec") or {})
    spec = document.get("spec") or {}
    for component in (each.value for each in Component):
        part = spec.get(component)
        weight = part.get(WEIGHT) if isinstance(part, Mapping) else None
        if weight is None:
            continue
        whole = isinstance(weight, int) or (isinstance(weight, float) and weight.is_integer())
        if isinstance(weight, bool) or not whole or abs(weight) >= 2**63:
            where = f".spec.{component}.{WEIGHT} of type int64"
            raise Refused(
                'admission webhook "inferenceservice.kserve-webhook-server.defaulter" denied the request: '
                f"json: cannot unmarshal {weight!r} into Go struct field {where}",
                status=400,
            )
        result[component] = {**spec[component], WEIGHT: int(weight)}
    return result


def _by_kfserving(spec: dict[str, Any]) -> dict[str, Any]:
    """KFServing 0.4's webhook validates, and an omitempty 0 is as good as no field."""
    weight = spec.get(WEIGHT)
    said = ""
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int)):
        said = f"json: cannot unmarshal {weight!r} into Go struct field .spec.{WEIGHT} of type int"
    elif weight is not None and not 0 <= weight <= 100:
        said = "CanaryTrafficPercent must be between 0 and 100."
    elif weight and not isinstance(spec.get("canary"), Mapping):
        said = "Canary must be specified when CanaryTrafficPercent > 0."
    if said:
        where = "inferenceservice.kfserving-webhook-server.validator"
        raise Refused(f'admission webhook "{where}" denied the request: {said}', status=400)
    return spec
