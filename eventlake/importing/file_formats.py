"""The table of file formats that are imported. A new format is one row here and its reader."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from eventlake.errors import InvalidInputError
from eventlake.importing.csv_table import create_csv_table
from eventlake.importing.files import is_utf8
from eventlake.importing.json_table import create_array_table, create_lines_table
from eventlake.importing.parquet_table import create_parquet_table
from eventlake.importing.rules import Table
from eventlake.storage.foreign import CSV, ENCODINGS, ROWS, foreign

Create = Callable[[duckdb.DuckDBPyConnection, Table, Path, Path], bool]
"""Creates a table from a file; the last path is a folder for copies of it.

Returns whether its columns are known: JSON without rows does not name them.
"""
_GZIP = ".gz"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """Everything that imports know of a format.

    Attributes:
        label: Its name in messages.
        suffixes: Suffixes of its file names, in lower case.
        contents: Kinds of content that it reads, in the terms of ``storage.foreign``.
        create: Creates a table from a file.
    """

    label: str
    suffixes: tuple[str, ...]
    contents: tuple[str, ...]
    create: Create


FORMATS = {
    "csv": FileFormat(
        "CSV",
        (".csv", ".tsv", ".txt", ".asc", ".dat"),
        # A line of CSV may begin like JSON.
        ("csv", "utf-8-sig", "lines", "array", "object", "empty"),
        create_csv_table,
    ),
    "parquet": FileFormat("Parquet", (".parquet", ".pq"), ("parquet",), create_parquet_table),
    "ndjson": FileFormat("NDJSON", (".ndjson", ".jsonl"), ("lines", "empty"), create_lines_table),
    "json": FileFormat("a JSON array of objects", (".json",), ("array",), create_array_table),
}
"""Formats by their names in a mapping."""


def format_of(table: Table, path: Path) -> str:
    """The format of a file, from the mapping or from its name.

    Raises:
        InvalidInputError: Neither determines the format.
    """
    if found := table.format or _named(path):
        return found
    message = f"table {table.name}: the name of {path} does not determine its format"
    hint = (
        f'give file = "{path.name}" and format as one of {", ".join(FORMATS)} '
        f"in [tables.{table.name}]."
    )
    raise InvalidInputError(message, hint, path=str(path))


def check_content(table: Table, path: Path) -> None:
    """Refuse a file whose content does not match its format.

    Raises:
        InvalidInputError: The message names the content; the hint says how to convert it.
    """
    name = table.format or _named(path)
    compressed = path.suffix.lower() == _GZIP
    native = {"gzip"} if compressed else set(FORMATS[name].contents if name else ())
    if name == "csv" and not is_utf8(table):
        prefix = table.encoding.lower().replace("_", "-")[:6]
        native |= {one for one in ENCODINGS if one.startswith(prefix)}
    if unsupported := foreign(path, CSV if name == "csv" else ROWS, native):
        found, hint = unsupported
        message = (
            f"table {table.name}: expected {path} as "
            f"{FORMATS[name].label if name else 'one of ' + ', '.join(FORMATS)}, "
            f"found that it is {found}"
        )
        raise InvalidInputError(message, hint, path=str(path))


def _named(path: Path) -> str | None:
    """The format of a file by its name, compressed or not; None if it is unknown."""
    whole = Path(path.stem) if path.suffix.lower() == _GZIP else path
    suffix = whole.suffix.lower()
    return next((name for name, one in FORMATS.items() if suffix in one.suffixes), None)
