"""``autocanary version``."""

from __future__ import annotations

from autocanary import __version__
from autocanary.cli import printing

__all__ = ["version"]


def version() -> None:
    """Print the version."""
    printing.say(__version__)
