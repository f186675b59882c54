"""Python projections: a function that returns a LazyFrame, run by Polars."""

from collections.abc import Mapping
from dataclasses import replace

from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun
from eventlake.projections.source import load


class PythonProjections(Kind):
    """Python. The plan of the returned LazyFrame proves whether the projection is exact."""

    needs_trust = True

    def loaded(self, projection: Projection) -> Projection:
        """See ``Kind.loaded``. Importing the module runs archived code."""
        return replace(projection, function=load(projection.entry, projection.sources))

    def engine_version(self) -> str:
        """See ``Kind.engine_version``."""
        return polars_runner.VERSION

    def settings(self, level: str) -> Mapping[str, str | int | bool]:
        """See ``Kind.settings``."""
        del level
        return polars_runner.SETTINGS

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """See ``Kind.prepare``. Calls the function; its frame is collected with the rows."""
        return polars_runner.prepare(computation, options)
