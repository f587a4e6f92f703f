"""Answers and network failures of the API server as our own errors, each one sentence.

=====================================  ============================================================
no answer, or not the API server's     Unreachable
408, 429, 5xx                          Busy, with Retry-After
409 AlreadyExists / other 409          AlreadyExists / Conflict
410, and 422 for another uid           Conflict: the list, or the object, is not the one that was read
404                                    NotFound; KindMissing when nothing serves such objects
401, 403                               Forbidden
403 of admission or a dying namespace  Refused: more rights would not help
KFServing 0.5's, of a v1alpha2 weight  CanaryUnsupported: the same, for every weight
400, 415, 422 and any other            Refused
=====================================  ============================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kubernetes.client import ApiException
from urllib3 import exceptions as urllib3_errors

from autocanary.errors import (
    AlreadyExists,
    Busy,
    CanaryUnsupported,
    ClusterError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Unreachable,
)
from autocanary.kserve.v1alpha2 import NO_CANARIES, NO_SUCH_CANARY

__all__ = ["NETWORK_ERRORS", "TLS_ERRORS", "KindMissing", "no_answer", "not_json", "one_line", "refusal"]

NETWORK_ERRORS = (urllib3_errors.HTTPError, ApiException, OSError, ValueError)
"""All that the HTTP stack raises when no answer comes; ValueError is http.client's for unusable headers."""

TLS_ERRORS = (urllib3_errors.SSLError, ApiException)
"""Of these, the ones that new certificates may end; the library turns SSLError into an ApiException."""

_LONGEST = 300
_OURS = "autocanary.dev"
_KSERVE = ("serving.kserve.io", "serving.kubeflow.org")
_DENIED = ("denied the request", "denied request")  # a webhook's words, and an admission policy's


class KindMissing(NotFound):
    """A 404 that names no object is about the path: nothing serves this kind of resource."""


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, doing: str, group: str, server: str
) -> ClusterError:
    """The error for an answer other than 2xx; ``doing`` is what was tried: "patch CanaryRollout ml/a"."""
    told = _status(body)
    if told is None and 300 <= status < 400:
        return Unreachable(
            f"{server} answered {status} and sends us on to {one_line(headers.get('Location', 'nowhere'))}; "
            "it is not an API server, check the kubeconfig's server and any proxy in between",
            status=status,
        )
    message = one_line(told.get("message") or "") if told else _foreign(body)
    message = message or f"the API server answered {status}"
    reason = (told or {}).get("reason") or ""
    sentence = f"cannot {doing}: {message}"
    if NO_SUCH_CANARY in message:
        return CanaryUnsupported(f"cannot {doing}: {NO_CANARIES}", status=status)
    if status in (401, 403):
        return _forbidden(status, sentence, message, told)
    if status == 404:
        if told is not None and (told.get("details") or {}).get("name"):
            return NotFound(sentence, status=404)
        return KindMissing(_missing(doing, group, message), status=404)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(sentence, status=409)
    if status in (409, 410) or (status == 422 and "metadata.uid" in message):
        return Conflict(sentence, status=status)
    if status in (408, 429) or status >= 500:
        return Busy(sentence, status=status, retry_after=_seconds(headers.get("Retry-After")))
    return Refused(sentence, status=status)


def _status(body: bytes) -> dict[str, Any] | None:
    """The Kubernetes ``Status`` in an answer, None when it is something else's page."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    return told if isinstance(told, dict) and told.get("kind") == "Status" else None


def _foreign(body: bytes) -> str:
    text = body[: 4 * _LONGEST].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        return "the answer is a web page, not the API server's"
    return one_line(text)


def _forbidden(status: int, sentence: str, message: str, told: dict[str, Any] | None) -> ClusterError:
    causes = ((told or {}).get("details") or {}).get("causes") or ()
    if any(words in message for words in _DENIED) or any(
        each.get("reason") == "NamespaceTerminating" for each in causes
    ):
        return Refused(sentence, status=status)
    if status == 401:
        return Forbidden(
            f"{sentence}: the API server does not accept the credentials; they may have expired", status=401
        )
    return Forbidden(f"{sentence}; grant it with the chart's roles", status=403)


def _missing(doing: str, group: str, message: str) -> str:
    if group == _OURS:
        return (
            f"cannot {doing}: autocanary's CustomResourceDefinitions are not installed; "
            "install them with `autocanary crds | kubectl apply -f -`"
        )
    if group in _KSERVE:
        return f"cannot {doing}: this cluster serves no InferenceServices of {group}; is KServe installed?"
    return f"cannot {doing}: {message}"


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:  # a date, which no API server sends
        return None
    return seconds if 0 <= seconds < float("inf") else None


def not_json(body: bytes, *, doing: str, server: str) -> ClusterError:
    """For a 200 that is not the API server's: a login page, a proxy's greeting."""
    return Unreachable(
        f"cannot {doing}: {server} answered with something that is not JSON "
        f"({_foreign(body)[:80] or 'nothing'}); check the kubeconfig's server and any proxy in between"
    )


def no_answer(error: Exception, *, server: str) -> ClusterError:
    """The error for a call without an answer."""
    why, hint = _why(error)
    return Unreachable(f"cannot reach the API server at {server}: {why}; check {hint}")


def _why(error: Exception) -> tuple[str, str]:
    running = "that it runs and that this is the right kubeconfig and context"
    if isinstance(error, urllib3_errors.MaxRetryError) and isinstance(error.reason, Exception):
        return _why(error.reason)
    if isinstance(error, urllib3_errors.ProxyError):
        return (
            f"the proxy does not answer ({_cause(error)})",
            "HTTPS_PROXY, NO_PROXY and the kubeconfig's proxy-url",
        )
    if isinstance(error, TLS_ERRORS):
        return f"TLS failed ({_tls(error)})", "the kubeconfig's certificate-authority and client certificate"
    if isinstance(error, urllib3_errors.NameResolutionError):
        return "its name cannot be resolved", "the server's name in the kubeconfig, and DNS"
    if isinstance(error, urllib3_errors.NewConnectionError):
        return _cause(error), running
    if isinstance(error, urllib3_errors.ConnectTimeoutError):
        return "no connection in time", "the network and firewalls in between"
    if isinstance(error, (urllib3_errors.TimeoutError, TimeoutError)):
        return "no answer in time", "the API server's load and the network"
    if isinstance(error, (urllib3_errors.ProtocolError, OSError)):
        return f"the connection was cut ({_cause(error)})", running
    if isinstance(error, ValueError):
        # http.client puts the header's value, hence the token, into its message.
        return (
            "the request cannot be sent",
            "that the token and the server's address hold no stray characters",
        )
    return one_line(str(error)), running


def _cause(error: BaseException) -> str:
    text = one_line(str(error).rsplit(": ", 1)[-1]).strip("()'\" ,")
    text = text.split("] ", 1)[-1]
    return text[:1].lower() + text[1:] if text else type(error).__name__


def _tls(error: Exception) -> str:
    text = error.reason if isinstance(error, ApiException) else str(error)
    text = one_line(str(text)).removeprefix("SSLError ")
    if "certificate verify failed" in text:
        detail = text.split("certificate verify failed", 1)[1].split("(_ssl")[0].strip(" :'\"")
        return f"certificate verify failed: {detail}" if detail else "certificate verify failed"
    return text


def one_line(text: str) -> str:
    """Trimmed to one line that fits a log or a condition."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
