"""Leaf hashes of whole batches and the compact range over them, vectorised.

What a leaf is: ``docs/format.md``, "Event bytes". A second, naive implementation in the tests must agree with every word here.
"""

import binascii

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_hash as plh
import pyarrow as pa

from eventlake.core.attributes import ATTRIBUTES
from eventlake.core.merkle import HASH_BYTES, CompactRange, node_hash

Hashes = npt.NDArray[np.uint8]
"""Shape (n, 32): one SHA-256 a row."""

_CHUNK_ROWS = 131_072
_FEW = 64
"""Below this many pairs a Python loop beats setting up vectors."""


def leaf_hashes(table: pa.Table) -> Hashes:
    """SHA-256(0x00 ‖ event bytes) of every row, in row order. Columns are those of the event schema; absent ones are null."""
    chunks = [_hash_text(_event_bytes(table.slice(start, _CHUNK_ROWS))) for start in range(0, table.num_rows, _CHUNK_ROWS)]
    return np.concatenate(chunks) if chunks else np.empty((0, HASH_BYTES), np.uint8)


def _event_bytes(table: pa.Table) -> pl.Series:
    frame = pl.DataFrame(table)
    present = [name for name in ATTRIBUTES if name in frame.columns and frame[name].null_count() < frame.height]
    pieces = [_piece(name, nullable=frame[name].null_count() > 0) for name in present]
    return frame.select(pl.concat_str([pl.lit("\x00"), *pieces], ignore_nulls=True))["literal"]


def _piece(name: str, *, nullable: bool) -> pl.Expr:
    if name == "data":
        digest = plh.col("data").chash.sha2_256()
        parts = [pl.lit("data=64:"), digest, pl.lit(",")]
    else:
        value = pl.col(name).dt.epoch("us").cast(pl.String) if name == "time" else pl.col(name)
        parts = [pl.lit(f"{name}="), value.str.len_bytes().cast(pl.String), pl.lit(":"), value, pl.lit(",")]
    if not nullable:
        return pl.concat_str(parts)
    return pl.when(pl.col(name).is_not_null()).then(pl.concat_str(parts, ignore_nulls=True))


def _hash_text(column: pl.Series) -> Hashes:
    digests = column.to_frame("x").select(plh.col("x").chash.sha2_256())["x"]
    return _from_hex(digests)


def _from_hex(digests: pl.Series) -> Hashes:
    text = digests.to_arrow().cast(pa.large_string()).buffers()[2]
    return np.frombuffer(binascii.unhexlify(memoryview(text)[: 2 * HASH_BYTES * len(digests)]), np.uint8).reshape(-1, HASH_BYTES)


def compact_range(leaves: Hashes, start: int) -> CompactRange:
    """The compact range of ``leaves`` standing at the sequences ``[start, start + len(leaves))``."""
    left: list[bytes] = []
    right: list[bytes] = []
    first, stop, level = start, start + len(leaves), leaves
    while first < stop:
        if first & 1:
            left.append(level[0].tobytes())
            level, first = level[1:], first + 1
        if stop & 1 and first < stop:
            right.append(level[-1].tobytes())
            level, stop = level[:-1], stop - 1
        level = _parents(level)
        first, stop = first >> 1, stop >> 1
    return CompactRange(start, start + len(leaves), (*left, *reversed(right)))


def _parents(level: Hashes) -> Hashes:
    pairs = level.reshape(-1, 2 * HASH_BYTES)
    if len(pairs) < _FEW:
        nodes = [node_hash(pair[:HASH_BYTES].tobytes(), pair[HASH_BYTES:].tobytes()) for pair in pairs]
        return np.frombuffer(b"".join(nodes), np.uint8).reshape(-1, HASH_BYTES)
    chunks = [_hash_nodes(pairs[at : at + _CHUNK_ROWS]) for at in range(0, len(pairs), _CHUNK_ROWS)]
    return np.concatenate(chunks)


def _hash_nodes(pairs: Hashes) -> Hashes:
    width = 1 + 2 * HASH_BYTES
    nodes = np.empty((len(pairs), width), np.uint8)
    nodes[:, 0] = 1
    nodes[:, 1:] = pairs
    offsets = np.arange(0, len(nodes) * width + 1, width, dtype=np.int64)
    column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(nodes), [None, pa.py_buffer(offsets), pa.py_buffer(nodes)])
    return _hash_text(pl.Series("x", column))
