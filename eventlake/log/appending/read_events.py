"""Read events in any form that a caller may pass, and check every rule that needs no lake."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from eventlake.columns.intake.batch_limits import BATCH_LIMITS, BatchLimits
from eventlake.columns.intake.envelope import Batch, to_batch
from eventlake.columns.intake.given import is_frame, table_of
from eventlake.columns.intake.objects import from_ndjson, from_objects
from eventlake.columns.intake.payload_text import with_payload_texts
from eventlake.columns.intake.problems import Problem
from eventlake.columns.intake.rules import canonical_extensions, rule_problems
from eventlake.columns.parquet.foreign_files import (
    check_footer,
    decoded_bytes,
    parquet_parts,
    read_parquet,
)
from eventlake.errors import InvalidEventsError, InvalidInputError, NotFoundError
from eventlake.memory import part_bytes
from eventlake.progress import task
from eventlake.storage.foreign import EVENTS, foreign
from eventlake.visible import redacted

_NDJSON = frozenset({".ndjson", ".jsonl", ".json"})
_ASSIGNED = frozenset({"recorded_at", "sequence"})
"""Columns that all events of a batch have, or none."""
_PARQUET = frozenset({".parquet", ".pq"})


def countable(events: Any) -> Any:
    """Return events whose number is known without checking them: a list, or else a table.

    Raises:
        InvalidInputError: ``events`` is not a collection of events.
        InvalidEventsError: A line of an NDJSON file is not readable.
    """
    if isinstance(events, list | tuple):
        return list(events)
    table, problems = _table(events)
    if problems:
        raise InvalidEventsError(problems, "correct the rows and append the batch again.")
    return table


def checked_batch(
    events: Any,
    *,
    drop_repeats: Callable[[Batch], Batch] | None = None,
    ahead: bool = True,
    limits: BatchLimits = BATCH_LIMITS,
) -> Batch:
    """Read ``events`` and check every rule that needs no lake.

    Args:
        events: See ``Lake.append``.
        drop_repeats: Drops repeated events before they are refused as duplicates.
        ahead: Whether segments are encoded during the checks, which most batches pass.
        limits: How the batch is encoded.

    Raises:
        InvalidEventsError: With all problems, by row and field.
        InvalidInputError: ``events`` is not a collection of events.
    """
    table, problems = _table(events)
    batch, more = to_batch(table, limits)
    # A column that could not be read at all is not reported a second time for its type.
    blamed = {problem.field for problem in problems}
    problems += [
        problem for problem in more if problem.row is not None or problem.field not in blamed
    ]
    batch, more = canonical_extensions(batch)
    problems += more
    if drop_repeats is not None and not problems:
        batch = drop_repeats(batch)
    ahead = ahead and drop_repeats is None
    encoding = batch.encoding if batch.rows and not problems and ahead else None
    blame = {(problem.row, problem.field) for problem in problems}
    problems += [problem for problem in rule_problems(batch) if not _follows_from(problem, blame)]
    if problems:
        if encoding:
            encoding.abandon()
        raise InvalidEventsError(
            sorted(problems, key=by_row_and_field), "correct the rows and append the batch again."
        )
    return batch


def _follows_from(problem: Problem, blame: set[tuple[int | None, str]]) -> bool:
    """Whether a rule is broken only because the value was not readable in the first place."""
    row, field = problem.row, problem.field
    return bool({(row, field), (None, field), (row, "event"), (row, "line")} & blame)


def by_row_and_field(problem: Problem) -> tuple[int, str]:
    """The sort key of a problem: row, then field; problems of whole columns come first."""
    return (-1 if problem.row is None else problem.row, problem.field)


def parts_of(
    events: Any, part_rows: int = BATCH_LIMITS.segment_rows
) -> Callable[[], Iterator[pa.Table]] | None:
    """Return a function that reads a large file in parts, or None.

    Every call starts at the beginning. It is None for anything but a file that is larger than a
    part: Parquet by its rows, or by the bytes that its footer states, and NDJSON by its size (see
    ``memory.part_bytes``).

    Args:
        events: See ``Lake.append``.
        part_rows: Maximum number of rows of a part.

    Raises:
        InvalidInputError: The file is not readable.
    """
    if not isinstance(events, str | os.PathLike):
        return None
    suffix = Path(events).suffix.lower()
    if suffix in _NDJSON:
        return (lambda: _ndjson_parts(events)) if _size_of(events) > part_bytes() else None
    if suffix not in _PARQUET:
        return None
    path = _path(events)
    with _readable(path):
        rows = check_footer(str(path))
        is_large = rows > part_rows or decoded_bytes(str(path)) > part_bytes()
    return (lambda: _parts(path, rows, part_rows)) if is_large else None


def _size_of(given: str | os.PathLike[str]) -> int:
    """The size of a file; 0 if there is none."""
    try:
        return Path(given).expanduser().stat().st_size
    # Text that is no path at all; reading it as a file says so.
    except (OSError, ValueError, RuntimeError):
        return 0


def _ndjson_parts(given: str | os.PathLike[str]) -> Iterator[pa.Table]:
    path, most_bytes = _path(given), part_bytes() // 2
    assigned: frozenset[str] | None = None
    with (
        _readable(path),
        task("appending events", path.stat().st_size) as advance,
        path.open("rb") as file,
    ):
        while lines := file.readlines(most_bytes):
            content = b"".join(lines)
            del lines
            table, problems = from_ndjson(content)
            advance(len(content))
            del content
            names = _ASSIGNED.intersection(table.column_names)
            # Problems are listed for the whole file. So is a column that some lines lack, which
            # would be a history of its own in a part.
            if problems or (table.num_rows and assigned not in {None, frozenset(names)}):
                checked_batch(given)
                message = f"{path} changed while it was read"
                raise InvalidInputError(message, path=str(path))
            if table.num_rows:
                assigned = frozenset(names)
                yield table
            del table  # makes room for the next part


def _path(given: str | os.PathLike[str]) -> Path:
    """The path of a file of events.

    Raises:
        InvalidInputError: Its first bytes or its name are those of another kind of file.
    """
    path = Path(given).expanduser()
    native: set[str] = set()
    if path.suffix.lower() in _PARQUET:
        native = {"parquet"}
    elif path.suffix.lower() in _NDJSON:
        native = {"lines", "empty", "utf-8-sig"}
    if recognized := foreign(given, EVENTS, native):
        kind, hint = recognized
        message = (
            "expected a file of events, NDJSON or Parquet, "
            f"found {redacted(os.fspath(given))}, which is {kind}"
        )
        raise InvalidInputError(message, hint, path=str(path))
    return path


def _parts(path: Path, total: int, part_rows: int) -> Iterator[pa.Table]:
    with _readable(path), task("appending events", total) as advance:
        for table in parquet_parts(str(path), part_rows):
            rows = table.num_rows
            yield table
            del table  # makes room for the next part
            advance(rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        message = f"there is no file {path}"
        raise NotFoundError(message, path=str(path)) from None
    except (pa.ArrowException, OSError) as error:
        message = f"{path} is not readable as {path.suffix[1:]}: {error}"
        raise InvalidInputError(message, path=str(path)) from error


def _table(events: Any) -> tuple[pa.Table, list[Problem]]:
    if isinstance(events, str | os.PathLike):
        return _file(events)
    if isinstance(events, bytes | bytearray | memoryview):
        return from_ndjson(bytes(events))
    if is_frame(events):
        problems: list[Problem] = []
        return table_of(with_payload_texts(events, problems), "the events", checked=False), problems
    # A dict is iterable, over its keys.
    if isinstance(events, Mapping) or not isinstance(events, Iterable):
        hint = (
            "give a list of dicts, a Polars, pandas or Arrow table, "
            "the path of an NDJSON or Parquet file, or the bytes of NDJSON."
        )
        message = f"expected events, found {type(events).__name__}"
        if isinstance(events, Mapping):
            hint = "put a single event into a list: lake.append([event])."
            if events and all(isinstance(value, list) for value in events.values()):
                hint = "make a table of columns: lake.append(pl.DataFrame(columns))."
        raise InvalidInputError(message, hint)
    return from_objects(events)


def _file(given: str | os.PathLike[str]) -> tuple[pa.Table, list[Problem]]:
    text = os.fspath(given)
    # JSON passed as text instead of a path: say how to append it, not that the file is missing.
    if text.lstrip()[:1] in {"{", "["} and ('"' in text or not Path(text).suffix):
        message = "expected the path of a file, or events, found JSON as text"
        rows = "msgspec.json.decode(text, type=list[msgspec.Raw])"
        array = f"b'\\n'.join(msgspec.json.format(one, indent=-1) for one in {rows})"
        hint = f"write lake.append({array if text.lstrip()[0] == '[' else 'text.encode()'})."
        raise InvalidInputError(message, hint)
    path = _path(given)
    with _readable(path):
        if path.suffix.lower() in _PARQUET:
            return read_parquet(str(path)), []
        if path.suffix.lower() in _NDJSON:
            table, problems = from_ndjson(path.read_bytes())
            if problems and (recognized := foreign(given, EVENTS, {"lines", "empty"})):
                raise InvalidEventsError(problems, recognized[1])  # a byte order mark
            return table, problems
    if not path.exists():
        message = f"there is no file {path}"
        raise NotFoundError(
            message,
            "events are NDJSON or Parquet files, a list of dicts, or a frame.",
            path=str(path),
        )
    message = f"expected a file named .ndjson, .jsonl, .json or .parquet, found {path}"
    hint = (
        "rename the file by what it holds; "
        "import a table of another form: el.import_file(lake, path, mapping)."
    )
    raise InvalidInputError(message, hint, path=str(path))
