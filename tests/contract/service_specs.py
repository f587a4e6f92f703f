"""What differs between the API generations: how a service and its second version are written, what its revisions
are called, and what its status says at the moments that the contract's tests look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autocanary.model.observation import Observation

__all__ = ["FORMS", "KFSERVING", "KSERVE", "KUBEFLOW", "ManifestFormat"]


class ManifestFormat(Protocol):
    """``present`` is the object as it is now, None before it was made."""

    api_version: str

    unstaged: int | None
    """The weight of a release that was not staged: it must have everything as soon as it is ready."""

    put_back_at_0: tuple[int | None, str]
    """The weight that is there when stable's spec was put back at 0, and who wrote it."""

    def revision(self, number: int, name: str) -> str:
        """The revision of the n-th version that is applied."""
        ...

    def promoted(self, number: int, name: str) -> str:
        """The revision that serves the n-th version once it is stable."""
        ...

    def restored(self, name: str) -> str:
        """The revision that serves stable's spec after it was put back in the place of a second version."""
        ...

    def previous(self, revision: str) -> str:
        """What the status says was stable before, when this was."""
        ...

    def while_starting(self, stable: str) -> Mapping[str, int]:
        """The status' traffic while the newest revision is not ready and nothing has been given to it."""
        ...

    def at_100(self, stable: str, candidate: str) -> dict[str, Any]:
        """What is seen of a candidate at 100 %, before anything is finalized."""
        ...

    def without_weight(self, stable: str, candidate: str) -> dict[str, Any]:
        """What is seen after a user removed the weight of a candidate that is ready."""
        ...

    def manifest(
        self,
        backend: tuple[str, str],
        uri: str,
        weight: int | None,
        model: Mapping[str, Any],
        present: Mapping[str, Any] | None,
    ) -> dict[str, Any]: ...

    def predictor_patch(self, change: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
        """A patch of the newest version's predictor, in which the weight stands too."""
        ...

    def uri_of(self, observation: Observation) -> str: ...


class _V1Beta1Format:
    """The new version replaces the old one in the spec."""

    def __init__(self, group: str) -> None:
        self.api_version = f"{group}/v1beta1"

    unstaged: int | None = None
    put_back_at_0: tuple[int | None, str] = (0, "autocanary")

    def revision(self, number: int, name: str) -> str:
        return f"{name}-predictor-{number:05d}"

    def promoted(self, number: int, name: str) -> str:
        return self.revision(number, name)

    def restored(self, name: str) -> str:
        return self.revision(3, name)

    def previous(self, revision: str) -> str:
        return revision

    def while_starting(self, stable: str) -> Mapping[str, int]:
        return {stable: 100}

    def at_100(self, stable: str, candidate: str) -> dict[str, Any]:
        return {"weight": 100, "rolled_out": candidate, "previous": stable, "traffic": {candidate: 100}}

    def without_weight(self, stable: str, candidate: str) -> dict[str, Any]:
        return {**self.at_100(stable, candidate), "weight": None}

    def manifest(
        self,
        backend: tuple[str, str],
        uri: str,
        weight: int | None,
        model: Mapping[str, Any],
        present: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        predictor: dict[str, Any] = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri, **model}}
        if weight is not None:
            predictor["canaryTrafficPercent"] = weight
        return _document(self.api_version, backend, {"predictor": predictor})

    def predictor_patch(self, change: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
        return {"spec": {"predictor": dict(change)}}

    def uri_of(self, observation: Observation) -> str:
        return str(observation.spec["model"]["storageUri"])


class _V1Alpha2Format:
    """The first version is default, every later one the canary beside it."""

    api_version = "serving.kubeflow.org/v1alpha2"
    unstaged: int | None = 100
    put_back_at_0: tuple[int | None, str] = (None, "")  # without a candidate there is no weight

    def revision(self, number: int, name: str) -> str:
        return f"{name}-predictor-default-00001" if number == 1 else f"{name}-predictor-canary-{number - 1:05d}"

    def promoted(self, number: int, name: str) -> str:
        return f"{name}-predictor-default-{number:05d}"

    def restored(self, name: str) -> str:
        return self.revision(1, name)

    def previous(self, revision: str) -> str:
        return ""  # the status has no such entry

    def while_starting(self, stable: str) -> Mapping[str, int]:
        return {}  # the status has no split then

    def at_100(self, stable: str, candidate: str) -> dict[str, Any]:
        traffic = {stable: 0, candidate: 100}
        return {"weight": 100, "rolled_out": stable, "previous": "", "traffic": traffic}

    def without_weight(self, stable: str, candidate: str) -> dict[str, Any]:
        return {"weight": 0, "rolled_out": stable, "previous": "", "traffic": {stable: 100, candidate: 0}}

    def manifest(
        self,
        backend: tuple[str, str],
        uri: str,
        weight: int | None,
        model: Mapping[str, Any],
        present: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        endpoint = {"predictor": {"sklearn": {"storageUri": uri, **model}}}
        if present is None:
            return _document(self.api_version, backend, {"default": endpoint})
        spec = {"default": present["spec"]["default"], "canary": endpoint}
        if weight is not None:
            spec["canaryTrafficPercent"] = weight
        return _document(self.api_version, backend, spec)

    def predictor_patch(self, change: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
        weight = {name: value for name, value in change.items() if name == "canaryTrafficPercent"}
        rest = {name: value for name, value in change.items() if name not in weight}
        side = "canary" if "canary" in present["spec"] else "default"
        return {"spec": weight | ({side: {"predictor": rest}} if rest else {})}

    def uri_of(self, observation: Observation) -> str:
        return str(observation.spec["predictor"]["sklearn"]["storageUri"])


def _document(api_version: str, backend: tuple[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": "InferenceService",
        "metadata": {"name": backend[1], "namespace": backend[0]},
        "spec": spec,
    }


KSERVE: ManifestFormat = _V1Beta1Format("serving.kserve.io")
KUBEFLOW: ManifestFormat = _V1Beta1Format("serving.kubeflow.org")
"""KFServing's 0.5 and 0.6."""
KFSERVING: ManifestFormat = _V1Alpha2Format()
"""KFServing's up to 0.4."""
FORMS = {"kfserving": KFSERVING, "kubeflow": KUBEFLOW}
"""By the definition that a world has; KServe's own are minimal and full."""
