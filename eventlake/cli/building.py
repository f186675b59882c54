"""The commands that build a dataset and reproduce one."""

import os
from pathlib import Path
from typing import Annotated

import typer

import eventlake as el
from eventlake.cli import documents, output
from eventlake.cli.options import AtOption, JsonOption, LakeArgument, TrustOption
from eventlake.errors import InvalidInputError, StorageError


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
            help="Build or find the dataset that dataset.lock pins; "
            "exit 1 if the content hash differs.",
        ),
    ] = False,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Build again under different conditions and compare. "
            "Default: when the lock of an exact dataset is written.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the work of a projection by entity.")
    ] = 1,
    buckets: Annotated[
        int | None,
        typer.Option(
            min=1, help="Buckets of entities. Default: four per worker if there are several."
        ),
    ] = None,
    incremental: Annotated[
        bool | None,
        typer.Option(
            "--incremental/--full",
            help="Whether a projection by entity starts from an earlier build. "
            "Default: where that is probably cheaper.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Build even if the same recipe was built before; compare."),
    ] = False,
    lock: Annotated[bool, typer.Option("--lock/--no-lock", help="Write dataset.lock.")] = True,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a dataset from its definition and write its lock."""
    if locked and at is not None:
        message = "--locked builds at the checkpoint of the lock"
        raise typer.BadParameter(message, param_hint="--at")
    from eventlake.datasets.definitions.lock import Lock, check_lockable

    described = el.read_definition(definition)
    if lock:
        # A dataset that cannot be locked is refused before the work, not after it.
        check_lockable(described.name, described.level)
    uri = lake or os.environ.get("EVENTLAKE_LAKE") or described.lake
    if uri is None:
        message = f"no lake is named for {definition}"
        raise InvalidInputError(
            message, 'give --lake LAKE, set EVENTLAKE_LAKE, or put lake = "…" into dataset.toml.'
        )
    # A lock promises the same rows anywhere, so they are tested before it is written.
    perturb = lock and not locked and described.level == "exact" if check is None else check
    with output.progress():
        dataset = el.open(uri, trust=trust_in).build(
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
        _note_lock(definition, dataset)
    elif lock:
        Lock.of(dataset).write(definition)
        dataset.keep_for_lock()
    found_or_computed = {"computed": dataset.computed} if locked else {}
    output.show(dataset.card(), documents.dataset(dataset) | found_or_computed, as_json=as_json)


def _note_lock(definition: Path, dataset: "el.Dataset") -> None:
    """Report what differs from the lock besides the rows, and keep the dataset for the lock."""
    from eventlake.datasets.definitions.lock import Lock

    for difference in Lock.read(definition).differences(dataset):
        output.note(f"the rows match the lock, but their inputs differ: {difference}")
    # A lake that can only be read still has the dataset, so this is no reason to fail.
    try:
        dataset.keep_for_lock(new=False)
    except StorageError as error:
        output.note(
            "the lake could not record that a lock names the dataset, "
            f"so 'eventlake prune' may delete its rows: {error.message}"
        )


def reproduce(
    lake: LakeArgument,
    hash_prefix: Annotated[
        str,
        typer.Argument(
            metavar="HASH",
            help="A tag, at least 6 hex digits of a dataset's hash, "
            "or the folder of a dataset.lock.",
        ),
    ],
    *,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the Python archived with the dataset.")
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild a dataset by its manifest hash. Exit 1 if the rows differ."""
    from eventlake.datasets.definitions.lock import FILE, Lock

    with output.progress():
        locked = (Path(hash_prefix) / FILE).is_file()
        reference = Lock.read(Path(hash_prefix)).manifest_hash if locked else hash_prefix
        rebuilt = el.open(lake, trust=trust_in).reproduce(reference, trust=trust)
    output.show(rebuilt.card(), documents.reproduction(rebuilt), as_json=as_json)
    if not rebuilt.identical:
        raise typer.Exit(output.REFUSED)
