"""Nested fields of a payload, named by their path: ``customer.id`` is ``id`` of ``customer``."""

from collections.abc import Iterator, Mapping
from functools import reduce

import polars as pl

from eventlake.core.names import is_pattern
from eventlake.core.sql import identifier, quoted
from eventlake.schemas.schema import FieldType, Schema

Paths = Mapping[str, tuple[str, ...]]
"""For the names of nested fields, their column and the names on the way down."""


def fields_inside(schema: Schema) -> dict[str, tuple[tuple[str, ...], FieldType]]:
    """Path and type of every nested field by name; items of lists are not fields."""
    found: dict[str, tuple[tuple[str, ...], FieldType]] = {}
    for field, column in zip(schema.fields, schema.columns, strict=True):
        for names, kind in _inside(field.type):
            # Two fields may spell one path if names have dots; the first keeps it.
            found.setdefault(".".join((field.name, *names)), ((column, *names), kind))
    return found


def _inside(kind: FieldType) -> Iterator[tuple[tuple[str, ...], FieldType]]:
    for field in kind.fields:
        # Polars reads such a name as a pattern over columns.
        if not is_pattern(field.name):
            yield (field.name,), field.type
            yield from (((field.name, *names), inner) for names, inner in _inside(field.type))


def unfolded(frame: pl.LazyFrame, paths: Paths) -> pl.LazyFrame:
    """Events with a column for each nested field."""
    inside = {
        name: reduce(lambda found, part: found.struct.field(part), path[1:], pl.col(path[0]))
        for name, path in paths.items()
    }
    return (
        frame.with_columns(found.alias(name) for name, found in inside.items()) if inside else frame
    )


def unfolded_sql(table: str, paths: Paths) -> str:
    """SQL after FROM: events with a column for each nested field."""
    inside = [
        f"{_extracted(path[1:], identifier(path[0]))} AS {identifier(name)}"
        for name, path in paths.items()
    ]
    return f"(SELECT *, {', '.join(inside)} FROM {table})" if inside else table


def _extracted(names: tuple[str, ...], found: str) -> str:
    for name in names:
        found = f"struct_extract({found}, {quoted(name)})"
    return found
