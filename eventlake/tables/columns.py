"""The columns of an event table: the envelope first, then the payload's fields under names that clash with nothing."""

from collections.abc import Collection

import pyarrow as pa

from eventlake.columns.schema import INSTANT
from eventlake.core.sql import folded
from eventlake.schemas.checks import arrow_type
from eventlake.schemas.schema import Schema

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


ATTRIBUTES: dict[str, pa.DataType] = dict.fromkeys(
    (
        "datacontenttype",
        "dataschema",
        "correlation_id",
        "causation_id",
        "traceparent",
        "extensions",
    ),
    pa.string(),
)
"""The other attributes of an event, stored behind the fields. A field of the same name keeps it: then the table has no such attribute."""
NAMED = (*ATTRIBUTES, *CORRECTION)
"""Columns that readers see only if they name them; a ``*`` does not include them."""


def stored_schema(schema: Schema) -> pa.Schema:
    """The columns of a table as they are stored."""
    fields = [
        pa.field(name, arrow_type(field.type))
        for name, field in zip(schema.columns, schema.fields, strict=True)
    ]
    plain = [pa.field(name, kind) for name, kind in {**ENVELOPE, **CORRECTION}.items()]
    return pa.schema(
        [*plain, *fields, *(pa.field(name, ATTRIBUTES[name]) for name in free_attributes(schema))]
    )


def free_attributes(schema: Schema) -> list[str]:
    """Those of ``ATTRIBUTES`` whose name no field has."""
    taken = {folded(name) for name in schema.columns}
    return [name for name in ATTRIBUTES if name not in taken]


def shown_columns(schema: Schema, named: Collection[str] = ()) -> list[str]:
    """The columns of a table as readers see them: those of ``NAMED`` come last, if they are named."""
    there = {*free_attributes(schema), *CORRECTION}
    return [
        *ENVELOPE,
        *schema.columns,
        *(name for name in NAMED if name in named and name in there),
    ]
