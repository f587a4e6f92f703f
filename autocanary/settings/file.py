"""The YAML file that the flag or the environment names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from autocanary.errors import SettingsError
from autocanary.settings.sentences import nearest

__all__ = ["read"]


def read(path: Path, known: Collection[str]) -> dict[str, Any]:
    """What the file gives of the settings that are ``known``; SettingsError says where it is wrong."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: the settings file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: the settings file is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SettingsError(f"{place}: the settings file is not valid YAML") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: expected settings as 'name: value', one a line")
    for name in document:
        if name not in known:
            raise SettingsError(f"{path}: {name!r} is not a setting{nearest(str(name), known)}")
    return {name: value for name, value in document.items() if value is not None}
