"""The events that are measured: generated ones, or a Parquet file of events."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from events import loan_events
from measure import DATA

from eventlake.core.attributes import ATTRIBUTES


@dataclass(frozen=True, slots=True)
class Setting:
    """How a row is to be run.

    Attributes:
        quick: With small sizes, to see that it runs; the figures mean little.
        rounds: Instead of each row's own number, or None.
        file: A Parquet file of events to take instead of generated ones, or None.
    """

    quick: bool = False
    rounds: int | None = None
    file: Path | None = None

    def size(self, full: int, quick: int) -> int:
        """A number of events or commits."""
        return quick if self.quick else full

    def times(self, full: int) -> int:
        """A number of rounds."""
        return self.rounds or (min(full, 3) if self.quick else full)

    def events(self, rows: int) -> pa.Table:
        """The first ``rows`` events of the file, or of those generated (kept in ``bench-data/``), without assigned columns."""
        path = self.file or _generated(rows)
        table = pq.read_table(path).slice(0, rows)
        table = table.select(
            [name for name in table.column_names if name in ATTRIBUTES]
        ).combine_chunks()
        assert table.num_rows == rows, (
            f"{path} holds {table.num_rows:,} events only, {rows:,} are needed"
        )
        return table

    @property
    def source(self) -> str:
        """Where the events come from, for the notes."""
        return (
            f"events of {self.file.name}"
            if self.file
            else "generated loan events (benchmarks/events.py)"
        )


def _generated(rows: int) -> Path:
    DATA.mkdir(exist_ok=True)
    kept = {int(path.stem.split("-")[1]): path for path in DATA.glob("loans-*.parquet")}
    enough = [number for number in kept if number >= rows]
    if enough:
        return kept[min(enough)]
    path = DATA / f"loans-{rows}.parquet"
    partial = path.with_suffix(".partial")
    pq.write_table(loan_events(rows), partial)
    partial.rename(path)
    return path


def generation(table: pa.Table, number: int) -> pa.Table:
    """The same events once more as those of other loans: every id and subject gets a suffix, so that nothing is known already."""
    suffix = pl.lit(f"-{number:04d}")
    frame = pl.DataFrame(table).with_columns(
        pl.concat_str(pl.col(name), suffix).alias(name) for name in ("id", "subject")
    )
    return _arrow(frame, table.schema)


def nested(table: pa.Table, *, objects_in_lists: bool) -> pa.Table:
    """The same events with payloads three levels deep: objects and a list of scalars; or a list of objects as well."""
    lines = (
        ',"lines":[{"n":1,"amount":"12.50"},{"n":2,"amount":"7.20","note":null}]'
        if objects_in_lists
        else ""
    )
    head = '{"body":'
    tail = f',"context":{{"system":{{"name":"core","version":[3,11,2]}},"channel":"web","flags":{{"test":false,"retry":0}}}}{lines}}}'
    data = pl.concat_str(pl.lit(head), pl.col("data"), pl.lit(tail)).alias("data")
    return _arrow(pl.DataFrame(table).with_columns(data), table.schema)


def _arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).combine_chunks()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that is measured, removed afterwards."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix="scratch-") as folder:
        yield Path(folder)


def emptied(folder: Path) -> Path:
    """``folder`` as it was before anything was written into it: absent."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
