"""Reads a spine from a file. Columns of a CSV are text unless they have a declared type."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from eventlake.columns.intake.given import without_index
from eventlake.columns.intake.problems import shorten
from eventlake.columns.parquet.foreign_files import read_parquet
from eventlake.core.names import repeated
from eventlake.core.sql import folded
from eventlake.errors import InvalidProjectionError
from eventlake.schemas.checks import arrow_type
from eventlake.schemas.schema import FieldType
from eventlake.schemas.text import TYPES, type_named, value_of
from eventlake.storage.foreign import SPINE, foreign

CSV = ".csv"
SUFFIXES = (CSV, ".parquet")
_SHOWN = 10
_LONGEST = 16 << 20
"""Most characters in a line."""


def read_spine(path: Path, columns: Mapping[str, str], needed: Mapping[str, str]) -> pa.Table:
    """The rows of a CSV or Parquet file. ``path`` names one file: no character of it is a pattern.

    Args:
        path: Path with the suffix ``.csv`` or ``.parquet``.
        columns: Declared types of CSV columns; the others are text, and an empty value is null.
        needed: Types of columns that the projection determines; declared types take precedence.

    Raises:
        InvalidProjectionError: The file cannot be read; a declared column is missing, or the file
            is not a CSV; or a value does not have its declared type (names each row).
    """
    suffix = path.suffix.lower()
    native: tuple[str, ...] = ()
    if suffix == ".parquet":
        native = ("parquet",)
    elif suffix == CSV:
        native = ("csv", "utf-8-sig", "lines", "array", "object", "empty")
    if other := foreign(path, SPINE, native):
        message = (
            f"expected the spine as a {' or '.join(SUFFIXES)} file, found {path}, which is "
            f"{other[0]}"
        )
        raise InvalidProjectionError(message, other[1], path=str(path))
    if suffix not in SUFFIXES:
        message = f"expected the spine as a {' or '.join(SUFFIXES)} file, found {path}"
        raise InvalidProjectionError(message, path=str(path))
    try:
        if suffix == CSV:
            return _csv(path, columns, needed)
        table = without_index(read_parquet(str(path)))
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        message = f"the spine {path} cannot be read: {error}"
        hint = (
            "a CSV file is UTF-8: save it so, or convert it with iconv."
            if isinstance(error, UnicodeDecodeError)
            else None
        )
        raise InvalidProjectionError(message, hint, path=str(path)) from error
    if columns:
        message = (
            f"the spine {path} declares columns {', '.join(columns)}; a Parquet file has types of "
            "its own"
        )
        raise InvalidProjectionError(
            message, "leave columns out, and cast in the query.", path=str(path)
        )
    return table


def declared_types(columns: Mapping[str, Any], where: str = "spine") -> dict[str, str]:
    """Check the types that are declared for the columns of a spine.

    Raises:
        InvalidProjectionError: There is no such type.
    """
    for name, kind in columns.items():
        if type_named(kind) is None:
            message = (
                f"{where}: expected the type of the spine's column {name} as one of "
                f"{', '.join(TYPES)}, found {kind!r}"
            )
            raise InvalidProjectionError(
                message, 'such as client = "int64"; columns without a type are text.', column=name
            )
    return dict(columns)


def _csv(path: Path, columns: Mapping[str, str], needed: Mapping[str, str]) -> pa.Table:
    # Spreadsheets write a byte order mark, which would become part of the first name.
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(_bounded(lines), strict=True)
        names = next(reader, [])
        _check_header(path, names, columns)
        values: list[list[str | None]] = [[] for _ in names]
        for row in reader:
            # An empty line is an empty value of a single column, and no row of several.
            cells = row or ([""] if len(names) == 1 else None)
            if cells is None:
                continue
            if len(cells) != len(names):
                message = (
                    f"the spine {path}, line {reader.line_num:,}: expected {len(names)} values, "
                    f"found {len(cells)}"
                )
                raise InvalidProjectionError(
                    message, "put quotes around a value that has commas.", path=str(path)
                )
            for column, cell in zip(values, cells, strict=True):
                column.append(cell or None)
    types = dict(needed) | dict(columns)
    problems: list[str] = []
    arrays = [
        _typed(name, texts, types.get(name, "utf8"), problems)
        for name, texts in zip(names, values, strict=True)
    ]
    if problems:
        more = f"\n  … and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        message = (
            f"the spine {path} has {len(problems):,} values of another type:\n  "
            + "\n  ".join(problems[:_SHOWN])
            + more
        )
        hint = (
            "correct the rows, or declare another type in [spine.columns]; as utf8 a column stays "
            "as it is written."
        )
        raise InvalidProjectionError(message, hint, path=str(path))
    return pa.table(arrays, names)


def _bounded(lines: TextIO) -> Iterator[str]:
    """The lines of a file, up to a length beyond which no line of values goes."""
    # A file without line ends would be read into memory whole.
    while line := lines.readline(_LONGEST):
        if len(line) == _LONGEST:
            message = f"expected lines of fewer than {_LONGEST:,} characters, found a longer one"
            raise csv.Error(message)
        yield line


def _check_header(path: Path, names: Sequence[str], columns: Mapping[str, str]) -> None:
    doubled = repeated(names, folded)
    if not names or "" in names or doubled:
        found = f"{', '.join(doubled)} more than once" if doubled else f"the columns {names}"
        message = (
            f"the spine {path}: expected a header line with a name for each column, found {found}"
        )
        raise InvalidProjectionError(
            message, "names are compared without case, as in SQL.", path=str(path)
        )
    unknown = [name for name in columns if name not in names]
    if unknown:
        message = (
            f"the spine {path} has no column {', '.join(unknown)}, for which a type is declared"
        )
        raise InvalidProjectionError(
            message, f"its columns are {', '.join(names)}.", path=str(path)
        )


def _typed(name: str, texts: Sequence[str | None], declared: str, problems: list[str]) -> pa.Array:
    kind = type_named(declared) or FieldType("utf8")
    target = arrow_type(kind)
    if kind.kind == "utf8":
        return pa.array(texts, pa.large_string())
    values: list[Any] = [None] * len(texts)
    for row, text in enumerate(texts):
        if text is not None:
            expected, values[row] = value_of(text, kind)
            if expected:
                problems.append(f"row {row:,}, {name}: {expected}, found {shorten(text)}")
    return (
        pa.array(values, pa.int64()).cast(target)
        if kind.kind == "timestamp"
        else pa.array(values, target)
    )
