"""The Starlette application: /metrics, /healthz, /readyz.

Health is the tick's heartbeat and nothing else: Prometheus or the API server being away must not make the
kubelet restart us. Readiness is having read the world once; it does not depend on leadership, or a rollout
of the chart with two replicas would never finish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from autocanary.http_server.exposition import CONTENT_TYPE, Exposition
from autocanary.model.value_wording import format_duration

__all__ = ["Health", "make_application"]

_MAX_TICK_AGE = 60.0
"""Seconds without a tick from which on the service is unhealthy."""


@dataclass(frozen=True, slots=True)
class Health:
    """``heartbeat_age``: seconds since the tick last ran, by a clock that does not jump. ``waiting_for``: in
    words, what has not been read yet ("InferenceServices"); none: ready. ``forbidden_errors``: in sentences,
    what is not waited for because it may not be read.
    """

    heartbeat_age: Callable[[], float]
    waiting_for: Callable[[], Sequence[str]]
    forbidden_errors: Callable[[], Sequence[str]] = tuple


def make_application(exposition: Exposition, health: Health) -> Starlette:
    """The pages. The probes answer on the event loop itself, so that a long scrape cannot hold them up."""

    async def metrics(_: Request) -> Response:
        body = await run_in_threadpool(exposition.render)
        return Response(body, headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: Request) -> Response:
        age = health.heartbeat_age()
        if age < _MAX_TICK_AGE:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(
            f"the last tick was {format_duration(age)} ago, and {format_duration(_MAX_TICK_AGE)} is the limit: "
            "the scheduler has stopped or a call hangs\n",
            status_code=503,
        )

    async def readyz(_: Request) -> Response:
        waiting_for = health.waiting_for()
        if not waiting_for:
            return PlainTextResponse("".join(["ok\n", *(f"but: {each}\n" for each in health.forbidden_errors())]))
        return PlainTextResponse(f"not ready: waiting for {', '.join(waiting_for)}\n", status_code=503)

    pages = {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz}
    return Starlette(routes=[Route(path, page, methods=["GET"]) for path, page in pages.items()])
