"""Read what DuckDB does not read exactly: CSV headers and encodings, and JSON numbers.

DuckDB parses JSON numbers as doubles, and does not check the checksum of a compressed file.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa

from eventlake.columns.intake.json_scan import scan_one
from eventlake.core.names import repeated
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.importing.problems import ROW
from eventlake.importing.rules import Table

_RESERVED = frozenset({"rowid", ROW})
"""Names of the column with a row's number."""
_DEPTH = 66
"""The depth of a payload, in a row, in an array."""
_CHUNK_ROWS = 50_000
CHUNK_BYTES = 64 << 20
"""Maximum bytes of text that are handled at once, except for a single row's."""
"""Maximum text in memory at a time, unless a single row is larger."""
_CHUNK_CHARACTERS = 1 << 20


@contextmanager
def readable(table: Table, path: Path) -> Iterator[None]:
    """Translate the errors of reading a file."""
    try:
        yield
    except FileNotFoundError:
        message = f"table {table.name}: there is no file {path}"
        raise NotFoundError(
            message, "files are relative to the folder that is imported.", path=str(path)
        ) from None
    except UnicodeDecodeError as error:
        message = (
            f"table {table.name}: {path} is not {table.encoding}: "
            f"{error.reason} at byte {error.start:,} of a part"
        )
        raise InvalidInputError(
            message, 'give its encoding, such as encoding = "cp1250".', path=str(path)
        ) from error
    except gzip.BadGzipFile as error:
        message = f"table {table.name}: {path} cannot be read: {error}"
        raise InvalidInputError(message, path=str(path)) from error
    except OSError as error:
        if error.errno == ENOSPC:
            raise  # the copy, not the file, is the problem; ``database`` reports it
        message = f"table {table.name}: {path} cannot be read: {error.strerror or error}"
        raise StorageError(message, path=str(path)) from error


def csv_columns(table: Table, path: Path) -> list[str]:
    """The names of a CSV file's columns, from its first line or from the mapping.

    Raises:
        InvalidInputError: There is no first line, or a name is empty or repeated, ignoring case.
    """
    names = list(table.columns)
    if not names:
        with readable(table, path), _opened(path, table.encoding) as lines:
            escape = None if table.escape == table.quote else table.escape
            if table.quote:
                reader = csv.reader(
                    lines, delimiter=table.delimiter, quotechar=table.quote, escapechar=escape
                )
            else:
                reader = csv.reader(lines, delimiter=table.delimiter, quoting=csv.QUOTE_NONE)
            try:
                names = next(reader, [])
            except csv.Error as error:
                message = f"table {table.name}: the first line of {path} gives no names: {error}"
                raise InvalidInputError(message, path=str(path)) from error
    check_names(table, names)
    return names


def check_names(table: Table, names: list[str]) -> None:
    """Refuse column names that a query could not distinguish.

    Raises:
        InvalidInputError: A name is empty, reserved, or repeated ignoring case.
    """
    folded = [name.casefold() for name in names]
    doubled = repeated(names, str.casefold)
    if (
        not names
        or "" in names
        or doubled
        or not _RESERVED.isdisjoint(folded)
        or any("\0" in name for name in names)
    ):
        found = f"{', '.join(doubled)} more than once" if doubled else f"the columns {names}"
        message = (
            f"table {table.name}: expected columns with names of their own, "
            f"none of them {' or '.join(sorted(_RESERVED))}, found {found}"
        )
        raise InvalidInputError(
            message, 'name the columns of a file without a header line by columns = ["…"].'
        )


def reason_of(error_message: str) -> str:
    """DuckDB's reason for a broken line; an unclosed quote also hides the lines after it."""
    reason = error_message.partition("\n")[0]
    return (
        f"{reason} It hides the lines up to the next quote, which are not counted."
        if "unterminated quote" in reason
        else reason
    )


def delimiter_hint(columns: Mapping[str, str]) -> str:
    """A hint if the only column's name looks like a header line with another delimiter."""
    line = next(iter(columns))
    found = next((one for one in "\t;|," if one in line), None) if len(columns) == 1 else None
    spelled = "\\t" if found == "\t" else found
    return f' If it is a CSV file, give delimiter = "{spelled}" in [csv].' if found else ""


def as_utf8(table: Table, path: Path, scratch: Path) -> Path:
    """The path of a CSV file in UTF-8: the file itself, or a decoded copy in ``scratch``.

    A compressed file is copied too, because DuckDB does not check its checksum.
    """
    if is_utf8(table) and path.suffix.lower() != ".gz":
        return path
    # The name of a table may have any characters.
    copy = scratch / f"{table.name.encode().hex()}.csv"
    with (
        readable(table, path),
        _opened(path, table.encoding) as source,
        copy.open("w", encoding="utf-8", newline="") as target,
    ):
        while part := source.read(_CHUNK_CHARACTERS):
            target.write(part)
    return copy


def is_utf8(table: Table) -> bool:
    """Whether the CSV encoding of a table is UTF-8, or a part of it."""
    return table.encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii"}


def json_rows(
    table: Table, path: Path, *, lines: bool, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[pa.Table]:
    """Read JSON objects as columns of text.

    Strings are decoded; every other value keeps its JSON text, so that no digit is lost.

    Args:
        table: The table to read.
        path: Its file.
        lines: Whether each line is an object; else the file is one array of objects.
        chunk_bytes: Maximum bytes of the objects of a part.

    Raises:
        InvalidInputError: A line or an item is not an object.
    """
    rows = _lines(table, path) if lines else _array(table, path)
    for chunk in _chunks(rows, chunk_bytes):
        names = dict.fromkeys(name for row in chunk for name in row)
        check_names(table, list(names) or ["none"])
        yield pa.table(
            {name: pa.array([_text(row.get(name)) for row in chunk], pa.string()) for name in names}
            or {"none": [None] * len(chunk)}
        )


def _chunks(
    rows: Iterable[dict[str, msgspec.Raw]], chunk_bytes: int
) -> Iterator[list[dict[str, msgspec.Raw]]]:
    chunk: list[dict[str, msgspec.Raw]] = []
    held = 0
    for row in rows:
        size = sum(memoryview(raw).nbytes for raw in row.values())
        # A number of rows alone does not bound memory.
        if chunk and (len(chunk) == _CHUNK_ROWS or held + size > chunk_bytes):
            yield chunk
            chunk, held = [], 0
        chunk.append(row)
        held += size
    if chunk:
        yield chunk


def _lines(table: Table, path: Path) -> Iterator[dict[str, msgspec.Raw]]:
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    with readable(table, path), _bytes(path) as source:
        for number, line in enumerate(source, 1):
            if line.strip():
                try:
                    _check_json(line)
                    yield decode(line)
                except (msgspec.MsgspecError, ValueError) as error:
                    message = (
                        f"table {table.name}, line {number:,} of {path}: "
                        f"expected a JSON object ({error})"
                    )
                    raise InvalidInputError(message, path=str(path), line=number) from error


def _array(table: Table, path: Path) -> Iterable[dict[str, msgspec.Raw]]:
    with readable(table, path), _bytes(path) as source:
        try:
            data = source.read()
            _check_json(data)
            return msgspec.json.decode(data, type=list[dict[str, msgspec.Raw]])
        except (msgspec.MsgspecError, ValueError) as error:
            message = f"table {table.name}: expected {path} as a JSON array of objects ({error})"
            raise InvalidInputError(message, path=str(path)) from error


def _check_json(data: bytes) -> None:
    """Refuse JSON that readers interpret differently, such as a repeated key."""
    if reason := scan_one(data, limit=len(data), depth=_DEPTH):
        raise ValueError(reason)


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    data = bytes(raw)
    if data.startswith(b'"'):
        return str(msgspec.json.decode(data, type=str))
    return None if data == b"null" else data.decode("utf-8")


def _opened(path: Path, encoding: str) -> IO[str]:
    encoding = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    # Without translation: line breaks inside of quotes are part of a value.
    return path.open(encoding=encoding, newline="")


def _bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")
