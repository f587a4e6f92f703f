"""Every error that autocanary raises on purpose, in one tree.

::

    AutocanaryError                 something for users to read; never a traceback
    ├── InputError                  what a user wrote is wrong: policy, setting, argument, request
    │   ├── PolicyError             a policy document; carries every Problem found, with file:line:column
    │   └── SettingsError           a flag, environment variable or settings file
    ├── ClusterError                the Kubernetes API server
    │   ├── Unreachable             no answer: refused, timed out, cut, name not resolved
    │   ├── Busy                    429, 500, 502, 503, 504: an answer, but "not now"
    │   ├── Conflict                409: the object has moved on since it was read; read again, decide again
    │   ├── AlreadyExists           409 on create
    │   ├── NotFound                404: the object, or its CustomResourceDefinition, is gone
    │   ├── Forbidden               401 or 403: the credentials may not do this
    │   └── Refused                 400, 415, 422, or an admission webhook's no: the same call will fail again
    │       └── CanaryUnsupported   KFServing 0.5 and 0.6, of a weight in the generation before theirs
    ├── MetricsError                Prometheus
    │   ├── MetricsUnreachable      no answer, or one that is not Prometheus (a login page)
    │   └── MetricsRefused          Prometheus understood the query and refuses it
    ├── DeliveryError               a notification or webhook could not be delivered
    └── NotLeader                   a write was asked for without (or after) leadership

Foreign exceptions are translated once, in the module that owns the library; the cause is chained.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AlreadyExists",
    "AutocanaryError",
    "Busy",
    "CanaryUnsupported",
    "ClusterError",
    "Conflict",
    "DeliveryError",
    "Forbidden",
    "InputError",
    "MetricsError",
    "MetricsRefused",
    "MetricsUnreachable",
    "NotFound",
    "NotLeader",
    "PolicyError",
    "Problem",
    "Refused",
    "SettingsError",
    "Unreachable",
]


class AutocanaryError(Exception):
    """Base of all: ``str()`` of it is one sentence that says what is wrong, where, and what to do."""


class InputError(AutocanaryError):
    """What a user wrote is wrong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a document: where it is and what to do about it.

    ``line`` and ``column`` count from 1; 0 means that the place is not known (a custom resource).
    """

    source: str
    line: int
    column: int
    message: str
    hint: str = ""
    severity: str = "error"  # "error" | "warning"

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        kind = "" if self.severity == "error" else f"{self.severity}: "
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}: {kind}{self.message}{hint}"


class PolicyError(InputError):
    """A policy document is invalid; ``problems`` holds every fault found in it, in document order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SettingsError(InputError):
    """A flag, an environment variable or the settings file is wrong."""


class ClusterError(AutocanaryError):
    """The Kubernetes API server did not do what was asked.

    ``status`` is the HTTP status (0 when there was no answer); ``retry_after`` is in seconds, when the
    server named one.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class Unreachable(ClusterError):
    """No answer: the connection was refused, timed out or cut. A write may or may not have happened."""


class Busy(ClusterError):
    """The API server answered "not now" (429, 500, 502, 503, 504); also a failing webhook's 500."""


class Conflict(ClusterError):
    """The object was changed since it was read."""


class AlreadyExists(ClusterError):
    """An object of that name is there already."""


class NotFound(ClusterError):
    """The object, its namespace or its CustomResourceDefinition does not exist."""


class Forbidden(ClusterError):
    """The credentials are missing, expired or lack a right."""


class Refused(ClusterError):
    """The API server or an admission webhook rejects the request itself."""


class CanaryUnsupported(Refused):
    """What serves the InferenceService knows canaries in another API version only."""


class MetricsError(AutocanaryError):
    """Prometheus did not answer the query."""


class MetricsUnreachable(MetricsError):
    """No answer from Prometheus, or an answer that is not Prometheus'."""


class MetricsRefused(MetricsError):
    """Prometheus refuses the query: it does not parse, or asks for too much."""


class DeliveryError(AutocanaryError):
    """A message or webhook could not be delivered.

    ``channel_message_id`` is what a channel has of it all the same, as in ``ports.Delivery``.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, channel_message_id: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.channel_message_id = channel_message_id


class NotLeader(AutocanaryError):
    """This instance is not (or is no longer safely) the leader, so it must not write."""
