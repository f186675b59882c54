"""The commands that create a lake, append events and read them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import eventlake as el
from eventlake.cli import documents, output
from eventlake.cli.entry import standard_input
from eventlake.cli.options import AtOption, JsonOption, LakeArgument, TrustOption
from eventlake.errors import InvalidEventsError, NotFoundError
from eventlake.visible import json_text


def init(
    lake: LakeArgument,
    origin: Annotated[
        str,
        typer.Option(help="The lake's permanent name, such as bank.example/loans."),
    ],
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an empty lake."""
    created = el.create(lake, origin, trust=trust_in)
    output.show(created.card(), documents.lake(created), as_json=as_json)


def append(
    lake: LakeArgument,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="NDJSON or Parquet files of events; '-' reads NDJSON from stdin.",
        ),
    ],
    *,
    producer: Annotated[
        str | None,
        typer.Option(
            help="The stream that the file belongs to. Sending the file again appends nothing."
        ),
    ] = None,
    position: Annotated[
        int | None, typer.Option(min=0, help="With --producer: the file's place in the stream.")
    ] = None,
    skip_identical: Annotated[
        bool,
        typer.Option("--skip-identical", help="Skip events already stored byte-identically."),
    ] = False,
    expect_watermark: Annotated[
        int | None,
        typer.Option(min=0, help="Append only if the lake has exactly this many events."),
    ] = None,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append files of events in the given order. Each file is appended whole or not at all."""
    for value, option in ((position, "--position"), (expect_watermark, "--expect-watermark")):
        if len(files) > 1 and value is not None:
            message = f"{option} needs exactly one file, found {len(files)}"
            raise typer.BadParameter(message, param_hint=option)
    expect = [] if expect_watermark is None else [el.at_watermark(expect_watermark)]
    from eventlake.log.appending.choices import REFUSE, SKIP

    opened = el.open(lake, trust=trust_in)
    for file in files:
        try:
            with output.progress():
                receipt = opened.append(
                    standard_input() if file == "-" else file,
                    producer=producer,
                    position=position,
                    expect=expect,
                    duplicates=SKIP if skip_identical else REFUSE,
                )
        except InvalidEventsError as error:
            # The library does not know which of several files it was given.
            error.facts["file"] = file
            raise
        output.show(receipt.card(), documents.receipt(receipt), as_json=as_json)


def import_(
    lake: LakeArgument,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV, Parquet, NDJSON or JSON file, or the folder of the mapping's files.",
        ),
    ],
    mapping: Annotated[
        Path,
        typer.Option(
            "--map", metavar="MAPPING", help="A TOML file that maps table rows to events."
        ),
    ],
    *,
    producer: Annotated[
        str | None,
        typer.Option(help="The stream that the batches belong to. Default: the mapping's."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the first events and every problem; append nothing."),
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append table rows as events. Run the command again to resume an interrupted import."""
    opened = el.open(lake, trust=trust_in)
    with output.progress():
        done = el.import_file(opened, file, mapping, producer=producer, dry_run=dry_run)
    if not as_json and not done.ok and done.first.height:
        output.draw(done.first_card())
    output.show(done.card(), documents.imported(done), as_json=as_json)
    if not done.ok:
        raise typer.Exit(output.REFUSED)


def log(
    lake: LakeArgument,
    limit: Annotated[
        int, typer.Option(min=0, help="How many commits, newest first; 0 for all.")
    ] = 20,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the commits, newest first."""
    entries = el.open(lake, trust=trust_in).log()
    newest = entries[::-1][: limit or None]
    output.show(
        documents.log_card(newest, len(entries)),
        [documents.commit(entry) for entry in newest],
        as_json=as_json,
    )


def show(
    lake: LakeArgument,
    at: AtOption = None,
    *,
    events: Annotated[
        bool, typer.Option("--events", help="Print the events as NDJSON instead of a summary.")
    ] = False,
    event_type: Annotated[
        str | None, typer.Option("--type", help="With --events: only this event type.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="With --events: only this subject.")] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="With --events: only the first N events; 0 for all.")
    ] = 0,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="With --events: print payloads byte for byte. "
            "By default, characters that could control a terminal are escaped.",
        ),
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Summarize a lake's history, or print its events."""
    snapshot = el.open(lake, trust=trust_in).snapshot(at)
    if not events:
        output.show(snapshot.card(), documents.snapshot(snapshot), as_json=as_json)
        return
    unknown = None if event_type is None else snapshot.history.unknown_type(event_type)
    if unknown is not None:
        raise NotFoundError(*unknown, event_type=event_type)
    # As the producer gave them, so that the lines can be appended elsewhere as the same history.
    frame = snapshot.scan(types=event_type, subject=subject, raw=True)
    for line in documents.event_lines(snapshot.collect(frame.head(limit) if limit else frame)):
        sys.stdout.write((line if raw else json_text(line)) + "\n")
