"""``autocanary validate``: check policies before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from autocanary.cli import backend, printing
from autocanary.cli.printing import Context, Kubeconfig
from autocanary.decide.guarded_services import guarded_without_policy
from autocanary.errors import ClusterError, MetricsUnreachable, Problem
from autocanary.model.guard import Guard

__all__ = ["validate"]


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders with policies.")],
    guarded_namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "--guarded-namespace",
            metavar="NAME",
            help="Also read a namespace where the chart's guard holds releases, and name its services that no policy "
            "selects, neither one of these nor one of the cluster; repeatable.",
        ),
    ] = None,
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            "--prometheus-url",
            metavar="URL",
            help="Also check in Prometheus whether queries run and have data, and windows hold two scrapes; and "
            "measure the selected services that it knows.",
        ),
    ] = None,
    web_revisions: Annotated[
        list[str] | None,
        typer.Option(
            "--web-revision",
            metavar="NAMESPACE/REVISION",
            help="Also ask the services of web metrics about this revision; repeat it for the stable one.",
        ),
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Check policies, and report all errors at once.

    In folders, files that are no Kubernetes documents are skipped with a warning.

    Offline unless --prometheus-url, --web-revision or --guarded-namespace is given. Exit code 1 when a policy is
    invalid, 3 when all are valid, but Prometheus or the cluster cannot be reached.
    """
    from autocanary import policy_files

    loading = policy_files.load_paths(paths)
    problems = [*loading.all_problems, *policy_files.lint(loading.documents)]
    unreachable: list[str] = []
    measured: Sequence[str] = ()
    if prometheus_url is not None and loading.policies:
        try:
            probed = backend.probe(prometheus_url, loading.policies)
            problems += probed.problems
            measured = probed.lines
        except MetricsUnreachable as error:
            unreachable.append(
                f"{error}; the queries were not checked. "
                "Check the URL and the AUTOCANARY_PROMETHEUS_… settings, or leave out --prometheus-url"
            )
    if web_revisions and loading.policies:
        asked = backend.probe_web(web_revisions, loading.policies)
        problems += asked.problems
        measured = [*measured, *asked.lines]
    if guarded_namespaces:
        try:
            problems += _held_without_policy(guarded_namespaces, paths, kubeconfig, context)
        except ClusterError as error:
            unreachable.append(f"{error}; the guarded services were not checked")
    _print(problems)
    for line in measured:
        printing.print_result(line)
    wrong = sum(problem.severity == "error" for problem in problems)
    _print_verdict(wrong, len(loading.policies))
    for sentence in unreachable:
        printing.print_notice(f"autocanary validate: {sentence}")
    if wrong or not loading.policies:
        raise typer.Exit(printing.FAILURE)
    if unreachable:
        raise typer.Exit(printing.UNREACHABLE)


def _held_without_policy(
    namespaces: Sequence[str], paths: Sequence[Path], kubeconfig: str | None, context: str | None
) -> list[Problem]:
    """A warning for each component in these namespaces that no policy governs; ClusterError."""
    with closing(backend.open_client(kubeconfig, context)) as client:
        services = [seen for each in namespaces for seen in client.services(each)]
        documents = [document for each in namespaces for document in client.policy_documents(each)]
    active, _ = backend.active_policies(documents, paths)
    return [
        Problem(str(each.key), 0, 0, f"the guard holds its releases at 0 %: {each.problem}", severity="warning")
        for each in guarded_without_policy(Guard(tuple(namespaces)), services, active)
    ]


def _print_verdict(wrong: int, valid: int) -> None:
    if wrong:
        printing.print_notice(f"{_count(wrong, 'error')}: not valid")
    elif valid:
        printing.print_notice(f"{_count(valid, 'policy is', 'policies are')} valid")
    else:
        printing.print_notice("no RolloutPolicy was found: nothing to check")


def _print(problems: Sequence[Problem]) -> None:
    order = {source: at for at, source in enumerate(dict.fromkeys(each.source for each in problems))}
    for problem in sorted(problems, key=lambda each: (order[each.source], each.line, each.column)):
        printing.print_result(str(problem))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
