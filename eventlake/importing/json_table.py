"""Load JSON objects into a table of text columns."""

from pathlib import Path

import duckdb

from eventlake.core.sql import identifier
from eventlake.importing.files import json_rows
from eventlake.importing.rules import Table

_ROWS = "rows of json"


def create_array_table(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, scratch: Path
) -> bool:
    """A table of a JSON array of objects; see ``file_formats.Create``."""
    del scratch
    return _create(connection, table, path, lines=False)


def create_lines_table(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, scratch: Path
) -> bool:
    """A table of a JSON object in each line; see ``file_formats.Create``."""
    del scratch
    return _create(connection, table, path, lines=True)


def _create(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, *, lines: bool
) -> bool:
    name = identifier(table.name)
    known: set[str] = set()
    for rows in json_rows(table, path, lines=lines):
        connection.register(_ROWS, rows)
        if not known:
            connection.execute(f"CREATE TABLE {name} AS FROM {identifier(_ROWS)} LIMIT 0")
            known = set(rows.column_names)
        # Later objects may have members that the first ones lack.
        for column in rows.column_names:
            if column not in known:
                connection.execute(f"ALTER TABLE {name} ADD COLUMN {identifier(column)} VARCHAR")
                known.add(column)
        connection.execute(f"INSERT INTO {name} BY NAME FROM {identifier(_ROWS)}")
        connection.unregister(_ROWS)
    if not known:
        # Objects name the columns, so without rows the columns are unknown.
        connection.execute(f"CREATE TABLE {name} (none VARCHAR)")
    return bool(known)
