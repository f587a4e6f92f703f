"""``autocanary validate``: check policies before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autocanary.cli import backend, printing
from autocanary.errors import MetricsUnreachable, Problem

__all__ = ["validate"]


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders with policies.")],
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            "--prometheus-url",
            metavar="URL",
            help="Also check in Prometheus whether queries run and have data, and windows hold two scrapes; and "
            "measure the selected services that it knows.",
        ),
    ] = None,
) -> None:
    """Check policies, and report all errors at once.

    In folders, files that are no Kubernetes documents are skipped with a warning.

    Offline unless --prometheus-url is given. Exit code 1 when a policy is invalid, 3 when all are valid, but
    Prometheus cannot be reached.
    """
    from autocanary import policy_files

    loading = policy_files.load_paths(paths)
    problems = [*loading.all_problems, *policy_files.lint(loading.documents)]
    unreachable: MetricsUnreachable | None = None
    measured: Sequence[str] = ()
    if prometheus_url is not None and loading.policies:
        try:
            probed = backend.probe(prometheus_url, loading.policies)
            problems += probed.problems
            measured = probed.lines
        except MetricsUnreachable as error:
            unreachable = error
    _print(problems)
    for line in measured:
        printing.print_result(line)
    wrong = sum(problem.severity == "error" for problem in problems)
    _print_verdict(wrong, len(loading.policies))
    if unreachable is not None:
        printing.print_notice(
            f"autocanary validate: {unreachable}; the queries were not checked. "
            "Check the URL and the AUTOCANARY_PROMETHEUS_… settings, or leave out --prometheus-url"
        )
    if wrong or not loading.policies:
        raise typer.Exit(printing.FAILURE)
    if unreachable is not None:
        raise typer.Exit(printing.UNREACHABLE)


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
