"""The parts of a plan on Polars: the events of each stream are sorted once for all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pyarrow as pa

from eventlake.features.on_polars.answers import Answers
from eventlake.features.on_polars.cached_events import kept
from eventlake.features.on_polars.events import numbered
from eventlake.features.on_polars.rows import Rows
from eventlake.features.on_polars.sorted_events import Prefix
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.early import RECORDED, Early
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.plan import Part, Plan, Stream
from eventlake.features.planned.sources import Source, check_sums


@contextmanager
def opened(
    plan: Plan,
    by_type: Mapping[str, Source],
    entities: pa.Array,
    limits: LookUpLimits = LOOK_UP_LIMITS,
    *,
    early: bool = False,
) -> Iterator[Polars]:
    """See ``Open``."""
    named, prefixes = numbered(entities), {}
    with ExitStack() as stack:
        for stream, wanted in plan.parts_by_stream().items():
            columns = sorted({part.column for part in wanted if part.column})
            columns += [RECORDED] if early else []
            source = by_type[stream.event_type]
            prefixes[stream] = stack.enter_context(kept(plan, stream, columns, source, named))
        yield Polars(plan, by_type, prefixes, limits)


@dataclass(frozen=True, slots=True)
class Polars:
    """See ``Engine``.

    Attributes:
        plan: The plan.
        by_type: The event tables, by type.
        prefixes: The sorted events of each stream.
        limits: Sizes by which parts are found.
    """

    plan: Plan
    by_type: Mapping[str, Source]
    prefixes: Mapping[Stream, Prefix]
    limits: LookUpLimits

    def parts(
        self, asked: Asked, early: Early | None = None
    ) -> dict[Part, pa.ChunkedArray | pa.Array]:
        """See ``Engine``."""
        made: dict[Part, pa.ChunkedArray | pa.Array] = {}
        rows = Rows(asked)
        for stream, wanted in self.plan.parts_by_stream().items():
            answers = self._answers(stream, wanted, rows)
            # Before anything is added up, by the same rule as on DuckDB.
            check_sums(self.plan, stream, wanted, answers.bounds)
            made |= answers.answer()
            if early is not None:
                early.add(stream.event_type, *answers.early())
        return made

    def look_early(self, asked: Asked, early: Early) -> None:
        """Find what rows see early, and no part."""
        rows = Rows(asked)
        for stream in self.prefixes:
            early.add(stream.event_type, *self._answers(stream, (), rows).early())

    def _answers(self, stream: Stream, wanted: Sequence[Part], rows: Rows) -> Answers:
        source, pairs = self.by_type[stream.event_type], self.limits.joined_pairs
        return Answers(self.plan, wanted, source, rows, self.prefixes[stream], joined_pairs=pairs)
