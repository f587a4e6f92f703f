"""A secret in a file: read when it is used, so that a rotated one is picked up, and never quoted."""

from __future__ import annotations

import re
from pathlib import Path

from autocanary.errors import DeliveryError

__all__ = ["read_secret"]

_LONGEST = 65_536


def read_secret(path: Path, pattern: re.Pattern[str], expected: str) -> str:
    """The file's text without the white space around it, when the whole of it matches ``pattern``.

    Raises DeliveryError, to be tried again: a Secret is mounted, or put right, a moment later.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1).decode("utf-8").strip()
    except OSError as error:
        raise DeliveryError(f"{expected} cannot be read from {path} ({error.strerror or error})") from error
    except UnicodeDecodeError:
        # Not chained: the cause holds the file's bytes.
        raise DeliveryError(f"{expected} cannot be read from {path} (it is not text)") from None
    if len(text) > _LONGEST or not pattern.fullmatch(text):
        raise DeliveryError(f"{path} must hold {expected} and nothing else")
    return text
