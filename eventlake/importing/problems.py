"""What is wrong with the rows of an input: all of it, but of the same thing no more than anybody reads."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl

from eventlake.columns.intake.problems import shorten
from eventlake.core.instants import MAX_US, MIN_US
from eventlake.importing.times import Wrong
from eventlake.visible import safe

ROW = "eventlake row"
"""The column of a row's number; a name that no file is likely to have."""
_PLACE = re.compile(r"\b(row|sequence) [0-9,]*[0-9]")
MOST_ALIKE = 100
"""Problems kept of one column and rule; the rest is counted."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """One value, row or column of a table that cannot become a part of an event.

    Attributes:
        table: The table of the mapping.
        row: 0-based row of the table, a header line not counted; of a query's table, of its result.
            None where a whole column is wrong, or where more rows are alike.
        field: What it was to become, and the column that it came from.
        message: What was expected.
        found: What was there; None where that is no value.
    """

    table: str
    row: int | None
    field: str
    message: str
    found: Any = None

    def __str__(self) -> str:
        """``loan, row 3, amount (column amt): expected …, found …``."""
        where = self.table if self.row is None else f"{self.table}, row {self.row:,}"
        found = "" if self.found is None else f", found {shorten(self.found)}"
        return safe(f"{where}, {self.field}: {self.message}{found}")


class Problems:
    """Collects problems of any number of rows in bounded memory."""

    def __init__(self) -> None:
        self._kept: list[ImportProblem] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._kept)

    def add(self, problem: ImportProblem) -> None:
        """One more."""
        alike = (problem.table, problem.field, _alike(problem.message))
        self._counts[alike] += 1
        if self._counts[alike] <= MOST_ALIKE:
            self._kept.append(problem)

    def add_rows(
        self, table: str, field: str, wrong: Wrong, rows: pl.Series, values: pl.Series | None
    ) -> None:
        """A rule that some rows break.

        Args:
            table: Its name.
            field: What is wrong with them.
            wrong: Which rows, and why.
            rows: Their numbers in the table.
            values: What was there; None to show nothing.
        """
        hits = wrong.rows.arg_true()
        for hit in hits[:MOST_ALIKE]:
            self.add(
                ImportProblem(
                    table,
                    rows[hit],
                    field,
                    wrong.message,
                    None if values is None else _shown(values, hit),
                )
            )
        self._counts[table, field, _alike(wrong.message)] += max(len(hits) - MOST_ALIKE, 0)

    def all(self) -> tuple[ImportProblem, ...]:
        """Every problem by table and row, then how many more there are of those that were too many."""
        more = [
            ImportProblem(table, None, field, f"{message}: {count - MOST_ALIKE:,} rows more")
            for (table, field, message), count in self._counts.items()
            if count > MOST_ALIKE
        ]
        return (
            *sorted(
                self._kept,
                key=lambda one: (one.table, -1 if one.row is None else one.row, one.field),
            ),
            *more,
        )


def _alike(message: str) -> str:
    """A message without the places that it names, which differ from row to row."""
    return _PLACE.sub(r"\1 …", message)


def _shown(values: pl.Series, row: int) -> Any:
    """A value; of times beyond Python's, the number that stands for it."""
    step_us = {pl.Date: 86_400_000_000, pl.Datetime: 1}.get(values.dtype.base_type(), 0)
    number = values.to_physical()[row] if step_us else None
    return values[row] if number is None or MIN_US <= number * step_us <= MAX_US else number
