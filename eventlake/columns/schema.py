"""The Arrow schema of events."""

import pyarrow as pa

from eventlake.core.attributes import ATTRIBUTES

INSTANT = pa.timestamp("us", tz="UTC")
TYPES: dict[str, pa.DataType] = {
    name: INSTANT if name == "time" else pa.string() for name in ATTRIBUTES
}
SCHEMA = pa.schema([pa.field(name, TYPES[name]) for name in ATTRIBUTES])


def whole_columns(table: pa.Table, columns: list[str]) -> pa.Table:
    """Select event columns in this order, adding missing ones as nulls."""
    present = set(table.column_names)
    arrays = [
        table.column(name) if name in present else pa.nulls(table.num_rows, TYPES[name])
        for name in columns
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema([(name, TYPES[name]) for name in columns]))
