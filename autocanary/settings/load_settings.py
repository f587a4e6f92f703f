"""The settings from everywhere, and what the environment holds that is none of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from autocanary.errors import SettingsError
from autocanary.settings.fields import Settings
from autocanary.settings.value_types import ENV_PREFIX, describe_error, did_you_mean

__all__ = ["load", "unknown_variables"]

# What Kubernetes puts into every pod for a Service whose name is, or begins with, "autocanary".
_SERVICE_LINK = re.compile(
    r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"(?:.+_)?PORT")
_PORT_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


def load(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings from ``flags`` (by field name; None: not set), environment and file.

    Raises SettingsError with one sentence for each problem.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        sentences = [describe_error(fault, given) for fault in error.errors(include_url=False, include_input=False)]
        raise SettingsError("\n".join(sentences)) from None  # the cause holds the values, secrets too


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each ``AUTOCANARY_…`` variable that is no setting; values are never repeated.

    Kubernetes' service links (``AUTOCANARY_SERVICE_HOST`` and the like) are not a mistake.
    """
    known = {name.upper() for name in Settings.model_fields}
    given = {each: each.upper().removeprefix(ENV_PREFIX) for each in environ if each.upper().startswith(ENV_PREFIX)}
    return tuple(
        f"{variable} is not a setting and has no effect{did_you_mean(name, known, ENV_PREFIX)}"
        for variable, name in sorted(given.items())
        if name not in known and not _is_service_link(name, environ[variable])
    )


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return bool(_SERVICE_PORT.fullmatch(name) and _PORT_VALUE.match(value))
