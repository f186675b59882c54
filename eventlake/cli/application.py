"""The application: every command, registered in the order of ``eventlake --help``."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from eventlake.cli import building, datasets, documents, events, maintaining, output, schema
from eventlake.cli.entry import Commands, end
from eventlake.cli.options import JsonOption
from eventlake.errors import InvalidInputError
from eventlake.trust import TRUST_VARIABLE, trust_of

app = typer.Typer(
    name="eventlake",
    cls=Commands,
    help="Immutable events in, reproducible training sets out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(schema.app, name="schema")


def _print_version(requested: bool) -> None:  # noqa: FBT001 - typer passes it by position
    if requested:
        sys.stdout.write(f"eventlake {version('eventlake')}\n")
        raise typer.Exit


@app.callback()
def eventlake(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Immutable events in, reproducible training sets out."""
    del show_version
    # Every command reads the variable; a wrong value is a mistake in usage, not in the lake.
    try:
        trust_of()
    except InvalidInputError as error:
        raise typer.BadParameter(error.message, param_hint=TRUST_VARIABLE) from None


def _demo(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Where to create the demo lake; an earlier demo there is used again.",
        ),
    ] = Path("demo-lake"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Simulate a lender and build its training set. Uses both engines and reproduces by hash."""
    from eventlake.demo.run_demo import run_demo

    with output.progress():
        result = run_demo(folder)
    output.show(result.card(), documents.demo(result), as_json=as_json)
    if not result.identical:
        raise typer.Exit(output.REFUSED)


app.command()(events.init)
app.command()(events.append)
app.command("import")(events.import_)
app.command()(events.log)
app.command()(events.show)
app.command()(maintaining.verify)
app.command()(maintaining.clock)
app.command()(maintaining.compact)
app.command()(maintaining.gc)
app.command()(building.build)
app.command()(building.reproduce)
app.command()(datasets.diff)
app.command()(datasets.explain)
app.command()(datasets.datasets)
app.command("datasets rm")(datasets.remove)
app.command()(datasets.tag)
app.command()(datasets.prune)
app.command("demo")(_demo)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code.

    Args:
        arguments: Defaults to the arguments of the process, which then belongs to the command.
    """
    end(app, arguments)
