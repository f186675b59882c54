"""Measures eventlake beside floors and peers, in the same run on the same machine.

    python benchmarks/run.py [ROW …] [--quick] [--rounds N] [--data EVENTS.parquet]

Each row is a module in this folder; without a name all are run, each in a process of its own.
Results go to ``bench-data/results``, from which ``python benchmarks/report.py`` writes the page.
Peers (``pip install --group bench``) may be missing: their figures then say so.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from data import Setting

ROWS = (
    "append",
    "duplicates",
    "known_keys",
    "commits",
    "writers",
    "group_commit",
    "start",
    "open",
    "scan",
    "verify",
    "bulk",
    "memory",
    "typed",
    "builds",
    "year",
    "features",
    "whole_builds",
)


def measure(name: str, setting: Setting, command: str) -> None:
    """Runs one row here, prints and saves it."""
    row = import_module(name).row(setting)
    if setting.quick:
        row.note("Measured with small sizes (--quick): budgets are for the full ones.")
    row.show()
    path = row.save(quick=setting.quick, command=command)
    print(f"\nsaved to {path}")


def main() -> int:
    """Runs the rows; 1 where one of them failed. What they find to be true is remembered in a folder of their own."""
    if "EVENTLAKE_CACHE" not in os.environ:
        with tempfile.TemporaryDirectory(prefix="eventlake-bench-") as cache:
            os.environ["EVENTLAKE_CACHE"] = cache
            return main()
    parser = argparse.ArgumentParser(description="Measure eventlake beside floors and peers.")
    parser.add_argument(
        "rows",
        nargs="*",
        choices=[*ROWS, []],
        metavar="ROW",
        help=f"one of {', '.join(ROWS)}; all of them if none is named",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--rounds", type=int, help="instead of each row's own number of rounds")
    parser.add_argument(
        "--data", type=Path, help="a Parquet file of events, instead of generated ones"
    )
    given = parser.parse_args()
    flags = [argument for argument in sys.argv[1:] if argument not in ROWS]
    if len(given.rows) == 1:
        command = shlex.join(["python", "benchmarks/run.py", given.rows[0], *flags])
        measure(given.rows[0], Setting(given.quick, given.rounds, given.data), command)
        return 0
    failed = []
    for name in given.rows or ROWS:
        done = subprocess.run([sys.executable, __file__, name, *flags], check=False)  # noqa: S603 - ourselves
        failed += [name] if done.returncode else []
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
