"""A projection over a history: everything that its rows are a function of, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from eventlake.core.documents.dataset import Parameter
from eventlake.database import UNLIMITED, Limits
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import EntityFilter
from eventlake.projections.projection import Projection
from eventlake.projections.run_conditions import USUAL, RunConditions

Types = dict[str, pa.DataType] | None
"""Declared output types by column, as normal Arrow types; None if nothing is declared."""


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT over a history.

    Attributes:
        name: What to call it in messages.
        text: The SELECT.
        history: Holds the tables that it may read.
        spine: The table ``spine``; None if there is none.
        parameters: Values by name.
    """

    name: str
    text: str
    history: PinnedHistory
    spine: pa.Table | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Computation:
    """What a build computes.

    Attributes:
        projection: The definition, with the values of its parameters.
        history: The events it reads, pinned at a watermark.
        spine: The rows that it is asked for, with ``spine_row`` as the first column; None if the
            build has none.
        types: Declared output types.
    """

    projection: Projection
    history: PinnedHistory
    spine: pa.Table | None = None
    types: Types = None

    @property
    def query(self) -> Query:
        """A SQL projection's query over the history and the spine."""
        text = self.projection.sources[self.projection.entry]
        parameters = self.projection.parameters
        return Query(self.projection.name, text, self.history, self.spine, parameters)


@dataclass(frozen=True, slots=True)
class EntityColumns:
    """The columns of a projection's rows that say which entity a row is about.

    Attributes:
        holding: Columns that hold the entity.
        spine_rows: Columns that hold the number of a row of the spine.
    """

    holding: tuple[str, ...]
    spine_rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How an engine runs a computation.

    Attributes:
        conditions: Threads, memory limit and order of rows.
        only: Reads no other entities; SQL and features only.
        check_exact: Whether the frame that a Python function returns must be on the allow-list.
            A SQL query is checked on its own, before it is run.
        settings: DuckDB settings as recorded in a recipe; None for the fixed ones.
        limits: When to give up a SQL query.
    """

    conditions: RunConditions = USUAL
    only: EntityFilter | None = None
    check_exact: bool = False
    settings: Mapping[str, str | int | bool] | None = None
    limits: Limits = UNLIMITED


DEFAULT_OPTIONS = RunOptions()
