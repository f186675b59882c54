"""Python projections: a function that returns a LazyFrame, run by Polars."""

from collections.abc import Mapping

from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.rows import PreparedRun


class PythonProjections(Kind):
    """Python. The plan of the frame that the function returns proves whether it is exact."""

    def engine_version(self) -> str:
        """See ``Kind.engine_version``."""
        return polars_runner.VERSION

    def settings(self, level: str) -> Mapping[str, str | int | bool]:
        """See ``Kind.settings``."""
        del level
        return polars_runner.SETTINGS

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """See ``Kind.prepare``. The function is called; its frame is collected with the rows."""
        return polars_runner.prepare(computation, options)
