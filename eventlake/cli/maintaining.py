"""The commands that check a lake and keep it in shape."""

from datetime import timedelta
from typing import Annotated

import typer

import eventlake as el
from eventlake.cli import documents, output
from eventlake.cli.options import MAX_DAYS, JsonOption, LakeArgument, TrustOption
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.instants import format_instant
from eventlake.errors import InvalidInputError

_MAX_CHECKPOINT_BYTES = 64 << 10
"""A checkpoint file may contain signatures too."""


def verify(
    lake: LakeArgument,
    *,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also rehash every event and recompute keys, event tables and datasets.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="A checkpoint kept elsewhere, or a file with one. The history must extend it.",
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="With --deep: run the Python archived with datasets.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every stored hash. Exit 1 if anything is damaged, missing, truncated or foreign."""
    if trust and not deep:
        message = "archived Python runs only with --deep"
        raise typer.BadParameter(message, param_hint="--trust")
    from eventlake.datasets.verifying.verify import verify_lake
    from eventlake.storage import from_uri

    with output.progress():
        found = verify_lake(from_uri(lake), deep=deep, against=_checkpoint(against), trust=trust)
    output.show(found.card(), documents.report(found), as_json=as_json)
    if not found.ok:
        raise typer.Exit(output.REFUSED)


def _checkpoint(text: str | None) -> Checkpoint | None:
    if text is None:
        return None
    return Checkpoint.parse(text if "@" in text else _checkpoint_file(text))


def _checkpoint_file(file: str) -> str:
    from eventlake.storage.files import read_file

    try:
        return read_file(file, _MAX_CHECKPOINT_BYTES).decode()
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        message = f"expected a checkpoint or a file with one, found {file!r}: {problem}"
        raise InvalidInputError(
            message,
            "a checkpoint is one line: ORIGIN WATERMARK@ROOT, as 'eventlake show' prints it.",
        ) from error


def clock(
    lake: LakeArgument,
    accept: Annotated[
        int | None,
        typer.Option(
            metavar="COMMIT",
            help="Continue from this commit's instant although it is ahead of the clock.",
        ),
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the newest commit with this clock. Optionally accept a commit that ran ahead."""
    opened = el.open(lake, trust=trust_in)
    if accept is not None:
        opened.accept_clock(accept)
    found = opened.clock()
    document = {
        "recorded_at": None if found.recorded_at is None else format_instant(found.recorded_at),
        "commit": found.version,
        "now": format_instant(found.now),
        "ahead": found.ahead,
        "accepted": found.accepted,
    }
    output.show(found.card(), document, as_json=as_json)


def compact(
    lake: LakeArgument, *, trust_in: TrustOption = None, as_json: JsonOption = False
) -> None:
    """Merge small segments into large ones. History, watermarks and datasets do not change."""
    with output.progress():
        done = el.open(lake, trust=trust_in).compact()
    output.show(done.card(), documents.compaction(done), as_json=as_json)


def gc(
    lake: LakeArgument,
    older_than_days: Annotated[
        float,
        typer.Option(
            min=0, max=MAX_DAYS, help="Only files that have been unused for this many days."
        ),
    ] = 7,
    *,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the files; by default they are only listed.")
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List or delete unused files. These are compacted segments and interrupted writes."""
    with output.progress():
        found = el.open(lake, trust=trust_in).gc(
            older_than=timedelta(days=older_than_days), dry_run=not delete
        )
    output.show(found.card(), documents.garbage(found), as_json=as_json)
