"""Links that messages hold: the permalink to the page of a rollout, and the runbook for a reason."""

from __future__ import annotations

from string import Formatter
from urllib.parse import quote

__all__ = ["PLACEHOLDERS", "page_link", "runbook_link", "unknown_placeholder"]

PLACEHOLDERS = ("namespace", "service", "rollout", "reason")
"""What a URL of the settings may hold in braces; each is filled in percent-encoded."""


def unknown_placeholder(template: str) -> str | None:
    """What is wrong with the braces of a template, in words; None when nothing is."""
    try:
        names = [
            f"{name}:{form}" if form else name for _, name, form, _ in Formatter().parse(template) if name is not None
        ]
    except ValueError as error:
        return str(error)
    for name in names:
        if name not in PLACEHOLDERS:
            return f"{{{name}}} is none of {', '.join(f'{{{each}}}' for each in PLACEHOLDERS)}"
    return None


def page_link(external_url: str, namespace: str, service: str, rollout: str, reason: str = "") -> str:
    """Where the page shows the rollout; "" without a URL. A URL without braces is where the page begins.

    >>> page_link("https://canary.example.com", "models", "mnist", "mnist-00002")
    'https://canary.example.com/rollouts/models/mnist-00002'
    """
    if not external_url:
        return ""
    if "{" in external_url:
        return _filled(external_url, namespace, service, rollout, reason)
    return f"{external_url.rstrip('/')}/rollouts/{quote(namespace, safe='')}/{quote(rollout, safe='')}"


def runbook_link(template: str, namespace: str, service: str, rollout: str, reason: str) -> str:
    """The runbook for this reason; "" without a template."""
    return _filled(template, namespace, service, rollout, reason) if template else ""


def _filled(template: str, namespace: str, service: str, rollout: str, reason: str) -> str:
    values = {"namespace": namespace, "service": service, "rollout": rollout, "reason": reason}
    return template.format(**{name: quote(value, safe="") for name, value in values.items()})
