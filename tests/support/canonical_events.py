"""A hash of events that does not depend on how a table is stored."""

import hashlib
import json

import pyarrow as pa


def canonical_sha256(table):
    """Over the rows in order: each a JSON array, instants as microseconds since the epoch."""
    columns = [
        (column.cast(pa.int64()) if name in {"time", "recorded_at"} else column).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    lines = (
        json.dumps(row, separators=(",", ":")).encode() + b"\n"
        for row in zip(*columns, strict=True)
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()
