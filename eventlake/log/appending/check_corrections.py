"""Whether every correction corrects something: an earlier event of the same source, type and subject, in the lake or in its own batch."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.keys import Keys, event_keys
from eventlake.log.appending.known_ids import known_events
from eventlake.log.chain.chain import Chain

EVENT = ["source", "id", "type", "subject"]


@dataclass(frozen=True)
class References:
    """The events that corrections name: rows ``row`` (of the batch), ``source``, ``id`` (the one named), ``type``, ``subject``."""

    frame: pl.DataFrame
    recorded_at: pa.Array | None = field(default=None, init=False)
    sequence: pa.Array | None = field(default=None, init=False)

    @property
    def rows(self) -> int:
        """How many."""
        return self.frame.height

    @cached_property
    def keys(self) -> Keys:
        """The key of every event named."""
        return event_keys(self.frame)

    @cached_property
    def sorted_keys(self) -> Keys:
        """``keys`` in order."""
        return np.sort(self.keys)

    def number(self, row: int) -> int:
        """The row of the batch."""
        return int(self.frame["row"][row])

    def pairs(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """``source`` and ``id`` of some."""
        return self.frame[rows].select("source", "id")


def references(batch: Batch) -> References | None:
    """What the corrections in a batch name; None where there is none, which costs nothing."""
    if batch.table.column("corrects").null_count == batch.rows:
        return None
    frame = batch.frame.select("source", "type", "subject", id="corrects").with_row_index("row")
    return References(
        frame.filter(pl.col("id").is_not_null()).with_columns(pl.col("row").cast(pl.Int64))
    )


def correction_problems(chain: Chain, batch: Batch) -> list[Problem]:
    """The corrections in a batch that correct nothing, by its rows as they were given."""
    named = references(batch)
    if named is None:
        return []
    left, problems = settled(named, batch.frame.select(EVENT).with_row_index("at"))
    problems += unsettled(chain, left)
    return [
        Problem(batch.number(problem.row or 0), problem.field, problem.message, problem.found)
        for problem in problems
    ]


def settled(named: References, events: pl.DataFrame) -> tuple[References, list[Problem]]:
    """What ``events`` (with their row in the batch as ``at``) do not hold; and what is wrong with those that they do."""
    met = named.frame.join(events, on=["source", "id"], how="inner", suffix="_found")
    left = named.frame.join(met.select("row"), on="row", how="anti")
    later = met.filter(pl.col("at").cast(pl.Int64) >= pl.col("row"))
    problems = [
        Problem(
            row,
            "corrects",
            "expected an earlier event; the one it names comes later in the batch",
            corrects,
        )
        for row, corrects in later.select("row", "id").iter_rows()
    ]
    return References(left), [*problems, *_mismatches(met)]


def unsettled(chain: Chain, named: References) -> Iterator[Problem]:
    """What the lake does not hold, or holds as something else."""
    met = [pl.DataFrame(schema={"row": pl.Int64})]
    if named.rows:
        for matches, stored in known_events(chain, named, 0, EVENT):
            found = named.frame[[match.row for match in matches]]
            both = found.with_columns(
                stored.select(
                    pl.col("type").alias("type_found"), pl.col("subject").alias("subject_found")
                )
            )
            met.append(both.select("row"))
            yield from _mismatches(both)
    for row, source, corrects in (
        named.frame.join(pl.concat(met), on="row", how="anti")
        .select("row", "source", "id")
        .iter_rows()
    ):
        yield Problem(
            row,
            "corrects",
            f"expected the id of an earlier event of source {source!r}; the lake holds none",
            corrects,
        )


def _mismatches(met: pl.DataFrame) -> Iterator[Problem]:
    """Where the event corrected is of another type, or about another subject."""
    for name in ("type", "subject"):
        other = met.filter(pl.col(name).ne_missing(pl.col(f"{name}_found")))
        for row, corrects, own, found in other.select(
            "row", "id", name, f"{name}_found"
        ).iter_rows():
            yield Problem(
                row,
                "corrects",
                f"expected an event of the same {name} ({own!r}), the one it names has {found!r}",
                corrects,
            )
