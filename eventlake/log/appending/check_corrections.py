"""Check that every correction names an earlier event of the same source, type and subject."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import Keys
from eventlake.columns.keys.keys import event_keys
from eventlake.log.appending.known_ids import known_events
from eventlake.log.chain.chain import Chain

EVENT = ["source", "id", "type", "subject"]


@dataclass(frozen=True)
class References:
    """The events that corrections name.

    Attributes:
        frame: One row a correction: ``row`` (of the batch), ``source``, ``id`` (of the event that
            is corrected), ``type``, ``subject``.
    """

    frame: pl.DataFrame

    @property
    def rows(self) -> int:
        """The number of corrections."""
        return self.frame.height

    @cached_property
    def keys(self) -> Keys:
        """The key of every event that is named."""
        return event_keys(self.frame)

    @cached_property
    def sorted_keys(self) -> Keys:
        """``keys``, sorted."""
        return np.sort(self.keys)

    def pairs(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """``source`` and ``id`` of some corrections."""
        return self.frame[rows].select("source", "id")


def references(batch: Batch) -> References | None:
    """The corrections of a batch; None if there are none, which costs nothing to find out."""
    if batch.table.column("corrects").null_count == batch.rows:
        return None
    frame = batch.frame.select("source", "type", "subject", id="corrects").with_row_index("row")
    return References(
        frame.filter(pl.col("id").is_not_null()).with_columns(pl.col("row").cast(pl.Int64))
    )


def correction_problems(chain: Chain, batch: Batch) -> list[Problem]:
    """The corrections that name no suitable event, by their rows in the batch as it was given."""
    named = references(batch)
    if named is None:
        return []
    left, problems = resolve_in(named, batch.frame.select(EVENT).with_row_index("at"))
    problems += dangling_problems(chain, left)
    return [
        Problem(batch.number(problem.row or 0), problem.field, problem.message, problem.found)
        for problem in problems
    ]


def resolve_in(named: References, events: pl.DataFrame) -> tuple[References, list[Problem]]:
    """Look up corrected events in ``events``, which have their row in the batch as ``at``.

    Returns:
        The references that are not found, and the problems of those that are.
    """
    # An id names an event only together with its source.
    matched = named.frame.join(events, on=["source", "id"], how="inner", suffix="_found")
    left = named.frame.join(matched.select("row"), on="row", how="anti")
    # A correction must come after what it corrects, in the batch as in the log.
    later = matched.filter(pl.col("at").cast(pl.Int64) >= pl.col("row"))
    problems = [
        Problem(
            row,
            "corrects",
            "expected an earlier event, but it comes later in the batch",
            corrects,
        )
        for row, corrects in later.select("row", "id").iter_rows()
    ]
    return References(left), [*problems, *_mismatches(matched)]


def dangling_problems(chain: Chain, named: References) -> Iterator[Problem]:
    """The references to events that the lake lacks, or holds with another type or subject."""
    matched = [pl.DataFrame(schema={"row": pl.Int64})]
    if named.rows:
        for matches, stored in known_events(chain, named, 0, EVENT):
            found = named.frame[[match.row for match in matches]]
            both = found.with_columns(
                stored.select(
                    pl.col("type").alias("type_found"), pl.col("subject").alias("subject_found")
                )
            )
            matched.append(both.select("row"))
            yield from _mismatches(both)
    for row, source, corrects in (
        named.frame.join(pl.concat(matched), on="row", how="anti")
        .select("row", "source", "id")
        .iter_rows()
    ):
        yield Problem(
            row,
            "corrects",
            f"expected the id of an earlier event of source {source!r}; the lake holds none",
            corrects,
        )


def _mismatches(matched: pl.DataFrame) -> Iterator[Problem]:
    """The corrections of an event of another type or about another subject."""
    for name in ("type", "subject"):
        # A missing subject equals only a missing one.
        other = matched.filter(pl.col(name).ne_missing(pl.col(f"{name}_found")))
        for row, corrects, own, found in other.select(
            "row", "id", name, f"{name}_found"
        ).iter_rows():
            yield Problem(
                row,
                "corrects",
                f"expected an event of the same {name} ({own!r}), found {found!r}",
                corrects,
            )
