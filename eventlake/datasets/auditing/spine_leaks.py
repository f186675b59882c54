"""Checks that the rows of an event spine are those that were known at their cutoff."""

from dataclasses import replace

import polars as pl

from eventlake.core.format_value import shown
from eventlake.features.declared.declared_spine import CUTOFF
from eventlake.features.spines.spine import EventSpine
from eventlake.features.spines.spine_rows import rows_of
from eventlake.history.pinned import PinnedHistory

_TURN, _SIDE = "eventlake turn", "eventlake there"
COLUMN, STORED, REBUILT = "eventlake column", "eventlake stored", "eventlake rebuilt"


def spine_leaks(
    declared: EventSpine,
    history: PinnedHistory,
    spine: pl.DataFrame,
    chosen: pl.DataFrame,
    known: str,
) -> pl.DataFrame:
    """The differences between a stored spine and the rows that were known then.

    Rows are matched by entity, cutoff and occurrence.

    Args:
        declared: The declaration of the spine.
        history: The events from which it was made.
        spine: The stored rows, with ``spine_row``.
        chosen: The rows to check. Missing rows are found only if these are all rows.
        known: Which events count: those known at the ``cutoff``, or at the ``watermark``.

    Returns:
        The stored row, if there is one; ``COLUMN``, which is ``row`` if the whole row differs;
        ``STORED`` and ``REBUILT`` as text.
    """
    known_rows = rows_of(replace(declared, known=known, labels=()), history)[0]
    names = [declared.by, CUTOFF, _TURN]
    turn = pl.int_range(pl.len()).over(declared.by, CUTOFF).alias(_TURN)
    stored = spine.with_columns(turn).join(
        chosen.select("spine_row"), on="spine_row", how="semi", maintain_order="left"
    )
    rebuilt = known_rows.with_columns(turn).rename(
        {name: f"eventlake {name}" for name in declared.carry}
    )
    both = stored.join(
        rebuilt.with_columns(pl.lit(value=True).alias(_SIDE)),
        on=names,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    alone = both.filter(pl.col(_SIDE).is_null()).drop(_SIDE)
    found = [_leaks(alone, "row", ["the row"] * alone.height, ["no row"] * alone.height)]
    # Of a sample, every other row would be missing.
    if chosen.height == spine.height:
        missing = rebuilt.join(stored, on=names, how="anti", nulls_equal=True)
        found.append(
            _leaks(
                missing.select(declared.by, CUTOFF),
                "row",
                ["no row"] * missing.height,
                ["the row"] * missing.height,
            )
        )
    shared = both.filter(pl.col(_SIDE).is_not_null()).drop(_SIDE)
    for name in declared.carry:
        other = f"eventlake {name}"
        differs = shared.filter(pl.col(name).ne_missing(pl.col(other)))
        found.append(
            _leaks(
                differs,
                name,
                [shown(one) for one in differs[name]],
                [shown(one) for one in differs[other]],
            )
        )
    return pl.concat(found, how="diagonal")


def _leaks(rows: pl.DataFrame, column: str, stored: list[str], rebuilt: list[str]) -> pl.DataFrame:
    sides = [
        pl.Series(name, texts, dtype=pl.String)
        for name, texts in ((STORED, stored), (REBUILT, rebuilt))
    ]
    return rows.with_columns(pl.lit(column).alias(COLUMN), *sides)
