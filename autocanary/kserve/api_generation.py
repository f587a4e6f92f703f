"""What every API generation of the InferenceService must be able to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import Observation

__all__ = ["ApiResource", "Dialect"]


@dataclass(frozen=True, slots=True)
class ApiResource:
    """Where an API server has the InferenceServices of one generation."""

    group: str
    version: str
    plural: str = "inferenceservices"
    author_annotation: str = ""
    """The annotation of a service that names the author of its spec; "": none does."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


class Dialect(Protocol):
    """Translates one API generation's documents; holds no state and does no I/O.

    ``observe`` gives one observation per component present in the document's spec, and none for a document
    without components; it never raises for what the API server accepts. The patches are JSON merge-patches
    (RFC 7386) with ``resourceVersion`` and ``uid`` inside, so that they are refused when the object has
    moved on or been replaced; weights outside 0..100 are a ValueError, because KServe answers them with
    200 and then stops reconciling. ``finalize_patch`` is the next write towards the candidate being stable
    itself; ValueError when there is none to make (see ``Observation.promotion_pending``). ``release_patch``
    applies a spec as a new candidate at weight 0. ``routes`` are Knative's, as far as the document's status names them.
    """

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def api_version(self) -> str: ...

    def observe(self, document: Mapping[str, Any]) -> tuple[Observation, ...]: ...
    def weight_patch(self, observation: Observation, weight: int) -> dict[str, Any]: ...
    def restore_patch(
        self, observation: Observation, spec: Mapping[str, Any], weight: int | None
    ) -> dict[str, Any]: ...
    def release_patch(self, observation: Observation, spec: Mapping[str, Any]) -> dict[str, Any]: ...
    def finalize_patch(self, observation: Observation) -> dict[str, Any]: ...
    def routes(self, document: Mapping[str, Any]) -> tuple[Route, ...]: ...
