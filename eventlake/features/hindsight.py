"""Measures hindsight: compares the events that rows see with those that were known at their cutoff.

An event is visible from the cutoffs between its entry and its exit, which are a range of its
entity's rows in order. There is one range with hindsight, one as known at the cutoff, and their
overlap. The number of differences of a row is the sum of the first two minus twice the third.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.features.declared.window import Window
from eventlake.features.on_polars.events import edge_of, spine_rows
from eventlake.features.on_polars.parts import kept
from eventlake.features.on_polars.sorted_events import Cutoffs
from eventlake.features.planned.edges import ENTER, LEAVE, Edge
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import Source

Sequences = npt.NDArray[np.int64]
"""Sequences of events, with repetitions."""


def as_known(plan: Plan) -> Plan:
    """The same features over what was known at the cutoff."""
    return replace(plan, features=replace(plan.features, known="cutoff"))


def compare_hindsight(
    plan: Plan, found: Mapping[str, Source], known: Mapping[str, Source], spine: pa.Table
) -> tuple[npt.NDArray[np.bool_], Sequences, Sequences]:
    """Compare the events that rows see with those that were known at their cutoff.

    Args:
        plan: Plan of features with ``known="watermark"``.
        found: Its event tables, by type.
        known: The event tables of ``as_known``.
        spine: The spine, with ``spine_row`` as its first column.

    Returns:
        Whether each row (ordered by entity and cutoff) sees other events than were known; the
        events that some row sees too early; the events that some row does not see but knew.
    """
    rows, entities = spine_rows(plan, spine)
    cutoffs = Cutoffs(rows["code"].to_numpy(), rows["c"].to_numpy(), entities.height + 1)
    changes = np.zeros(rows.height + 1, np.int64)
    early, left_out = [], []
    for stream in plan.parts_by_stream():
        both_ways = [(plan, found[stream.event_type]), (as_known(plan), known[stream.event_type])]
        stretches = []
        # Without corrections and relations both ways have the same events, which are read once.
        read = both_ways if known[stream.event_type].can_expire else both_ways[1:] * 2
        for (one, source), (its_plan, its_source) in zip(both_ways, read, strict=True):
            with kept(its_plan, stream, (), its_source, entities) as prefix:
                stretches.append(
                    _stretches(
                        prefix.events,
                        cutoffs,
                        has_validity=one.has_validity,
                        can_expire=source.can_expire,
                    )
                )
        # Most ranges are the same in both ways, and are dropped before the expensive join.
        whole = stretches[0].columns
        seen, knew = (
            one.join(other, on=whole, how="anti") for one, other in (stretches, reversed(stretches))
        )
        both = seen.join(knew, on="sequence", how="inner").select(
            "sequence",
            first=pl.max_horizontal("first", "first_right"),
            stop=pl.min_horizontal("stop", "stop_right"),
        )
        # Ranges of one event may not overlap at all.
        both = both.filter(pl.col("first") < pl.col("stop"))
        for stretch, weight in ((seen, 1), (knew, 1), (both, -2)):
            for column, sign in (("first", weight), ("stop", -weight)):
                places = stretch[column].to_numpy()
                # A range adds its weight at its first row and takes it back at its stop; the
                # running sum is then the number of differences at each row.
                changes += sign * np.bincount(places, minlength=len(changes))
        early.append(_more(seen, both))
        left_out.append(_more(knew, both))
    return np.cumsum(changes)[:-1] > 0, np.concatenate(early), np.concatenate(left_out)


def _stretches(
    events: pl.DataFrame, cutoffs: Cutoffs, *, has_validity: bool, can_expire: bool
) -> pl.DataFrame:
    """Ranges of ordered rows that see each event; without events that no row sees.

    Returns:
        ``sequence``, ``first`` and ``stop`` (exclusive).
    """
    edges = (
        events.select(
            edge_of(Edge(kind, Window()), has_validity=has_validity, can_expire=can_expire)
        )
        .to_series()
        .to_numpy()
        for kind in (ENTER, LEAVE)
    )
    first, stop = (cutoffs.after(events["code"].to_numpy(), instants) for instants in edges)
    return events.select("sequence", first=pl.Series(first), stop=pl.Series(stop)).filter(
        pl.col("first") < pl.col("stop")
    )


def _more(stretches: pl.DataFrame, both: pl.DataFrame) -> Sequences:
    """Events with more rows in ``stretches`` than in ``both``."""
    lengths = (
        some.group_by("sequence").agg(rows=(pl.col("stop") - pl.col("first")).sum())
        for some in (stretches, both)
    )
    whole, shared = lengths
    compared = whole.join(shared, on="sequence", how="left").filter(
        pl.col("rows") > pl.col("rows_right").fill_null(0)
    )
    return compared["sequence"].to_numpy()
