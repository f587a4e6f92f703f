"""The definitions of our own resources, as they are shipped: with the chart, and inside the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from autocanary.errors import SettingsError

__all__ = ["definitions", "manifest"]

_HERE = Path(__file__).resolve().parent
# In the wheel they lie beside this module; in a source checkout the chart's own files are used.
_SEARCH_DIRS = (_HERE / "definitions", _HERE.parent.parent / "charts" / "autocanary" / "crds")


def manifest() -> str:
    """All of them as one stream of YAML documents, for ``kubectl apply -f -``."""
    texts = [path.read_text(encoding="utf-8").removeprefix("---\n") for path in _files()]
    return "".join(f"---\n{text}" for text in texts)


def definitions() -> list[dict[str, Any]]:
    """All of them as documents."""
    return [document for document in yaml.safe_load_all(manifest()) if document]


def _files() -> list[Path]:
    for place in _SEARCH_DIRS:
        if files := sorted(place.glob("*.yaml")):
            return files
    raise SettingsError(
        "this installation of autocanary lacks its CustomResourceDefinitions "
        f"(looked in {_SEARCH_DIRS[0]}); reinstall it"
    )
