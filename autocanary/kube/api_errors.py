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
from autocanary.kserve.v1alpha2 import CANARY_REFUSED_TEXT, CANARY_UNSUPPORTED_MESSAGE
from autocanary.kube.bounded_json import decode_document
from autocanary.model.foreign_text import clean_text
from autocanary.model.rollout_json import API_GROUP

__all__ = [
    "NETWORK_ERRORS",
    "TLS_ERRORS",
    "ResourceNotServed",
    "ResponseTooLong",
    "connection_error",
    "error_from_response",
    "invalid_response_error",
]

NETWORK_ERRORS = (urllib3_errors.HTTPError, ApiException, OSError, ValueError)
"""All that the HTTP stack raises when no answer comes; ValueError is http.client's for unusable headers."""

TLS_ERRORS = (urllib3_errors.SSLError, ApiException)
"""Of these, the ones that new certificates may end; the library turns SSLError into an ApiException."""

_MAX_BODY_BYTES = 1200  # of a page that is not the API server's
_KSERVE_GROUPS = ("serving.kserve.io", "serving.kubeflow.org")
_ADMISSION_PHRASES = ("denied the request", "denied request")  # a webhook's words, and an admission policy's


class ResourceNotServed(NotFound):
    """A 404 that names no object is about the path: nothing serves this kind of resource."""


class Undecodable(Unreachable):
    """JSON that is outside the bounds: an object that is too deep or too long."""


class ResponseTooLong(Unreachable):
    """An answer that was not read to its end, because it needs too much memory."""


def error_from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, action: str, group: str, server: str
) -> ClusterError:
    """The error for an answer other than 2xx; ``action`` is what was tried: "patch CanaryRollout ml/a"."""
    api_status = _parse_status(body)
    if api_status is None and 300 <= status < 400:
        return Unreachable(
            f"{server} answered {status} and sends us on to {clean_text(headers.get('Location', 'nowhere'))}; "
            "it is not an API server, check the kubeconfig's server and any proxy in between",
            status=status,
        )
    message = clean_text(str(api_status.get("message") or "")) if api_status else _describe_foreign_body(body)
    message = message or f"the API server answered {status}"
    reason = (api_status or {}).get("reason") or ""
    details = _details(api_status)
    sentence = f"cannot {action}: {message}"
    if CANARY_REFUSED_TEXT in message:
        return CanaryUnsupported(f"cannot {action}: {CANARY_UNSUPPORTED_MESSAGE}", status=status)
    if status in (401, 403):
        return _forbidden_error(status, sentence, message, details)
    if status == 404:
        if details.get("name"):
            return NotFound(sentence, status=404)
        return ResourceNotServed(_not_served_message(action, group, message), status=404)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(sentence, status=409)
    if status in (409, 410) or (status == 422 and "metadata.uid" in message):
        return Conflict(sentence, status=status)
    if status in (408, 429) or status >= 500:
        return Busy(sentence, status=status, retry_after=_parse_retry_after(headers.get("Retry-After")))
    return Refused(sentence, status=status)


def _parse_status(body: bytes) -> dict[str, Any] | None:
    """The Kubernetes ``Status`` in an answer, None when it is something else's page."""
    try:
        api_status = decode_document(body)
    except ValueError:
        return None
    return api_status if api_status.get("kind") == "Status" else None


def _describe_foreign_body(body: bytes) -> str:
    text = body[:_MAX_BODY_BYTES].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        return "the answer is a web page, not the API server's"
    return clean_text(text)


def _details(api_status: dict[str, Any] | None) -> dict[str, Any]:
    details = (api_status or {}).get("details")
    return details if isinstance(details, dict) else {}


def _forbidden_error(status: int, sentence: str, message: str, details: dict[str, Any]) -> ClusterError:
    causes = details.get("causes")
    if any(words in message for words in _ADMISSION_PHRASES) or any(
        isinstance(each, dict) and each.get("reason") == "NamespaceTerminating"
        for each in (causes if isinstance(causes, list) else ())
    ):
        return Refused(sentence, status=status)
    if status == 401:
        return Forbidden(
            f"{sentence}: the API server does not accept the credentials; they may have expired", status=401
        )
    return Forbidden(f"{sentence}; grant it with the chart's roles", status=403)


def _not_served_message(action: str, group: str, message: str) -> str:
    if group == API_GROUP:
        return (
            f"cannot {action}: autocanary's CustomResourceDefinitions are not installed; "
            "install them with `autocanary crds | kubectl apply -f -`"
        )
    if group in _KSERVE_GROUPS:
        return f"cannot {action}: this cluster serves no InferenceServices of {group}; is KServe installed?"
    return f"cannot {action}: {message}"


def _parse_retry_after(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:  # a date, which no API server sends
        return None
    return seconds if 0 <= seconds < float("inf") else None


def invalid_response_error(body: bytes, why: str, *, action: str, server: str) -> ClusterError:
    """For a 200 that cannot be used: a login page, a proxy's greeting, an object outside the bounds."""
    if body.lstrip()[:1] == b"{":
        return Undecodable(f"cannot {action}: the answer of {server} cannot be decoded: {why}")
    return Unreachable(
        f"cannot {action}: {server} answered with something that is not JSON "
        f"({_describe_foreign_body(body)[:80] or 'nothing'}); check the kubeconfig's server and any proxy in between"
    )


def connection_error(error: Exception, *, server: str) -> ClusterError:
    """The error for a call without an answer."""
    why, hint = _describe_network_error(error)
    return Unreachable(f"cannot reach the API server at {server}: {why}; check {hint}")


def _describe_network_error(error: Exception) -> tuple[str, str]:
    check_hint = "that it runs and that this is the right kubeconfig and context"
    if isinstance(error, urllib3_errors.MaxRetryError) and isinstance(error.reason, Exception):
        return _describe_network_error(error.reason)
    if isinstance(error, urllib3_errors.ProxyError):
        return (
            f"the proxy does not answer ({_describe_cause(error)})",
            "HTTPS_PROXY, NO_PROXY and the kubeconfig's proxy-url",
        )
    if isinstance(error, TLS_ERRORS):
        return (
            f"TLS failed ({_describe_tls_error(error)})",
            "the kubeconfig's certificate-authority and client certificate",
        )
    if isinstance(error, urllib3_errors.NameResolutionError):
        return "its name cannot be resolved", "the server's name in the kubeconfig, and DNS"
    if isinstance(error, urllib3_errors.NewConnectionError):
        return _describe_cause(error), check_hint
    if isinstance(error, urllib3_errors.ConnectTimeoutError):
        return "no connection in time", "the network and firewalls in between"
    if isinstance(error, (urllib3_errors.TimeoutError, TimeoutError)):
        return "no answer in time", "the API server's load and the network"
    if isinstance(error, (urllib3_errors.ProtocolError, OSError)):
        return f"the connection was cut ({_describe_cause(error)})", check_hint
    if isinstance(error, ValueError):
        # http.client puts the header's value, hence the token, into its message.
        return (
            "the request cannot be sent",
            "that the token and the server's address hold no stray characters",
        )
    return clean_text(str(error)), check_hint


def _describe_cause(error: BaseException) -> str:
    text = clean_text(str(error).rsplit(": ", 1)[-1]).strip("()'\" ,")
    text = text.split("] ", 1)[-1]
    return text[:1].lower() + text[1:] if text else type(error).__name__


def _describe_tls_error(error: Exception) -> str:
    text = error.reason if isinstance(error, ApiException) else str(error)
    text = clean_text(str(text)).removeprefix("SSLError ")
    if "certificate verify failed" in text:
        detail = text.split("certificate verify failed", 1)[1].split("(_ssl")[0].strip(" :'\"")
        return f"certificate verify failed: {detail}" if detail else "certificate verify failed"
    return text
