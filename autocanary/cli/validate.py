"""``autocanary validate``: policies checked before anything runs by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autocanary.cli import exits, printing, seams
from autocanary.errors import Problem

__all__ = ["validate"]


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders with policies.")],
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            "--prometheus-url",
            metavar="URL",
            help="Also ask Prometheus whether queries run and have data.",
        ),
    ] = None,
) -> None:
    """Check policies, and tell everything that is wrong at once.

    Offline unless --prometheus-url is given. Exit code 1 when a policy is invalid.
    """
    from autocanary import policyfile

    loading = policyfile.load_paths(paths)
    problems = [*loading.all_problems, *policyfile.lint(loading.documents)]
    _print(problems)
    wrong = sum(problem.severity == "error" for problem in problems)
    if prometheus_url is not None and loading.policies:
        found = seams.probe(prometheus_url, loading.policies)
        _print(found)
        wrong += sum(problem.severity == "error" for problem in found)
    if wrong:
        printing.tell(f"{_count(wrong, 'error')}: not valid")
        raise typer.Exit(exits.NO)
    if not loading.policies:
        printing.tell("no RolloutPolicy was found: nothing to check")
        raise typer.Exit(exits.NO)
    printing.tell(f"{_count(len(loading.policies), 'policy is', 'policies are')} valid")


def _print(problems: Sequence[Problem]) -> None:
    order = {source: at for at, source in enumerate(dict.fromkeys(each.source for each in problems))}
    for problem in sorted(problems, key=lambda each: (order[each.source], each.line, each.column)):
        printing.say(str(problem))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
