"""The model behind a revision: what of its spec users know it by, and what differs from stable's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Component
from autocanary.model.rollout import Rollout

__all__ = ["FieldChange", "ModelChange", "model_change", "model_of", "released_by_text"]

_LIMIT = 200
_IDENTITY = ("storageUri", "image", "modelFormat", "runtime", "runtimeVersion", "protocolVersion")
"""What a model is known by, in this order; ``args``, ``env`` and the rest follow."""
_FRAMEWORKS = frozenset(
    {
        "tensorflow",
        "sklearn",
        "xgboost",
        "pytorch",
        "triton",
        "onnx",
        "huggingface",
        "pmml",
        "lightgbm",
        "paddle",
        "mlflow",
    }
)
_NOISE = frozenset({"canaryTrafficPercent", "name"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs. ``field`` is its path in the component's spec, as ``model.storageUri``."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        """``storageUri gs://b/v1 → gs://b/v2``; an absent side is ``(none)``."""
        return f"{self.field.rpartition('.')[2]} {self.old or '(none)'} → {self.new or '(none)'}"


@dataclass(frozen=True, slots=True)
class ModelChange:
    """``old`` and ``new`` name the two models: the ``storageUri``, else the image, else ""  when unknown.

    ``changes`` are the fields that differ, the ones that a model is known by first. ``known`` is False where the
    spec of stable or of the candidate is not recorded; then ``changes`` is empty.
    """

    old: str
    new: str
    changes: tuple[FieldChange, ...]
    known: bool

    @property
    def text(self) -> str:
        """``gs://b/v1 → gs://b/v2``; the fields where the model is the same; "" when nothing is known."""
        if self.old and self.new and self.old != self.new:
            return f"{self.old} → {self.new}"
        if self.known and self.changes:
            shown = "; ".join(map(str, self.changes[:2]))
            more = f" and {len(self.changes) - 2} more" if len(self.changes) > 2 else ""
            return clean_text(f"{self.new}: {shown}{more}" if self.new else f"{shown}{more}", _LIMIT)
        if self.known:
            return f"{self.new} (the same spec)" if self.new else "the same spec"
        return f"{self.old or '(unknown)'} → {self.new or '(unknown)'}" if self.old or self.new else ""


def model_of(spec: Mapping[str, Any] | None, component: Component = Component.PREDICTOR) -> str:
    """What users know a component's model by: its ``storageUri``, else its image; "" when the spec has neither.

    >>> model_of({"model": {"storageUri": "gs://b/v1"}})
    'gs://b/v1'
    """
    leaves = dict(_leaves(_part(spec, component)))
    for wanted in ("storageUri", "storage_uri", "image"):
        for path, value in leaves.items():
            if path.rpartition(".")[2] == wanted and value:
                return clean_text(value, _LIMIT)
    return ""


def model_change(rollout: Rollout) -> ModelChange:
    """What the rollout changes, from the specs that its record holds."""
    stable, candidate = rollout.stable_spec, rollout.candidate_spec
    old, new = model_of(stable, rollout.component), model_of(candidate, rollout.component)
    if stable is None or candidate is None:
        return ModelChange(old, new, (), known=False)
    before, after = (dict(_leaves(_part(spec, rollout.component))) for spec in (stable, candidate))
    fields = sorted({*before, *after}, key=_by_importance)
    changes = tuple(
        FieldChange(each, clean_text(before.get(each, ""), _LIMIT), clean_text(after.get(each, ""), _LIMIT))
        for each in fields
        if before.get(each) != after.get(each)
    )
    return ModelChange(old, new, changes, known=True)


def released_by_text(rollout: Rollout) -> str:
    """Who released the candidate: the author that an annotation names, the field manager of the spec; "" if unknown."""
    return clean_text(rollout.progress.released_by, _LIMIT)


def _part(spec: Mapping[str, Any] | None, component: Component) -> Mapping[str, Any]:
    """The component's part: an endpoint of v1alpha2 holds its components by name, a component of v1beta1 is it."""
    if not isinstance(spec, Mapping):
        return {}
    inner = spec.get(component.value)
    return inner if isinstance(inner, Mapping) else spec


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a spec by path, each as one line; ``args`` and ``command`` as one field, ``env`` by name."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name not in _NOISE or not isinstance(each, str | int | type(None)):
                yield from _leaves(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        if all(isinstance(each, Mapping) and isinstance(each.get("name"), str) for each in value):
            for each in value:
                yield from _leaves({k: v for k, v in each.items() if k != "name"}, f"{path}[{each['name']}]")
        elif all(not isinstance(each, Mapping | list) for each in value):
            yield path, " ".join(map(_scalar, value))
        else:
            for index, each in enumerate(value):
                yield from _leaves(each, f"{path}[{index}]")
    elif value is not None:
        yield path, _scalar(value)


def _scalar(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _by_importance(path: str) -> tuple[int, str]:
    name = path.rpartition(".")[2]
    parts = path.split(".")
    if name in _IDENTITY:
        return _IDENTITY.index(name), path
    if parts[0] in _FRAMEWORKS or "args" in parts:
        return len(_IDENTITY), path
    return len(_IDENTITY) + 1, path
