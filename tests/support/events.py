"""Every shape in which a producer may hand in the events of a model.

A model event is what ``eventlake.testing.strategies.stored_event`` draws: attributes as they are
stored.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.naive import ORDER

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")


def moment(micros):
    """An aware datetime."""
    return EPOCH + timedelta(microseconds=micros)


def rfc3339(micros, row=0):
    """RFC 3339 in one of several spellings of the same instant; offsets stay inside the years 1 to 9999."""
    text = moment(micros).isoformat()
    return (text, text.replace("+00:00", "Z"), text.replace("+00:00", "z").replace("T", "t"))[
        row % 3
    ]


def as_dicts(batch, folder=None, recorded_at=None):
    """Dicts; every other row spells time, payload, extensions and attribute names in another way."""
    rows = []
    for row, model in enumerate(batch):
        made = dict(model)
        odd = row % 2
        if "time" in made:
            made["time"] = rfc3339(made["time"], row) if odd else moment(made["time"])
        if "data" in made and odd:
            made["data"] = made["data"].encode()
        if "extensions" in made and not odd:
            made["extensions"] = json.loads(made["extensions"])
        if "correlation_id" in made and odd:
            made["correlationid"] = made.pop("correlation_id")
        if recorded_at is not None:
            made["recorded_at"] = moment(recorded_at[row])
        rows.append(made)
    return rows


def as_ndjson(batch, folder, recorded_at=None):
    """The path of an NDJSON file; payloads are written into the line as they are."""
    lines = []
    for row, model in enumerate(batch):
        rest = {
            name: value
            for name, value in model.items()
            if name not in {"data", "extensions", "time"}
        }
        members = [
            f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=bool(row % 2))}"
            for name, value in rest.items()
        ]
        if "time" in model:
            members.append(f'"time":"{rfc3339(model["time"], row)}"')
        if recorded_at is not None:
            members.append(f'"recorded_at":"{rfc3339(recorded_at[row], row)}"')
        members += [
            f'"{name}" : {model[name]} ' for name in ("data", "extensions") if name in model
        ]
        lines.append(("{" + ",".join(members) + "}").encode())
    path = Path(folder, f"{len(list(Path(folder).iterdir()))}.ndjson")
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def as_arrow(batch, folder=None, recorded_at=None):
    """An Arrow table in two chunks, without the columns that are null throughout."""
    kinds = {name: INSTANT if name == "time" else pa.string() for name in ORDER}
    present = [
        name
        for name in ORDER
        if any(name in model for model in batch) or name in {"id", "source", "type"}
    ]
    columns = {
        name: pa.array(
            [model.get(name) for model in batch], pa.int64() if name == "time" else pa.string()
        )
        for name in present
    }
    table = pa.table({name: column.cast(kinds[name]) for name, column in columns.items()})
    if recorded_at is not None:
        table = table.append_column("recorded_at", pa.array(recorded_at, pa.int64()).cast(INSTANT))
    half = len(batch) // 2
    return pa.concat_tables([table.slice(0, half), table.slice(half)])


def as_parquet(batch, folder, recorded_at=None):
    """The path of a Parquet file as another tool might write it."""
    path = Path(folder, f"{len(list(Path(folder).iterdir()))}.parquet")
    pq.write_table(
        as_arrow(batch, recorded_at=recorded_at), path, compression="gzip", row_group_size=3
    )
    return path


def as_polars(batch, folder=None, recorded_at=None):
    """A Polars frame; its strings come as Arrow string views."""
    return pl.DataFrame(as_arrow(batch, recorded_at=recorded_at))


def as_pandas(batch, folder=None, recorded_at=None):
    """A pandas frame with an index that is no column."""
    frame = as_arrow(batch, recorded_at=recorded_at).to_pandas()
    frame.index = [7 * row for row in range(len(frame))]
    return frame


FORMATS = {
    "dicts": as_dicts,
    "ndjson": as_ndjson,
    "arrow": as_arrow,
    "parquet": as_parquet,
    "polars": as_polars,
    "pandas": as_pandas,
}


def cut(items, points):
    """``items`` in consecutive pieces, cut at ``points`` (any integers)."""
    bounds = sorted({0, len(items), *(point % (len(items) + 1) for point in points)})
    return [items[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


def rows_of(table):
    """The rows of anything that speaks Arrow, instants in microseconds."""
    arrow = pa.table(table)
    columns = {
        name: (
            column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        ).to_pylist()
        for name, column in zip(arrow.column_names, arrow.columns, strict=True)
    }
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
