import errno

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlake.columns.hashing.content import normalise
from eventlake.columns.parquet import frames
from eventlake.datasets.building import made_rows
from eventlake.datasets.building.made_rows import kept, streamed
from eventlake.errors import StorageError


def table_of(values):
    columns = {
        "number": pa.array(values, pa.int64()),
        "text": pa.array([None if value is None else f"{value}" for value in values], pa.string()),
        "zero": pa.array(np.zeros(len(values), np.int64)),
    }
    return normalise(pa.table(columns))


@given(
    pieces=st.lists(st.lists(st.none() | st.integers(-3, 3), max_size=6), min_size=1, max_size=5),
    part_rows=st.integers(1, 7),
)
def test_rows_that_come_in_pieces_are_those_that_come_at_once(pieces, part_rows):
    whole = table_of([value for piece in pieces for value in piece])
    found, expected = streamed(map(table_of, pieces), part_rows), kept(whole)
    try:
        assert found.content_hash == expected.content_hash
        assert (found.number, found.schema) == (expected.number, expected.schema)
        assert found.table().equals(expected.table())
        assert found.empty() == expected.empty()
        assert found.in_memory is (len(pieces) == 1)
        if not found.in_memory:
            # Asked twice, as for an attempt that a collector took.
            for _ in range(2):
                parts = [frames.decode(part, "a part") for part in found.parts()]
                rows = [part.num_rows for part in parts]
                assert rows[:-1] == [part_rows] * (len(rows) - 1)
                assert sum(rows) == found.number
    finally:
        found.close()


def test_pieces_become_the_parts_that_all_rows_would_be():
    whole = table_of(list(range(10)))
    found = streamed(iter([whole.slice(0, 3), whole.slice(3)]), 4)
    expected = list(frames.encode_parts(whole, 4))
    assert [pq.read_table(pa.BufferReader(part)) for part in found.parts()] == [
        pq.read_table(pa.BufferReader(part)) for part in expected
    ]
    found.close()


def test_what_fails_while_rows_are_made_fails_the_build():
    def tables():
        yield table_of([1])
        yield table_of([2])
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        streamed(tables())


def test_a_temporary_folder_without_room_is_named(monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(made_rows.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(StorageError, match="No space left on device") as error:
        streamed(iter([table_of([1]), table_of([2])]), 1)
    assert "TMPDIR" in error.value.hint
