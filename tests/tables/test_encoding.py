"""A stored event table is the same to every engine, however its values are encoded."""

import random
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlake.columns.parquet import segments

WORDS = ["eur", "usd", None]


@pytest.mark.parametrize(
    ("precision", "scale"), [(1, 0), (9, 2), (10, 10), (18, 2), (19, 0), (38, 9)]
)
def test_decimals_and_repeated_texts_are_read_as_they_were_written(tmp_path, precision, scale):
    dice, most = random.Random(precision), 10**precision - 1
    units = [most, -most, 0, None, *(dice.randint(-most, most) for _ in range(400))]
    table = pa.table(
        {
            "sequence": pa.array(range(len(units)), pa.int64()),
            "subject": ["s"] * len(units),
            "amount": pa.array(_exact(units, scale), pa.decimal128(precision, scale)),
            "words": pa.array([WORDS[n % 3] for n in range(len(units))], pa.string()),
            "texts": pa.array([str(n) for n in range(len(units))], pa.string()),
        }
    )
    path = tmp_path / "table.parquet"
    path.write_bytes(segments.encode_sorted(table))
    assert pq.ParquetFile(path).read().equals(table)
    assert segments.read_bytes(path.read_bytes(), "x").equals(table)
    frame = pl.read_parquet(path)
    assert frame.schema["amount"] == pl.Decimal(precision, scale)
    assert frame.equals(pl.DataFrame(table))
    read = duckdb.sql(f"SELECT * FROM read_parquet('{path}') ORDER BY sequence")
    assert str(read.types[2]) == f"DECIMAL({precision},{scale})"
    found = read.fetchall()
    assert [(row[2], row[3], row[4]) for row in found] == list(
        zip(
            _exact(units, scale),
            table["words"].to_pylist(),
            table["texts"].to_pylist(),
            strict=True,
        )
    )


def _exact(units, scale):
    """Decimals of so many units of the last digit, without a context that rounds."""
    return [
        None if one is None else Decimal((int(one < 0), tuple(map(int, str(abs(one)))), -scale))
        for one in units
    ]
