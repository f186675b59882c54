"""One night of a scheduled job, in a process of its own: ``python benchmarks/night.py LAKE NUMBER``.

It opens the lake, appends a batch, builds three datasets and tags one; and prints the CPU seconds
of the process and its requests.
"""

import json
import resource
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

import eventlake as el
from eventlake.storage import LocalStorage

EVENTS, SUBJECTS = 500, 200
START = datetime(2025, 1, 1, tzinfo=UTC)

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
READS = {"read", "read_sized", "read_ranges", "exists", "list", "state", "modified"}
WRITES = {"create", "replace", "delete"}


class Counted:
    """Counts requests: what an object store would be asked for, one for each call."""

    def __init__(self, root: Path) -> None:
        self._storage = LocalStorage(root)
        self.requests: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name in READS | WRITES:
            self.requests["write" if name in WRITES else "read"] += 1
        return getattr(self._storage, name)


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


def build(lake: el.Lake, number: int) -> el.Dataset:
    """Builds the three datasets."""
    built = lake.build(TOTALS)
    lake.build(SCORES, spine=spine(number))
    lake.build(TRAINING, spine=spine(2), engine="polars")
    return built


def night(storage: Any, number: int) -> None:
    """Does all that is done in a night."""
    lake = el.open(storage)
    lake.append(batch(number))
    lake.tag(build(lake, number).manifest_hash, f"night-{number}")


def cpu_seconds() -> float:
    """CPU of this process, in all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Runs one night and prints what it took."""
    storage = Counted(Path(sys.argv[1]))
    night(storage, int(sys.argv[2]))
    requests = storage.requests
    print(
        json.dumps({"cpu": cpu_seconds(), "reads": requests["read"], "requests": requests.total()})
    )


if __name__ == "__main__":
    main()
