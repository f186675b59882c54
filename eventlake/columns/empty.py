"""Columns that say nothing."""

import polars as pl
import pyarrow as pa


def empty_columns(table: pa.Table) -> set[str]:
    """The columns that have only nulls, zeros and false."""
    return {name for name in table.column_names if _is_empty(table.column(name))}


def _is_empty(column: pa.ChunkedArray) -> bool:
    values = pl.Series(column).drop_nulls()
    if values.dtype == pl.Boolean:
        return not values.any()
    return not len(values) or (values.dtype.is_numeric() and not (values != 0).any())
