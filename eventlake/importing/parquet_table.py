"""Load a Parquet file into a table of its own types."""

from pathlib import Path

import duckdb

from eventlake.columns.parquet.foreign_files import check_footer, check_int96
from eventlake.core.sql import identifier
from eventlake.database import parquet
from eventlake.importing.files import check_names
from eventlake.importing.rules import Table


def create_parquet_table(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, scratch: Path
) -> bool:
    """See ``file_formats.Create``.

    Raises:
        InvalidInputError: Its footer is not one, or its instants are finer than a microsecond.
    """
    del scratch
    check_footer(str(path))
    # DuckDB would truncate instants that are finer than a microsecond.
    check_int96(str(path))  # DuckDB would truncate them
    name = identifier(table.name)
    connection.execute(f"CREATE TABLE {name} AS FROM {parquet([path])}")
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    check_names(table, [str(column) for column, *_ in described])
    return True
