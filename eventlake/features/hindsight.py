"""Measures hindsight: what rows see that was not known at their cutoff, and what they miss.

Engines find what rows see early while they look up features; see ``planned.early``. Events that
were corrected are compared apart, and so is everything if entities are reached through relations.

An event is visible from the cutoffs between its entry and its exit, which are a range of its
entity's rows in order. There is one range with hindsight, one as known at the cutoff, and their
overlap. The number of differences of a row is the sum of the first two minus twice the third.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from eventlake.features.declared.window import Window
from eventlake.features.on_polars.events import edge_of, events, numbered
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.edges import ENTER, LEAVE, Edge
from eventlake.features.planned.entity_keys import Cutoffs
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import Source

Sequences = npt.NDArray[np.int64]
"""Sequences of events, with repetitions."""
Places = npt.NDArray[np.int64] | slice
"""Places of some rows in the spine."""


@dataclass(slots=True)
class Hindsight:
    """Adds up the hindsight of a spine's rows.

    Attributes:
        rows: Whether each row sees other events than were known at its cutoff.
        events: By type, events that some row sees too early.
        left_out: By type, events that some row does not see but knew at its cutoff.
    """

    rows: npt.NDArray[np.bool_]
    events: dict[str, list[Sequences]] = field(default_factory=dict)
    left_out: dict[str, list[Sequences]] = field(default_factory=dict)

    def add(
        self,
        places: Places,
        rows: npt.NDArray[np.bool_],
        events: Mapping[str, Sequences],
        left_out: Mapping[str, Sequences],
    ) -> None:
        """Add what was found of some rows."""
        self.rows[places] |= rows
        for kept, found in ((self.events, events), (self.left_out, left_out)):
            for name, sequences in found.items():
                kept.setdefault(name, []).append(sequences)

    def counts(self) -> dict[str, int]:
        """The members of a provenance; see ``look_up.hindsight``."""
        return {
            "hindsight_rows": int(self.rows.sum()),
            "hindsight_events": _distinct(self.events),
            "hindsight_left_out": _distinct(self.left_out),
        }


def _distinct(by_type: Mapping[str, Iterable[Sequences]]) -> int:
    return sum(_count_distinct(np.concatenate(list(some))) for some in by_type.values())


def _count_distinct(values: Sequences) -> int:
    # ``np.unique`` takes thirty times as long.
    in_order = np.sort(values)
    return min(len(values), 1) + int(np.count_nonzero(in_order[1:] != in_order[:-1]))


def as_known(plan: Plan) -> Plan:
    """The same features over what was known at the cutoff."""
    return replace(plan, features=replace(plan.features, known="cutoff"))


def compare_hindsight(
    plan: Plan,
    found: Mapping[str, Source],
    known: Mapping[str, Source],
    asked: Asked,
    families: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[npt.NDArray[np.bool_], dict[str, Sequences], dict[str, Sequences]]:
    """Compare the events that rows see with those that were known at their cutoff.

    Args:
        plan: Plan of features with ``known="watermark"``.
        found: Its event tables, by type.
        known: The event tables of ``as_known``.
        asked: The rows.
        families: The only events to compare, by type (``source`` and ``id``); None for all events.

    Returns:
        Whether each row sees other events than were known; by type the events that some row sees
        too early, and those that some row does not see but knew.
    """
    entities = numbered(asked.entities)
    cutoffs = Cutoffs(asked.codes, asked.cutoffs, entities.height + 1)
    changes = np.zeros(len(asked) + 1, np.int64)
    early: dict[str, list[Sequences]] = {}
    left_out: dict[str, list[Sequences]] = {}
    for stream in plan.parts_by_stream():
        name = stream.event_type
        if families is not None and name not in families:
            continue
        only = None if families is None else families[name]
        stretches = [
            _stretches(
                events(one, stream, source, entities, (), families=only).collect(),
                cutoffs,
                has_validity=one.has_validity,
                can_expire=source.can_expire,
            )
            for one, source in ((plan, found[name]), (as_known(plan), known[name]))
        ]
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
        early.setdefault(name, []).append(_more(seen, both))
        left_out.setdefault(name, []).append(_more(knew, both))
    differ = np.empty(len(asked), np.bool_)
    differ[cutoffs.order] = np.cumsum(changes)[:-1] > 0
    return differ, _joined(early), _joined(left_out)


def _joined(by_type: Mapping[str, list[Sequences]]) -> dict[str, Sequences]:
    return {name: np.concatenate(some) for name, some in by_type.items()}


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
