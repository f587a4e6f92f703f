"""How people write a service and its second version in each API generation, and what its revisions are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autocanary.core.observation import Observation

__all__ = ["KFSERVING", "KSERVE", "Form"]


class Form(Protocol):
    """``present`` is the object as it is now, None before it was made."""

    api_version: str

    def revision(self, number: int, name: str) -> str:
        """The revision of the n-th version that is applied."""
        ...

    def manifest(
        self,
        place: tuple[str, str],
        uri: str,
        weight: int | None,
        model: Mapping[str, Any],
        present: Mapping[str, Any] | None,
    ) -> dict[str, Any]: ...

    def predictor_patch(self, change: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
        """A patch of the newest version's predictor, in which the weight stands too."""
        ...

    def uri_of(self, seen: Observation) -> str: ...


class _InPlace:
    """The new version replaces the old one in the spec."""

    api_version = "serving.kserve.io/v1beta1"

    def revision(self, number: int, name: str) -> str:
        return f"{name}-predictor-{number:05d}"

    def manifest(
        self,
        place: tuple[str, str],
        uri: str,
        weight: int | None,
        model: Mapping[str, Any],
        present: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        predictor: dict[str, Any] = {
            "model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri, **model}
        }
        if weight is not None:
            predictor["canaryTrafficPercent"] = weight
        return _document(self.api_version, place, {"predictor": predictor})

    def predictor_patch(self, change: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
        return {"spec": {"predictor": dict(change)}}

    def uri_of(self, seen: Observation) -> str:
        return str(seen.spec["model"]["storageUri"])


class _Beside:
    """The first version is default, every later one the canary beside it."""

    api_version = "serving.kubeflow.org/v1alpha2"

    def revision(self, number: int, name: str) -> str:
        return (
            f"{name}-predictor-default-00001" if number == 1 else f"{name}-predictor-canary-{number - 1:05d}"
        )

    def manifest(
        self,
        place: tuple[str, str],
        uri: str,
        weight: int | None,
        model: Mapping[str, Any],
        present: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        endpoint = {"predictor": {"sklearn": {"storageUri": uri, **model}}}
        if present is None:
            return _document(self.api_version, place, {"default": endpoint})
        spec = {"default": present["spec"]["default"], "canary": endpoint}
        if weight is not None:
            spec["canaryTrafficPercent"] = weight
        return _document(self.api_version, place, spec)

    def predictor_patch(self, change: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
        weight = {name: value for name, value in change.items() if name == "canaryTrafficPercent"}
        rest = {name: value for name, value in change.items() if name not in weight}
        side = "canary" if "canary" in present["spec"] else "default"
        return {"spec": weight | ({side: {"predictor": rest}} if rest else {})}

    def uri_of(self, seen: Observation) -> str:
        return str(seen.spec["predictor"]["sklearn"]["storageUri"])


def _document(api_version: str, place: tuple[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": "InferenceService",
        "metadata": {"name": place[1], "namespace": place[0]},
        "spec": spec,
    }


KSERVE: Form = _InPlace()
KFSERVING: Form = _Beside()
