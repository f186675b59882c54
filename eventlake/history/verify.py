"""Re-hashing what is stored: the log, its segments and, if asked, every event.

Each file is judged by itself, so that one damaged file does not hide another: commits carry a checksum, segments are named by their
hash, and every commit names the one before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns import leaves, segments
from eventlake.core import layout
from eventlake.core.canonical import sha256_hex, unseal
from eventlake.core.checkpoint import Checkpoint
from eventlake.core.commit import FORMAT, Commit, Segment, commit_hash
from eventlake.core.formats import check_format
from eventlake.errors import EventlakeError
from eventlake.history.report import Finding, Report
from eventlake.history.resolve import at_checkpoint
from eventlake.log.chain import Chain, Entry, check_follows
from eventlake.log.known_ids import IdCensus
from eventlake.progress import task
from eventlake.storage import Storage


@dataclass(slots=True)
class _Tally:
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    size_bytes: int = 0

    def blame(self, path: str, problem: object) -> None:
        message = problem.message if isinstance(problem, EventlakeError) else str(problem)
        self.problems.append(Finding(path, message))


def verify(storage: Storage, *, deep: bool = False, against: Checkpoint | None = None) -> Report:
    """Checks everything but built datasets.

    Args:
        storage: Where the lake is.
        deep: Also decode every segment, hash every event again, and look for a ``(source, id)`` that stands twice.
        against: A checkpoint kept elsewhere; the history must extend it. Without one a missing newest commit cannot be noticed.
    """
    tally = _Tally()
    files = {item.path: item.size_bytes for item in storage.list("")}
    origin = _lake(storage, tally)
    commits = _commits(storage, files, origin, tally)
    chain = _chain(storage, origin, commits)
    expected = {segment.sha256: (commit, segment) for commit in commits.values() for segment in commit.segments}
    _segments(storage, files, list(expected.values()), tally)
    if deep:
        _events(chain, tally)
    _strangers(storage, files, set(expected), tally)
    if against is not None:
        try:
            at_checkpoint(chain, against)
        except EventlakeError as error:
            tally.blame(layout.LOG, error)
    checkpoint = Checkpoint(chain.origin, chain.watermark, chain.root) if origin is not None else None
    problems, notes = tuple(tally.problems), tuple(tally.notes)
    return Report(checkpoint, deep, problems, notes, len(commits), len(expected), 0, tally.size_bytes)


def _lake(storage: Storage, tally: _Tally) -> str | None:
    try:
        data = storage.read(layout.LAKE)
        tally.size_bytes += len(data)
        document = unseal(data, layout.LAKE)
        check_format(document, layout.LAKE, FORMAT)
        return str(document["origin"])
    except (EventlakeError, KeyError) as error:
        tally.blame(layout.LAKE, error)
        return None


def _commits(storage: Storage, files: dict[str, int], origin: str | None, tally: _Tally) -> dict[int, Commit]:
    """The commits that are whole, by version; a link is checked wherever both of its ends are readable."""
    versions = sorted(version for path in files if (version := layout.commit_version(path)) is not None)
    commits: dict[int, Commit] = {}
    hashes: dict[int, str] = {}
    for last, version in zip([-1, *versions], versions, strict=False):
        path = layout.commit_path(version)
        if version > last + 1:
            missing = f"{version - last - 1:,} commits from here on are" if version > last + 2 else "commit is"
            tally.blame(layout.commit_path(last + 1), f"{missing} missing, but later ones are there")
        try:
            data = storage.read(path)
            tally.size_bytes += len(data)
            hashes[version] = commit_hash(data)
            commit = commits[version] = Commit.decode(data, path)
            before = commits.get(version - 1)
            if before or not version:
                check_follows(commit, Entry(before, hashes[version - 1]) if before else None, origin or commit.origin, path)
            elif version - 1 in hashes and commit.prev != hashes[version - 1]:
                tally.blame(path, f"expected prev {hashes[version - 1]}, found {commit.prev}")
        except EventlakeError as error:
            tally.blame(path, error)
    return commits


def _chain(storage: Storage, origin: str | None, commits: dict[int, Commit]) -> Chain:
    """As much of the chain as can be read from its beginning."""
    chain = Chain(storage, origin or (commits[0].origin if 0 in commits else "unreadable"), 0)
    try:
        chain.refresh()
    except EventlakeError:
        return chain
    return chain


def _segments(storage: Storage, files: dict[str, int], expected: list[tuple[Commit, Segment]], tally: _Tally) -> None:
    with task("hashing segments", sum(segment.size_bytes for _, segment in expected)) as advance:
        for commit, segment in expected:
            path = layout.segment_path(segment.sha256)
            where = f"events {segment.start:,}-{segment.stop:,} of commit {commit.version}"
            if path not in files:
                tally.blame(path, f"missing; it holds {where}")
            elif files[path] != segment.size_bytes:
                tally.blame(path, f"expected {segment.size_bytes:,} bytes, found {files[path]:,}; it holds {where}")
            else:
                found = _sha256(storage, path, tally)
                if found not in {None, segment.sha256}:
                    tally.blame(path, f"expected sha256 {segment.sha256}, found {found}; it holds {where}")
            advance(segment.size_bytes)


def _sha256(storage: Storage, path: str, tally: _Tally) -> str | None:
    """The hash of a file, or None where it cannot be read, which is a finding: one bad sector must not hide the rest."""
    try:
        data = storage.read(path)
    except EventlakeError as error:
        tally.blame(path, error)
        return None
    tally.size_bytes += len(data)
    return sha256_hex(data)


def _events(chain: Chain, tally: _Tally) -> None:
    damaged = {finding.path for finding in tally.problems}
    census = IdCensus()
    with task("hashing events", chain.watermark) as advance:
        for commit, segment in chain.segments(chain.watermark):
            path = layout.segment_path(segment.sha256)
            if path not in damaged:
                try:
                    table = segments.decode(chain.storage.read(path), path)
                    for problem in _event_problems(commit, segment, table):
                        tally.blame(path, problem)
                    census.add(segment, table)
                except EventlakeError as error:
                    tally.blame(path, error)
            advance(segment.rows)
    for segment, sequence, key in census.repeated(lambda part: segments.decode(chain.storage.read(_path(part)), _path(part))):
        tally.blame(_path(segment), f"(source, id) stands twice: {key}, the second time at sequence {sequence:,}")


def _path(segment: Segment) -> str:
    return layout.segment_path(segment.sha256)


def _event_problems(commit: Commit, segment: Segment, table: pa.Table) -> Iterator[str]:
    """What a segment's events say that its commit does not."""
    if table.num_rows != segment.rows:
        yield f"expected {segment.rows:,} events, found {table.num_rows:,}"
        return
    if leaves.compact_range(leaves.leaf_hashes(table), segment.start) != segment.range:
        yield "its events do not hash to the leaves that its commit names"
    found = segments.statistics(table)
    stated = segments.Statistics(segment.types, segment.time, segment.undated, segment.recorded)
    if found != stated or tuple(table.column_names) != segment.columns:
        yield f"its commit states {stated} and columns {segment.columns}, found {found} and {tuple(table.column_names)}"
    if "recorded_at" in table.column_names:
        recorded = table.column("recorded_at").combine_chunks().cast(pa.int64())
        steps = pc.less(recorded[1:], recorded[:-1])
        if pc.any(steps).as_py() or recorded[-1].as_py() > commit.recorded_at:
            yield "recorded_at decreases"


def _strangers(storage: Storage, files: dict[str, int], expected: set[str], tally: _Tally) -> None:
    """Files that no commit names. Those below ``builds/`` are judged with the datasets."""
    for path in files:
        sha256 = layout.segment_sha256(path)
        if path == layout.LAKE or layout.commit_version(path) is not None or sha256 in expected or path.startswith(f"{layout.BUILDS}/"):
            continue
        if layout.is_temporary(path):
            tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
        elif sha256 is not None and _sha256(storage, path, tally) == sha256:
            tally.notes.append(Finding(path, "no commit names this segment: an interrupted append left it; harmless"))
        else:
            tally.blame(path, "extra: not a file of this lake")


def with_findings(report: Report, problems: list[Finding], notes: list[Finding], datasets: int, size_bytes: int) -> Report:
    """``report`` with what the datasets' verification found."""
    return replace(
        report,
        problems=(*report.problems, *problems),
        notes=(*report.notes, *notes),
        datasets=datasets,
        size_bytes=report.size_bytes + size_bytes,
    )
