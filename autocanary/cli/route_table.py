"""Routes with their revisions and percentages, in the columns of ``kn route list``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import Trinary

__all__ = ["route_table"]

_STYLES = {Trinary.TRUE: "green", Trinary.FALSE: "red", Trinary.UNKNOWN: "yellow"}


def route_table(routes: Sequence[tuple[str, Route]], *, namespaced: bool) -> Table:
    """Without borders, so that it can be cut by columns; ``namespaced`` adds the namespaces."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    for column in (("NAMESPACE",) if namespaced else ()) + ("ROUTE", "URL", "READY", "TRAFFIC"):
        table.add_column(column, no_wrap=True)
    for namespace, route in routes:
        cells = [
            Text(route.name),
            Text(route.url or "–"),
            Text(route.ready.value, _STYLES[route.ready]),
            Text(", ".join(f"{percent}% -> {revision}" for revision, percent in route.traffic) or "–"),
        ]
        table.add_row(*([Text(namespace), *cells] if namespaced else cells))
    return table
