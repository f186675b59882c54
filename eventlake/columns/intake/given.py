"""Convert a caller's table to Arrow: Polars, pandas, Arrow, or any Arrow C stream.

The index of a pandas frame is not a column. It records the order of rows or a filter, and would
become data by accident.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.columns.intake.pandas_objects import problem_of
from eventlake.core.names import repeated
from eventlake.errors import InvalidInputError, SchemaMismatchError

_WIDE = (pl.Int128, pl.UInt128)
_INDEX = re.compile("__index_level_[0-9]+__")
INDEX_HINT = "the index of a pandas frame is not a column: frame.reset_index() makes it one."


def is_frame(given: Any) -> bool:
    """Whether ``table_of`` accepts an object as a table."""
    return isinstance(given, pl.LazyFrame) or hasattr(given, "__arrow_c_stream__")


def table_of(given: Any, what: str, *, checked: bool = True) -> pa.Table:
    """Convert a caller's table to Arrow.

    Args:
        given: A Polars, pandas or Arrow table, or an object with ``__arrow_c_stream__``.
        what: Name of the table in messages, such as ``the spine``.
        checked: Whether to refuse an Arrow table with repeated column names, or with text that is
            not UTF-8.

    Raises:
        InvalidInputError: It is not a table, its column names are not distinct texts, or Arrow has
            no type for a column.
    """
    frame = given.collect() if isinstance(given, pl.LazyFrame) else given
    if isinstance(frame, pl.DataFrame):
        return without_index(from_polars(frame, what))
    if _is_pandas(frame):
        return _from_pandas(frame, what)
    if (
        not hasattr(frame, "__arrow_c_stream__")
        or isinstance(frame, pl.Series)
        or type(frame).__name__ == "Series"
    ):
        message = (
            f"expected {what} as a Polars, pandas or Arrow table, found {type(given).__name__}"
        )
        raise InvalidInputError(message, "make a table of it: pl.DataFrame(rows).")
    try:
        table = pa.table(frame) if isinstance(frame, pa.RecordBatch) else frame
        if not isinstance(table, pa.Table):
            table = pa.RecordBatchReader.from_stream(table).read_all()
    except (pa.ArrowException, TypeError, ValueError) as error:
        message = (
            f"expected {what} as a table, "
            f"found {type(given).__name__} that Arrow cannot read: {error}"
        )
        raise InvalidInputError(
            message, "give a table whose columns are of one type each."
        ) from error
    if checked:
        # Names are not checked for events: ``to_batch`` lists each repetition with all other
        # problems.
        _check_names(table.column_names, what)
        _check_values(table, what)
    return without_index(table)


def without_index(table: pa.Table) -> pa.Table:
    """Drop the index columns that pandas adds to Arrow tables and Parquet files."""
    return table.select(
        [number for number, name in enumerate(table.column_names) if not _INDEX.fullmatch(name)]
    )


def from_polars(frame: pl.DataFrame, what: str) -> pa.Table:
    """Convert a Polars frame to Arrow.

    Raises:
        InvalidInputError: A name contains NUL, which Arrow's C interface cannot pass.
        SchemaMismatchError: A column has Python objects, whose addresses Polars would pass on, or
            integers of 128 bits.
    """
    for name, kind in frame.schema.items():
        if "\0" in name or _has_nul(kind):
            message = (
                f"{what}: expected names without NUL, found {name!r}, or a field in it, with one"
            )
            raise InvalidInputError(message, "rename it.", column=name)
        # ``to_arrow`` would hand over the addresses of the objects.
        if kind == pl.Object:
            message = f"{what}: column {name} holds Python objects, which cannot be stored"
            raise SchemaMismatchError(message, "cast it to a type of Polars.", column=name)
        if _is_wide(kind):
            message = f"{what}: column {name} is {kind}, which Arrow cannot hold"
            hint = (
                f"cast it: pl.col({name!r}).cast(pl.Int64), "
                "or .cast(pl.Decimal(38, 0)) for longer numbers."
            )
            raise SchemaMismatchError(message, hint, column=name, found=str(kind))
    return frame.to_arrow()


def _has_nul(kind: pl.DataType) -> bool:
    """Whether a field name inside a type contains NUL."""
    if isinstance(kind, pl.Struct):
        return any(
            "\0" in field.name or (isinstance(field.dtype, pl.DataType) and _has_nul(field.dtype))
            for field in kind.fields
        )
    inner = getattr(kind, "inner", None)
    return isinstance(inner, pl.DataType) and _has_nul(inner)


def _is_wide(kind: pl.DataType) -> bool:
    if isinstance(kind, pl.Struct):
        return any(
            _is_wide(field.dtype) for field in kind.fields if isinstance(field.dtype, pl.DataType)
        )
    inner = getattr(kind, "inner", None)
    return kind in _WIDE or (isinstance(inner, pl.DataType) and _is_wide(inner))


def _is_pandas(given: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(given, pandas.DataFrame)


def _from_pandas(frame: Any, what: str) -> pa.Table:
    names = list(frame.columns)
    odd = [name for name in names if not isinstance(name, str)]
    if odd:
        several = isinstance(odd[0], tuple)
        message = f"{what}: expected the names of columns as text, found {odd[0]!r}"
        hint = (
            'frame.columns = ["_".join(map(str, name)) for name in frame.columns].'
            if several
            else "frame.rename(columns=str)."
        )
        raise InvalidInputError(message, hint)
    _check_names(names, what)
    columns = []
    for name in names:
        # One column at a time, so that an error names its column. The index is left out: it would
        # change the content hash of equal rows.
        _check_objects(frame[name], name, what)
        try:
            one = pa.Table.from_pandas(frame[[name]], preserve_index=False).column(0)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            message = (
                f"{what}: column {name} cannot be read, its pandas type is {frame[name].dtype}: "
                f"{error.args[0] if error.args else error}"
            )
            hint = (
                "give the column one type: frame[name].astype('string'), "
                ".astype('Int64'), .astype('float64')."
            )
            raise InvalidInputError(
                message, hint.replace("[name]", f"[{name!r}]"), column=name
            ) from error
        columns.append(one)
    return pa.table(columns, names)


def _check_values(table: pa.Table, what: str) -> None:
    """Refuse what Arrow does not check: text that is not UTF-8, and offsets outside a buffer."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            message = f"{what}: column {name} is damaged: {error}"
            raise InvalidInputError(
                message, "text is UTF-8; give other bytes as binary.", column=name
            ) from error


def _check_objects(values: Any, name: str, what: str) -> None:
    """Refuse Python values that Arrow would change, in a column or its categories."""
    plain = values.cat.categories if values.dtype == "category" else values
    found = problem_of(plain) if plain.dtype == object else None
    if found:
        problem, hint = found
        message = f"{what}: column {name}: {problem}"
        raise InvalidInputError(message, hint, column=name)


def _check_names(names: Sequence[str], what: str) -> None:
    doubled = repeated(names)
    if doubled:
        found = ", ".join(map(repr, doubled))
        message = f"{what}: expected each column once, found {found} more than once"
        raise InvalidInputError(message, "rename one of them, or drop it.", column=doubled[0])
