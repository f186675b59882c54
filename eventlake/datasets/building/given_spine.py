"""Checks and numbers a caller's spine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from eventlake.columns.hashing.content import normalise
from eventlake.columns.intake.given import table_of
from eventlake.core.attributes import MAX_ATTRIBUTE_BYTES
from eventlake.core.sql import alike_in_sql, folded
from eventlake.datasets.store.archive import SPINE_ROW
from eventlake.errors import InvalidInputError
from eventlake.features.spines.spine import EventSpine
from eventlake.features.spines.spine_rows import not_known, rows_of
from eventlake.history.pinned import PinnedHistory


def spine_of_events(
    declared: EventSpine, history: PinnedHistory
) -> tuple[pa.Table, dict[str, int]]:
    """The rows of an event spine, and provenance members that count hindsight and late events."""
    rows, late = rows_of(declared, history)
    early = {"spine_hindsight_rows": not_known(declared, history, rows), "spine_late_rows": late}
    return given_spine(rows), early


def given_spine(spine: Any) -> pa.Table:
    """A caller's spine in normalised types, with the 0-based column ``spine_row`` in front.

    Raises:
        InvalidInputError: It is not a table, a column is called ``spine_row`` in any case, a name
            is empty, too long or has a NUL, or two names differ by case alone.
        SchemaMismatchError: A column has a type that cannot be hashed.
    """
    table = table_of(spine, "the spine")
    _check_names(table.column_names)
    return normalise(table.add_column(0, SPINE_ROW, pa.array(np.arange(table.num_rows))))


_NAMES = f"expected names of 1 to {MAX_ATTRIBUTE_BYTES:,} characters without NUL"


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        problem = None
        if folded(name) == SPINE_ROW:
            problem = "that name is reserved for the row number"
        elif not 0 < len(name) <= MAX_ATTRIBUTE_BYTES or "\0" in name:
            problem = _NAMES
        if problem:
            message = f"the spine has a column {name!r}; {problem}"
            raise InvalidInputError(message, "rename the column.", column=name)
    if alike := alike_in_sql(names):
        message = (
            f"the spine has the columns {alike[0]!r} and {alike[1]!r}, "
            "which differ by case alone; SQL ignores case"
        )
        raise InvalidInputError(message, "rename one of them.", column=alike[1])
