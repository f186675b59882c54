"""Temporian's nearest to the eleven columns, in an environment of its own: it needs NumPy 1 and pandas 2.

    python peer_temporian.py EVENTS.parquet SPINE.parquet ROUNDS

EVENTS has ``subject, time, amount`` (double), SPINE ``subject, cutoff``. Prints a line of JSON for
each round: wall and CPU seconds of ``temporian.run`` alone, events and rows being in memory
already. Its windows include the cutoff, and its sums are of doubles.
"""

import json
import logging
import resource
import sys
import time

import pandas as pd
import temporian as tp

WINDOWS = (7, 30, 90)


def cpu() -> float:
    """Seconds of CPU so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(events_file: str, spine_file: str, rounds: int) -> None:
    """Reads both, and runs."""
    logging.getLogger().setLevel(logging.ERROR)
    events, spine = pd.read_parquet(events_file), pd.read_parquet(spine_file)
    events["time"], spine["cutoff"] = (
        events["time"].dt.tz_localize(None),
        spine["cutoff"].dt.tz_localize(None),
    )
    events["at"] = events["time"].astype("int64")
    told = tp.from_pandas(events, timestamps="time", indexes=["subject"])
    asked = tp.from_pandas(spine, timestamps="cutoff", indexes=["subject"])
    source, sampling = told.node(), asked.node()
    columns = []
    for days in WINDOWS:
        window = tp.duration.days(days)
        amount = source["amount"]
        columns += [
            amount.moving_count(window, sampling=sampling),
            amount.moving_sum(window, sampling=sampling),
        ]
        columns += [amount.simple_moving_average(window, sampling=sampling)]
    columns += [source["amount"].resample(sampling), source["at"].resample(sampling)]
    glued = tp.glue(*[column.rename(f"f{number}") for number, column in enumerate(columns)])
    for _ in range(rounds):
        wall, used = time.perf_counter(), cpu()
        made = tp.run(glued, {source: told, sampling: asked})
        taken = {
            "wall": time.perf_counter() - wall,
            "cpu": cpu() - used,
            "rows": sum(len(one) for one in made.data.values()),
        }
        sys.stdout.write(json.dumps(taken) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
