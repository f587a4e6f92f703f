"""The program: its commands, ``crds`` and ``version``, and the exit code of every outcome."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from autocanary import __version__
from autocanary.cli import printing
from autocanary.cli.dashboard import dashboard
from autocanary.cli.demo import demo
from autocanary.cli.explain import explain
from autocanary.cli.history import history
from autocanary.cli.policies import policies
from autocanary.cli.report import report
from autocanary.cli.requests import abort, pause, promote, resume, retry
from autocanary.cli.run import run
from autocanary.cli.simulate import simulate
from autocanary.cli.status import status
from autocanary.cli.undo import undo
from autocanary.cli.validate import validate
from autocanary.errors import AutocanaryError

__all__ = ["app", "crds", "main", "version"]


def crds() -> None:
    """Print the CustomResourceDefinitions, as in `autocanary crds | kubectl apply -f -`."""
    from autocanary.kube.crds import manifest

    sys.stdout.write(manifest())


def version() -> None:
    """Print the version."""
    printing.print_result(__version__)


_COMPLETE = "_AUTOCANARY_COMPLETE"  # the same for both names of the program


class _Root(TyperGroup):
    """Turns the exception of a command into a sentence on stderr and an exit code; never a traceback."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def main(  # type: ignore[override]  # standalone mode is the only one
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **_: Any
    ) -> None:
        try:
            code = super().main(args, prog_name or program(sys.argv[0]), complete_var=_COMPLETE, standalone_mode=False)
        except typer.Abort:
            code = printing.INTERRUPTED
        except Exception as error:
            # A usage error has this method; typer's class of them is not public.
            if not hasattr(error, "format_message"):
                raise
            code = _usage(error)
        sys.exit(code if isinstance(code, int) else printing.SUCCESS)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except AutocanaryError as error:
            command = " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))
            printing.print_notice(f"{command}: {error}")
            raise typer.Exit(printing.exit_code_for(error)) from None
        except BrokenPipeError:
            printing.silence_stdout()
            raise typer.Exit(printing.BROKEN_PIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(printing.INTERRUPTED) from None
        return result


class _Command(TyperCommand):
    """Usage lines and help that name arguments and flags, not the types that they have in this program."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        del ctx
        arguments = [each for each in self.params if each.param_type_name == "argument"]
        names = [str(each.metavar) if each.required else f"[{each.metavar}]" for each in arguments]
        return ["[OPTIONS]", *names]

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    for each in params:
        if each.param_type_name == "argument" or each.is_flag:
            each.display_type_rich = _no_type
    return params


def _no_type(ctx: Any) -> None:
    """No type in help texts and usage lines."""


def _paragraphs(text: str | None) -> str:
    """A docstring with one line per paragraph, so that the terminal breaks it at its own width."""
    return "\n\n".join(" ".join(each.split()) for each in (text or "").split("\n\n"))


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program(sys.argv[0])
    message = error.format_message().strip()
    stop = "" if message.endswith((".", "?")) else "."
    printing.print_notice(f"{path}: {message}{stop} See {path} --help.")
    return int(error.exit_code)


def program(argument: str) -> str:
    """``kubectl autocanary`` when kubectl runs the program as its plugin."""
    name = os.path.basename(argument)
    return "kubectl autocanary" if name.startswith("kubectl-") else "autocanary"


app = typer.Typer(
    name="autocanary",
    cls=_Root,
    help="Progressive delivery for KServe: more traffic while a release is good, a rollback when it is not.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        printing.print_result(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        printing.print_result(ctx.get_help().rstrip())


for _panel, _commands in {
    "The service": (run, demo),
    "Rollouts": (status, explain, history, dashboard, report, promote, pause, resume, abort, retry, undo),
    "Policies and installation": (policies, validate, simulate, crds, version),
}.items():
    for _command in _commands:
        app.command(cls=_Command, rich_help_panel=_panel, help=_paragraphs(_command.__doc__))(_command)


def main() -> None:
    """The entry point of ``autocanary`` and ``kubectl-autocanary``."""
    printing.replace_unencodable()
    typer.main.get_command(app).main()
