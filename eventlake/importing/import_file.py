"""Import a file: read its tables, make events, check all of them, then append batch by batch."""

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from eventlake.columns.intake.problems import shorten
from eventlake.core.card import Card, Shown, counted
from eventlake.core.documents.delivery import Position
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import ConflictError, EventlakeError, InvalidEventsError, InvalidInputError
from eventlake.importing.database import database
from eventlake.importing.events import events_of
from eventlake.importing.mapping import ImportMapping, read_mapping
from eventlake.importing.problems import ImportProblem, Problems
from eventlake.importing.staged import Staged
from eventlake.importing.tables import Tables
from eventlake.lake import Lake
from eventlake.memory import part_bytes
from eventlake.progress import task
from eventlake.public_calls import helpful, verb
from eventlake.storage.foreign import ROWS, foreign
from eventlake.visible import redacted

FIRST = 5
"""Maximum events that a dry run shows."""
_CHANGED = (
    "the input or the mapping is not what this producer imported before: "
    "give another producer name for another input, and leave out what is in the lake already."
)


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Import(Shown):
    """The result of an import or of a dry run.

    Attributes:
        producer: The stream in which the batches have the positions 0, 1, 2 …
        events: Number of events in the input, without those of rows with problems.
        batches: Number of batches of the input.
        appended: Number of events that were, or in a dry run would be, appended.
        checkpoint: The history that ends with the last batch; in a dry run, or if there are no
            events, the head.
        dry_run: Whether this was a dry run.
        first: The first events, at most 5, with the columns of ``Lake.append``.
        problems: Every problem; empty except in a dry run.
    """

    producer: str
    events: int
    batches: int
    appended: int
    checkpoint: Checkpoint
    dry_run: bool
    first: pl.DataFrame
    problems: tuple[ImportProblem, ...] = ()

    @property
    def problem_count(self) -> int:
        """Number of problems, with each of the similar rows that one problem may stand for."""
        return sum(problem.rows for problem in self.problems)

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Import: {self.card().title}>"

    def card(self) -> Card:
        """The problems if there are any, else the first events of a dry run."""
        facts = [
            ("producer", self.producer),
            ("batches", f"{self.batches:,}"),
            ("checkpoint", str(self.checkpoint)),
        ]
        if self.problems:
            rows = tuple(
                (
                    one.table,
                    "" if one.row is None else f"{one.row:,}",
                    one.field,
                    one.message,
                    _shown(one),
                )
                for one in self.problems
            )
            title = f"would append nothing: {counted(self.problem_count, 'problem')}"
            return Card(title, tuple(facts), ("table", "row", "field", "expected", "found"), rows)
        known = (
            f", {self.events - self.appended:,} in the lake already"
            if self.appended < self.events
            else ""
        )
        if self.dry_run:
            return Card(
                f"would append {counted(self.appended, 'event')}{known}",
                tuple(facts),
                *self._first_rows(),
            )
        if known and not self.appended:
            return Card(
                f"nothing appended: {counted(self.events, 'event')} in the lake already",
                tuple(facts),
            )
        return Card(f"appended {counted(self.appended, 'event')}{known}", tuple(facts))

    def first_card(self) -> Card:
        """The first events as a table."""
        return Card(
            f"the first {counted(self.first.height, 'event')} of {self.events:,}",
            (),
            *self._first_rows(),
        )

    def _first_rows(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        shown = [
            name for name in self.first.columns if self.first[name].null_count() < self.first.height
        ]
        rows = tuple(
            tuple("" if value is None else str(value) for value in row)
            for row in self.first.select(shown).iter_rows()
        )
        return tuple(shown), rows


def default_producer(mapping: ImportMapping, given: Path) -> str:
    """The default name of the producer, made of the first source, the mapping and the input."""
    source = mapping.events[0].attributes["source"]
    name = "".join(literal or f"{{{column}}}" for literal, column in source.parts)
    return f"{name} {mapping.name} {given.resolve().name}"


@verb
def import_file(
    lake: Lake,
    path: str | os.PathLike[str],
    mapping: str | os.PathLike[str] | Mapping[str, Any],
    *,
    producer: str | None = None,
    dry_run: bool = False,
) -> Import:
    """Append the rows of tables as events, as a mapping describes.

    docs/reference/import-mappings.md lists the settings. Nothing is appended if a row is wrong.

    The same input and mapping give the same events in the same batches, which are positions of one
    producer. So running an interrupted import again resumes it, and running a finished one again
    appends nothing.

    Args:
        lake: The lake to append to.
        path: A CSV, Parquet, NDJSON or JSON file, or the folder with the files of the mapping.
        mapping: The path of a TOML file, or a dict of the same shape.
        producer: The stream's name. Defaults to the mapping's, or to a name made of the first
            source, the mapping's name and the name of ``path``.
        dry_run: Append nothing, and return problems instead of raising them.

    Returns:
        What was appended, or in a dry run would be.

    Raises:
        InvalidEventsError: Rows cannot become events; each is listed with its table, row and
            column, and nothing was appended. Or ``append`` refused a batch because of events that
            are in the lake already; earlier batches stay.
        InvalidInputError: The mapping is wrong, or does not fit the files.
        NotFoundError: A file does not exist.
        ConflictError: The producer has appended other events before: the input, the mapping or the
            batch size has changed.
        CommitUnknownError: The store failed while a batch was published; run the import again.
        StorageError: The store failed before that; run the import again.
    """
    with _input_errors(path):
        return _import(lake, path, mapping, producer, dry_run=dry_run)


@contextmanager
def _input_errors(path: object) -> Iterator[None]:
    """Translate Python's errors about invalid paths and damaged files."""
    try:
        yield
    except EventlakeError:
        raise
    except (EOFError, zlib.error, UnicodeError, RecursionError) as error:
        message = f"{path} cannot be imported: {error}"
        raise InvalidInputError(
            message,
            "the file, or the mapping, is cut short, damaged, or not UTF-8 text.",
            path=str(path),
        ) from error
    except (RuntimeError, ValueError) as error:
        # Python's words for a user without a home and for a NUL in a path.
        if not any(text in str(error) for text in ("home directory", "null byte")):
            raise
        message = f"{path!r}, or a path in the mapping, is not a path: {error}"
        raise InvalidInputError(message, path=str(path)) from error


def _import(
    lake: Lake,
    path: str | os.PathLike[str],
    mapping: str | os.PathLike[str] | Mapping[str, Any],
    producer: str | None,
    *,
    dry_run: bool,
) -> Import:
    described, given = read_mapping(mapping), Path(path).expanduser()
    if not given.exists() and (unsupported := foreign(path, ROWS)):
        kind, hint = unsupported
        message = (
            "expected a file or folder to import, "
            f"found {redacted(os.fspath(path))}, which is {kind}"
        )
        raise InvalidInputError(message, hint, path=str(path))
    name = producer or described.producer or default_producer(described, given)
    # Refuses an invalid name before any work.
    Position(name, 0)
    with staged_events(given, described) as (staged, problems):
        total = staged.total
        batches = -(-total // described.batch_events)
        delivered = lake.next_position(name) or 0
        # The input has become shorter, or its batches larger.
        if not problems and delivered > batches:
            message = f"{name} has appended {delivered:,} batches, and the input gives {batches:,}"
            raise ConflictError(message, _CHANGED, expected=delivered, found=batches)
        # Rows with problems are left out, which moves the others into different batches. A batch
        # then cannot be compared with what was delivered.
        if not problems or not delivered:
            _check_rules(lake, staged, delivered, problems)
        if problems and not dry_run:
            hint = "correct the rows or the mapping; a dry run shows every problem."
            raise InvalidEventsError(problems.all(), hint, within="input", path=str(given))
        missing = max(total - delivered * described.batch_events, 0)
        done = Import(
            name,
            total,
            batches,
            missing,
            lake.checkpoint,
            dry_run,
            pl.DataFrame(staged.events(0, FIRST)),
            problems.all(),
        )
        return done if dry_run else _append(lake, staged, done)


@contextmanager
def staged_events(
    given: Path, mapping: ImportMapping, most_bytes: int | None = None
) -> Iterator[tuple[Staged, Problems]]:
    """The events of an input in order, without rows that have problems, and these problems.

    Args:
        given: The file or folder to import.
        mapping: How its rows become events.
        most_bytes: Maximum bytes of events in memory; by default half of ``memory.part_bytes()``.

    Raises:
        InvalidEventsError: Lines of a file are broken.
        InvalidInputError: The mapping does not fit the files.
        NotFoundError: A file does not exist.
    """
    problems = Problems()
    with database(given, mapping.tables) as (connection, scratch):
        tables = Tables(connection, scratch, given, mapping.tables)
        for rules in mapping.events:
            tables.check_columns(rules)
        staged = Staged(connection, mapping, scratch, most_bytes or part_bytes() // 2)
        for rules in mapping.events:
            for rows in tables.rows(rules):
                staged.add(events_of(rows, rules, staged.keys, problems))
        # Before sorting, which DuckDB cannot spill: rows and events need not be in memory at once.
        tables.drop()
        staged.arrange()
        staged.check(problems)
        yield staged, problems


def _check_rules(lake: Lake, staged: Staged, delivered: int, problems: Problems) -> None:
    """Check every missing batch against the event rules, schemas and ids of the lake.

    This happens before the first batch is appended, so that a wrong row leaves nothing behind.
    """
    whole = not problems
    with task("checking events", staged.total) as advance:
        for number, (start, stop) in enumerate(staged.batches()):
            if number >= delivered:
                for problem in _broken_rules(lake, staged, start, stop, whole=whole):
                    problems.add(problem)
            advance(stop - start)


def _broken_rules(
    lake: Lake, staged: Staged, start: int, stop: int, *, whole: bool
) -> Iterator[ImportProblem]:
    """The problems of the batch ``[start, stop)``, by rules that need no other event of it."""
    for part in staged.parts(start, stop):
        end = start + part.num_rows
        found = lake.check(part)
        if any(problem.field == "corrects" for problem in found):
            # An event may correct one of an earlier part, which the lake does not have yet, or one
            # of a row that was left out.
            here = staged.corrects_here(start, end)
            found = [
                one
                for one in found
                if one.field != "corrects" or (whole and start + (one.row or 0) not in here)
            ]
        yield from _by_table(staged, start, end, found)
        start = end


def _by_table(
    staged: Staged, start: int, stop: int, found: Sequence[Any]
) -> Iterator[ImportProblem]:
    """Translate problems of the batch of events ``[start, stop)`` to tables and rows."""
    places = staged.places(start, stop) if found else []
    for problem in found:
        table, row = places[problem.row or 0]
        yield ImportProblem(
            table,
            None if problem.row is None else row,
            problem.field,
            problem.rule,
            problem.found,
        )


def _append(lake: Lake, staged: Staged, done: Import) -> Import:
    appended, checkpoint = 0, done.checkpoint
    with task("appending events", done.events) as advance:
        # From the first batch on: the lake answers a delivered batch with its first receipt, and
        # refuses it if the input has changed.
        for position, (start, stop) in enumerate(staged.batches()):
            try:
                receipt = lake.append(
                    staged.batch(start, stop), producer=done.producer, position=position
                )
            except ConflictError as error:
                raise ConflictError(error.message, _CHANGED, **error.facts) from error
            except InvalidEventsError as error:
                # Another writer has appended since the batch was checked.
                hint = (
                    f"the {position:,} batches before stay; "
                    "correct the rows, or give another producer what is left."
                )
                raise InvalidEventsError(
                    list(_by_table(staged, start, stop, error.problems)),
                    hint,
                    within=f"batch at position {position:,}",
                    outcome="nothing of it was appended",
                ) from error
            appended += 0 if receipt.repeated else receipt.count
            checkpoint = receipt.checkpoint
            advance(stop - start)
    return replace(done, appended=appended, checkpoint=checkpoint)


def _shown(problem: ImportProblem) -> str:
    return "" if problem.found is None else shorten(problem.found)
