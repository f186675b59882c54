"""Feast's nearest to the columns, in an environment of its own: the last amount before each cutoff, for it has no windows.

    python peer_feast.py EVENTS.parquet SPINE.parquet ROUNDS

EVENTS has ``subject, time, amount`` (double), SPINE ``subject, cutoff``. Prints a line of JSON for
each round: wall and CPU seconds of ``get_historical_features(…).to_df()`` over a file, by the
offline store that FEAST_STORE names (duckdb).
"""

import json
import os
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType


def cpu() -> float:
    """Seconds of CPU so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(events_file: str, spine_file: str, rounds: int) -> None:
    """Registers both, and asks."""
    spine = pd.read_parquet(spine_file).rename(columns={"cutoff": "event_timestamp"})
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(
            config=RepoConfig(
                project="peer",
                provider="local",
                registry=str(Path(folder) / "registry.db"),
                offline_store={"type": os.environ.get("FEAST_STORE", "duckdb")},
                online_store=None,
                entity_key_serialization_version=3,
            )
        )
        loan = Entity(name="loan", join_keys=["subject"], value_type=ValueType.STRING)
        source = FileSource(name="payments", path=events_file, timestamp_field="time")
        view = FeatureView(
            name="paid",
            entities=[loan],
            ttl=timedelta(0),
            schema=[Field(name="amount", dtype=Float64)],
            source=source,
        )
        store.apply([loan, view])
        for _ in range(rounds):
            wall, used = time.perf_counter(), cpu()
            made = store.get_historical_features(entity_df=spine, features=["paid:amount"]).to_df()
            taken = {"wall": time.perf_counter() - wall, "cpu": cpu() - used, "rows": len(made)}
            sys.stdout.write(json.dumps(taken) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
