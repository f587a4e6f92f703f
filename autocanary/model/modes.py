"""In which of KServe's deployment modes nothing can be rolled out, and what would work instead."""

from __future__ import annotations

from autocanary.model.observation import Mode, Observation, Trinary

__all__ = ["unsupported"]

_INSTEAD = (
    "what works is the Knative mode: create the service anew with the annotation "
    "serving.kserve.io/deploymentMode: Knative (KServe does not let a service change its mode)"
)


def unsupported(seen: Observation) -> str:
    """Why this service has no revisions to split traffic between, as a sentence; "" where it may have.

    A KServe before 0.15.1 does not write down the mode that an installation has by default; there a service
    that is ready and has no revision is told from one in Knative mode, which has.
    """
    if seen.mode is Mode.STANDARD:
        return (
            f"{seen.key} runs in KServe's Standard (RawDeployment) mode, where canaryTrafficPercent splits "
            f"no traffic and autocanary does not drive spec.canary; {_INSTEAD}"
        )
    if seen.mode is Mode.MODELMESH:
        return f"{seen.key} runs in KServe's ModelMesh mode, which makes no revisions; {_INSTEAD}"
    ready = seen.service_ready is Trinary.TRUE and not seen.created
    if seen.mode is Mode.UNKNOWN and ready and seen.beside is None:
        return (
            f"KServe says that {seen.key} is ready and names no revision of it, as in its Standard "
            f"(RawDeployment) mode, where canaryTrafficPercent splits no traffic; {_INSTEAD}"
        )
    return ""
