"""Declared features that an earlier build has looked up, for the same entity at the same cutoff, and that nothing has touched since."""

import polars as pl
import pyarrow as pa

from eventlake.features.look_up import rows
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import doubtful
from eventlake.features.stale_entities import changed
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Computation
from eventlake.projections.features import feature_plan
from eventlake.projections.rows import finish

_PLACE, _STALE = "eventlake place", "eventlake stale"
"""Columns that no spine should have."""


def reuse_rows(
    old: pa.Table, before: PinnedHistory, computation: Computation, *, most: float
) -> tuple[pa.Table, int] | None:
    """The rows of a build, most of them from an earlier one, and how many were looked up; None where too many would be.

    Args:
        old: The rows of an earlier build of the same features, over whatever spine.
        before: What it was built from.
        computation: Declared features over a spine.
        most: The share of rows up to which they are looked up one by one.
    """
    history, spine, engine = computation.history, computation.spine, computation.projection.engine
    assert spine is not None  # noqa: S101 - declared features have one
    plan = feature_plan(computation)
    names, ends = list(plan.features.columns), [plan.features.spine_entity, plan.features.cutoff]
    if any(
        name not in old.column_names or old.schema.field(name).type != spine.schema.field(name).type
        for name in ends
    ):
        return None
    # A pair of entity and cutoff has the same features wherever it stands.
    known = pl.DataFrame(old.select(ends)).with_row_index(_PLACE).unique(ends, keep="first")
    given = pl.DataFrame(spine.select(ends)).with_columns(
        _stale(plan, before, history).alias(_STALE)
    )
    found = given.join(known, on=ends, how="left", nulls_equal=True, maintain_order="left")
    place = found.select(pl.when(~pl.col(_STALE)).then(pl.col(_PLACE).cast(pl.Int64)))[_PLACE]
    missing = place.is_null()
    number = int(missing.sum())
    if number > most * len(place):
        return None
    looked_up = rows(plan, history, spine.filter(missing.to_arrow()), engine)
    fresh = finish(computation, looked_up).select(names)
    if fresh.schema != old.select(names).schema:
        return None
    # Behind the old rows stand the new ones, in the order of the spine.
    behind = place.fill_null(missing.cast(pl.Int64).cum_sum() - 1 + old.num_rows)
    features = pa.concat_tables([old.select(names), fresh]).take(behind.to_arrow())
    table = spine
    for name in names:
        table = table.append_column(name, features.column(name))
    return finish(computation, table), number


def _stale(plan: Plan, before: PinnedHistory, history: PinnedHistory) -> pl.Expr:
    """Whether a row's features may be others than they were: something that counts was said of its entity."""
    first = history.first_recorded(before.watermark)
    if first is None:
        return pl.lit(value=False)
    touched = pl.col(plan.features.spine_entity).is_in(
        changed(plan, before.with_schemas(plan.schemas), history).implode()
    )
    # What is recorded after a cutoff changes nothing there, where only what was known counts; but
    # all of an entity's events decide whether its sums are refused.
    heard = pl.col(plan.features.cutoff).cast(pl.Int64) > first
    judged = any(doubtful(plan, stream, parts) for stream, parts in plan.wanted().items())
    return (touched & heard if plan.known_at_cutoff and not judged else touched).fill_null(
        value=False
    )
