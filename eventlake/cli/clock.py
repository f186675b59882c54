"""``eventlake clock``: how far the newest commit is ahead of this machine, and the way out if it is too far."""

from typing import Annotated

import typer

import eventlake.lake as lakes
from eventlake.cli import output
from eventlake.cli.options import JsonOption, LakeArgument, TrustOption
from eventlake.core.instants import format_instant


def clock(
    lake: LakeArgument,
    accept: Annotated[
        int | None,
        typer.Option(
            metavar="COMMIT",
            help="Let the lake go on at this commit's instant, although it is ahead of everybody's clock.",
        ),
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the newest commit's recorded_at with this machine's clock; accept one that ran ahead."""
    opened = lakes.open(lake, trust=trust_in)
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
