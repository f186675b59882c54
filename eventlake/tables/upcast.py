"""Payloads of one version of a schema as payloads of the next."""

from collections.abc import Iterator
from itertools import islice

import pyarrow as pa

from eventlake.columns.problems import Problem
from eventlake.schemas.checks import OddError, arrow_schema, arrow_type, checked
from eventlake.schemas.definition import Field, Schema
from eventlake.schemas.version import Version
from eventlake.tables.expressions import EvaluationError, evaluate

_MOST_PROBLEMS = 20
_INT64_DIGITS = 19


def upcast(table: pa.Table, version: Version) -> tuple[pa.Table, list[Problem]]:
    """Payloads of the version before as payloads of ``version``.

    Args:
        table: In the columns of the version before.
        version: One with an upcast.

    Returns:
        Columns of ``version``, and what is wrong by row and field, the first twenty; a row with a problem is null.
    """
    try:
        return _upcast(table, version), []
    except (EvaluationError, pa.ArrowException, OddError):
        problems = list(islice(_problems(table, version, 0), _MOST_PROBLEMS))
        nulls = [pa.nulls(table.num_rows, kind) for kind in arrow_schema(version.schema.payload).types]
        return pa.Table.from_arrays(nulls, schema=arrow_schema(version.schema.payload)), problems


def _upcast(table: pa.Table, version: Version) -> pa.Table:
    made = evaluate(version.upcast or {}, table)
    columns = [_settled(made.column(field.name), field) for field in version.schema.fields]
    return pa.Table.from_arrays(columns, schema=arrow_schema(version.schema.payload))


def _settled(column: pa.ChunkedArray, field: Field) -> pa.Array:
    """What DuckDB gave as what the field is, where it is exactly that.

    Raises:
        pa.ArrowException: Digits would be lost.
        OddError: The field does not allow it.
    """
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = arrow_type(field.type)
    if pa.types.is_decimal(kind) and pa.types.is_integer(values.type):
        values = values.cast(pa.int64()).cast(pa.decimal128(_INT64_DIGITS + kind.scale, kind.scale))
    return checked(values.cast(kind), field.type, required=field.required)


def _problems(table: pa.Table, version: Version, row: int) -> Iterator[Problem]:
    """What is wrong with the rows, by halves: most of them are good."""
    try:
        _upcast(table, version)
    except (EvaluationError, pa.ArrowException, OddError) as error:
        if table.num_rows > 1:
            half = table.num_rows // 2
            yield from _problems(table.slice(0, half), version, row)
            yield from _problems(table.slice(half), version, row + half)
        else:
            yield _problem(table, version, row, error)


def _problem(table: pa.Table, version: Version, row: int, error: Exception) -> Problem:
    for field in version.schema.fields:
        try:
            made = evaluate({field.name: (version.upcast or {})[field.name]}, table)
            _settled(made.column(0), field)
        except OddError:
            needed = f"{field.type}, required" if field.required else str(field.type)
            return Problem(row, field.name, f"expected {needed} from the upcast", made.column(0)[0].as_py())
        except (EvaluationError, pa.ArrowException) as reason:
            return Problem(row, field.name, f"the upcast failed: {reason}", table.to_pylist()[0])
    return Problem(row, "(payload)", f"the upcast failed: {error}", table.to_pylist()[0])


def widened(table: pa.Table, schema: Schema) -> pa.Table:
    """Columns of a version as those of a later one that accepts whatever it accepts."""
    fields = arrow_schema(schema.payload)
    columns = [
        table.column(field.name).cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in fields
    ]
    return pa.Table.from_arrays(columns, schema=fields)
