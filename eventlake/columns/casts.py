"""Lossless casts, the only ones that a dataset's declared types may require."""

import pyarrow as pa

from eventlake.columns.decimals import rescaled
from eventlake.columns.hashing.content import logical_type
from eventlake.errors import SchemaMismatchError


def lossless(column: pa.ChunkedArray, target: pa.DataType, name: str) -> pa.ChunkedArray:
    """Cast a column of a normal type to another one.

    Integers and decimals cast to each other, instants to instants, and float32 to float64.

    Raises:
        SchemaMismatchError: The cast is not one of these, or a value does not fit.
    """
    source = column.type
    if source == target:
        return column
    if not _allowed(source, target):
        raise _mismatch(name, source, target, "this cast could lose something")
    try:
        return rescaled(column, target) if pa.types.is_decimal(target) else column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _mismatch(name, source, target, str(error)) from error


def _allowed(source: pa.DataType, target: pa.DataType) -> bool:
    def exact(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))

    instants = (
        pa.types.is_timestamp(source)
        and pa.types.is_timestamp(target)
        # A naive time would get a zone that nobody stated.
        and (source.tz is None) == (target.tz is None)
    )
    return (
        (exact(source) and exact(target))
        or instants
        or (source == pa.float32() and target == pa.float64())
    )


def _mismatch(
    name: str, source: pa.DataType, target: pa.DataType, reason: str
) -> SchemaMismatchError:
    message = (
        f"column {name}: expected {logical_type(target)}, found {logical_type(source)} ({reason})"
    )
    return SchemaMismatchError(
        message, "cast it in the projection, where a reader sees it.", column=name
    )
