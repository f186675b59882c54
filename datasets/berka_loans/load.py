"""Loads the Berka files into a lake and builds their dataset, in every way that must give the same rows.

EVENTLAKE_REAL_DATA=/folder/of/the/raw/files python datasets/berka_loans/load.py [LAKE]
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa

import eventlake as el

HERE = Path(__file__).parent
ORIGIN = "berka.example/financial"


def raw_folder() -> Path | None:
    """The folder with the ``.asc`` files, from ``EVENTLAKE_REAL_DATA`` (itself, or the folder that holds ``berka/``); None where unset."""
    named = os.environ.get("EVENTLAKE_REAL_DATA")
    if not named:
        return None
    folder = Path(named)
    return folder if (folder / "loan.asc").is_file() else folder / "berka"


def berka_lake(uri: str | Path, folder: Path) -> el.Lake:
    """A lake of the raw files, by ``mapping.toml`` alone."""
    lake = el.create(uri, ORIGIN)
    el.import_file(lake, folder, HERE / "mapping.toml")
    return lake


def berka_events(folder: Path) -> pa.Table:
    """All events of the raw files in lake order."""
    events = berka_lake("memory://", folder).snapshot().scan(raw=True).drop("sequence").collect()
    return events.to_arrow()


def cut_lake(uri: str | Path, events: pa.Table, cuts: int, seed: int) -> el.Lake:
    """A lake of the events, appended in ``cuts + 1`` batches of random lengths."""
    lake = el.create(uri, ORIGIN)
    bounds = sorted(random.Random(seed).sample(range(1, events.num_rows), cuts))  # noqa: S311 - cuts, no secret
    for start, stop in zip([0, *bounds], [*bounds, events.num_rows], strict=True):
        lake.append(events.slice(start, stop - start))
    return lake


def main() -> int:
    """Prints the dataset's content hash for every way to get it; 0 if they are one."""
    folder = raw_folder()
    if folder is None:
        sys.stderr.write("set EVENTLAKE_REAL_DATA to the folder with the Berka files\n")
        return 3
    events = berka_events(folder)
    definition = el.read_definition(HERE)
    with tempfile.TemporaryDirectory() as scratch:
        uri = Path(sys.argv[1] if len(sys.argv) > 1 else f"{scratch}/lake")
        dataset = berka_lake(uri, folder).build(definition)
        hashes = {"imported": dataset.content_hash}
        for seed in (1, 2):
            lake = cut_lake(f"{scratch}/cut-{seed}", events, cuts=7 * seed, seed=seed)
            hashes[f"{7 * seed + 1} random batches"] = lake.build(definition).content_hash
        script = f"import eventlake as el; print(el.open({str(uri)!r}).reproduce({dataset.manifest_hash!r}).content_hash)"
        again = subprocess.run(  # noqa: S603
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )
        hashes["reproduced in another process"] = again.stdout.strip()
        hashes["locked"] = el.open(uri).build(definition, locked=True).content_hash
    sys.stdout.write(f"{events.num_rows:,} events, {dataset.manifest.rows} loans\n")
    for way, content_hash in hashes.items():
        sys.stdout.write(f"{content_hash}  {way}\n")
    identical = len(set(hashes.values())) == 1
    sys.stdout.write("identical\n" if identical else "DIFFERENT\n")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
