"""From whatever a caller calls events to one checked batch."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from eventlake.columns.intake.envelope import Batch, to_batch
from eventlake.columns.intake.given import is_frame, table_of
from eventlake.columns.intake.objects import from_ndjson, from_objects
from eventlake.columns.intake.payload_text import with_payload_texts
from eventlake.columns.intake.problems import Problem
from eventlake.columns.intake.rules import canonical_extensions, rule_problems
from eventlake.columns.parquet.segments import MAX_ROWS, parquet_parts, parquet_rows, read_parquet
from eventlake.errors import InvalidEventsError, InvalidInputError, NotFoundError
from eventlake.progress import task
from eventlake.storage.foreign import EVENTS, foreign
from eventlake.visible import redacted

_NDJSON = frozenset({".ndjson", ".jsonl", ".json"})
_PARQUET = frozenset({".parquet", ".pq"})


def rows_of(events: Any) -> Any:
    """Events whose number is known without looking at them: a list as it is, everything else as a table.

    Raises:
        InvalidInputError: ``events`` is nothing that holds events.
        InvalidEventsError: A file of them cannot be read line by line.
    """
    if isinstance(events, list | tuple):
        return list(events)
    table, problems = _table(events)
    if problems:
        raise InvalidEventsError(problems, "correct the rows and append the batch again.")
    return table


def checked_batch(events: Any, *, once: Callable[[Batch], Batch] | None = None) -> Batch:
    """Reads ``events`` and applies every rule that can be applied without the lake.

    Args:
        events: What ``Lake.append`` takes.
        once: Leaves out what may stand twice, before it is refused for that.

    Raises:
        InvalidEventsError: With all problems, by row and field.
        InvalidInputError: ``events`` is nothing that holds events.
    """
    table, problems = _table(events)
    batch, more = to_batch(table)
    blamed = {problem.field for problem in problems}
    problems += [
        problem for problem in more if problem.row is not None or problem.field not in blamed
    ]
    batch, more = canonical_extensions(batch)
    problems += more
    if once is not None and not problems:
        batch = once(batch)
    # Most batches are good: while the rules are asked, their segments are made.
    begun = batch.encoding if batch.rows and not problems and once is None else None
    blame = {(problem.row, problem.field) for problem in problems}
    problems += [problem for problem in rule_problems(batch) if not _follows_from(problem, blame)]
    if problems:
        if begun:
            begun.abandon()
        raise InvalidEventsError(
            sorted(problems, key=place), "correct the rows and append the batch again."
        )
    return batch


def _follows_from(problem: Problem, blame: set[tuple[int | None, str]]) -> bool:
    """Whether a rule is broken only because the value could not be read in the first place."""
    row, field = problem.row, problem.field
    return bool({(row, field), (None, field), (row, "event"), (row, "line")} & blame)


def place(problem: Problem) -> tuple[int, str]:
    """Sorts problems by row and field, those of whole columns first."""
    return (-1 if problem.row is None else problem.row, problem.field)


def parts_of(events: Any) -> Callable[[], Iterator[pa.Table]] | None:
    """Reads a Parquet file that is too large for one segment part by part, from its beginning at every call; None for anything else.

    Raises:
        InvalidInputError: It cannot be read.
    """
    if not isinstance(events, str | os.PathLike) or Path(events).suffix.lower() not in _PARQUET:
        return None
    path = _path(events)
    with _readable(path):
        rows = parquet_rows(str(path))
    return (lambda: _parts(path, rows)) if rows > MAX_ROWS else None


def _path(given: str | os.PathLike[str]) -> Path:
    """The path of a file of events.

    Raises:
        InvalidInputError: It is something else, by its first bytes or its name.
    """
    path = Path(given).expanduser()
    native = (
        {"parquet"}
        if path.suffix.lower() in _PARQUET
        else {"lines", "empty", "utf-8-sig"}
        if path.suffix.lower() in _NDJSON
        else ()
    )
    if told := foreign(given, EVENTS, native):
        kind, hint = told
        message = f"expected a file of events, NDJSON or Parquet, found {redacted(os.fspath(given))}, which is {kind}"
        raise InvalidInputError(message, hint, path=str(path))
    return path


def _parts(path: Path, total: int) -> Iterator[pa.Table]:
    with _readable(path), task("appending events", total) as advance:
        for table in parquet_parts(str(path)):
            rows = table.num_rows
            yield table
            del table  # the next part is read into its memory
            advance(rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        message = f"there is no file {path}"
        raise NotFoundError(message, path=str(path)) from None
    except (pa.ArrowException, OSError) as error:
        message = f"{path} cannot be read as {path.suffix[1:]}: {error}"
        raise InvalidInputError(message, path=str(path)) from error


def _table(events: Any) -> tuple[pa.Table, list[Problem]]:
    if isinstance(events, str | os.PathLike):
        return _file(events)
    if isinstance(events, bytes):
        return from_ndjson(events)
    if is_frame(events):
        problems: list[Problem] = []
        return table_of(with_payload_texts(events, problems), "the events", once=False), problems
    if isinstance(events, Mapping) or not isinstance(events, Iterable):
        hint = "give a list of dicts, a Polars, pandas or Arrow table, the path of an NDJSON or Parquet file, or the bytes of NDJSON."
        message = f"expected events, found {type(events).__name__}"
        if isinstance(events, Mapping):
            hint = "put a single event into a list: lake.append([event])."
            if events and all(isinstance(value, list) for value in events.values()):
                hint = "make a table of columns: lake.append(pl.DataFrame(columns))."
        raise InvalidInputError(message, hint)
    return from_objects(events)


def _file(given: str | os.PathLike[str]) -> tuple[pa.Table, list[Problem]]:
    text = os.fspath(given)
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
            if problems and (told := foreign(given, EVENTS, {"lines", "empty"})):
                raise InvalidEventsError(problems, told[1])  # a byte order mark
            return table, problems
    if not path.exists():
        message = f"there is no file {path}"
        raise NotFoundError(
            message,
            "events are NDJSON or Parquet files, a list of dicts, or a frame.",
            path=str(path),
        )
    message = f"expected a file named .ndjson, .jsonl, .json or .parquet, found {path}"
    raise InvalidInputError(
        message,
        "rename the file by what it holds; a table that is no events yet is imported: el.import_file(lake, path, mapping).",
        path=str(path),
    )
