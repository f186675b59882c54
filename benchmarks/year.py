"""A year of nights: what the last one costs beside the fifth, with and without maintenance.

Each measured night is a process of its own, as a scheduled job is (see ``night``). What grows with
the past, and not with the batch, shows in the ratio. The last nights are also compared with those
of a lake with as many events in one commit, and without earlier builds: what is left then is the
bookkeeping of earlier nights, without the events that every build reads.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import night as one_night
from data import Setting, scratch
from measure import Row, shown

import eventlake as el

EARLY = 5
BUDGET = 1.2
WEEK = 7


@dataclass(frozen=True, slots=True)
class Night:
    """What one night took: a process of its own."""

    cpu: float
    reads: int
    requests: int


def maintain(lake: el.Lake) -> None:
    """What ``docs/how-to/scheduled-jobs.md`` runs weekly."""
    lake.compact()
    lake.prune(older_than=timedelta(0), keep_last=30, dry_run=False)
    lake.gc(older_than=timedelta(0), dry_run=False)


def created(root: Path) -> el.Lake:
    """A lake without events."""
    lake = el.create(root, "bench.example/year")
    lake.register("pay", {"type": "object", "properties": {"amount": {"type": "integer"}}})
    return lake


def measured(root: Path, number: int) -> Night:
    """Runs a night in a process of its own."""
    command = [sys.executable, one_night.__file__, str(root), str(number)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    return Night(**json.loads(done.stdout))


def year(
    root: Path, nights: int, watched: set[int], maintained: Callable[[el.Lake], None] | None
) -> list[Night]:
    """Runs the nights, and returns those that are watched."""
    created(root)
    found = []
    for number in range(1, nights + 1):
        if number in watched:
            found.append(measured(root, number))
        else:
            one_night.night(root, number)
        if maintained is not None and number % WEEK == 0:
            maintained(el.open(root))
    return found


def without_past(root: Path, nights: int, watched: Sequence[int]) -> list[Night]:
    """The last nights of a lake that was filled at once, and built from once."""
    lake = created(root)
    before = range(1, nights - len(watched))
    lake.append([event for number in before for event in one_night.batch(number)])
    lake.append(one_night.batch(nights - len(watched)))
    one_night.build(lake, nights - len(watched))
    return [measured(root, number) for number in watched]


def size(root: Path) -> dict[str, int]:
    """Bytes by folder."""
    return {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for folder in root.iterdir()
        if folder.is_dir()
    }


def row(setting: Setting) -> Row:
    """Measures the row."""
    nights, width = setting.size(365, 14), setting.size(7, 3)
    early = range(EARLY - width // 2, EARLY + width // 2 + 1)
    late = range(nights - width + 1, nights + 1)
    result = Row(
        "year",
        f"{nights} nights of {one_night.EVENTS} events and three datasets, one of them tagged: "
        f"the last {width} beside {width} around the {EARLY}th",
    )
    with scratch() as folder:
        fresh = without_past(folder / "without", nights, late)
        for name, maintained in (("no maintenance", None), ("weekly maintenance", maintain)):
            root = folder / name.replace(" ", "-")
            found = year(root, nights, {*early, *late}, maintained)
            first, last = found[:width], found[width:]
            compare(result, f"{name}: night {nights} / night {EARLY}", last, first, BUDGET)
            compare(result, f"{name}: night {nights} / nothing built before", last, fresh)
            parts = size(root)
            disk = ", ".join(f"{part} {shown(parts[part] / 1e6)}" for part in sorted(parts))
            result.add(f"{name}: disk", disk, sum(parts.values()) / 1e6, "MB")
    result.note(
        "Medians of nights that are each a process of its own, from its start to its end.",
        "Weekly maintenance compacts, prunes all but 30 datasets of a name, and collects garbage;",
        "it is not timed.",
    )
    result.note(
        "The last night has more events to compute from, which is part of its CPU time.",
        "Requests are those of the storage, with each file whose state is asked for;",
        "files that an engine opens itself are not among them.",
    )
    return result


def compare(
    result: Row,
    what: str,
    late: Sequence[Night],
    early: Sequence[Night],
    budget: float | None = None,
) -> None:
    """Adds the ratios of some nights to others."""
    for part, unit, of in (
        ("CPU", "ms", lambda night: night.cpu * 1e3),
        ("reads and listings", "", lambda night: night.reads),
        ("requests", "", lambda night: night.requests),
    ):
        before, after = (statistics.median(map(of, some)) for some in (early, late))
        against = f"{shown(after)} / {shown(before)} {unit}".rstrip()
        result.add(f"{what}: {part}", against, after / before, "x", budget)
