"""An import from end to end: tables, events, a look at all of them, then batch after batch into the lake."""

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from eventlake.columns.intake.problems import shorten
from eventlake.core.card import Card, counted
from eventlake.core.documents.delivery import Position
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import ConflictError, EventlakeError, InvalidEventsError, InvalidInputError
from eventlake.importing.events import events_of
from eventlake.importing.mapping import ImportMapping, read_mapping
from eventlake.importing.problems import ImportProblem, Problems
from eventlake.importing.staged import Staged
from eventlake.importing.tables import Tables, database
from eventlake.lake import Lake
from eventlake.progress import task
from eventlake.storage.foreign import ROWS, foreign
from eventlake.verbs import helpful, verb
from eventlake.visible import redacted

FIRST = 5
"""Events that a dry run shows."""
_CHANGED = (
    "the input or the mapping is not what this producer imported before: give another producer name for another input, "
    "and leave out what is in the lake already."
)


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Import:
    """What an import did, or in a dry run would do.

    Attributes:
        producer: The stream whose positions 0, 1, 2 … its batches have.
        events: How many events the input holds; those of rows with problems are not counted.
        batches: Into how many batches they are cut.
        appended: How many of them were not in the lake before: what was appended, or would be.
        checkpoint: The history that ends with the last batch; in a dry run, or where there are no
            events, the head's.
        dry_run: Whether nothing was to be appended.
        first: The first events as they would be appended: the columns of ``Lake.append``; at most
            5.
        problems: Everything that is wrong; empty but in a dry run.
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
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Import: {self.card().title}>"

    def card(self) -> Card:
        """What to show: problems where there are any, else the first events of a dry run."""
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
            title = f"would append nothing: {counted(len(self.problems), 'problem')}"
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
        """The first events."""
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
    """The producer's name where none is given: of the first source, the mapping and the input."""
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
    producer: an import that was interrupted is taken up again by running it once more, and one that
    is finished appends nothing.

    Args:
        lake: Where to.
        path: A CSV, Parquet, NDJSON or JSON file, or the folder that the files of the mapping are
            in.
        mapping: The path of a TOML file, or a dict of the same shape.
        producer: The stream's name; None for the mapping's, or one made of its first source, its
            own name and that of ``path``.
        dry_run: Append nothing, and give the problems instead of raising them.

    Returns:
        What was appended, or would be.

    Raises:
        InvalidEventsError: Rows that cannot be events, each with its table, row and column; nothing
            was appended. Or ``append`` refused a batch for what is in the lake already; the batches
            before it stay.
        InvalidInputError: The mapping is wrong, or does not fit the files.
        NotFoundError: A file is not there.
        ConflictError: The producer has appended other events before: the input, the mapping or the
            cut into batches has changed.
        CommitUnknownError: The store failed while a batch was published; run the import again.
        StorageError: The store failed before that; run the import again.
    """
    with _readable(path):
        return _import(lake, path, mapping, producer, dry_run=dry_run)


@contextmanager
def _readable(path: object) -> Iterator[None]:
    """What Python says of paths and texts that are none, and of files that are cut or damaged, in our words."""
    try:
        yield
    except EventlakeError:
        raise
    except (EOFError, zlib.error, UnicodeError, RecursionError) as error:
        message = f"{path} cannot be imported: {error}"
        raise InvalidInputError(
            message,
            "the file, or the mapping, is cut short, damaged, or no text in UTF-8.",
            path=str(path),
        ) from error
    except (RuntimeError, ValueError) as error:
        if not any(told in str(error) for told in ("home directory", "null byte")):
            raise
        message = f"{path!r}, or a path in the mapping, is no path: {error}"
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
    if not given.exists() and (told := foreign(path, ROWS)):
        message = f"expected a file or folder to import, found {redacted(os.fspath(path))}, which is {told[0]}"
        raise InvalidInputError(message, told[1], path=str(path))
    name = producer or described.producer or default_producer(described, given)
    Position(name, 0)  # refuses a name that cannot be one
    with staged_events(given, described) as (staged, problems):
        total = staged.total
        batches = -(-total // described.batch_events)
        delivered = lake.next_position(name) or 0
        if not problems and delivered > batches:
            message = f"{name} has appended {delivered:,} batches, and the input gives {batches:,}"
            raise ConflictError(message, _CHANGED, expected=delivered, found=batches)
        # Rows that are left out would move the others into other batches.
        if not problems or not delivered:
            _check_rules(lake, staged, delivered, problems)
        if problems and not dry_run:
            hint = "correct the rows or the mapping; a dry run shows every problem."
            raise InvalidEventsError(problems.all(), hint, within="input", path=str(given))
        fresh = max(total - delivered * described.batch_events, 0)
        done = Import(
            name,
            total,
            batches,
            fresh,
            lake.checkpoint,
            dry_run,
            pl.DataFrame(staged.batch(0, FIRST)),
            problems.all(),
        )
        return done if dry_run else _append(lake, staged, done)


@contextmanager
def staged_events(given: Path, mapping: ImportMapping) -> Iterator[tuple[Staged, Problems]]:
    """The events of an input in order, and what is wrong with its rows; rows with problems are left out.

    Raises:
        InvalidEventsError: Lines of a file are broken.
        InvalidInputError: The mapping does not fit the files.
        NotFoundError: A file is not there.
    """
    problems = Problems()
    with database(given, mapping.tables) as (connection, scratch):
        tables = Tables(connection, scratch, given, mapping.tables)
        for rules in mapping.events:
            tables.check_columns(rules)
        staged = Staged(connection, mapping)
        for rules in mapping.events:
            for rows in tables.rows(rules):
                staged.add(events_of(rows, rules, staged.keys, problems))
        tables.drop()
        staged.arrange()
        staged.check(problems)
        yield staged, problems


def _check_rules(lake: Lake, staged: Staged, delivered: int, problems: Problems) -> None:
    """Asks the event rules, the lake's schemas and its ids about every batch that it does not have, before the first is appended."""
    start, whole = 0, not problems
    with task("checking events", staged.total) as advance:
        for number, batch in enumerate(staged.batches()):
            stop = start + batch.num_rows
            found = lake.check(batch) if number >= delivered else []
            if any(problem.field == "corrects" for problem in found):
                # The lake does not know of the batches before this one, nor anybody of rows that
                # were left out.
                here = staged.corrects_here(start, stop)
                found = [
                    one
                    for one in found
                    if one.field != "corrects" or (whole and start + (one.row or 0) not in here)
                ]
            for problem in _placed(staged, start, stop, found):
                problems.add(problem)
            start = stop
            advance(batch.num_rows)


def _placed(staged: Staged, start: int, stop: int, found: Sequence[Any]) -> Iterator[ImportProblem]:
    """What the lake says of the batch of the events ``[start, stop)``, by the tables and rows that its events came from."""
    places = staged.places(start, stop) if found else []
    for problem in found:
        table, row = places[problem.row or 0]
        yield ImportProblem(
            table,
            None if problem.row is None else row,
            problem.field,
            problem.message,
            problem.found,
        )


def _append(lake: Lake, staged: Staged, done: Import) -> Import:
    appended, start, checkpoint = 0, 0, done.checkpoint
    with task("appending events", done.events) as advance:
        for position, batch in enumerate(staged.batches()):
            try:
                receipt = lake.append(batch, producer=done.producer, position=position)
            except ConflictError as error:
                raise ConflictError(error.message, _CHANGED, **error.facts) from error
            except InvalidEventsError as error:
                # Another writer came between: what was sound when it was looked at is not any more.
                placed = list(_placed(staged, start, start + batch.num_rows, error.problems))
                hint = f"the {position:,} batches before stay; correct the rows, or give another producer what is left."
                raise InvalidEventsError(
                    placed,
                    hint,
                    within=f"batch at position {position:,}",
                    outcome="nothing of it was appended",
                ) from error
            appended += 0 if receipt.repeated else receipt.count
            start += batch.num_rows
            checkpoint = receipt.checkpoint
            advance(batch.num_rows)
    return replace(done, appended=appended, checkpoint=checkpoint)


def _shown(problem: ImportProblem) -> str:
    return "" if problem.found is None else shorten(problem.found)
