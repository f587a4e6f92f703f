"""What the API server can answer, at every call that autocanary makes: the table that the tests are made from.

``tests/controller/test_api_matrix.py`` runs every cell in the simulated world, ``tests/real/test_api_faults.py``
those that a proxy in front of a real server can bring about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autocanary.errors import (
    AlreadyExists,
    AutocanaryError,
    Busy,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Unreachable,
)

__all__ = ["CALLS", "FAULTS", "READS", "ApiCall", "ApiFault", "rows", "title"]

title = "Faults of the API server"


@dataclass(frozen=True)
class ApiFault:
    """``error`` is what our own code makes of it; ``status`` 0 is an answer that is lost after the deed."""

    name: str
    error: Callable[[], AutocanaryError]
    status: int
    reason: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, name: str, *, create: bool = False) -> bytes:
        """The Status document that a real server would send."""
        reason = "AlreadyExists" if create and self.status == 409 else self.reason
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": reason,
            "details": {"name": name},
            "code": self.status,
        }
        return json.dumps(document).encode()

    def at(self, call: str) -> AutocanaryError:
        """The error at one call: what a create meets with 409 is an object, not a version."""
        if self.status == 409 and call == "create":
            return AlreadyExists("it exists", status=409)
        return self.error()


FAULTS: tuple[ApiFault, ...] = (
    ApiFault(
        "409",
        lambda: Conflict("the object has been modified", status=409),
        409,
        "Conflict",
        "the object has been modified; please apply your changes to the latest version",
    ),
    ApiFault(
        "429 with Retry-After",
        lambda: Busy("too many requests", status=429, retry_after=1.0),
        429,
        "TooManyRequests",
        "too many requests, please try again later",
        {"Retry-After": "1"},
    ),
    ApiFault(
        "500",
        lambda: Busy("etcdserver: request timed out", status=500),
        500,
        "InternalError",
        "etcdserver: request timed out",
    ),
    ApiFault(
        "503",
        lambda: Busy("apiserver is shutting down", status=503),
        503,
        "ServiceUnavailable",
        "apiserver is shutting down",
    ),
    ApiFault(
        "webhook refuses",
        lambda: Refused("an admission webhook denied the request", status=422),
        403,
        "Forbidden",
        'admission webhook "guard.example.com" denied the request: not now',
    ),
    ApiFault("403", lambda: Forbidden("no right", status=403), 403, "Forbidden", "the service account cannot do it"),
    ApiFault("404", lambda: NotFound("not found", status=404), 404, "NotFound", "it is not found"),
    ApiFault("applied, answer lost", lambda: Unreachable("read timed out"), 0),
)

UNCHANGED_OUTCOME = "same weights, same end, each notified once"
RESTARTED_OUTCOME = "same weights, same end; adopted again, notified with the same ids"


@dataclass(frozen=True)
class ApiCall:
    """``verb`` as the simulated ports name it; ``scenario`` makes it; ``real`` is its name in the real test."""

    name: str
    verb: str
    scenario: str
    real: str = ""
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def expected(self, fault: ApiFault) -> str:
        return self.exceptions.get(fault.name, UNCHANGED_OUTCOME)


CALLS: tuple[ApiCall, ...] = (
    ApiCall("patch the weight", "weight", "unstaged", "patch"),
    ApiCall("patch stable's spec back", "restore", "escalated"),
    ApiCall("create a CanaryRollout", "create", "unstaged", "create"),
    ApiCall("update its status", "update_status", "unstaged", "status", {"404": RESTARTED_OUTCOME}),
    ApiCall("delete the oldest", "delete", "pruned", "", {}),
    ApiCall("get a service after a conflict", "refresh", "unstaged"),
    ApiCall("get a rollout after a conflict", "read", "unstaged", "", {"404": RESTARTED_OUTCOME}),
)
READS: tuple[tuple[str, str, str], ...] = (
    ("half-open watch", "watch", "found by the next list, within a minute"),
    ("410 Gone", "watch", "listed again at once; same weights, same end"),
    (
        "slow list",
        "list",
        "waits, or tries again; nothing is decided before it is whole; same weights, same end",
    ),
    ("server killed, restarted on the same etcd", "all", "held meanwhile; same weights, same end"),
    ("webhook refuses (ValidatingAdmissionPolicy)", "patch the weight", "held and notified until it allows it"),
    ("429, 500, 503, 403, lost answer", "create an Event", "same end; notified once when it answers again"),
    ("409, 404, webhook refuses", "create an Event", "same end; counts as notified, or is given up and logged"),
    ("429, 500, 503, 403, lost answer", "get, create, update the Lease", "leads when it answers again"),
)


def rows() -> list[tuple[str, ...]]:
    """Fault, call, what is expected."""
    head: list[tuple[str, ...]] = [("fault", "call", "expected")]
    cells = [(fault.name, call.name, call.expected(fault)) for call in CALLS for fault in FAULTS]
    return [*head, *cells, *READS]
