"""Timing side by side, and the result of a row: figures against budgets, saved as JSON for ``report.py``.

Every comparison runs in *rounds*: each candidate once a round, the floor (or peer) first, so that a
machine that slows down slows all. A ratio is the median of the rounds' ratios. Before each
candidate what others left unwritten is flushed, so that nobody pays for it in an fsync of its own.
CPU is that of all threads, and of child processes that have ended.
"""

import gc
import hashlib
import json
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "bench-data"
PACKAGES = ("eventlake", "duckdb", "polars", "pyarrow", "numpy", "deltalake", "pylance")
NOT_INSTALLED = "peer not installed"


def peer(name: str) -> Any:
    """A module that may be missing: None where it is."""
    try:
        return import_module(name)
    except ImportError:
        return None


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took, in seconds."""

    wall: float
    cpu: float


def taken(work: Callable[[], object]) -> Taken:
    """Runs ``work`` once."""
    before, started = _cpu_seconds(), time.perf_counter()
    work()
    return Taken(time.perf_counter() - started, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_gigabytes() -> float:
    """The most memory that this process has used, in GB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says on Linux begins with the memory of the process that started this one.
        lines = status.read_text(encoding="utf-8").splitlines()
        return int(next(one.split()[1] for one in lines if one.startswith("VmHWM"))) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def settle() -> None:
    """Collects garbage and waits for the disk, outside of what is timed."""
    gc.collect()
    os.sync()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to do the work; ``before`` is run untimed ahead of it."""

    name: str
    work: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate's medians; ``x_wall`` and ``x_cpu`` are ratios to the floor."""

    name: str
    wall_ms: float
    cpu_ms: float
    x_wall: float
    x_cpu: float
    worst_x_wall: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Table:
    """One comparison; the first line is the floor or the peer."""

    title: str
    events: int
    rounds: int
    lines: list[Line]

    def line(self, name: str) -> Line | None:
        """The line of a candidate; None where it did not take part."""
        return next((line for line in self.lines if line.name == name), None)

    def get(self, name: str, what: str) -> float | None:
        """One figure of a candidate; None where it did not take part."""
        line = self.line(name)
        return None if line is None else float(getattr(line, what))


def interleaved(title: str, events: int, candidates: Sequence[Candidate], rounds: int) -> Table:
    """Runs every candidate once a round, the first one being what the others are compared with."""
    runs: dict[str, list[Taken]] = {candidate.name: [] for candidate in candidates}
    for _ in range(rounds):
        for candidate in candidates:
            candidate.before()
            settle()
            runs[candidate.name].append(taken(candidate.work))
    floor = runs[candidates[0].name]
    lines = []
    for name, own in runs.items():
        wall, cpu = (
            statistics.median(run.wall for run in own),
            statistics.median(run.cpu for run in own),
        )
        walls = [run.wall / base.wall for run, base in zip(own, floor, strict=True)]
        cpus = [run.cpu / max(base.cpu, 1e-6) for run, base in zip(own, floor, strict=True)]
        times = statistics.median(walls), statistics.median(cpus), max(walls)
        lines.append(Line(name, wall * 1e3, cpu * 1e3, *times, events / wall))
    return Table(title, events, rounds, lines)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not below ``percent`` of them."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, against its budget where it has one.

    Attributes:
        what: Of which work.
        against: The floor or peer, empty where the figure stands by itself.
        value: None where the peer is not installed.
        unit: ``x``, ``ms``, ``events/s`` …
        limit: The budget, or None.
        at_most: Whether the budget is an upper bound.
    """

    what: str
    against: str
    value: float | None
    unit: str
    limit: float | None = None
    at_most: bool = True

    @property
    def budget(self) -> str:
        """The budget in words."""
        return (
            "reported"
            if self.limit is None
            else f"{'≤' if self.at_most else '≥'} {shown(self.limit)} {self.unit}"
        )

    @property
    def measured(self) -> str:
        """The figure in words."""
        return NOT_INSTALLED if self.value is None else f"{shown(self.value)} {self.unit}"

    @property
    def verdict(self) -> str:
        """Whether it keeps the budget, or by how much it does not."""
        if self.limit is None or self.value is None:
            return "-"
        if self.value <= self.limit if self.at_most else self.value >= self.limit:
            return "met"
        if not self.limit or not self.value:
            return "missed"
        miss = self.value / self.limit - 1 if self.at_most else 1 - self.value / self.limit
        return (
            f"missed by {max(miss, 0.001):.1%}"
            if miss < 1
            else f"missed: {self.value / self.limit:.1f} times the budget"
        )


def shown(value: float) -> str:
    """A number with three digits that matter, or whole where it is large."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(2 - math.floor(math.log10(abs(value))), 0)}f}"


@dataclass(slots=True)
class Row:
    """What a module of this folder measured.

    Attributes:
        name: The module's.
        work: What was done, in a sentence.
        figures: What came out.
        tables: The comparisons behind the figures.
        notes: What a reader must know to judge them.
    """

    name: str
    work: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        what: str,
        against: str,
        value: float | None,
        unit: str,
        limit: float | None = None,
        *,
        at_most: bool = True,
    ) -> None:
        """Adds a figure."""
        self.figures.append(Figure(what, against, value, unit, limit, at_most))

    def note(self, *parts: str) -> None:
        """Adds a note, of sentences."""
        self.notes.append(" ".join(parts))

    def save(self, *, quick: bool, command: str) -> Path:
        """Writes the row, with the machine it was measured on; results of small sizes stay apart."""
        path = DATA / ("results-quick" if quick else "results") / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        circumstances = {
            "command": command,
            "taken": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "machine": machine(),
            "versions": versions(),
        }
        path.write_text(
            json.dumps(asdict(self) | circumstances, indent=1, ensure_ascii=False), encoding="utf-8"
        )
        return path

    def show(self) -> None:
        """Prints the tables and the figures."""
        print(f"\n== {self.name}: {self.work}")
        for table in self.tables:
            print(
                f"\n{table.title} ({table.rounds} rounds)\n  {'':46} wall ms    cpu ms  x wall  x cpu   events/s"
            )
            for line in table.lines:
                ratios = f"{line.x_wall:8.2f}{line.x_cpu:7.2f}"
                print(
                    f"  {line.name:46}{line.wall_ms:8.1f}{line.cpu_ms:10.1f}{ratios}{line.per_second:11,.0f}"
                )
        print()
        for figure in self.figures:
            print(f"  {figure.what:64}{figure.measured:>20}   {figure.budget:18} {figure.verdict}")
        for note in self.notes:
            print(f"  - {note}")


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "processor": _processor(),
        "file system": _file_system(DATA),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load average when the row ended": load,
    }


def versions() -> dict[str, str]:
    """Of everything measured; eventlake's with the first digits of the hash of its source."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    source = hashlib.sha256()
    for path in sorted((ROOT / "eventlake").rglob("*.py")):
        source.update(path.read_bytes())
    found["eventlake"] += f" (source {source.hexdigest()[:12]})"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _file_system(folder: Path) -> str:
    try:
        mounts = [
            line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
        ]
    except OSError:
        return "unknown"
    above = {str(one) for one in (folder.resolve(), *folder.resolve().parents)}
    found = max(
        (mount for mount in mounts if mount[1] in above),
        key=lambda mount: len(mount[1]),
        default=["", "", "unknown"],
    )
    return f"{found[2]} on {found[0]}" if found[0] else found[2]
