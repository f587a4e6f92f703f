"""The page as a Starlette application: its addresses, and what each answers.

Reading needs the right to list canaryrollouts in a namespace, acting the right to patch them; ``PageAccess`` answers
for each visitor. Nothing is changed by a GET. Tokens enter no log line and no text.

Over 300 lines because each address is one short handler over the same source and access.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from autocanary import logs
from autocanary.errors import ClusterError, Conflict, Forbidden, NotFound
from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.page.html_templates import render, static_file
from autocanary.page.list_context import ListQuery, list_page, list_row
from autocanary.page.live_updates import Feed, LiveStreams, OpenStream, TooManyStreams
from autocanary.page.page_contexts import RolloutPageView, decision_view, governance_of, history_of, rollout_view
from autocanary.page.page_source import AccessDenied, PageAccess, PageSource, Visitor
from autocanary.page.page_workers import PageBusy, PageWorkers
from autocanary.page.report_file import render_report
from autocanary.page.request_checks import RequestChecks, check_origin, parse_form
from autocanary.page.rollout_acts import MAX_REASON_LENGTH, Act, ActRefused, request_of, undo_of
from autocanary.views import UndoTarget

__all__ = ["PageOptions", "WebPage"]

_log = logs.logger("autocanary.page.web_page")

_STATIC = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_MAX_TEXT = 200
_SERVICES_SHOWN = 500
_REQUESTS_REMEMBERED = 1000
_LIST_MEMBERS_SECONDS = 10.0
_SENTENCE_SECONDS = 30.0
"""How old a sentence with a duration in it may be on an open page whose rollout does not change."""
_TIMES = re.compile(r"<time.*?</time>", re.DOTALL)
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Handler = Callable[[Request, Visitor], Awaitable[Response]]


class _LiveResponse(StreamingResponse):
    """A stream that is closed however the connection ends, also before its first byte."""

    def __init__(self, stream: OpenStream) -> None:
        super().__init__(stream, media_type="text/event-stream", headers=_STREAM_HEADERS)
        self._live = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._live.close()


@dataclass(frozen=True, slots=True)
class PageOptions:
    """``token`` is the first part of every path of a dashboard; ``external_url`` is where a proxy serves the page."""

    token: str = ""
    external_url: str = ""
    shortest_round: float = 1.0

    @property
    def base(self) -> str:
        """What every address of the page begins with."""
        return f"{self.prefix}/{self.token}" if self.token else self.prefix

    @property
    def prefix(self) -> str:
        """The path under which a proxy serves the page."""
        return urlsplit(self.external_url).path.rstrip("/")

    @property
    def external_origin(self) -> str:
        parts = urlsplit(self.external_url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


class WebPage:
    """``application`` is for a server; ``close`` before that server stops."""

    def __init__(self, source: PageSource, access: PageAccess, options: PageOptions | None = None) -> None:
        self._source, self._access = source, access
        self._options = options or PageOptions()
        self._workers = PageWorkers()
        self._sent: OrderedDict[str, str] = OrderedDict()
        self.live = LiveStreams(self._workers.render, shortest_round=self._options.shortest_round)
        routes = [
            Route("/", self._page(self._list)),
            Route("/policies", self._page(self._policies)),
            Route("/services/{namespace}/{service}", self._page(self._history)),
            Route("/rollouts/{namespace}/{name}", self._page(self._rollout)),
            Route("/rollouts/{namespace}/{name}/report", self._page(self._report)),
            Route("/rollouts/{namespace}/{name}/decisions/{number:int}", self._page(self._decision)),
            Route("/rollouts/{namespace}/{name}/act", self._page(self._act), methods=["POST"]),
            Route("/rollouts/{namespace}/{name}/live", self._page(self._live_rollout)),
            Route("/live", self._page(self._live_list)),
            Route("/static/{file}", _static),
        ]
        starlette = Starlette(
            routes=routes,
            middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)],
            exception_handlers={404: self._not_found, 405: self._not_found, 500: self._failed},
        )
        self.application = RequestChecks(starlette, token=self._options.token, prefix=self._options.prefix)

    def close(self) -> None:
        """End the streams first, so that the server has nothing to wait for."""
        self.live.close()
        self._workers.stop()

    # --- every page --------------------------------------------------------------------------------------

    def _page(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visitor = None
            try:
                visitor = await self._workers.access(lambda: self._access.identify(request.headers))
                return await handler(request, visitor)
            except AccessDenied as error:
                title = "Not signed in" if error.status == 401 else "Not allowed"
                return self._error(error.status, title, str(error), visitor)
            except (PageBusy, TooManyStreams) as error:
                return self._error(503, "Busy", str(error), visitor)
            except Forbidden as error:
                return self._error(403, "Not allowed", str(error), visitor)
            except (NotFound, LookupError) as error:
                return self._error(404, "Not found", str(error) if isinstance(error, NotFound) else _GONE, visitor)
            except (ActRefused, Conflict) as error:
                return self._error(409, "Not changed", str(error), visitor)
            except ClusterError as error:
                return self._error(503, "The API server does not answer", str(error), visitor)

        return answer

    def _context(self, visitor: Visitor | None, here: str = "") -> dict[str, Any]:
        return {
            "base": self._options.base,
            "cluster_name": self._source.cluster_name,
            "visitor_name": visitor.name if visitor is not None else "",
            "now": self._source.now(),
            "missing": self._source.missing(),
            "here": here,
            "is_report": False,
        }

    def _error(self, status: int, title: str, message: str, visitor: Visitor | None) -> Response:
        text = clean_text(message, 500)
        body = render("error.html", title=title, message=text, **{**self._context(visitor), "missing": ()})
        headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
        return HTMLResponse(body, status, headers)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        del request
        status = int(getattr(error, "status_code", 404))
        return self._error(status, "Not found", _GONE if status == 404 else "This address takes no such request.", None)

    async def _failed(self, request: Request, error: Exception) -> Response:
        _log.error("page_failed", path=request.url.path.replace(self._options.token or "\0", "…"), exc_info=error)
        return self._error(500, "This page failed", "autocanary has logged why.", None)

    async def _html(self, visitor: Visitor, template: str, here: str, gather: Callable[[], dict[str, Any]]) -> Response:
        body = await self._workers.render(lambda: render(template, **self._context(visitor, here), **gather()))
        return HTMLResponse(body)

    async def _readable(self, visitor: Visitor, *, services: bool = False) -> frozenset[str]:
        namespaces = {each.namespace for each in self._source.rollouts()}
        if services:
            namespaces |= {each.key.namespace for each in self._source.services()}
            namespaces |= {each.namespace for each in self._source.policies() if each.namespace}
        return frozenset(await self._workers.access(lambda: self._access.readable(visitor, namespaces)))

    async def _find(self, request: Request, visitor: Visitor) -> Rollout:
        """LookupError where there is no such rollout, AccessDenied where the visitor may not know."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        await self._require_read(visitor, namespace)
        return self._lookup(namespace, name)

    async def _require_read(self, visitor: Visitor, namespace: str) -> None:
        if namespace not in await self._workers.access(lambda: self._access.readable(visitor, {namespace})):
            raise AccessDenied(
                403, f"you may not list canaryrollouts in namespace {clean_text(namespace, 80)}, or it does not exist"
            )

    def _lookup(self, namespace: str, name: str) -> Rollout:
        for each in self._source.rollouts():
            if each.name == name and each.namespace == namespace:
                return each
        raise LookupError(name)

    # --- the pages ---------------------------------------------------------------------------------------

    async def _list(self, request: Request, visitor: Visitor) -> Response:
        readable = await self._readable(visitor)
        query = _query_of(request)
        return await self._html(
            visitor, "list.html", "rollouts", lambda: {"view": list_page(self._source, readable, query)}
        )

    async def _policies(self, request: Request, visitor: Visitor) -> Response:
        del request
        readable = await self._readable(visitor, services=True)

        def gather() -> dict[str, Any]:
            governance = governance_of(self._source, readable)
            services = sorted(governance.services, key=lambda each: bool(each.policy))[:_SERVICES_SHOWN]
            return {"governance": governance, "services": services}

        return await self._html(visitor, "policies.html", "policies", gather)

    async def _history(self, request: Request, visitor: Visitor) -> Response:
        namespace, service = request.path_params["namespace"], request.path_params["service"]
        await self._require_read(visitor, namespace)
        rollouts = history_of(self._source, namespace, service)
        if not rollouts:
            raise LookupError(service)
        context = {"namespace": namespace, "service": service, "rollouts": rollouts}
        return await self._html(visitor, "history.html", "rollouts", lambda: context)

    async def _rollout(self, request: Request, visitor: Visitor) -> Response:
        rollout = await self._find(request, visitor)
        may_act, may_undo = await self._rights(visitor, rollout)
        asked = request.query_params.get("asked", "")[:64]

        def gather() -> dict[str, Any]:
            view = self._view(rollout, may_undo=may_undo)
            answer = self._answer(rollout, asked)
            refusal = self._access.refusal(rollout.namespace)
            return {"view": view, "may_act": may_act, "refusal": refusal, "asked": asked, **answer}

        return await self._html(visitor, "rollout.html", "rollouts", gather)

    async def _report(self, request: Request, visitor: Visitor) -> Response:
        rollout = await self._find(request, visitor)
        body = await self._workers.render(
            lambda: render_report(
                rollout,
                self._source.policy_of(rollout),
                self._source.now(),
                cluster_name=self._source.cluster_name,
                query_text=lambda metric: self._source.query_text(rollout, metric),
            )
        )
        return HTMLResponse(body, headers={"Content-Disposition": f'attachment; filename="{quote(rollout.name)}.html"'})

    async def _decision(self, request: Request, visitor: Visitor) -> Response:
        rollout = await self._find(request, visitor)
        number = int(request.path_params["number"])
        view = await self._workers.render(lambda: decision_view(rollout, self._source.policy_of(rollout), number))
        if number < 1 or view is None:
            raise LookupError(str(number))
        return await self._html(visitor, "decision.html", "rollouts", lambda: {"view": view})

    async def _rights(self, visitor: Visitor, rollout: Rollout) -> tuple[bool, bool]:
        """Whether the visitor may act on the rollout, and undo it where it is a release that can be undone."""
        may_act = await self._workers.access(lambda: self._access.may_act(visitor, rollout.namespace))
        may_undo = may_act and await self._workers.access(lambda: self._access.may_undo(visitor, rollout))
        return may_act, may_undo

    def _undo(self, rollout: Rollout) -> tuple[Act, UndoTarget] | None:
        """None where nothing can be undone: it has not ended, is not the newest, or its service is not known."""
        if not rollout.is_final:
            return None
        observation = next((each for each in self._source.services() if each.key == rollout.key), None)
        if observation is None or observation.uid != rollout.service_uid:
            return None
        siblings = [
            each
            for each in self._source.rollouts()
            if each.key == rollout.key and each.service_uid == rollout.service_uid
        ]
        return undo_of(rollout, siblings, observation.spec_digest)

    def _view(self, rollout: Rollout, *, may_undo: bool) -> RolloutPageView:
        undo = self._undo(rollout) if may_undo else None
        return rollout_view(
            rollout,
            self._source.policy_of(rollout),
            self._source.now(),
            governing=self._governing(rollout),
            query_text=lambda metric: self._source.query_text(rollout, metric),
            undo=undo[0] if undo is not None else None,
        )

    def _governing(self, rollout: Rollout) -> Policy | None:
        """The policy of the rollout's name as it is now."""
        found = [each for each in self._source.policies() if each.name == rollout.policy_name]
        return next((each for each in found if each.namespace in ("", rollout.namespace)), None)

    # --- acts --------------------------------------------------------------------------------------------

    async def _act(self, request: Request, visitor: Visitor) -> Response:
        refusal = check_origin(request.headers, self._options.external_origin)
        if refusal:
            raise AccessDenied(403, f"{refusal}; nothing was changed")
        rollout = await self._find(request, visitor)
        try:
            form = parse_form(await _body(request), request.headers.get("content-type", ""))
        except ValueError as error:
            return self._error(400, "Not changed", str(error), visitor)
        if form.get("verb") == "undo":
            return await self._undo_release(visitor, rollout, form.get("reason", "")[:MAX_REASON_LENGTH])
        weight = form.get("weight", "")
        paused, asked = request_of(
            rollout,
            self._source.policy_of(rollout),
            form.get("verb", ""),
            by=visitor.name,
            reason=form.get("reason", "")[:MAX_REASON_LENGTH],
            seen_weight=int(weight) if weight.isascii() and weight.isdigit() and len(weight) < 4 else None,
        )
        await self._workers.access(lambda: self._access.act(visitor, rollout, paused=paused, request=asked))
        _log.info("request_from_page", namespace=rollout.namespace, rollout=rollout.name, verb=asked.verb, by=asked.by)
        return self._sent_to(rollout, asked.id, f"{asked.verb} was requested; autocanary answers within a tick")

    async def _undo_release(self, visitor: Visitor, rollout: Rollout, reason: str) -> Response:
        found = self._undo(rollout)
        if found is None:
            raise ActRefused(f"{rollout.name} cannot be undone: another release came after it, or none was before it")
        act, target = found
        if not await self._workers.access(lambda: self._access.may_undo(visitor, rollout)):
            raise AccessDenied(
                403, f"an undo takes the right to patch inferenceservices in namespace {rollout.namespace}"
            )
        await self._workers.access(lambda: self._access.undo(visitor, target, clean_text(reason, MAX_REASON_LENGTH)))
        _log.info("request_from_page", namespace=rollout.namespace, rollout=rollout.name, verb="undo", by=visitor.name)
        return self._sent_to(rollout, uuid.uuid4().hex, f"{act.consequence} The history has its rollout in a moment.")

    def _sent_to(self, rollout: Rollout, id_: str, text: str) -> Response:
        """Back to the rollout's page, which says ``text`` until there is an answer."""
        self._sent[id_] = text
        while len(self._sent) > _REQUESTS_REMEMBERED:
            self._sent.popitem(last=False)
        path = f"{self._options.base}/rollouts/{quote(rollout.namespace, safe='')}/{quote(rollout.name, safe='')}"
        return RedirectResponse(f"{path}?asked={id_}", 303)

    def _answer(self, rollout: Rollout, asked: str) -> dict[str, Any]:
        """What became of a request that was made here; nothing for an id that is not known.

        The record has it a moment after the API server has accepted it.
        """
        progress, request = rollout.progress, rollout.request
        if asked and progress.requests.answered_id == asked:
            return {"answer": progress.requests.answer, "is_answered": True}
        text = self._sent.get(asked, "")
        if not text and request is not None and asked and request.id == asked:
            text = f"{request.verb} was requested; autocanary answers within a tick"
        return {"answer": text, "is_answered": False}

    # --- live --------------------------------------------------------------------------------------------

    async def _live_list(self, request: Request, visitor: Visitor) -> Response:
        readable = await self._readable(visitor)
        query = _query_of(request)

        async def may_read() -> bool:
            return await self._readable(visitor) >= readable

        stream = self.live.open(
            visitor.key, ("list", query, readable), lambda feed: self._list_update(feed, readable, query), may_read
        )
        return _LiveResponse(stream)

    def _list_update(self, feed: Feed, readable: frozenset[str], query: ListQuery) -> Mapping[str, Any] | None:
        """The rows that have changed, or the list where others belong to it now.

        A row is rendered when its record changes, and now and then while it runs: "held for 5m" is false soon.
        """
        now, source = self._source.now(), self._source
        rows: dict[str, tuple[Rollout, str, float]] = feed.seen.setdefault("rows", {})
        known = {(each.namespace, each.name): each for each in source.rollouts() if each.namespace in readable}
        members_at = feed.seen.get("members_at")
        parts = {}
        if members_at is None or abs(now - members_at) >= _LIST_MEMBERS_SECONDS:
            view = list_page(source, readable, query)
            members = [(each.namespace, each.name) for each in view.rows]
            context = {"view": view, "base": self._options.base, "now": now}
            if feed.seen.get("members") != members:
                parts["list"] = render("_list.html", **context)
            if feed.seen.get("counts") != view.counts:
                parts["tabs"] = render("_tabs.html", **context)
            feed.seen["members"], feed.seen["counts"], feed.seen["members_at"] = members, view.counts, now
        changed: dict[str, str] = {}
        for place in feed.seen["members"]:
            rollout = known.get(place)
            if rollout is None:
                continue
            row_key = f"{place[0]}/{place[1]}"
            before = rows.get(row_key)
            if before is not None and before[0] is rollout and not _is_old(rollout, before[2], now):
                continue
            row = list_row(rollout, source.policy_of(rollout), now)
            html = render("_row.html", row=row, base=self._options.base, now=now)
            if before is None or _TIMES.sub("", before[1]) != _TIMES.sub("", html):
                changed[row.id] = html
            rows[row_key] = (rollout, html, now)
        if "list" in parts:
            changed = {}  # the list has them
        return {"now": now, "rows": changed, "parts": parts} if changed or parts else None

    async def _live_rollout(self, request: Request, visitor: Visitor) -> Response:
        rollout = await self._find(request, visitor)
        may_act, may_undo = await self._rights(visitor, rollout)
        place, asked = (rollout.namespace, rollout.name), request.query_params.get("asked", "")[:64]

        async def may_read() -> bool:
            return place[0] in await self._workers.access(lambda: self._access.readable(visitor, {place[0]}))

        stream = self.live.open(
            visitor.key,
            ("rollout", place, may_act, may_undo, asked),
            lambda feed: self._rollout_update(feed, place, may_act, may_undo, asked),
            may_read,
        )
        return _LiveResponse(stream)

    def _rollout_update(
        self, feed: Feed, place: tuple[str, str], may_act: bool, may_undo: bool, asked: str
    ) -> Mapping[str, Any] | None:
        try:
            rollout = self._lookup(*place)
        except LookupError:
            return None
        now = self._source.now()
        if feed.seen.get("rollout") is rollout and not _is_old(rollout, feed.seen["rendered_at"], now):
            return None
        feed.seen["rollout"], feed.seen["rendered_at"] = rollout, now
        context = {
            **self._context(None),
            "view": self._view(rollout, may_undo=may_undo),
            "may_act": may_act,
            "refusal": self._access.refusal(rollout.namespace),
            **self._answer(rollout, asked),
        }
        parts: dict[str, str] = {}
        for part, template in (("live", "_rollout.html"), ("acts", "_acts.html"), ("answer", "_answer.html")):
            html = render(template, **context)
            if feed.seen.get(part) != html:
                parts[part] = feed.seen[part] = html
        title = f"{rollout.service}: {rollout.progress.phase.value} – autocanary"
        return {"now": context["now"], "parts": parts, "title": title} if parts else None


def _is_old(rollout: Rollout, rendered_at: float, now: float) -> bool:
    return not rollout.is_final and abs(now - rendered_at) >= _SENTENCE_SECONDS


_GONE = "There is nothing at this address: rollouts of the past are kept up to the history limit of the service."


def _query_of(request: Request) -> ListQuery:
    given = request.query_params
    page = given.get("page", "1")
    show = given.get("show", "")
    return ListQuery(
        namespace=given.get("namespace", "")[:_MAX_TEXT],
        text=clean_text(given.get("q", ""), _MAX_TEXT),
        show=show if show in ("running", "attention") else "",
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )


async def _body(request: Request) -> bytes:
    pieces, length = [], 0
    async for piece in request.stream():
        length += len(piece)
        if length > 64 * 1024:
            raise ValueError("the form is too long")
        pieces.append(piece)
    return b"".join(pieces)


async def _static(request: Request) -> Response:
    name = request.path_params["file"]
    if name not in _STATIC:
        return Response("not found\n", 404, media_type="text/plain")
    body = static_file(name)
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=_STATIC[name], headers=headers)
