"""The text of a clock: the runs of equal ``recorded_at`` of a history.

Source: docs/reference/format.md, "The clock hash".
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int64s = npt.NDArray[np.int64]
Uint32s = npt.NDArray[np.uint32]

_DIGITS = 4
_POWER = 10**_DIGITS
_FOUR_DIGITS = np.array([f"{number:04d}".encode() for number in range(_POWER)]).view("<u4")
"""The four digits of each number below 10,000, as the bytes of one integer."""
_HALF = 10**8
_INSTANT_DIGITS = 16
"""The microseconds of every instant from 2001 to 2286 have 16 digits."""
_MOST_STARTS = 1 << 32
_BLOCK_ROWS = 1 << 14
"""Runs written at a time: so few that their records stay in the cache of a processor."""


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


def runs_text(starts: Int64s, instants: Int64s) -> Iterator[memoryview]:
    """``start:instant,`` for each run, as ASCII, in parts.

    A part is overwritten by the next one.

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
        yield memoryview(_any_text(starts, instants))
        return
    # Starts with equally many digits make records of one width, which are filled column by column:
    # 0.05 s a million runs, where a loop that formats each takes 1 s.
    widths = range(1, len(str(starts[-1])) + 1)
    bounds = np.searchsorted(starts, [10**width for width in widths])
    first = 0
    for width, last in zip(widths, bounds, strict=True):
        yield from _records(starts[first:last], instants[first:last], width)
        first = last


def _any_text(starts: Int64s, instants: Int64s) -> bytes:
    texts = [pa.array(values).cast(pa.string()) for values in (starts, instants)]
    runs = pc.binary_join_element_wise(*texts, ":")
    return "".join(f"{run}," for run in runs.to_pylist()).encode()


def _records(starts: Int64s, instants: Int64s, width: int) -> Iterator[memoryview]:
    """The text of runs whose starts have ``width`` digits."""
    groups = -(-width // _DIGITS)
    leading = groups * _DIGITS - width
    # The first group may have fewer digits: the field after it overwrites the rest of its four.
    places = [0, *range(_DIGITS - leading, width, _DIGITS)]
    after = [width + 1 + place for place in range(0, _INSTANT_DIGITS, _DIGITS)]
    end = after[-1] + _DIGITS
    record = np.dtype(
        {
            "names": [f"start {group}" for group in range(groups)]
            + [":"]
            + [f"instant {group}" for group in range(len(after))]
            + [","],
            "formats": ["<u4"] * groups + ["u1"] + ["<u4"] * len(after) + ["u1"],
            "offsets": [*places, width, *after, end],
            "itemsize": end + 1,
        }
    )
    without_zeros = _FOUR_DIGITS >> np.uint32(8 * leading)
    buffer = np.empty(min(len(starts), _BLOCK_ROWS), record)
    for row in range(0, len(starts), _BLOCK_ROWS):
        start = starts[row : row + _BLOCK_ROWS].astype(np.uint32)
        instant = instants[row : row + _BLOCK_ROWS]
        records = buffer[: len(start)]
        first, *rest = _in_fours(start, groups)
        records["start 0"] = without_zeros[first]
        for group, digits in enumerate(rest, 1):
            records[f"start {group}"] = _FOUR_DIGITS[digits]
        # Division of 32 bits is several times as fast as of 64.
        high = instant // _HALF
        halves = (high, instant - high * _HALF)
        fours = [one for half in halves for one in _in_fours(half.astype(np.uint32), 2)]
        for group, digits in enumerate(fours):
            records[f"instant {group}"] = _FOUR_DIGITS[digits]
        records[":"], records[","] = ord(":"), ord(",")
        yield records.view(np.uint8).data


def _in_fours(numbers: Uint32s, groups: int) -> list[Uint32s]:
    """Numbers as groups of four decimal digits, the highest first."""
    power = np.uint32(_POWER)
    fours = []
    for _ in range(groups - 1):
        rest = numbers // power
        fours.append(numbers - rest * power)
        numbers = rest
    return [numbers, *reversed(fours)]
