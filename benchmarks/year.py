"""A year of nights: what the last one costs beside the fifth, with and without maintenance.

Each night a process that has run before opens the lake, appends a batch, builds three datasets and
tags one. What grows with the past, and not with the batch, shows in the ratio.
"""

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from data import Setting, scratch
from measure import Row, shown, taken

import eventlake as el
from eventlake.storage import LocalStorage

EVENTS, SUBJECTS = 500, 200
START = datetime(2025, 1, 1, tzinfo=UTC)
EARLY = 5
BUDGET = 1.2

TOTALS = el.Projection.sql(
    "totals",
    "SELECT subject, count(*) AS n, sum(amount) AS total FROM pay GROUP BY subject",
    key=["subject"],
    by="subject",
)
SCORES = el.FeatureSet(
    "scores",
    features=[el.count("pay"), el.sum("pay", "amount", window="30d")],
    known="watermark",
)
TRAINING = el.FeatureSet(
    "training", features=[el.count("pay"), el.sum("pay", "amount")], known="watermark"
)


class Counted(LocalStorage):
    """Counts requests: what an object store would be asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.requests: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in {"read", "read_sized", "read_ranges", "exists", "list", "create", "replace"}:
            kind = "write" if name in {"create", "replace"} else "read"
            super().__getattribute__("requests")[kind] += 1
        return super().__getattribute__(name)


@dataclass(frozen=True, slots=True)
class Night:
    """What one night took."""

    cpu: float
    reads: int
    requests: int


def batch(number: int) -> list[dict[str, Any]]:
    """The events of a night."""
    time = START + timedelta(days=number)
    return [
        {
            "id": f"{number}-{one}",
            "source": "bank",
            "type": "pay",
            "subject": f"/c/{one % SUBJECTS}",
            "time": time.isoformat(),
            "data": {"amount": one},
        }
        for one in range(EVENTS)
    ]


def spine(number: int) -> pl.DataFrame:
    """Every subject at one cutoff."""
    cutoff = pl.lit(START + timedelta(days=number)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"subject": [f"/c/{one}" for one in range(SUBJECTS)]}).with_columns(
        cutoff.alias("cutoff")
    )


def maintain(lake: el.Lake) -> None:
    """What ``docs/how-to/scheduled-jobs.md`` runs weekly."""
    lake.compact()
    lake.prune(older_than=timedelta(0), keep_last=30, dry_run=False)
    lake.gc(older_than=timedelta(0), dry_run=False)


def year(root: Path, nights: int, maintained: Callable[[el.Lake], None] | None) -> list[Night]:
    """Runs the nights."""
    storage = Counted(root)
    el.create(storage, "bench.example/year").register(
        "pay", {"type": "object", "properties": {"amount": {"type": "integer"}}}
    )
    found = []
    for number in range(1, nights + 1):
        events, now = batch(number), spine(number)

        def night(events: Any = events, now: Any = now, number: int = number) -> None:
            lake = el.open(storage)
            lake.append(events)
            built = lake.build(TOTALS)
            lake.build(SCORES, spine=now)
            lake.build(TRAINING, spine=spine(2), engine="polars")
            lake.tag(built.manifest_hash, f"night-{number}")

        storage.requests.clear()
        cpu = taken(night).cpu
        found.append(Night(cpu, storage.requests["read"], storage.requests.total()))
        if maintained is not None and number % 7 == 0:
            maintained(el.open(storage))
    return found


def row(setting: Setting) -> Row:
    """Measures the row."""
    nights = setting.size(365, 21)
    result = Row(
        "year",
        f"{nights} nights of {EVENTS} events and three datasets, one of them tagged: the last week beside the first",
    )
    with scratch() as folder:
        for name, maintained in (("no maintenance", None), ("weekly maintenance", maintain)):
            found = year(folder / name.replace(" ", "-"), nights, maintained)
            compare(result, name, found)
    result.note(
        f"Medians of the last seven nights and of seven around the {EARLY}th, each in a process that has run before.",
        "Weekly maintenance compacts, prunes all but 30 datasets of a name, and collects garbage; it is not timed.",
    )
    result.note(
        "The last night has more events to compute from, which is part of its CPU time.",
        "Requests are those of the storage; files that an engine opens itself are not among them.",
    )
    return result


def compare(result: Row, name: str, nights: list[Night]) -> None:
    """Adds the figures of a year."""
    early, late = nights[EARLY - 2 : EARLY + 5], nights[-7:]
    for what, unit, of in (
        ("CPU", "ms", lambda night: night.cpu * 1e3),
        ("reads and listings", "", lambda night: night.reads),
        ("requests", "", lambda night: night.requests),
    ):
        before, after = (statistics.median(map(of, some)) for some in (early, late))
        against = f"night {EARLY}: {shown(before)} {unit}".rstrip()
        result.add(f"night {len(nights)}, {name}: {what}", against, after / before, "x", BUDGET)
