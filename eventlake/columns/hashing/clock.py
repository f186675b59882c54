"""The text of a clock: the runs of equal ``recorded_at`` of a history.

Source: docs/reference/format.md, "The clock hash".
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int64s = npt.NDArray[np.int64]

_DIGITS = 4
_POWER = 10**_DIGITS
_FOUR_DIGITS = np.array([f"{number:04d}".encode() for number in range(_POWER)]).view("<u4")
"""The four digits of each number below 10,000, as the bytes of one integer."""
_HALF = 10**8
_INSTANT_DIGITS = 16
"""The microseconds of every instant from 2001 to 2286 have 16 digits."""
_MOST_STARTS = 1 << 32


def first_of_runs(instants: Int64s, previous: int | None) -> Int64s:
    """The positions of instants that differ from the one before.

    Args:
        instants: Instants in microseconds, in the order of events.
        previous: The instant before the first; None if there is none.
    """
    changes = np.empty(len(instants), dtype=bool)
    changes[:1] = len(instants) > 0 and instants[0] != previous
    np.not_equal(instants[1:], instants[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def runs_text(starts: Int64s, instants: Int64s) -> bytes:
    """``start:instant,`` for each run, as ASCII.

    Args:
        starts: Sequences, ascending.
        instants: The instant of each run in microseconds.
    """
    usual = (
        len(starts) > 0
        and starts[-1] < _MOST_STARTS
        and instants.min() >= 10 ** (_INSTANT_DIGITS - 1)
        and instants.max() < 10**_INSTANT_DIGITS
    )
    if not usual:
        return _any_text(starts, instants)
    # Starts with equally many digits make records of one width, which are filled column by column:
    # about 0.1 s a million runs, where a loop that formats each takes 1 s.
    widths = range(1, len(str(starts[-1])) + 1)
    bounds = np.searchsorted(starts, [10**width for width in widths])
    parts = []
    first = 0
    for width, last in zip(widths, bounds, strict=True):
        if first < last:
            parts.append(_fixed_text(starts[first:last], instants[first:last], width))
        first = last
    return b"".join(parts)


def _any_text(starts: Int64s, instants: Int64s) -> bytes:
    texts = [pa.array(values).cast(pa.string()) for values in (starts, instants)]
    runs = pc.binary_join_element_wise(*texts, ":")
    return "".join(f"{run}," for run in runs.to_pylist()).encode()


def _fixed_text(starts: Int64s, instants: Int64s, width: int) -> bytes:
    groups = -(-width // _DIGITS)
    fields: list[tuple[str, Any]] = [(f"start {place}", "<u4") for place in range(groups)]
    fields += [(":", "u1")]
    fields += [(f"instant {place}", "<u4") for place in range(_INSTANT_DIGITS // _DIGITS)]
    fields += [(",", "u1")]
    records = np.empty(len(starts), np.dtype(fields))
    records[":"], records[","] = ord(":"), ord(",")
    _fill(records, "start", groups, starts.astype(np.uint32))
    high = instants // _HALF
    # Division of 32 bits is several times as fast as of 64.
    low = (instants - high * _HALF).astype(np.uint32)
    _fill(records, "instant", 2, high.astype(np.uint32))
    _fill(records, "instant", 2, low, after=2)
    text = records.view(np.uint8).reshape(len(starts), -1)
    # The first group of a start may have leading zeros.
    return text[:, groups * _DIGITS - width :].tobytes()


def _fill(
    records: npt.NDArray[Any],
    name: str,
    groups: int,
    numbers: npt.NDArray[np.uint32],
    after: int = 0,
) -> None:
    power = np.uint32(_POWER)
    for place in reversed(range(groups)):
        rest = numbers // power
        records[f"{name} {after + place}"] = _FOUR_DIGITS[numbers - rest * power]
        numbers = rest
