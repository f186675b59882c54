"""Retractions without a payload: they do not need one, so no schema requires it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NOTHING = r"^\s*(\{\s*\}|null)\s*$"
"""A payload without members."""


def empty_retractions(
    correction: pa.ChunkedArray, data: pa.ChunkedArray
) -> npt.NDArray[np.bool_] | None:
    """Which events are retractions whose payload is missing or empty; None if none is."""
    # Most batches correct nothing.
    if correction.null_count == len(correction):
        return None
    retracts = pc.fill_null(pc.equal(correction, "retract"), fill_value=False).to_numpy()
    rows = np.flatnonzero(retracts)
    payloads = data.filter(pa.array(retracts))
    is_empty = pc.match_substring_regex(payloads, NOTHING)
    retracts[rows] = pc.fill_null(is_empty, fill_value=True).to_numpy()
    return retracts if retracts.any() else None
