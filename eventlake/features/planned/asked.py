"""The rows of a spine as an engine is asked for them: numbers of entities, and cutoffs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eventlake.features.planned.entity_keys import Integers
from eventlake.features.planned.plan import Plan


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows that are looked up.

    Attributes:
        entities: Names of the entities, each once, in the order of their first rows.
        codes: The number of each row's entity; one more than the last if it has none.
        cutoffs: The cutoff of each row, in microseconds.
    """

    entities: pa.Array
    codes: Integers
    cutoffs: Integers

    @classmethod
    def of(cls, plan: Plan, spine: pa.Table) -> Asked:
        """All rows of a spine."""
        named = spine.column(plan.features.spine_entity).dictionary_encode().unify_dictionaries()
        entities = (
            named.chunk(0).dictionary if named.num_chunks else pa.array([], named.type.value_type)
        )
        codes: Integers = np.empty(spine.num_rows, np.int64)
        done = 0
        for chunk in named.chunks:
            codes[done : done + len(chunk)] = chunk.indices.fill_null(len(entities)).to_numpy()
            done += len(chunk)
        cutoffs = spine.column(plan.features.cutoff).cast(pa.int64()).to_numpy()
        return cls(entities, codes, cutoffs)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.codes)

    def between(self, some: slice) -> Asked:
        """Consecutive rows, with all entities."""
        return Asked(self.entities, self.codes[some], self.cutoffs[some])
