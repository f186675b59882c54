"""Lakes and plain Python answers for the queries that a refusal advises."""

import math
import random
from decimal import Decimal

import eventlake as el
from eventlake.exactness.on_duckdb.advice import Advice
from eventlake.projections.computation import Query
from eventlake.projections.on_duckdb import exact
from eventlake.projections.on_duckdb import run as duckdb_runner

MOVED = {
    "type": "object",
    "properties": {
        "who": {"type": "string"},
        "n": {"type": "integer"},
        "amount": {"type": "number", "multipleOf": 0.01},
        "x": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


def facts(*, ties):
    """Events of three subjects; told in another order than they happened; with ties two or three at an instant, and members missing."""
    dice = random.Random(8)
    rows = []
    for number in range(60):
        row = {
            "who": dice.choice("abcd"),
            "n": dice.randrange(9) if ties else number * 17 % 61,
            "x": dice.randrange(100) / 4,
        }
        row |= {
            "amount": Decimal(dice.randrange(-500_000, 500_000)) / 100,
            "tags": dice.sample("pqrs", 3),
        }
        at = dice.randrange(12) if ties else number * 7 % 60
        if ties and number % 7 == 0:
            del row["who"], row["n"]
        rows.append({"sequence": number, "subject": f"/s/{number % 3}", "time": at, **row})
    return rows


def lake_of(rows):
    lake = el.create("memory://", "o.example")
    lake.register("moved", MOVED)
    envelope = ("sequence", "subject", "time")
    lake.append(
        {
            "id": str(row["sequence"]), "source": "s", "type": "moved", "subject": row["subject"],
            "time": f"2026-01-01T00:{row['time']:02}:00Z", "data": {name: value for name, value in row.items() if name not in envelope},
        }
        for row in rows
    )  # fmt: skip
    return lake


def by_time(rows, name="time"):
    return sorted(rows, key=lambda row: (row[name], row["sequence"]))


def present(rows, *names):
    return [row for row in rows if all(row.get(name) is not None for name in names)]


def first(rows, name="who"):
    return rows[0].get(name) if rows else None


def last(rows, name="who"):
    return rows[-1].get(name) if rows else None


def close(found, expected):
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-9)
    return found == expected


def advised(lake, query):
    """The query with what its refusal says to write in the place of each call."""
    asked = Query("q", query, lake.snapshot().history)
    with duckdb_runner.bound(asked) as connection:
        looked = exact._analyse(connection, asked, query)
        engine = exact._engine(connection, asked)
        return engine.render(Advice(looked.tree, looked.refusals, engine)._tree)
