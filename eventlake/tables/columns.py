"""The columns of an event table: the envelope, then the payload's fields under unique names."""

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
"""The first columns of every table; ``time`` is ``recorded_at`` for events without a time."""
CORRECTION: dict[str, pa.DataType] = {"corrects": pa.string(), "correction": pa.string()}
"""Stored columns from which superseded events are computed; readers must name them."""

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
"""The other attributes of an event, stored after the fields.

A field of the same name takes precedence: then the table does not have that attribute.
"""
NAMED = (*ATTRIBUTES, *CORRECTION)
"""Columns that readers see only if they name them; ``*`` does not include them."""


def stored_schema(schema: Schema) -> pa.Schema:
    """The columns of a stored table."""
    fields = [
        pa.field(name, arrow_type(field.type))
        for name, field in zip(schema.columns, schema.fields, strict=True)
    ]
    plain = [pa.field(name, kind) for name, kind in {**ENVELOPE, **CORRECTION}.items()]
    return pa.schema(
        # The attributes come last: they were added later, and files keep the order of their
        # columns.
        [*plain, *fields, *(pa.field(name, ATTRIBUTES[name]) for name in free_attributes(schema))]
    )


def free_attributes(schema: Schema) -> list[str]:
    """The attributes whose name no field has; SQL ignores case."""
    taken = {folded(name) for name in schema.columns}
    return [name for name in ATTRIBUTES if name not in taken]


def shown_columns(schema: Schema, named: Collection[str] = ()) -> list[str]:
    """The columns that readers see.

    Args:
        schema: The schema of the events.
        named: Columns that the reader names; those of ``NAMED`` are added at the end.
    """
    optional = {*free_attributes(schema), *CORRECTION}
    return [
        *ENVELOPE,
        *schema.columns,
        *(name for name in NAMED if name in named and name in optional),
    ]
