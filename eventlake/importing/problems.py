"""Collect the problems of an input's rows, with a limit on how many alike are kept."""

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
"""Name of the column with a row's number; unlikely to be a column of a file."""
_PLACE = re.compile(r"\b(row|sequence) [0-9,]*[0-9]")
MOST_ALIKE = 100
"""Maximum problems kept per column and rule; more are only counted."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """One value, row or column of a table that cannot become part of an event.

    Attributes:
        table: The table of the mapping.
        row: 0-based row of the table or of the query's result, not counting a header line. None for
            a whole column, and for a count of similar rows.
        field: The field of the event, and the column that it comes from.
        message: What was expected.
        found: The value found; None if there is none.
        rows: Number of rows that it stands for; more than one only for a count of similar rows.
    """

    table: str
    row: int | None
    field: str
    message: str
    found: Any = None
    rows: int = 1

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
        """Whether there is any problem."""
        return bool(self._kept)

    def add(self, problem: ImportProblem) -> None:
        """Add one problem."""
        alike = (problem.table, problem.field, _alike(problem.message))
        self._counts[alike] += 1
        if self._counts[alike] <= MOST_ALIKE:
            self._kept.append(problem)

    def add_rows(
        self, table: str, field: str, wrong: Wrong, rows: pl.Series, values: pl.Series | None
    ) -> None:
        """Add the rows that break a rule.

        Args:
            table: Name of the table.
            field: The field of the event, and the column that it comes from.
            wrong: The rows that break the rule, and the rule.
            rows: Numbers of all rows in the table.
            values: The values to show; None for none.
        """
        hits = wrong.rows.arg_true()
        # Only these are taken out of the column; the others are counted.
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
        """Every kept problem by table and row, then counts of the rest."""
        more = [
            ImportProblem(
                table,
                None,
                field,
                f"{message}: {count - MOST_ALIKE:,} rows more",
                rows=count - MOST_ALIKE,
            )
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
    """The message without the row numbers in it, which differ from row to row."""
    return _PLACE.sub(r"\1 …", message)


def _shown(values: pl.Series, row: int) -> Any:
    # Python cannot represent times outside the years 1 to 9999; their number is shown instead.
    step_us = {pl.Date: 86_400_000_000, pl.Datetime: 1}.get(values.dtype.base_type(), 0)
    number = values.to_physical()[row] if step_us else None
    return values[row] if number is None or MIN_US <= number * step_us <= MAX_US else number
