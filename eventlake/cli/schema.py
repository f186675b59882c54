"""The subcommands of ``eventlake schema``."""

import json
from typing import Annotated, Any

import typer

import eventlake as el
from eventlake.cli import documents, output
from eventlake.cli.entry import standard_input
from eventlake.cli.options import JsonOption, LakeArgument, TrustIn, TrustOption
from eventlake.core.card import Card
from eventlake.errors import InvalidInputError

app = typer.Typer(
    help="Schemas per event type: list, show, infer, register, diff.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

TypeArgument = Annotated[
    str, typer.Argument(metavar="TYPE", help="The event type, such as payment.received.")
]
VersionOption = Annotated[
    int | None, typer.Option("--version", min=1, help="The version. Default: the newest.")
]

_MAX_FILE_BYTES = 16 << 20


@app.command("list")
def list_(lake: LakeArgument, *, trust_in: TrustOption = None, as_json: JsonOption = False) -> None:
    """List the registered schemas."""
    found = [
        version
        for versions in el.open(lake, trust=trust_in).schemas().values()
        for version in versions
    ]
    rows = tuple(
        (one.schema.event_type, str(one.number), f"{one.since:,}", one.schema_hash[:12])
        for one in found
    )
    card = Card("schemas", (), ("event type", "version", "since", "schema_hash"), rows)
    output.show(card, [documents.schema(one) for one in found], as_json=as_json)


@app.command()
def show(
    lake: LakeArgument,
    event_type: TypeArgument,
    version: VersionOption = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one schema; --json includes it as a JSON Schema."""
    found = _version(lake, trust_in, event_type, version)
    output.show(found.card(), documents.schema(found), as_json=as_json)


@app.command()
def infer(
    lake: LakeArgument,
    event_type: TypeArgument,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a JSON Schema from the stored payloads, without registering it.

    The schema goes to stdout, the reasons go to stderr.
    """
    with output.progress():
        proposal = el.open(lake, trust=trust_in).infer_schema(event_type)
    if not as_json:
        output.draw(proposal.card(), stderr=True)
        output.write_json(proposal.json_schema(), indent=2)
        return
    reasons = [{"field": path, "type": kind, "why": why} for path, kind, why in proposal.reasons]
    output.write_json({"schema": proposal.json_schema(), "reasons": reasons})


@app.command()
def register(
    lake: LakeArgument,
    event_type: TypeArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON Schema of the payload; '-' reads stdin.")
    ],
    *,
    upcast: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="How to read older payloads: a JSON object with a SQL expression "
            "over the old fields for each new field.",
        ),
    ] = None,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a schema or a new version of it.

    Payloads become typed columns, and later events that do not fit are refused.
    """
    with output.progress():
        found = el.open(lake, trust=trust_in).register(
            event_type, _json(file, "a JSON Schema"), upcast=_expressions(upcast)
        )
    output.show(found.card(), documents.schema(found), as_json=as_json)


@app.command()
def diff(
    lake: LakeArgument,
    event_type: TypeArgument,
    old: Annotated[int, typer.Argument(metavar="OLD", min=1, help="The old version.")],
    new: Annotated[
        int | None,
        typer.Argument(metavar="NEW", min=1, help="The new version. Default: the newest."),
    ] = None,
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed between two versions of a schema."""
    from eventlake.schemas.evolution import changes

    before, after = (
        _version(lake, trust_in, event_type, old),
        _version(lake, trust_in, event_type, new),
    )
    rows = tuple(changes(before.schema.payload, after.schema.payload))
    card = Card(
        f"{event_type}: version {before.number} to {after.number}",
        (),
        ("field", "before", "after"),
        rows,
    )
    output.show(
        card,
        [{"field": path, "before": one, "after": other} for path, one, other in rows],
        as_json=as_json,
    )


def _version(lake: str, trust_in: TrustIn, event_type: str, number: int | None) -> "el.Version":
    return el.open(lake, trust=trust_in).schema(event_type, number)


def _expressions(file: str | None) -> dict[str, str] | None:
    if file is None:
        return None
    found = _json(file, "an upcast")
    if not isinstance(found, dict):
        message = f"{file} is not an upcast: expected an object with a SQL expression per field"
        raise InvalidInputError(message, path=file)
    return found


def _json(file: str, what: str) -> Any:
    from eventlake.storage.files import read_file

    given = standard_input(_MAX_FILE_BYTES) if file == "-" else None
    try:
        data = read_file(file, _MAX_FILE_BYTES) if given is None else given
        return json.loads(data.decode(), object_pairs_hook=_unique_keys)
    except (OSError, ValueError, RecursionError) as error:
        message = f"{file} is not {what}: {error.strerror if isinstance(error, OSError) else error}"
        hint = (
            "'eventlake schema infer LAKE TYPE' prints a schema; "
            "an upcast is a JSON object with a SQL expression per field."
        )
        raise InvalidInputError(message, hint, path=file) from error


def _unique_keys(members: list[tuple[str, Any]]) -> dict[str, Any]:
    # json.loads alone keeps the last of two equal keys, and the schema would not be the file's.
    found = dict(members)
    if len(found) < len(members):
        message = "a key appears twice in one object"
        raise ValueError(message)
    return found
