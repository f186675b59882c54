"""Compare columns as the content hash does: null equals null, doubles by bits, all NaN equal."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.hashing.content import canonical_bits

Mask = npt.NDArray[np.bool_]


def differs(before: pa.Array, after: pa.Array) -> Mask:
    """Compare two arrays of the same normal type and length.

    Returns:
        True for each row in which exactly one side is null, or the values differ at any depth.
    """
    there, still_there = _valid(before), _valid(after)
    both = there & still_there
    unlike: Mask = (there != still_there) | (both & _values_differ(before, after))
    return unlike


def _valid(array: pa.Array) -> Mask:
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _values_differ(before: pa.Array, after: pa.Array) -> Mask:
    """True for rows whose values differ; undefined for nulls."""
    kind = before.type
    if pa.types.is_struct(kind):
        unlike = np.zeros(len(before), np.bool_)
        for child, other in zip(before.flatten(), after.flatten(), strict=True):
            unlike |= differs(child, other)
        return unlike
    if pa.types.is_large_list(kind):
        return _lists_differ(before, after)
    # Arrow's comparison calls NaN unequal to itself, and 0.0 equal to -0.0.
    if pa.types.is_floating(kind):
        unlike = canonical_bits(before) != canonical_bits(after)
    else:
        unlike = np.asarray(
            pc.fill_null(pc.not_equal(before, after), fill_value=False).to_numpy(
                zero_copy_only=False
            ),
            np.bool_,
        )
    return unlike


def _lists_differ(before: pa.Array, after: pa.Array) -> Mask:
    lengths, others = _lengths(before), _lengths(after)
    unlike: Mask = lengths != others
    # Only lists of equal lengths, so that their flattened elements are aligned.
    rows = np.flatnonzero(~unlike)
    places = pa.array(rows)
    elements = differs(before.take(places).flatten(), after.take(places).flatten())
    unlike[np.repeat(rows, lengths[rows])[elements]] = True
    return unlike


def _lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(
        pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False), np.int64
    )
