"""Arguments and options that several commands have."""

from typing import Annotated, Literal

import typer

TrustIn = Literal["own", "lake"] | None
LakeArgument = Annotated[
    str, typer.Argument(metavar="LAKE", help="The lake: a folder or file:// URI.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TrustOption = Annotated[
    TrustIn,
    typer.Option(
        "--trust-in",
        help="own: check what others stored, once. lake: believe whoever writes to the lake. Default: $EVENTLAKE_TRUST, then own.",
    ),
]
