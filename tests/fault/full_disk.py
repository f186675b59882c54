"""Fills a small disk with a lake until nothing fits, twice, and says what happened as JSON. Run by the test, in a mount of its own.

Usage: full_disk.py MOUNTED_FOLDER
"""

import json
import shutil
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import eventlake as el
from eventlake.errors import StorageError
from eventlake.testing.invariants import assert_sound

COUNTS = el.Projection.sql("counts", "SELECT id AS k FROM events", key=["k"])


def batch(name):
    """A few kilobytes of events that do not compress."""
    return [
        {
            "id": f"{name}-{row}",
            "source": "s",
            "type": "t",
            "data": {"hash": f"{hash((name, row)):x}"},
        }
        for row in range(200)
    ]


def fill(lake, name, acknowledged):
    """Appends until the disk is full; gives the error."""
    for number in range(10_000):
        events = batch(f"{name}-{number}")
        try:
            receipt = lake.append(events)
        except StorageError as error:
            return error
        acknowledged.append((receipt, [event["id"] for event in events]))
    message = "the disk never filled"
    raise AssertionError(message)


def fill_up(folder):
    """Leaves not a byte."""
    with (
        suppress(OSError),
        Path(folder / f"filler-{time.monotonic_ns()}").open("wb", buffering=0) as file,
    ):
        while True:
            file.write(bytes(4096))


def appended(lake, name):
    """A receipt, and the ids it is for."""
    events = batch(name)
    return lake.append(events), [event["id"] for event in events]


def freed_by(verb, folder):
    """How many files a verb deletes on a disk that is full to the last byte."""
    fill_up(folder)
    return len(verb(older_than=timedelta(0), dry_run=False).files)


def main(folder):
    """Two fillings with room made in between; the lake must be sound and take events again each time."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(200_000))
    lake = el.create(folder / "lake", "o")
    acknowledged = [appended(lake, "zero"), appended(lake, "one")]
    lake.build(COUNTS, at=200)
    lake.build(COUNTS)
    lake.compact()
    first = fill(lake, "first", acknowledged)
    temporary = [str(path) for path in folder.rglob(".tmp-*")]
    assert_sound(el.open(folder / "lake"), acknowledged)
    ballast.unlink()
    again = len(acknowledged)
    second = fill(lake, "second", acknowledged)
    assert_sound(el.open(folder / "lake"), acknowledged)
    free = shutil.disk_usage(folder).free
    freed = [
        freed_by(el.open(folder / "lake").prune, folder),
        freed_by(el.open(folder / "lake").gc, folder),
    ]
    acknowledged.append(appended(el.open(folder / "lake"), "third"))
    assert_sound(el.open(folder / "lake"), acknowledged)
    sys.stdout.write(
        json.dumps(
            {
                "first": [type(first).__name__, first.message, first.hint],
                "second": [type(second).__name__, second.message, second.hint],
                "appended": [again, len(acknowledged) - again],
                "temporary": temporary,
                "free": free,
                "freed": freed,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
