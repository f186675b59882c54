"""Arguments and options that several commands share."""

from typing import Annotated, Literal

import typer

MAX_DAYS = 36_500
"""A century; a larger age would overflow ``timedelta`` arithmetic on instants."""

TrustIn = Literal["own", "lake"] | None
LakeArgument = Annotated[
    str, typer.Argument(metavar="LAKE", help="The lake: a folder or file:// URI.")
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="A watermark, an instant with a zone, a checkpoint, or a commit's or dataset's hash. "
        "Default: the head.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TrustOption = Annotated[
    TrustIn,
    typer.Option(
        "--trust-in",
        help="own: check once what other writers stored. lake: trust every writer. "
        "Default: $EVENTLAKE_TRUST, then own.",
    ),
]
