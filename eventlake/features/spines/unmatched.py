"""Finds entities of a spine that no event has, most often because they are spelled differently."""

from collections.abc import Callable, Iterator

import polars as pl
import pyarrow as pa

from eventlake.core.format_value import shown_short
from eventlake.features.on_polars.events import entity_of
from eventlake.features.planned.nested_fields import unfolded
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.relations import CHILD, PARENT
from eventlake.features.planned.sources import related
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory

_Spelling = Callable[[pl.Expr], pl.Expr]
_ENTITY, _SHOWN = "entity", 3
_IN_EVENTS = "spell it alike where the events are made"
_SPELLINGS: tuple[tuple[str, _Spelling, _Spelling, str], ...] = (
    (
        "by blanks around the name of the spine",
        lambda name: name.str.strip_chars(),
        lambda name: name,
        "write {column}.str.strip_chars()",
    ),
    (
        "by blanks around the name of the event",
        lambda name: name,
        lambda name: name.str.strip_chars(),
        _IN_EVENTS,
    ),
    (
        "by case",
        lambda name: name.str.to_lowercase(),
        lambda name: name,
        "write {column}.str.to_lowercase()",
    ),
    (
        "by case",
        lambda name: name.str.to_uppercase(),
        lambda name: name,
        "write {column}.str.to_uppercase()",
    ),
    (
        "by case",
        lambda name: name.str.to_lowercase(),
        lambda name: name.str.to_lowercase(),
        "write them in one case",
    ),
    (
        "by what precedes the last slash",
        lambda name: name,
        lambda name: name.str.split("/").list.last(),
        "write {prefix} + {column}",
    ),
    (
        "by what precedes the last slash",
        lambda name: name.str.split("/").list.last(),
        lambda name: name,
        "write {column}.str.split('/').list.last()",
    ),
    (
        "by '.0', as a column of floats was made text",
        lambda name: name.str.strip_suffix(".0"),
        lambda name: name.str.split("/").list.last(),
        "give the column as text or whole numbers from the beginning",
    ),
    (
        "by zeros in front",
        lambda name: name.str.strip_chars_start("0"),
        lambda name: name.str.split("/").list.last().str.strip_chars_start("0"),
        "read the column as text, not as a number",
    ),
)
_HINT = "spell them alike, or give the feature set and el.spine.on the same by= and depth="


def unmatched(
    plan: Plan, history: PinnedHistory, spine: pa.Table, empty: set[str]
) -> dict[str, str]:
    """Warnings about event types of which no entity of the spine has an event.

    Args:
        plan: Plan of the features.
        history: The history that was read.
        spine: The spine.
        empty: The columns without a value other than zero and false; only types all of whose
            features are among them are checked.

    Returns:
        A message by event type; none for types without events.
    """
    # A type with values in some row has matched; only the others are worth reading again.
    types = list(_empty(plan, empty))
    if not types:
        return {}
    entities = (
        pl.DataFrame(spine.select([plan.features.spine_entity]))
        .to_series()
        .drop_nulls()
        .unique(maintain_order=True)
        .alias(_ENTITY)
    )
    if not len(entities):
        return {}
    above = related(plan, history).lazy() if plan.related else None
    found = {}
    for event_type in types:
        frame = unfolded(polars_scan.table(history.table(event_type)), plan.nested[event_type])
        named = frame.select(entity_of(plan, event_type).alias(_ENTITY)).drop_nulls()
        if above is not None:
            named = named.join(above, left_on=_ENTITY, right_on=CHILD).select(
                pl.col(PARENT).alias(_ENTITY)
            )
        some = named.unique().head(_SHOWN).collect()[_ENTITY]
        if (
            len(some)
            and not named.join(entities.to_frame().lazy(), on=_ENTITY, how="semi")
            .head(1)
            .collect()
            .height
        ):
            hint = _alike(plan.features.spine_entity, entities, named) or _HINT
            found[event_type] = (
                f"feature set {plan.features.name}: no entity of the spine has an event of "
                f"{event_type}: the spine names "
                f"{_texts(entities.head(_SHOWN))}, events name {_texts(some.sort())}; {hint}"
            )
    return found


def _alike(column: str, entities: pl.Series, named: pl.LazyFrame) -> str | None:
    """How names of the spine differ from names of events, and how to make them equal.

    None if no single known difference explains it.
    """
    if entities.dtype != pl.String:
        return None
    for difference, of_spine, of_events, written in _SPELLINGS:
        there = named.select(pl.col(_ENTITY), of_events(pl.col(_ENTITY)).alias("alike")).unique()
        pairs = (
            entities.to_frame("entities")
            .lazy()
            .select("entities", of_spine(pl.col("entities")).alias("alike"))
            .join(there, on="alike")
        )
        first = pairs.head(1).collect()
        if first.height:
            entity_one, event_one = first["entities"][0], first[_ENTITY][0]
            prefix = event_one[: len(event_one) - len(entity_one)]
            write = written.format(column=f"pl.col({column!r})", prefix=repr(prefix))
            return (
                f"{shown_short(entity_one)} and {shown_short(event_one)} differ {difference}: "
                f"{write}"
            )
    return None


def _empty(plan: Plan, empty: set[str]) -> Iterator[str]:
    """Event types whose features are all empty."""
    for event_type in plan.by:
        mine = [
            one
            for one in plan.features.features
            if any(part.event_type == event_type for part in one.aggregates())
        ]
        if all(one.column in empty for one in mine):
            yield event_type


def _texts(values: pl.Series) -> str:
    return ", ".join(shown_short(value) for value in values)
