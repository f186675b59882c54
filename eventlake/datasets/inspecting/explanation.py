"""The explanation of a row: the events behind it, as a value and as a card."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from eventlake.core.card import Card, Shown, counted
from eventlake.core.format_value import shown
from eventlake.core.instants import format_instant, micros
from eventlake.public_calls import helpful

_SHOWN = 20


class About(NamedTuple):
    """The subject of an explanation; see ``Explanation``."""

    dataset: str
    row: dict[str, Any]
    column: str | None
    by: str
    entity: Any


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Shown):
    """The events behind a row, or behind one of its values.

    Attributes:
        dataset: The manifest hash.
        row: The explained row.
        column: The explained column; None for the whole row.
        by: The column of the entity.
        entity: The row's entity; null is an entity too.
        events: The events of the entity that the projection reads, in sequence order: ``sequence``,
            ``time``, ``id``, and ``behind``, the columns that would change without the event (all
            columns if the row would be missing). For declared features, the columns whose window
            has the event.
        told: The meaning of ``behind``, in words.
        known: False if the column is a label that is not known yet; ``events`` are those so far.
        note: For a column of an event spine, its origin: the window of a label, until when it is
            not known and why, or the event from which the column comes.
    """

    dataset: str
    row: dict[str, Any]
    column: str | None
    by: str
    entity: Any
    events: pl.DataFrame
    told: str = "without it these change"
    known: bool = True
    note: str | None = None

    @property
    def behind(self) -> pl.DataFrame:
        """The events behind the column, or behind the row if there is no ``column``."""
        named = (
            pl.col("behind").list.len() > 0
            if self.column is None
            else pl.col("behind").list.contains(self.column)
        )
        return self.events.filter(named)

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Explanation: {self.card().title}>"

    def card(self) -> Card:
        """The explanation as a card."""
        found = self.behind
        what = "the row" if self.column is None else f"{self.column} {shown(self.row[self.column])}"
        title = f"{counted(found.height, 'event')} behind {what}"
        if not self.known:
            title = f"{self.column} is not known yet; {counted(found.height, 'event')} so far"
        facts = (
            *(((self.column, self.note),) if self.note and self.column else ()),
            *((name, shown(value)) for name, value in self.row.items()),
            (
                f"events of {self.by} {shown(self.entity)}",
                f"{self.events.height:,} that the projection reads",
            ),
        )
        rows = tuple(
            (
                f"{one['sequence']:,}",
                format_instant(micros(one["time"])),
                one["id"],
                ", ".join(one["behind"]),
            )
            for one in found.head(_SHOWN).iter_rows(named=True)
        )
        more = f"; the first {_SHOWN}" if found.height > _SHOWN else ""
        return Card(f"{title}{more}", facts, ("sequence", "time", "id", self.told), rows)
