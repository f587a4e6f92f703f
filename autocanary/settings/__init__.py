"""What the service is told when it starts: flags over environment (``AUTOCANARY_…``) over a YAML file.

Lives here: ``table`` (every setting, its type and default), ``values`` (how each is read from text),
``file`` (the YAML file), ``loading`` (all of it together), ``sentences`` (what is wrong, in words).
Must never be here: the content of a secret's file. Secrets are paths (``…_FILE``); whoever uses one reads
the file at that moment, so that a rotated secret is picked up, and no error or log can contain it. Two
values may hold secrets besides, ``prometheus_headers`` and ``webhook_url``; they are never printed. A value
is repeated in an error only where it cannot be a secret. Only ``table`` knows pydantic-settings.
"""

from __future__ import annotations

from autocanary.settings.loading import load, unknown_variables
from autocanary.settings.sentences import PREFIX, flag_of
from autocanary.settings.table import Settings
from autocanary.settings.values import ClusterAccess, Listen

__all__ = ["PREFIX", "ClusterAccess", "Listen", "Settings", "flag_of", "load", "unknown_variables"]
