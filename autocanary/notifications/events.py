"""Kubernetes Events, written by whoever owns the API server; here they are one more channel."""

from __future__ import annotations

from collections.abc import Callable

from autocanary.errors import AutocanaryError, ClusterError, DeliveryError
from autocanary.ports import Message

__all__ = ["KubernetesEvents"]


class KubernetesEvents:
    """Channel ``kubernetes-events``: ``write`` makes the Event and raises ClusterError or NotLeader."""

    name = "kubernetes-events"

    def __init__(self, write: Callable[[Message], None]) -> None:
        self._write = write

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - `kubectl describe` must tell the whole story
        return True

    def send(self, message: Message) -> None:
        try:
            self._write(message)
        except DeliveryError:
            raise
        except ClusterError as error:
            raise DeliveryError(str(error), retry_after=error.retry_after) from error
        except AutocanaryError as error:
            raise DeliveryError(str(error)) from error
