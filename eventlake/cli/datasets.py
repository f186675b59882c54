"""The commands that list, compare, explain, name and remove built datasets."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

import eventlake as el
from eventlake.cli import documents, output
from eventlake.cli.options import MAX_DAYS, JsonOption, LakeArgument, TrustOption


def diff(
    lake: LakeArgument,
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", help="The first dataset: a tag, or at least 6 hex digits of its hash."
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The second dataset.")],
    *,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a self-contained HTML page."),
    ] = None,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two datasets by history, recipe and rows. Exit 1 if the rows differ."""
    with output.progress():
        found = el.open(lake, trust=trust_in).diff(before, after)
    if html is not None:
        from eventlake.storage.files import write_file

        write_file(html, found.html())
        output.note(f"written to {html}")
    if as_json:
        output.show(found.card(), documents.dataset_diff(found), as_json=True)
    else:
        sys.stdout.write(found.text())
    if not found.identical:
        raise typer.Exit(output.REFUSED)


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
        str | None, typer.Option(help="The column to explain. Default: the whole row.")
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the events that determine a row, or one of its values."""
    with output.progress():
        found = el.open(lake, trust=trust_in).explain(dataset, tuple(key), column)
    output.show(found.card(), documents.explanation(found), as_json=as_json)


def datasets(
    lake: LakeArgument,
    hash_prefix: Annotated[
        str | None,
        typer.Option(
            "--find",
            metavar="HASH",
            help="Only datasets whose manifest, recipe or content hash starts with this.",
        ),
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the built datasets and their tags."""
    _list_datasets(el.open(lake, trust=trust_in), hash_prefix, as_json=as_json)


def remove(
    lake: LakeArgument,
    references: Annotated[
        list[str],
        typer.Argument(metavar="HASH...", help="The datasets: at least 6 hex digits of each hash."),
    ],
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove datasets. Refused while a tag, a lock or a recorded prediction names one."""
    from eventlake.log.maintaining.garbage import Garbage, Unneeded

    opened = el.open(lake, trust=trust_in)
    removed: list[Unneeded] = []
    with output.progress():
        for reference in references:
            removed += opened.remove_dataset(reference).files
    found = Garbage(tuple(removed), deleted=True)
    output.show(found.card(), documents.garbage(found), as_json=as_json)


def tag(
    lake: LakeArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tag.")],
    reference: Annotated[
        str | None,
        typer.Argument(metavar="[HASH]", help="The dataset to tag: a hash, or another tag."),
    ] = None,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the tag.")] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a dataset a name that finds it and keeps its rows."""
    if delete == (reference is not None):
        message = "give either the hash of a dataset or --delete"
        raise typer.BadParameter(message, param_hint="HASH")
    opened = el.open(lake, trust=trust_in)
    if reference is None:
        opened.untag(name)
    else:
        opened.tag(reference, name)
    _list_datasets(opened, None, as_json=as_json)


def _list_datasets(lake: "el.Lake", hash_prefix: str | None, *, as_json: bool) -> None:
    found, tags = lake.datasets(hash_prefix), documents.tags_by_dataset(lake.tags())
    output.show(
        documents.datasets_card(found, tags),
        [documents.dataset(dataset, tags) for dataset in found],
        as_json=as_json,
    )


def prune(
    lake: LakeArgument,
    older_than_days: Annotated[
        float, typer.Option(min=0, max=MAX_DAYS, help="Only rows built more than this long ago.")
    ],
    keep_last: Annotated[
        int, typer.Option(min=0, help="How many datasets of each name always keep their rows.")
    ] = 1,
    *,
    whole: Annotated[
        bool,
        typer.Option(
            "--datasets",
            help="Delete manifest, spine and source too. Their hashes can no longer be reproduced.",
        ),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the rows; by default they are only listed.")
    ] = False,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """List or delete the rows of old datasets.

    Datasets with a tag or a lock keep their rows. Deleted rows can be rebuilt by their hash.
    """
    age = timedelta(days=older_than_days)
    with output.progress():
        found = el.open(lake, trust=trust_in).prune(
            older_than=age, keep_last=keep_last, datasets=whole, dry_run=not delete
        )
    output.show(found.card(), documents.garbage(found), as_json=as_json)
