"""A pinned history as one Polars scan over all segments, so filters and columns reach Parquet."""

from collections.abc import Iterable, Sequence

import polars as pl

from eventlake.columns.schema import TYPES
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.names import AS_RECORDED, LATEST
from eventlake.history.corrections import FAMILY, families, not_first_known, superseded
from eventlake.history.corrections import lifetimes as lifetimes_of
from eventlake.history.pinned import PinnedHistory
from eventlake.tables.columns import stored_schema
from eventlake.tables.event_table import EventTable

INSTANT = pl.Datetime("us", "UTC")
STORED = {name: INSTANT if name == "time" else pl.String() for name in TYPES} | {
    "recorded_at": INSTANT
}
PLAIN = tuple(name for name in TYPES if name != "time")
"""Columns that are stored as producers gave them."""
_CORRECTING = ["sequence", *FAMILY, "recorded_at", "corrects", "correction"]
SCHEMA = pl.Schema(
    {name: pl.Int64() if name == "sequence" else STORED[name] for name in EVENT_COLUMNS}
)


def scan(
    history: PinnedHistory, *, raw: bool = False, where: Sequence[pl.Expr] = ()
) -> pl.LazyFrame:
    """The events in sequence order, with the columns and types of ``SCHEMA``; read lazily.

    Args:
        history: The history.
        raw: Whether a missing time stays null.
        where: Conditions on columns in ``PLAIN``, evaluated before other columns are read. A filter
            on the returned frame is not: the optimizer does not push it below the lookup of
            ``recorded_at``.
    """
    if not history.stretches:
        return pl.DataFrame(schema=SCHEMA).lazy()
    # Files are scanned if possible; other storages hand their events over in memory.
    locations = history.locations()
    frame = _files(locations) if locations is not None else _tables(history)
    recorded_at = _recorded_at(history)
    time = pl.coalesce("time", recorded_at) if history.undated and not raw else pl.col("time")
    last = history.stretches[-1]
    # The rows are cut before they are filtered, because ``head`` counts rows that are left.
    whole = frame if last.stop == last.segment.stop else frame.head(history.watermark)
    return (
        whole.filter(*where)
        # Polars' row index is unsigned.
        .with_columns(pl.col("sequence").cast(pl.Int64))
        .with_columns(time.alias("time"), recorded_at.alias("recorded_at"))
        .select(EVENT_COLUMNS)
    )


def table(source: EventTable, corrections: str = AS_RECORDED) -> pl.LazyFrame:
    """The rows of an event table in stored columns; their order is undefined.

    Args:
        source: The event table.
        corrections: ``latest`` leaves out superseded events.
    """
    frame = _stored(source)
    left_out = superseded_events(source) if corrections == LATEST else None
    # Without superseded events, neither source nor id is read.
    if left_out is None or not left_out.height:
        return frame
    return frame.join(left_out.lazy(), on=FAMILY, how="anti")


def superseded_events(source: EventTable) -> pl.DataFrame:
    """The superseded events of a table, as ``source`` and ``id``."""
    corrections = _stored(source).filter(pl.col("corrects").is_not_null())
    return superseded(corrections.select("sequence", *FAMILY, "corrects", "correction").collect())


def lifetimes(source: EventTable) -> pl.DataFrame:
    """The lifetimes of corrected events and their corrections; see ``corrections.lifetimes``."""
    corrections = _stored(source).filter(pl.col("corrects").is_not_null())
    return lifetimes_of(corrections.select(_CORRECTING).collect())


def first_known(source: EventTable) -> pl.LazyFrame:
    """The rows of an event table, each event in the version first known.

    See ``corrections.not_first_known``.
    """
    frame = _stored(source)
    corrections = frame.filter(pl.col("corrects").is_not_null()).select(_CORRECTING).collect()
    if not corrections.height:
        return frame
    members = families(corrections).lazy().select(FAMILY)
    events = (
        frame.select("sequence", *FAMILY, "time", "recorded_at")
        .join(members, on=FAMILY, how="semi")
        .collect()
    )
    # Only members of families can be left out, so only they are collected.
    later = not_first_known(events, corrections)
    return frame.join(later.to_frame().lazy(), on="sequence", how="anti")


def _stored(source: EventTable) -> pl.LazyFrame:
    # Files that are read whole share one scan, which Polars reads in parallel.
    whole = [
        part.location for part in source.parts if part.location is not None and part.stop is None
    ]
    frames = [pl.scan_parquet(whole, glob=False, hive_partitioning=False)] if whole else []
    for part in source.parts:
        if part.rows is not None:
            frames.append(_cut(pl.DataFrame(part.rows).lazy(), part.stop))
        elif part.stop is not None and part.location is not None:
            frames.append(
                _cut(pl.scan_parquet(part.location, glob=False, hive_partitioning=False), part.stop)
            )
    empty = pl.DataFrame(stored_schema(source.version.schema).empty_table()).lazy()
    return pl.concat(frames) if frames else empty


def _cut(frame: pl.LazyFrame, stop: int | None) -> pl.LazyFrame:
    return frame if stop is None else frame.filter(pl.col("sequence") < stop)


def _files(locations: list[str]) -> pl.LazyFrame:
    # A segment has no sequence column: the index of a row over all files is its sequence. Without a
    # hive schema or patterns, because a folder may be called ``year=2026`` or ``[a]``.
    return pl.scan_parquet(
        locations,
        schema=STORED,
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
        hive_partitioning=False,
        row_index_name="sequence",
    )


def _tables(history: PinnedHistory) -> pl.LazyFrame:
    frames: Iterable[pl.DataFrame] = (
        pl.DataFrame(history.read(stretch, list(STORED))) for stretch in history.stretches
    )
    empty = pl.DataFrame(schema=STORED)
    # Segments store only the attributes that some of their events have.
    return pl.concat([empty, *frames], how="diagonal").lazy().with_row_index("sequence")


def _recorded_at(history: PinnedHistory) -> pl.Expr:
    """The ``recorded_at`` of each sequence: of its commit, unless its file has the column."""
    stretches = history.stretches
    # Runs instead of a column: most segments do not store ``recorded_at``, their commit does.
    runs = (
        pl.Series([stretch.recorded_at for stretch in stretches], dtype=pl.Int64)
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
    )
    if runs.null_count() == len(runs):
        return pl.col("recorded_at")
    starts = pl.Series([stretch.segment.start for stretch in stretches], dtype=pl.Int64)
    position = pl.lit(starts).search_sorted(pl.col("sequence"), side="right") - 1
    # Most reads lie within one commit; a constant saves the search for each row.
    assigned = pl.lit(runs).gather(position) if runs.n_unique() > 1 else pl.lit(runs[0], INSTANT)
    return pl.coalesce("recorded_at", assigned) if runs.null_count() else assigned
