"""Upcast payloads of one version of a schema to the next version."""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.decimals import rescaled
from eventlake.columns.intake.problems import Problem, shorten
from eventlake.schemas.checks import OddError, arrow_schema, arrow_type, checked
from eventlake.schemas.schema import Field, Schema
from eventlake.schemas.version import Version
from eventlake.tables.check_upcast import check_stored, largest
from eventlake.tables.expressions import EvaluationError, evaluate
from eventlake.tables.growth import Size

_ROWS = 32_768
_BYTES = 64 << 20
_MOST_PROBLEMS = 20
_WRONG = (EvaluationError, pa.ArrowException, OddError)


def upcast(table: pa.Table, version: Version) -> tuple[pa.Table, list[Problem]]:
    """Upcast payloads of the version before to ``version``.

    Args:
        table: Columns of the version before.
        version: A version with an upcast.

    Returns:
        Columns of ``version``; and the first twenty problems by row and field. With problems, there
        are no rows.

    Raises:
        InvalidInputError: DuckDB failed.
        CorruptionError: The upcast could not have been registered.
    """
    check_stored(version)
    empty = arrow_schema(version.schema.payload).empty_table()
    tables, step = [empty], _batch_rows(table, largest(version))
    for start in range(0, table.num_rows, step):
        part = table.slice(start, step)
        try:
            tables.append(_upcast(part, version))
        except _WRONG:
            problems: list[Problem] = []
            for one in _by_halves(part, version, start):
                if isinstance(one, Problem):
                    problems.append(one)
                else:
                    tables.append(one)
                # Each problem costs a bisection, and twenty are enough for a person.
                if len(problems) >= _MOST_PROBLEMS:
                    break
            if problems:
                return empty, problems
    return pa.concat_tables(tables), []


def _batch_rows(table: pa.Table, largest: Size) -> int:
    """The number of rows per batch, so that neither they nor their upcasts exceed ``_BYTES``."""
    # DuckDB does not count every buffer of text against its memory limit, so batches are kept
    # small.
    size: int = max(1, table.get_total_buffer_size() // max(1, table.num_rows))
    return max(1, min(_ROWS, _BYTES // (size * max(1, largest.times) + largest.bytes)))


def _by_halves(part: pa.Table, version: Version, row: int) -> Iterator[pa.Table | Problem]:
    """The upcast rows in order, and the problems of the others, found by bisection.

    DuckDB fails for a whole batch without naming the row; most rows are good.
    """
    try:
        yield _upcast(part, version)
    except _WRONG as error:
        if part.num_rows > 1:
            half = part.num_rows // 2
            yield from _by_halves(part.slice(0, half), version, row)
            yield from _by_halves(part.slice(half), version, row + half)
        else:
            yield _problem(part, version, row, error)


def _upcast(part: pa.Table, version: Version) -> pa.Table:
    """All rows of a batch, or an error.

    Raises:
        EvaluationError: An expression has no value for some row.
        pa.ArrowException: A cast would lose digits.
        OddError: A field does not allow its value.
    """
    expressions = version.upcast or {}
    computed = evaluate(expressions, part) if expressions else part
    unchanged = widened(part, version.schema, expressions)
    columns = [
        _as_field(computed.column(field.name), field)
        if field.name in expressions
        else unchanged.column(field.name)
        for field in version.schema.fields
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema(version.schema.payload))


def _as_field(column: pa.ChunkedArray, field: Field) -> pa.Array:
    """Values from DuckDB in a field's type, if they have that type exactly."""
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = arrow_type(field.type)
    return checked(_cast_scalar(values, kind), field.type, required=field.required)


def _problem(part: pa.Table, version: Version, row: int, error: Exception) -> Problem:
    for field in version.schema.fields:
        if field.name not in (version.upcast or {}):
            continue
        try:
            # One expression at a time, to find the field that fails.
            computed = evaluate({field.name: (version.upcast or {})[field.name]}, part)
            _as_field(computed.column(0), field)
        except OddError:
            needed = f"{field.type}, required" if field.required else str(field.type)
            message = f"expected {needed} from the upcast"
            return Problem(row, field.name, message, _row_text(computed))
        except (EvaluationError, pa.ArrowException) as reason:
            return Problem(row, field.name, f"the upcast failed: {reason}", _row_text(part))
    return Problem(row, "(payload)", f"the upcast failed: {error}", _row_text(part))


def _row_text(part: pa.Table) -> str:
    """The only row of a table as text; Python cannot represent every instant that Arrow can."""
    try:
        values = part.to_pylist()[0]
    except (OverflowError, ValueError):
        return str(part.slice(0, 1))
    return shorten(values if len(values) > 1 else next(iter(values.values())))


def widened(table: pa.Table, schema: Schema, but: Collection[str] = ()) -> pa.Table:
    """Columns of one version as those of a later version that accepts the same payloads.

    Args:
        table: The columns.
        schema: The later version.
        but: Fields to leave null, as new fields are.
    """
    fields = arrow_schema(schema.payload)
    read = set(table.column_names) - set(but)
    columns = [
        _widened(table.column(field.name), field.type)
        if field.name in read
        else pa.nulls(table.num_rows, field.type)
        for field in fields
    ]
    return pa.Table.from_arrays(columns, schema=fields)


def _widened(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Cast a column; struct members are matched by name, not by position as Arrow does."""
    chunks = [_cast(chunk, kind) for chunk in column.chunks]
    return pa.chunked_array(chunks, kind)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_struct(kind):
        known = {field.name for field in array.type}
        members = [
            _cast(pc.struct_field(array, field.name), field.type)
            if field.name in known
            else pa.nulls(len(array), field.type)
            for field in kind
        ]
        return pa.StructArray.from_arrays(members, fields=list(kind), mask=pc.is_null(array))
    if pa.types.is_list(kind):
        items = _cast(array.flatten(), kind.value_type)
        offsets = np.zeros(len(array) + 1, np.int32)
        np.cumsum(pc.fill_null(pc.list_value_length(array), 0).to_numpy(), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), items, type=kind, mask=pc.is_null(array))
    return _cast_scalar(array, kind)


def _cast_scalar(array: pa.Array, kind: pa.DataType) -> pa.Array:
    is_exact = pa.types.is_integer(array.type) or pa.types.is_decimal(array.type)
    return rescaled(array, kind) if is_exact and pa.types.is_decimal(kind) else array.cast(kind)
