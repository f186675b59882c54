"""Runs Python projections. The only place below ``projections/`` that runs Polars.

Always the in-memory engine: the streaming engine's float sums vary from run to run even on one thread.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.core.dataset import Parameter
from eventlake.errors import InvalidProjectionError, SchemaMismatchError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.snapshot import Snapshot

VERSION = pl.__version__
SETTINGS: dict[str, str | int | bool] = {"engine": "in-memory"}


def run(
    name: str, function: Callable[..., Any], history: PinnedHistory, spine: pa.Table | None, parameters: Mapping[str, Parameter]
) -> pa.Table:
    """The rows of the LazyFrame that ``function`` returns.

    Raises:
        InvalidProjectionError: The function does not take what it is given, returns no LazyFrame, or fails in Polars.
    """
    arguments: dict[str, Any] = dict(parameters)
    if spine is not None:
        arguments["spine"] = pl.DataFrame(spine).lazy()
    try:
        inspect.signature(function).bind(None, **arguments)
    except TypeError as error:
        given = ", ".join(["snapshot", *arguments])
        message = f"projection {name}: the function must take ({given}): {error}"
        raise InvalidProjectionError(message, projection=name) from error
    try:
        frame = function(Snapshot(history), **arguments)
        if isinstance(frame, pl.LazyFrame):
            return to_arrow(frame.collect(engine="in-memory"))
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        message = f"projection {name}: Polars refused it: {type(error).__name__}: {error}"
        raise InvalidProjectionError(message, projection=name) from error
    message = f"projection {name}: expected a polars.LazyFrame, found {type(frame).__name__}"
    raise InvalidProjectionError(message, "leave out .collect(): the build collects.", projection=name)


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow; Python objects are refused, because Polars would hand over their addresses.

    Raises:
        SchemaMismatchError: A column of Python objects.
    """
    objects = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    if objects:
        message = f"column {objects[0]} holds Python objects, which a dataset cannot hold"
        raise SchemaMismatchError(message, "cast it to a type of Polars.", column=objects[0])
    return frame.to_arrow()


def pool_size() -> int:
    """Threads of Polars' pool; fixed when the process starts."""
    return pl.thread_pool_size()
