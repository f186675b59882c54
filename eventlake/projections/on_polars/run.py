"""Runs Python projections in Polars.

Always on the in-memory engine: float sums of the streaming engine vary from run to run even on one
thread.
"""

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn, TypeVar

import polars as pl
import pyarrow as pa

from eventlake.columns.intake.given import from_polars
from eventlake.core.documents import dataset
from eventlake.errors import EventlakeError, InvalidProjectionError
from eventlake.exactness.rows import EVENT_JSON, EVENT_KEYS, SPINE_KEYS, Keys
from eventlake.history.pinned import PinnedHistory
from eventlake.history.snapshot import Snapshot
from eventlake.projections.computation import DEFAULT_OPTIONS, Computation, RunOptions
from eventlake.projections.on_polars.exact import VERSION, Handed, Watch, check_exact
from eventlake.projections.printing import printing_to_stderr
from eventlake.projections.rows import PreparedRun
from eventlake.tables.event_table import EventTable

__all__ = ["SETTINGS", "VERSION", "pool_size", "prepare"]

T = TypeVar("T")
SETTINGS = dataset.SETTINGS["python"]


def prepare(computation: Computation, options: RunOptions = DEFAULT_OPTIONS) -> PreparedRun:
    """Call a projection's function, and prepare the collection of its LazyFrame.

    The function gets the snapshot, the spine if there is one, and the parameters by name.

    Raises:
        InvalidProjectionError: The function does not take these arguments, does not return a
            LazyFrame, fails, or is not exact.
    """
    projection, history, spine = computation.projection, computation.history, computation.spine
    name = projection.name
    function: Callable[..., Any] | None = projection.function
    if function is None:
        message = f"projection {name} has no function to run"
        raise InvalidProjectionError(message)
    exact, shuffled = options.check_exact, options.conditions.shuffled
    arguments: dict[str, Any] = dict(projection.parameters)
    snapshot = _Shuffled(history) if shuffled else _ScanOnly(history)
    if spine is not None:
        given_spine = pl.DataFrame(spine).lazy()
        arguments["spine"] = (
            _shuffled(given_spine) if shuffled else snapshot.handed(given_spine, SPINE_KEYS)
        )
    try:
        # Bound before the call, so that a TypeError from inside the function is not taken for this
        # one.
        inspect.signature(function).bind(None, **arguments)
    except TypeError as error:
        given = ", ".join(["snapshot", *arguments])
        message = f"projection {name}: the function must take ({given}): {error}"
        raise InvalidProjectionError(message, projection=name) from error
    with _user_code(name), snapshot.watch if exact else nullcontext():
        frame = function(snapshot, **arguments)
    if not isinstance(frame, pl.LazyFrame):
        message = f"projection {name}: expected a polars.LazyFrame, found {type(frame).__name__}"
        hint = (
            "leave out .collect(): the build collects."
            if isinstance(frame, pl.DataFrame)
            else "return snapshot.scan().select(…), a LazyFrame."
        )
        raise InvalidProjectionError(message, hint, projection=name)
    if exact:
        with _user_code(name):
            check_exact(name, frame, snapshot.leaves, history)

    def rows() -> pa.Table:
        with _user_code(name):
            return from_polars(frame.collect(engine="in-memory"), f"projection {name}")

    # Python may read the clock in ways that no plan shows, so the recipe always pins it.
    return PreparedRun(snapshot.schemas, reads_clock=True, rows=rows)


@contextmanager
def _user_code(name: str) -> Iterator[None]:
    """Run user code: its prints go to stderr, its errors name the projection and the line."""
    try:
        with printing_to_stderr():
            yield
    except EventlakeError:
        raise
    # A sys.exit() of user code must not end the build without a word.
    except (Exception, SystemExit) as error:
        message = f"projection {name} failed{_line(error)}: {type(error).__name__}: {error}"
        raise InvalidProjectionError(message, projection=name) from error


class _ScanOnly(Snapshot):
    """The snapshot that a Python projection gets; it records what is read.

    It has no ``sql``: the recipe would record Polars for rows that DuckDB computed.

    Attributes:
        schemas: The hash of the schema by event type, for the event tables that were read.
        leaves: The frames that were handed out.
        watch: Refuses to run frames while the function runs, except for the snapshot's own reads.
    """

    def __init__(self, history: PinnedHistory) -> None:
        super().__init__(history)
        self.schemas: dict[str, str] = {}
        self.leaves: list[Handed] = []
        self.watch = Watch()

    def handed(
        self, frame: pl.LazyFrame, keys: Keys, payloads: tuple[str, ...] = ()
    ) -> pl.LazyFrame:
        """Record a frame as one that the projection may read, and return it."""
        self.leaves.append((frame, keys, payloads))
        return frame

    def read(self, read: Callable[[PinnedHistory], T]) -> T:
        """See ``Snapshot.read``."""
        with self.watch.paused():
            return super().read(read)

    def types(self) -> dict[str, int]:
        """See ``Snapshot.types``."""
        with self.watch.paused():
            return super().types()

    def _events(self, *, raw: bool, where: Sequence[pl.Expr] = ()) -> pl.LazyFrame:
        # Handed out before it is filtered: a leaf is recognized by the plan of the whole frame.
        return self.handed(super()._events(raw=raw), EVENT_KEYS, EVENT_JSON).filter(*where)

    def _typed(self, source: EventTable, corrections: str) -> pl.LazyFrame:
        with self.watch.paused():
            return self.handed(super()._typed(source, corrections), EVENT_KEYS)

    def table(self, event_type: str, *arguments: Any, **named: Any) -> pl.LazyFrame:
        """See ``Snapshot.table``. Reads the newest schema, which the recipe pins.

        Raises:
            InvalidProjectionError: A version is given.
        """
        if named.get("version") is not None:
            message = "a projection reads the schema that its recipe pins; it cannot name a version"
            raise InvalidProjectionError(message, "leave out version=.")
        frame = super().table(event_type, *arguments, **named)
        # After the call, which refuses types without a schema.
        self.schemas[event_type] = self.history.catalogue.version(event_type).schema_hash
        return frame

    def sql(self, query: str, /, **parameters: Any) -> NoReturn:
        """Refuse to run SQL.

        Raises:
            InvalidProjectionError: Always.
        """
        del query, parameters
        message = "a Python projection runs on Polars alone; it cannot run sql()"
        raise InvalidProjectionError(
            message, "read the events with snapshot.scan(), or write the projection in SQL."
        )


class _Shuffled(_ScanOnly):
    """The same events in another order."""

    def scan(self, *arguments: Any, **named: Any) -> pl.LazyFrame:
        """See ``Snapshot.scan``."""
        return _shuffled(super().scan(*arguments, **named))

    def table(self, event_type: str, *arguments: Any, **named: Any) -> pl.LazyFrame:
        """See ``_ScanOnly.table``."""
        return _shuffled(super().table(event_type, *arguments, **named))


def _shuffled(frame: pl.LazyFrame) -> pl.LazyFrame:
    # A fixed seed, so that a difference can be reproduced.
    return frame.collect(engine="in-memory").sample(fraction=1.0, shuffle=True, seed=1).lazy()


def _line(error: BaseException) -> str:
    """The line of the projection's own file that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        # Archived sources run in a temporary folder of ours, whose name has this prefix.
        if "eventlake-" in frame.filename or "eventlake/" not in frame.filename
    ]
    return f" at {own[0].filename.rsplit('/', 1)[-1]}:{own[0].lineno}" if own else ""


def pool_size() -> int:
    """Number of threads of Polars' pool, which is fixed when the process starts."""
    return pl.thread_pool_size()
