"""The columns of an event table: the envelope first, then the payload's fields under names that clash with nothing."""

import pyarrow as pa

from eventlake.columns.schema import INSTANT
from eventlake.schemas.checks import arrow_type
from eventlake.schemas.definition import Schema

ENVELOPE: dict[str, pa.DataType] = {
    "sequence": pa.int64(),
    "id": pa.string(),
    "source": pa.string(),
    "subject": pa.string(),
    "time": INSTANT,
    "recorded_at": INSTANT,
}
"""What every table begins with; ``time`` is the ``recorded_at`` of an event without one."""
CORRECTION: dict[str, pa.DataType] = {"corrects": pa.string(), "correction": pa.string()}
"""What is stored too, to tell which events stand; not shown."""


def stored_schema(schema: Schema) -> pa.Schema:
    """The columns of a table as they are stored."""
    fields = [pa.field(name, arrow_type(field.type)) for name, field in zip(schema.columns, schema.fields, strict=True)]
    return pa.schema([*(pa.field(name, kind) for name, kind in {**ENVELOPE, **CORRECTION}.items()), *fields])


def shown_columns(schema: Schema) -> list[str]:
    """The columns of a table as readers see them."""
    return [*ENVELOPE, *schema.columns]
