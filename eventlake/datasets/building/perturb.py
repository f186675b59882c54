"""Checks that rows do not depend on threads, memory, buckets or the order of input rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
import pyarrow as pa

from eventlake.columns.hashing.content import column_digest, content_hash, normalise
from eventlake.errors import NotIdenticalError
from eventlake.history.sql.duckdb_views import EntityFilter
from eventlake.progress import task
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kinds import kind_of, prepare
from eventlake.projections.on_duckdb.by_entity import bucketed, in_bucket
from eventlake.projections.projection import Projection
from eventlake.projections.rows import finish
from eventlake.projections.run_conditions import RunConditions

# All at once first: one build suffices if nothing changes.
_ALL = RunConditions("everything", threads=4, memory_limit="2GB", shuffled=True, buckets=2)
_EACH = (
    RunConditions("the number of threads", threads=4),
    RunConditions("the memory limit", memory_limit="1GB"),
    RunConditions("the order of rows", shuffled=True),
    RunConditions("the buckets", buckets=2),
)
_SHOWN = 10


def check_perturbed(computation: Computation, rows: pa.Table) -> None:
    """Build again under other run conditions and compare content hashes.

    Polars fixes its thread pool when the process starts, so for a Python projection only the order
    of the input rows changes.

    Args:
        computation: What was built.
        rows: The rows it made.

    Raises:
        NotIdenticalError: The rows differ. The message names the condition that changed them, the
            columns, and the first rows that differ.
    """
    expected, projection = content_hash(rows), computation.projection
    with task(f"building {projection.name} once more", 1) as advance:
        again = _rows_under(computation, _ALL)
        advance(1)
    if content_hash(again) == expected:
        return
    # Each condition is tried alone, so that the message can name the one that matters.
    causes = [one.name for one in _EACH if content_hash(_rows_under(computation, one)) != expected]
    cause = ", ".join(causes) or "no single condition: several together, or chance"
    message = (
        f"dataset {projection.name} is not reproducible; its rows changed with {cause}\n"
        + "\n".join(_describe_differences(projection, rows, again))
    )
    hint = (
        'nothing was published. Declare level = "exact" to see where the projection depends on '
        'order, or level = "unproven" to allow it.'
    )
    raise NotIdenticalError(message, hint, expected=expected, found=content_hash(again))


def _rows_under(computation: Computation, conditions: RunConditions) -> pa.Table:
    projection, kind = computation.projection, kind_of(computation.projection)
    options = RunOptions(conditions)
    if projection.by is None or not kind.by_entity or not conditions.buckets:
        return finish(computation, prepare(computation, options).rows())
    chosen = bucketed(kind.entities(computation), conditions.buckets)
    parts = []
    for number in range(conditions.buckets):
        only = EntityFilter(projection.by, projection.spine_entity, in_bucket(chosen, number))
        parts.append(normalise(prepare(computation, replace(options, only=only)).rows()))
    return finish(computation, pa.concat_tables(parts))


def _describe_differences(projection: Projection, rows: pa.Table, again: pa.Table) -> Iterator[str]:
    if rows.num_rows != again.num_rows or rows.column_names != again.column_names:
        yield (
            f"  {rows.num_rows:,} rows of {', '.join(rows.column_names)}, "
            f"then {again.num_rows:,} of {', '.join(again.column_names)}"
        )
        return
    columns = [
        name
        for name in rows.column_names
        if column_digest(rows.column(name)) != column_digest(again.column(name))
    ]
    yield f"  columns that differ: {', '.join(columns)}"
    yield from _describe_rows(projection.key, columns, pl.DataFrame(rows), pl.DataFrame(again))


def _describe_rows(
    key: Sequence[str], columns: Sequence[str], before: pl.DataFrame, after: pl.DataFrame
) -> Iterator[str]:
    differs = pl.any_horizontal(~before[name].eq_missing(after[name]) for name in columns)
    places = (
        before.select(differs.alias("differs"))
        .with_row_index()
        .filter("differs")["index"]
        .head(_SHOWN)
    )
    for place in places:
        where = ", ".join(f"{name} {before[name][place]!r}" for name in key) or f"row {place}"
        changes = ", ".join(
            f"{name} {before[name][place]!r}, then {after[name][place]!r}" for name in columns
        )
        yield f"  {where}: {changes}"
