"""Peak memory of whole verbs over large payloads and over many columns, each in a process of its own.

*Large*: events of one type with payloads of 5 KB. *Wide*: events with 300 fields. Every verb runs in
a new process with ``EVENTLAKE_MEMORY=1500MB``, whose peak resident memory is reported; the libraries
alone take some 200 MB of it.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from append import ORIGIN
from data import Setting, scratch
from measure import Row

import eventlake as el

TYPE, PRODUCER = "document.scanned", "scanner"
FIELDS, PARTS, PART_ROWS, MAX_GB = 300, 8, 20_000, 1.5
MEMORY = {"EVENTLAKE_MEMORY": "1500MB"}
FEATURES, TEXTS = "amounts", "texts"
MAPPING = {
    "events": [
        {
            "source": "import",
            "id": "{id}",
            "type": TYPE,
            "subject": "{subject}",
            "time": {"column": "time"},
            "data": {"text": {"column": "data"}},
        }
    ],
}


def payloads(kind: str, numbers: pl.Series) -> pl.Series:
    """A text of 5 KB each, or 300 short fields."""
    number = pl.col("number")
    pieces: list[Any] = [pl.lit('{"amount":'), (number % 1000).cast(pl.String), pl.lit(".25")]
    if kind == "large":
        words = pl.Series(
            [
                " ".join(f"w{(i * 7919 + j * j * 31) % 99_991}" for j in range(190))
                for i in range(997)
            ]
        )
        pieces.append(pl.lit(',"text":"'))
        pieces += [
            pl.lit(words).gather((number * step + step) % len(words)) for step in (1, 7, 77, 777)
        ]
        pieces.append(pl.lit('"'))
    else:
        for field in range(1, FIELDS):
            value = (number * (field + 3)) % 9973
            pieces += [pl.lit(f',"field_{field:03d}":'), value.cast(pl.String)]
    text = pl.concat_str([*pieces, pl.lit("}")])
    return pl.DataFrame({"number": numbers}).select(text.alias("data"))["data"]


def schema(kind: str) -> dict[str, Any]:
    """The schema of these payloads."""
    fields: dict[str, Any] = {"amount": {"type": "number", "multipleOf": 0.01}}
    if kind == "large":
        fields["text"] = {"type": "string"}
    else:
        fields |= {f"field_{field:03d}": {"type": "integer"} for field in range(1, FIELDS)}
    return {"type": "object", "properties": fields, "required": list(fields)}


def write_events(kind: str, path: Path, first: int, rows: int) -> None:
    """A Parquet file of events, as pyarrow writes it."""
    writer = None
    for start in range(first, first + rows, PART_ROWS):
        numbers = pl.Series(range(start, min(start + PART_ROWS, first + rows)), dtype=pl.Int64)
        times = pl.Series("time", numbers * 1_000_000, pl.Datetime("us", "UTC"))
        table = pl.DataFrame(
            {
                "id": numbers.cast(pl.String),
                "source": pl.repeat("scan.example", len(numbers), eager=True),
                "type": pl.repeat(TYPE, len(numbers), eager=True),
                "subject": "/case/" + (numbers % 9973).cast(pl.String),
                "time": times,
                "data": payloads(kind, numbers),
            }
        ).to_arrow(compat_level=pl.CompatLevel.oldest())
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()


def write_text(parquet: Path, folder: Path) -> None:
    """The same events as NDJSON, and as CSV."""
    with (folder / "events.ndjson").open("wb") as lines, (folder / "events.csv").open("wb") as csv:
        for number, batch in enumerate(pq.ParquetFile(parquet).iter_batches(PART_ROWS)):
            events = pl.DataFrame(batch).with_columns(
                pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
            )
            members: list[Any] = [pl.lit("{")]
            for name in ("id", "source", "type", "subject", "time"):
                members += [pl.lit(f'"{name}":"'), pl.col(name), pl.lit('",')]
            whole = pl.concat_str([*members, pl.lit('"data":'), pl.col("data"), pl.lit("}\n")])
            lines.write("".join(events.select(whole).to_series()).encode())
            events.write_csv(csv, include_header=not number)


def _follow(lake: el.Lake) -> None:
    for frame in lake.follow(timeout_seconds=0.01):
        del frame


def _verify(lake: el.Lake) -> None:
    report = lake.verify(deep=True)
    assert report.ok, report.problems


def _build(lake: el.Lake) -> None:
    features = el.FeatureSet(
        FEATURES, features=[el.sum(TYPE, "amount", window="30d")], known="watermark"
    )
    spine = pl.DataFrame({"subject": [f"/case/{n}" for n in range(5_000)]}).with_columns(
        cutoff=pl.lit("2030-01-01T00:00:00Z").str.to_datetime(time_zone="UTC")
    )
    lake.build(features, spine=spine)


def _build_sql(lake: el.Lake) -> None:
    """Two datasets whose rows hold the payloads of a tenth of the events; most rows are equal."""
    for modulus in (9_973, 9_949):
        where = f"sequence % 10 = 0 AND sequence % {modulus} > 0"
        query = f"SELECT sequence, data FROM events WHERE {where} ORDER BY sequence"
        lake.build(el.Projection.sql(TEXTS, query, key=["sequence"]))


def _hashes(lake: el.Lake, name: str) -> list[str]:
    return sorted(one.manifest_hash for one in lake.datasets() if one.name == name)


def _leaks(lake: el.Lake) -> None:
    report = el.check_leakage(lake.dataset(_hashes(lake, FEATURES)[0]))
    assert report.ok


def _reproduce(lake: el.Lake, name: str) -> None:
    assert lake.reproduce(_hashes(lake, name)[0]).identical


def _import(path: Path, folder: Path) -> None:
    el.import_file(el.create(folder / f"imported{path.suffix}", ORIGIN), path, MAPPING)


def _append_again(lake: el.Lake, file: Path) -> None:
    receipt = lake.append(file, duplicates="skip_identical")
    assert not receipt.count


def _pieces(folder: Path, file: Path) -> None:
    lake = el.create(folder / "pieces", ORIGIN)
    rows = -(-pq.read_metadata(file).num_rows // PARTS)
    for batch in pq.ParquetFile(file).iter_batches(min(rows, PART_ROWS)):
        lake.append(pl.DataFrame(batch))


VERBS: dict[str, Callable[[str, Path], object]] = {
    "append of a file": lambda _, at: el.create(at / "lake", ORIGIN).append(at / "events.parquet"),
    "append, skip_identical": lambda _, at: _append_again(
        el.open(at / "lake"), at / "events.parquet"
    ),
    "append with a position": lambda _, at: el.create(at / "positions", ORIGIN).append(
        at / "events.parquet", producer=PRODUCER, position=0
    ),
    "register": lambda kind, at: el.open(at / "lake").register(TYPE, schema(kind)),
    "derive": lambda _, at: (
        el.open(at / "lake").snapshot().sql(f'SELECT count(*) FROM "{TYPE}"').arrow()
    ),
    "build": lambda _, at: _build(el.open(at / "lake")),
    "verify --deep": lambda _, at: _verify(el.open(at / "lake")),
    "follow": lambda _, at: _follow(el.open(at / "lake")),
    "append in pieces": lambda _, at: _pieces(at, at / "events.parquet"),
    "compact": lambda _, at: el.open(at / "pieces").compact(),
    "import of Parquet": lambda _, at: _import(at / "events.parquet", at),
    "import of CSV": lambda _, at: _import(at / "events.csv", at),
    "import of NDJSON": lambda _, at: _import(at / "events.ndjson", at),
    "append of NDJSON": lambda _, at: el.create(at / "lines", ORIGIN).append(at / "events.ndjson"),
    "scan": lambda _, at: (
        el.open(at / "lake")
        .snapshot()
        .scan()
        .select(pl.col("data").str.len_bytes().sum())
        .collect()
    ),
    "sql": lambda _, at: (
        el.open(at / "lake").snapshot().sql("SELECT count(DISTINCT data) FROM events").arrow()
    ),
    "build of SQL": lambda _, at: _build_sql(el.open(at / "lake")),
    "reproduce": lambda _, at: _reproduce(el.open(at / "lake"), FEATURES),
    "reproduce SQL": lambda _, at: _reproduce(el.open(at / "lake"), TEXTS),
    "explain": lambda _, at: (
        el.open(at / "lake").dataset(_hashes(el.open(at / "lake"), FEATURES)[0]).explain([7])
    ),
    "check_leakage": lambda _, at: _leaks(el.open(at / "lake")),
    "diff": lambda _, at: el.open(at / "lake").diff(*_hashes(el.open(at / "lake"), TEXTS)),
}


def measured(verb: str, kind: str, folder: Path) -> dict[str, float]:
    """The peak memory in bytes and the CPU seconds of a verb in a new process."""
    command = [sys.executable, __file__, verb, kind, str(folder)]
    environment = {**os.environ, **MEMORY}
    done = subprocess.run(  # noqa: S603 - ourselves
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(setting: Setting) -> Row:
    """Measures the row."""
    sizes = {"large": setting.size(400_000, 10_000), "wide": setting.size(100_000, 5_000)}
    result = Row("memory", "peak memory of whole verbs over large payloads and many columns")
    for kind, rows in sizes.items():
        what = "payloads of 5 KB" if kind == "large" else f"{FIELDS} fields"
        with scratch() as folder:
            write_events(kind, folder / "events.parquet", 0, rows)
            write_text(folder / "events.parquet", folder)
            for verb in VERBS:
                found = measured(verb, kind, folder)
                name = f"{verb}, {rows:,} events, {what}"
                result.add(name, "", found["bytes"] / 1e9, "GB", MAX_GB)
                result.add(f"{name}: CPU", "", found["cpu"], "s")
    result.note("Peak resident memory of a process that does nothing else, libraries included.")
    return result


def main(verb: str, kind: str, folder: str) -> None:
    """Runs one verb, and prints what this process took."""
    VERBS[verb](kind, Path(folder))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"bytes": peak_bytes(), "cpu": usage.ru_utime + usage.ru_stime}))


def peak_bytes() -> int:
    """The peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux ``ru_maxrss`` begins with the peak of the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    main(*sys.argv[1:])
