"""Retractions that say nothing: a payload is no part of what they mean, so no schema asks for one."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NOTHING = r"^\s*(\{\s*\}|null)\s*$"
"""A payload without members."""


def silent(correction: pa.ChunkedArray, data: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    """Which events are retractions without a payload, or with one that has no members; None if there is none."""
    if correction.null_count == len(correction):
        return None
    retracts = pc.fill_null(pc.equal(correction, "retract"), fill_value=False).to_numpy()
    rows = np.flatnonzero(retracts)
    said = data.filter(pa.array(retracts))
    retracts[rows] = pc.fill_null(
        pc.match_substring_regex(said, NOTHING), fill_value=True
    ).to_numpy()
    return retracts if retracts.any() else None
