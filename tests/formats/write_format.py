"""Writes the lake that later versions must read, and what they must read from it. Run once for a format, never again for the same one.

python tests/formats/write_format.py tests/formats/format-1
"""

import json
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path

import polars as pl

import eventlake as el
from eventlake.log.chain.open_or_create import open_chain
from eventlake.log.maintaining.fold import fold

ORIGIN = "compat.eventlake/loans"
MONEY = {"type": "number", "multipleOf": 0.01, "x-precision": 18}
CENTS = {
    "type": "object",
    "properties": {"cents": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["cents"],
}
PAID = {
    "type": "object",
    "properties": {
        "amount": MONEY,
        "note": {"type": "string", "enum": ["cash", "card", "ü"]},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "share": {"type": "number"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "free": {"type": "boolean"}},
            },
        },
    },
    "required": ["amount"],
}
TOTALS = """
SELECT spine_row AS k, loan, count(p.sequence) AS payments, coalesce(sum(p.amount), 0)::DECIMAL(18, 2) AS paid
FROM spine LEFT JOIN "payment.received" AS p ON p.subject = loan AND p.time < cutoff
GROUP BY spine_row, loan
"""
PLAIN = "SELECT subject AS k, count(*) AS events, max(sequence) AS last FROM events WHERE subject IS NOT NULL GROUP BY subject"


def paid(name: str, loan: int, day: int, data: object, **more: object) -> dict[str, object]:
    """A payment."""
    event = {
        "id": name,
        "source": "/bank",
        "type": "payment.received",
        "subject": f"/loan/{loan}",
        "data": data,
    }
    return {**event, "time": f"2026-01-{day:02d}T12:00:00.000001+01:00", **more}


def write(folder: Path) -> None:
    """Makes the lake, with something of everything that the format has."""
    lake = el.create(folder / "lake", ORIGIN)
    copied = [
        {
            "id": f"old-{n}",
            "source": "/ledger",
            "type": "loan.granted",
            "subject": f"/loan/{n}",
            "data": {"n": n},
        }
        for n in range(3)
    ]
    lake.append(
        [event | {"recorded_at": f"2025-12-0{n + 1}T00:00:00Z"} for n, event in enumerate(copied)]
    )
    lake.register("payment.received", CENTS)
    lake.append(
        [paid("p1", 1, 3, {"cents": 12050, "note": "cash"}), paid("p2", 2, 4, {"cents": 9950})],
        producer="bank",
        position=0,
    )
    lake.append(
        [
            {
                "id": "x",
                "source": "ü/1",
                "type": 'odd "type"',
                "data": '{ "b":1.00, "a":"\\u00e9" }',
                "extensions": {"k": [1, "ü"]},
            }
        ]
    )
    lake.register(
        "payment.received",
        PAID,
        upcast={"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01", "note": "note"},
    )
    rich = {
        "amount": 45,
        "note": "ü",
        "day": "2026-01-31",
        "at": "2026-01-31T00:00:00Z",
        "share": 0.1,
        "lines": [{"sku": "a", "free": True}, {}],
    }
    lake.append(
        [
            paid("p3", 1, 5, rich, correlation_id="c", causation_id="p1"),
            paid("p4", 1, 6, {"amount": 1, "share": -0.0}),
        ]
    )
    lake.append(
        [
            paid("p5", 2, 4, {"amount": 98.5}, corrects="p2"),
            paid("p6", 1, 6, {"amount": 1}, corrects="p4", correction="retract"),
        ]
    )
    spine = pl.DataFrame({"loan": ["/loan/1", "/loan/2", "/loan/9"]}).with_columns(
        cutoff=pl.datetime(2026, 1, 6, time_zone="UTC")
    )
    lake.build(el.Projection.sql("totals", TOTALS, key=["k"]), spine=spine)
    lake.build(el.Projection.sql("plain", PLAIN, key=["k"]))
    fold(open_chain(lake._chain.storage))
    for number in range(8):
        lake.append(
            [
                {
                    "id": f"late-{number}",
                    "source": "/ledger",
                    "type": "loan.closed",
                    "subject": f"/loan/{number}",
                }
            ]
        )
    lake.compact()
    time.sleep(0.05)
    lake.gc(older_than=timedelta(0), dry_run=False)
    lake.append([{"id": "last", "source": "/ledger", "type": "loan.closed"}])
    (folder / "expected.json").write_text(
        json.dumps(said(lake), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    shutil.rmtree(folder / "lake" / "tables")  # they are derived


def said(lake: el.Lake) -> dict[str, object]:
    """What every version must say of the lake."""
    snapshot = lake.snapshot()
    tables = {
        name: snapshot.table(name, corrections="latest").sort("sequence").collect()
        for name in lake.schemas()
    }
    return {
        "checkpoint": str(snapshot.checkpoint),
        "checkpoints": [str(lake.snapshot(at).checkpoint) for at in range(snapshot.watermark)],
        "commits": [entry.commit_hash for entry in lake.log()],
        "datasets": {dataset.manifest_hash: plain(dataset.polars()) for dataset in lake.datasets()},
        "events": plain(snapshot.scan(raw=True).sort("sequence").collect()),
        "schemas": {
            name: [version.schema_hash for version in versions]
            for name, versions in lake.schemas().items()
        },
        "tables": {name: plain(frame) for name, frame in tables.items()},
    }


def plain(frame: pl.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON has them: what JSON does not know as text."""
    return [json.loads(json.dumps(row, default=str)) for row in frame.to_dicts()]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
