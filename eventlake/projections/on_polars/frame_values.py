"""Compares the frames in a plan with those that a build hands to a projection."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from eventlake.exactness.rows import is_float
from eventlake.projections.on_polars.types import type_of

_ERRORS = (NotImplementedError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True, slots=True, eq=False)
class FrameValues:
    """The values of a frame. Frames are equal if they share their memory or have the same values.

    Attributes:
        frame: The frame.
        arrow: The same values in Arrow. It keeps the buffers alive, for the address of a freed
            buffer may become another frame's.
        addresses: The addresses of the buffers of every chunk.
    """

    frame: pl.DataFrame
    arrow: Any
    addresses: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameValues):
            return NotImplemented
        if self.addresses == other.addresses:
            return True
        # Floats can be equal without being identical: 0.0 and -0.0.
        return (
            not any(is_float(type_of(dtype)) for dtype in self.frame.dtypes)
            and self.frame.schema == other.frame.schema
            and self.frame.equals(other.frame)
        )

    __hash__ = None  # type: ignore[assignment]


def values_of(frame: Any) -> Any:
    """What compares equal for two frames of the same values; a Polars frame as the plan has it."""
    table = pl.DataFrame._from_pydf(frame)
    try:
        arrow = table.to_arrow(compat_level=pl.CompatLevel.newest())
    except (ValueError, TypeError, *_ERRORS):
        # Arrow lacks the type, so it is not a frame of ours: equal to nothing.
        return object()
    # Empty chunks have no buffers that could tell frames apart.
    chunks = [chunk for column in arrow.columns for chunk in column.chunks if len(chunk)]
    return FrameValues(
        table, arrow, tuple((len(one), one.offset, *map(_address, one.buffers())) for one in chunks)
    )


def _address(buffer: Any) -> int:
    return 0 if buffer is None else int(buffer.address)
