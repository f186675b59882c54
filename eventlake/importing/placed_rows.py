"""Put rows that are larger than memory into order, through files.

Each row has a place. Rows of neighbouring places share a file, so that one file at a time is sorted
in memory. DuckDB sorts rows of long texts only if all of them fit into its memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PLACE = "place"


class PlacedRows:
    """Rows that are added in any order, and read once in the order of their places.

    Args:
        folder: An empty folder for the files.
        stops: The places at which the files end, exclusive, in ascending order.
    """

    def __init__(self, folder: Path, stops: Sequence[int]) -> None:
        self._folder = folder
        self._stops = stops

    def add(self, rows: pa.Table, places: npt.NDArray[np.int64]) -> None:
        """Add rows with their places, which are below the last stop."""
        order = np.argsort(places, kind="stable")
        placed = rows.append_column(PLACE, pa.array(places)).take(pa.array(order))
        bounds = np.searchsorted(places[order], self._stops)
        for number, (start, stop) in enumerate(zip([0, *bounds[:-1]], bounds, strict=True)):
            if start < stop:
                # One stream after another: there may be more files than a process may have open.
                with (
                    self._file(number).open("ab") as file,
                    pa.ipc.new_stream(file, placed.schema) as stream,
                ):
                    stream.write_table(placed.slice(start, stop - start))

    def in_order(self) -> Iterator[pa.Table]:
        """Yield the rows of each file in order, and delete the file."""
        for number in range(len(self._stops)):
            file = self._file(number)
            if file.exists():
                rows = pa.concat_tables(_streams(file))
                file.unlink()
                yield rows.sort_by(PLACE).drop_columns([PLACE])
                del rows  # makes room for the next file

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.arrows"


def _streams(file: Path) -> Iterator[pa.Table]:
    size = file.stat().st_size
    with file.open("rb") as source:
        while source.tell() < size:
            yield pa.ipc.open_stream(source).read_all()


def stops_of(sizes: Sequence[int], step: int, most_bytes: int) -> list[int]:
    """The places at which files of at most ``most_bytes`` end, unless one step has more.

    Args:
        sizes: The bytes of each step of places, from place 0 on.
        step: Number of places in a step.
        most_bytes: The bound.
    """
    stops, held = [], 0
    for number, size in enumerate(sizes):
        if held and held + size > most_bytes:
            stops.append(number * step)
            held = 0
        held += size
    return [*stops, len(sizes) * step]
