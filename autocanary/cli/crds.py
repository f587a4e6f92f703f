"""``autocanary crds``."""

from __future__ import annotations

import sys

__all__ = ["crds"]


def crds() -> None:
    """Print the CustomResourceDefinitions, as in `autocanary crds | kubectl apply -f -`."""
    from autocanary.kube.crds import manifest

    sys.stdout.write(manifest())
