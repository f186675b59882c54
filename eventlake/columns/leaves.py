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


def leaf_hashes(events: pa.Table | pl.DataFrame) -> Hashes:
    """SHA-256(0x00 ‖ event bytes) of every row, in row order. Columns are those of the event schema; absent ones are null."""
    frame = events if isinstance(events, pl.DataFrame) else pl.DataFrame(events)
    chunks = [_hash_text(_event_bytes(frame.slice(start, _CHUNK_ROWS))) for start in range(0, frame.height, _CHUNK_ROWS)]
    return np.concatenate(chunks) if chunks else np.empty((0, HASH_BYTES), np.uint8)


def _event_bytes(frame: pl.DataFrame) -> pl.Series:
    pieces: list[pl.Expr] = []
    before = "\x00"
    for name in ATTRIBUTES:
        nulls = frame[name].null_count() if name in frame.columns else frame.height
        if nulls == frame.height:
            continue
        head, *rest = _pieces(name)
        if nulls:
            present = pl.when(pl.col(name).is_not_null()).then(pl.concat_str([pl.lit(head), *rest, pl.lit(",")], ignore_nulls=True))
            pieces += [pl.lit(before), present]
            before = ""
        else:
            pieces += [pl.lit(before + head), *rest]
            before = ","
    return frame.select(pl.concat_str([*pieces, pl.lit(before)], ignore_nulls=True))["literal"]


def _pieces(name: str) -> tuple[str, *tuple[pl.Expr, ...]]:
    """``name=``, the length, ``:`` and the bytes of one attribute; what is the same in every row comes as text, to be joined once."""
    if name == "data":
        return "data=64:", plh.col("data").chash.sha2_256()
    value = pl.col(name).dt.epoch("us").cast(pl.String) if name == "time" else pl.col(name)
    return f"{name}=", value.str.len_bytes().cast(pl.String), pl.lit(":"), value


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
