"""Load a CSV file into a table of text columns, refusing broken lines."""

from pathlib import Path

import duckdb

from eventlake.core.sql import identifier, integer, quoted
from eventlake.database import openable
from eventlake.errors import InvalidEventsError
from eventlake.importing.files import as_utf8, csv_columns, reason_of
from eventlake.importing.problems import MOST_ALIKE, ImportProblem
from eventlake.importing.rules import OWN, Table

_REJECTS = f"{OWN}rejects"


def create_csv_table(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, scratch: Path
) -> bool:
    """See ``file_formats.Create``; the file may be decoded into the folder.

    Raises:
        InvalidEventsError: Lines are broken. The first are listed, the others counted.
        duckdb.Error: DuckDB cannot read the file.
    """
    names = csv_columns(table, path)
    # Every column is text, digit for digit: DuckDB's sniffing would guess types.
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    options = {
        "auto_detect": "false",
        "header": "false" if table.columns else "true",
        "delim": quoted(table.delimiter),
        "quote": quoted(table.quote),
        "escape": quoted(table.escape if table.quote else ""),
        "columns": f"{{{columns}}}",
        "hive_partitioning": "false",
        "union_by_name": "false",
        # DuckDB reads on after a broken line, so that all of them are reported.
        "store_rejects": "true",
        "rejects_table": quoted(_REJECTS),
        "rejects_scan": quoted(f"{_REJECTS}_scans"),
    }
    # DuckDB reads an empty value as null unless its column is listed.
    if not table.empty_is_null:
        options["force_not_null"] = f"[{', '.join(map(quoted, names))}]"
    source = quoted(openable(as_utf8(table, path, scratch)))
    settings = ", ".join(f"{name} = {value}" for name, value in options.items())
    connection.execute(
        f"CREATE TABLE {identifier(table.name)} AS FROM read_csv({source}, {settings})"
    )
    problems = _broken_lines(connection, table)
    if problems:
        hint = f"correct {path}, or give its delimiter, quote and escape in the mapping."
        raise InvalidEventsError(problems, hint, within="input", path=str(path))
    return True


def _broken_lines(connection: duckdb.DuckDBPyConnection, table: Table) -> list[ImportProblem]:
    rejects = identifier(_REJECTS)
    total, unclosed_quote = connection.execute(
        f"FROM {rejects} SELECT count(DISTINCT line), "
        "coalesce(bool_or(error_type = 'UNQUOTED VALUE'), false)"
    ).fetchall()[0]
    # A line that is too short has an error for each missing column; the first is enough.
    rejected = connection.execute(
        f"FROM {rejects} SELECT line, error_message, column_name "
        "QUALIFY row_number() OVER (PARTITION BY line ORDER BY column_idx) = 1 "
        f"ORDER BY line LIMIT {integer(MOST_ALIKE)}"
    ).fetchall()
    problems = []
    for line, reason, column in rejected:
        message = reason_of(str(reason)) + (f" (column {column})" if column else "")
        problems.append(ImportProblem(table.name, None, f"line {line:,}", message))
    if total > MOST_ALIKE:
        # An unclosed quote hides lines, so the count is a lower bound.
        at_least = "at least " if unclosed_quote else ""
        message = f"broken: {at_least}{total - MOST_ALIKE:,} lines more"
        problems.append(ImportProblem(table.name, None, "lines", message))
    return problems
