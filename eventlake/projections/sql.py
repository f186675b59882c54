"""SQL projections: one SELECT, run by DuckDB."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from eventlake.projections.computation import Computation, EntityColumns, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.on_duckdb import by_entity, exact
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.rows import PreparedRun


class SqlProjections(Kind):
    """SQL. DuckDB's bound plan proves whether it is exact, and computed by entity."""

    by_entity = True

    def engine_version(self) -> str:
        """See ``Kind.engine_version``."""
        return duckdb_runner.VERSION

    def settings(self, level: str) -> Mapping[str, str | int | bool]:
        """See ``Kind.settings``."""
        return duckdb_runner.settings_of(level)

    def check_exact(self, computation: Computation) -> None:
        """See ``Kind.check_exact``."""
        exact.check_exact(computation.query)

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """See ``Kind.prepare``."""
        return duckdb_runner.prepare(computation.query, self._options(computation, options))

    def rows(self, computation: Computation, options: RunOptions) -> pa.Table:
        """See ``Kind.rows``."""
        return duckdb_runner.run(computation.query, self._options(computation, options))

    def _options(self, computation: Computation, options: RunOptions) -> RunOptions:
        if options.settings is None:
            return replace(options, settings=self.settings(computation.projection.level))
        return options

    def entity_columns(self, computation: Computation) -> EntityColumns:
        """See ``Kind.entity_columns``."""
        return by_entity.entity_columns(computation)

    def entities(self, computation: Computation, since: int = 0) -> pa.Table:
        """See ``Kind.entities``."""
        return by_entity.entities(computation, since)
