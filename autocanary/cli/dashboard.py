"""``autocanary dashboard``: the page on this machine, with the kubeconfig's identity."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from autocanary.cli import backend, follow, printing
from autocanary.cli.printing import AllNamespaces, Context, Kubeconfig, Namespace

__all__ = ["dashboard"]


def dashboard(
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port; a free one if not given.")
    ] = 0,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Serve the page with all rollouts on this machine, until Ctrl-C.

    It shows what your kubeconfig may read, and what you do on it is done in your name. It listens on the loopback
    address alone, and answers only under the printed address, which holds a secret: do not pass it on.

    Without -n it shows all namespaces, or the context's own if you may not list rollouts in all.
    """
    if namespace is not None and all_namespaces:
        raise typer.BadParameter("give one of -n and -A", param_hint="'-A'")
    scope = "" if all_namespaces else namespace
    with closing(backend.open_dashboard(kubeconfig, context, scope, port)) as opened:
        printing.print_notice(f"{opened.scope}, until Ctrl-C; the address holds a secret of this dashboard:")
        printing.print_result(opened.address)
        try:
            while True:
                follow.sleep(3600.0)
        except KeyboardInterrupt:
            raise typer.Exit(printing.SUCCESS) from None
