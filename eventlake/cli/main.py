"""The commands."""

import os
import sys
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import eventlake.lake as lakes
from eventlake.cli import documents, output, schema
from eventlake.cli.clock import clock
from eventlake.cli.datasets import TwoWords, remove
from eventlake.cli.entry import end, standard_input
from eventlake.cli.options import JsonOption, LakeArgument, TrustOption
from eventlake.core.expectation import at_watermark
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.definitions.dataset_toml import read_definition
from eventlake.datasets.definitions.lock import FILE as LOCK_FILE
from eventlake.datasets.definitions.lock import Lock, check_lockable
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.demo.run_demo import run_demo
from eventlake.errors import InvalidEventsError, InvalidInputError, NotFoundError, StorageError
from eventlake.importing.import_file import import_file
from eventlake.log.appending.duplicates import REFUSE, SKIP
from eventlake.storage import from_uri
from eventlake.storage.files import read_file, write_file
from eventlake.trust import TRUST_VARIABLE, trust_of
from eventlake.visible import json_text

app = typer.Typer(
    name="eventlake",
    cls=TwoWords,
    help="Immutable events in, reproducible training sets out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(schema.app, name="schema")


def _version(asked: bool) -> None:  # noqa: FBT001 - typer hands it on by position
    if asked:
        sys.stdout.write(f"eventlake {version('eventlake')}\n")
        raise typer.Exit


@app.callback()
def eventlake(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Immutable events in, reproducible training sets out."""
    del show_version
    try:
        trust_of()
    except InvalidInputError as error:
        raise typer.BadParameter(error.message, param_hint=TRUST_VARIABLE) from None


_MOST_BYTES = 64 << 10
"""Of a file with a checkpoint, which may have signatures."""
_CENTURY = 36_500
"""Days."""
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="A watermark, an instant with a zone, a checkpoint, or a commit's or dataset's hash. Default: the head.",
    ),
]


@app.command()
def init(
    lake: LakeArgument,
    origin: Annotated[
        str, typer.Option(help="The lake's name for ever, such as bank.example/loans.")
    ],
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an empty lake."""
    made = lakes.create(lake, origin, trust=trust_in)
    output.show(made.card(), documents.lake(made), as_json=as_json)


@app.command()
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
        typer.Option(help="The stream the file is a part of: sending it again appends nothing."),
    ] = None,
    position: Annotated[
        int | None, typer.Option(min=0, help="With --producer: the file's place in the stream.")
    ] = None,
    skip_identical: Annotated[
        bool,
        typer.Option(
            "--skip-identical", help="Leave out events that the lake holds already, exactly so."
        ),
    ] = False,
    expect_watermark: Annotated[
        int | None, typer.Option(min=0, help="Append only if the lake has exactly so many events.")
    ] = None,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append files of events, each file whole or not at all, in the order given."""
    for value, option, meaning in (
        (position, "--position", "a position"),
        (expect_watermark, "--expect-watermark", "a watermark"),
    ):
        if len(files) > 1 and value is not None:
            message = f"{meaning} is about one file"
            raise typer.BadParameter(message, param_hint=option)
    expect = [] if expect_watermark is None else [at_watermark(expect_watermark)]
    opened = lakes.open(lake, trust=trust_in)
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
            error.facts["file"] = file
            raise
        output.show(receipt.card(), documents.receipt(receipt), as_json=as_json)


@app.command("import")
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
            "--map", metavar="MAPPING", help="A TOML file that says what events the rows are."
        ),
    ],
    *,
    producer: Annotated[
        str | None, typer.Option(help="The stream that the batches are of. Default: the mapping's.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the first events and every problem; append nothing."),
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append the rows of tables as events, as a mapping says; run it again to take up one that was interrupted."""
    opened = lakes.open(lake, trust=trust_in)
    with output.progress():
        done = import_file(opened, file, mapping, producer=producer, dry_run=dry_run)
    if not as_json and not done.ok and done.first.height:
        output.draw(done.first_card())
    output.show(done.card(), documents.imported(done), as_json=as_json)
    if not done.ok:
        raise typer.Exit(output.REFUSED)


@app.command()
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
    entries = lakes.open(lake, trust=trust_in).log()
    newest = entries[::-1][: limit or None]
    output.show(
        documents.log_card(newest, len(entries)),
        [documents.commit(entry) for entry in newest],
        as_json=as_json,
    )


@app.command()
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
        int,
        typer.Option(min=0, help="With --events: at most this many, the first ones; 0 for all."),
    ] = 0,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="With --events: payloads byte for byte; else characters that could steer a terminal are escaped.",
        ),
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a lake's history, or print its events."""
    snapshot = lakes.open(lake, trust=trust_in).snapshot(at)
    if events:
        unknown = None if event_type is None else snapshot.history.unknown_type(event_type)
        if unknown is not None:
            raise NotFoundError(*unknown, event_type=event_type)
        frame = snapshot.scan(types=event_type, subject=subject, raw=True)
        for line in documents.event_lines(snapshot.collect(frame.head(limit) if limit else frame)):
            sys.stdout.write((line if raw else json_text(line)) + "\n")
    else:
        output.show(snapshot.card(), documents.snapshot(snapshot), as_json=as_json)


@app.command()
def verify(
    lake: LakeArgument,
    *,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also hash every event again, and make again what is derived: keys, event tables, datasets.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="A checkpoint kept elsewhere, or a file with one: the history must extend it.",
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="With --deep: run the Python archived with datasets.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Re-hash what is stored; exit 1 if anything is damaged, missing, truncated or foreign."""
    if trust and not deep:
        message = "archived Python is run only by --deep"
        raise typer.BadParameter(message, param_hint="--trust")
    with output.progress():
        found = verify_lake(from_uri(lake), deep=deep, against=_checkpoint(against), trust=trust)
    output.show(found.card(), documents.report(found), as_json=as_json)
    if not found.ok:
        raise typer.Exit(output.REFUSED)


app.command()(clock)


@app.command()
def compact(
    lake: LakeArgument, *, trust_in: TrustOption = None, as_json: JsonOption = False
) -> None:
    """Merge small segments into large ones; history, watermarks and datasets stay as they are."""
    with output.progress():
        done = lakes.open(lake, trust=trust_in).compact()
    output.show(done.card(), documents.compaction(done), as_json=as_json)


@app.command()
def gc(
    lake: LakeArgument,
    older_than_days: Annotated[
        float,
        typer.Option(
            min=0, max=_CENTURY, help="Only files that nobody has needed for so many days."
        ),
    ] = 7,
    *,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without it they are only listed.")
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List, or delete, the files that nobody needs any more: compacted segments, what interrupted writes left."""
    with output.progress():
        found = lakes.open(lake, trust=trust_in).gc(
            older_than=timedelta(days=older_than_days), dry_run=not delete
        )
    output.show(found.card(), documents.garbage(found), as_json=as_json)


@app.command()
def build(
    definition: Annotated[
        Path, typer.Argument(metavar="DEFINITION", help="A folder with a dataset.toml.")
    ],
    lake: Annotated[
        str | None,
        typer.Option(help="The lake. Default: $EVENTLAKE_LAKE, then 'lake' in dataset.toml."),
    ] = None,
    at: AtOption = None,
    engine: Annotated[
        str | None, typer.Option(help="duckdb or polars. Default: the definition's.")
    ] = None,
    *,
    locked: Annotated[
        bool,
        typer.Option(
            "--locked",
            help="Build what dataset.lock pins, or find it; exit 1 if the content hash differs.",
        ),
    ] = False,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Build once more under other circumstances and compare. Default: when the lock of an exact dataset is written.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the work of a projection by entity.")
    ] = 1,
    buckets: Annotated[
        int | None,
        typer.Option(min=1, help="Buckets of entities. Default: four for each of several workers."),
    ] = None,
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental/--full",
            help="Whether a projection by entity may begin from an earlier build.",
        ),
    ] = True,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Build even what the same recipe has built before, and compare."
        ),
    ] = False,
    lock: Annotated[bool, typer.Option("--lock/--no-lock", help="Write dataset.lock.")] = True,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a dataset from its definition and write its lock."""
    if locked and at is not None:
        message = "--locked builds at the checkpoint of the lock"
        raise typer.BadParameter(message, param_hint="--at")
    described = read_definition(definition)
    if lock:
        check_lockable(described.name, described.level)
    uri = lake or os.environ.get("EVENTLAKE_LAKE") or described.lake
    if uri is None:
        message = f"no lake is named for {definition}"
        raise InvalidInputError(
            message, 'give --lake LAKE, set EVENTLAKE_LAKE, or put lake = "…" into dataset.toml.'
        )
    perturb = lock and not locked and described.level == "exact" if check is None else check
    with output.progress():
        opened = lakes.open(uri, trust=trust_in)
        dataset = opened.build(
            described,
            at=at,
            engine=engine,
            locked=locked,
            check="perturb" if perturb else None,
            force=force,
            workers=workers,
            buckets=buckets,
            incremental=incremental,
        )
    if locked:
        for difference in Lock.read(definition).differences(dataset):
            output.note(f"the rows are those of the lock, but not what makes them: {difference}")
        try:
            dataset.keep_for_lock(new=False)
        except StorageError as error:
            output.note(
                f"the lake does not remember that a lock names the dataset, so 'eventlake prune' may give its rows back: {error.message}"
            )
    elif lock:
        Lock.of(dataset).write(definition)
        dataset.keep_for_lock()
    found_or_computed = {"computed": dataset.computed} if locked else {}
    output.show(dataset.card(), documents.dataset(dataset) | found_or_computed, as_json=as_json)


@app.command()
def reproduce(
    lake: LakeArgument,
    hash_prefix: Annotated[
        str,
        typer.Argument(
            metavar="HASH",
            help="A tag, at least 6 hex digits of a dataset's hash, or the folder of a dataset.lock.",
        ),
    ],
    *,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the Python archived with the dataset.")
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset again from its manifest hash, from scratch; exit 1 if it differs."""
    with output.progress():
        locked = (Path(hash_prefix) / LOCK_FILE).is_file()
        reference = Lock.read(Path(hash_prefix)).manifest_hash if locked else hash_prefix
        made = lakes.open(lake, trust=trust_in).reproduce(reference, trust=trust)
    output.show(made.card(), documents.reproduction(made), as_json=as_json)
    if not made.identical:
        raise typer.Exit(output.REFUSED)


@app.command()
def diff(
    lake: LakeArgument,
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", help="The first dataset: a tag, or at least 6 hex digits of its hash."
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The second.")],
    *,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write a page that can be sent to somebody."
        ),
    ] = None,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what lies between two datasets: history, recipe, code, schema and rows; exit 1 if the rows differ."""
    with output.progress():
        found = lakes.open(lake, trust=trust_in).diff(before, after)
    if html is not None:
        write_file(html, found.html())
        output.note(f"written to {html}")
    if as_json:
        output.show(found.card(), documents.dataset_diff(found), as_json=True)
    else:
        sys.stdout.write(found.text())
    if not found.identical:
        raise typer.Exit(output.REFUSED)


@app.command()
def explain(
    lake: LakeArgument,
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="A tag, or at least 6 hex digits of the dataset's hash."
        ),
    ],
    key: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY...", help="The row's key: the value of each key column, in their order."
        ),
    ],
    column: Annotated[
        str | None, typer.Option(help="Whose value is asked about. Default: the whole row.")
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the events without which a row, or one value of it, would be another."""
    with output.progress():
        found = lakes.open(lake, trust=trust_in).explain(dataset, tuple(key), column)
    output.show(found.card(), documents.explanation(found), as_json=as_json)


@app.command()
def datasets(
    lake: LakeArgument,
    hash_prefix: Annotated[
        str | None,
        typer.Option(
            "--find",
            metavar="HASH",
            help="Only those whose manifest, recipe or content hash begins with it.",
        ),
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the built datasets and their tags."""
    opened = lakes.open(lake, trust=trust_in)
    found, tags = opened.datasets(hash_prefix), opened.tags()
    output.show(
        documents.datasets_card(found, tags),
        [documents.dataset(dataset, tags) for dataset in found],
        as_json=as_json,
    )


app.command("datasets rm")(remove)


@app.command()
def tag(
    lake: LakeArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tag.")],
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="[HASH]", help="The dataset that is to have it: a hash, or another tag."
        ),
    ] = None,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away.")] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name a dataset, so that it is found by the name and keeps its rows."""
    if delete == (reference is not None):
        message = "give the hash of a dataset, or --delete"
        raise typer.BadParameter(message, param_hint="HASH")
    opened = lakes.open(lake, trust=trust_in)
    if reference is None:
        opened.untag(name)
    else:
        opened.tag(reference, name)
    found, tags = opened.datasets(), opened.tags()
    output.show(
        documents.datasets_card(found, tags),
        [documents.dataset(dataset, tags) for dataset in found],
        as_json=as_json,
    )


@app.command()
def prune(
    lake: LakeArgument,
    older_than_days: Annotated[
        float, typer.Option(min=0, max=_CENTURY, help="Only rows that were built longer ago.")
    ],
    keep_last: Annotated[
        int, typer.Option(min=0, help="How many datasets of each name keep their rows in any case.")
    ] = 1,
    *,
    whole: Annotated[
        bool,
        typer.Option(
            "--datasets",
            help="The datasets themselves: manifest, spine and source too. Their hashes can no longer be reproduced.",
        ),
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; else only list.")] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List, or delete, the rows of old datasets that no tag and no lock names; they can be made again by their hash."""
    age = timedelta(days=older_than_days)
    with output.progress():
        found = lakes.open(lake, trust=trust_in).prune(
            older_than=age, keep_last=keep_last, datasets=whole, dry_run=not delete
        )
    output.show(found.card(), documents.garbage(found), as_json=as_json)


@app.command()
def demo(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Where to make the demo lake; an earlier one there is used again.",
        ),
    ] = Path("demo-lake"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Simulate a small lender, build its overdue-loans training set on both engines, and reproduce it by hash."""
    with output.progress():
        result = run_demo(folder)
    output.show(result.card(), documents.demo(result), as_json=as_json)
    if not result.identical:
        raise typer.Exit(output.REFUSED)


def _checkpoint(text: str | None) -> Checkpoint | None:
    if text is None:
        return None
    return Checkpoint.parse(text if "@" in text else _file_text(text))


def _file_text(file: str) -> str:
    try:
        return read_file(file, _MOST_BYTES).decode()
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        message = f"expected a checkpoint or a file with one, found {file!r}: {problem}"
        raise InvalidInputError(
            message,
            "a checkpoint is one line: ORIGIN WATERMARK@ROOT, as 'eventlake show' prints it.",
        ) from error


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and ends with its exit code: the whole process if ``arguments`` are its own."""
    end(app, arguments)
