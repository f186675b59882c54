"""A projection over a history: everything on which the rows depend, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from eventlake.core.documents.dataset import Parameter
from eventlake.database import UNLIMITED, Limits
from eventlake.features.planned.plan import Plan, compiled
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
        name: The name that messages use.
        text: The SELECT.
        history: The events that it may read.
        spine: The table ``spine``; None if there is none.
        parameters: Values by name.
    """

    name: str
    text: str
    history: PinnedHistory
    spine: pa.Table | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)  # without slots, for the cached property
class Computation:
    """A projection, and everything that it is run over.

    Attributes:
        projection: The definition, with the values of its parameters.
        history: The events, pinned at a watermark.
        spine: The rows to compute, with ``spine_row`` as the first column; None if the build has no
            spine.
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

    @cached_property
    def feature_plan(self) -> Plan:
        """The declared features, compiled against the schemas of the history.

        Raises:
            InvalidProjectionError: A field is missing or has an unsupported type.
        """
        return compiled(self.projection.feature_set, self.history.catalogue)


@dataclass(frozen=True, slots=True)
class EntityColumns:
    """The columns of a projection's rows that identify the entity of a row.

    Attributes:
        holding: Columns with the entity itself.
        spine_rows: Columns with the number of a spine row, which has the entity.
    """

    holding: tuple[str, ...]
    spine_rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How an engine runs a computation.

    Attributes:
        conditions: Threads, memory limit and order of rows.
        only: The only entities to read; for SQL and features.
        check_exact: Whether the plan of the frame that a Python function returns must be on the
            allow-list. A SQL query is checked separately, before it is run.
        settings: DuckDB settings as recorded in a recipe. Defaults to the fixed ones.
        limits: The most rows of a SQL query, and how long it may run.
    """

    conditions: RunConditions = USUAL
    only: EntityFilter | None = None
    check_exact: bool = False
    settings: Mapping[str, str | int | bool] | None = None
    limits: Limits = UNLIMITED


DEFAULT_OPTIONS = RunOptions()
