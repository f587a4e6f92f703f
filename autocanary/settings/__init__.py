"""The service's settings: flags over environment (``AUTOCANARY_…``) over a YAML file.

Must never be here: the content of a secret's file. Secrets are paths (``…_FILE``); the code that uses one
reads the file at that moment, so that a rotated secret is picked up, and no error or log can contain it. Two
values may hold secrets besides, ``prometheus_headers`` (also of ``prometheus_servers``) and ``webhook_url``; they
are never printed.
"""

from __future__ import annotations

from autocanary.settings.fields import Settings
from autocanary.settings.load_settings import load, unknown_variables
from autocanary.settings.prometheus_servers import PrometheusServer
from autocanary.settings.value_types import ENV_PREFIX, ClusterAccess, HostPort, flag_of
from autocanary.settings.web_credentials import WebCredentials

__all__ = [
    "ENV_PREFIX",
    "ClusterAccess",
    "HostPort",
    "PrometheusServer",
    "Settings",
    "WebCredentials",
    "flag_of",
    "load",
    "unknown_variables",
]
