"""Re-hashing what is stored: the log, its segments, the manifest and, if asked, every event.

Each file is judged by itself, so that one damaged file does not hide another: commits carry a
checksum, segments and tiers are named by their hash, and every commit names the one before.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa

from eventlake.columns.parquet import segments
from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.lake import read_lake
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import EventlakeError
from eventlake.history.pinned import pin
from eventlake.history.resolve import at_checkpoint
from eventlake.history.verifying.events import look_at_events
from eventlake.history.verifying.keys import verify_keys
from eventlake.history.verifying.manifest import hint_as_stored, verify_hint, verify_tiers
from eventlake.history.verifying.producers import verify_producers
from eventlake.history.verifying.report import Finding, Report, Tally
from eventlake.history.verifying.seen_events import Census, SegmentSummary
from eventlake.history.verifying.tables import verify_schemas, verify_tables, verify_typed
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.claims import claims_of
from eventlake.log.chain.entry import Entry, check_follows
from eventlake.log.chain.manifest import Manifest, SegmentInCommit
from eventlake.log.maintaining.check_compaction import (
    compacted_statement,
    compare,
    wrong_statistics,
)
from eventlake.progress import task
from eventlake.storage import Storage, read_sized, sha256_of
from eventlake.trust import OWN, Ledger, Trust

_AT_ONCE = 2
"""Segments that are looked at together; each may take as many cores as there are."""


def verify(
    storage: Storage, *, deep: bool = False, against: Checkpoint | None = None
) -> tuple[Report, Chain]:
    """Checks everything but built datasets; gives what was found, and as much of the log as is whole from its beginning.

    Args:
        storage: Where the lake is.
        deep: Also decode every segment, hash every event again, make the manifest's keys and the
            event tables again, read every payload under its schema, and look for a ``(source, id)``
            that stands twice.
        against: A checkpoint kept elsewhere; the history must extend it, down to the last event:
            every event is hashed. Without one a missing newest commit may not be noticed.
    """
    tally = Tally()
    hinted = hint_as_stored(storage)
    files = {item.path: item.size_bytes for item in storage.list("")}
    origin = _lake(storage, tally)
    entries = _commits(storage, files, origin, tally)
    manifest, refused = _manifest(entries, tally)
    current = {segment.sha256: (summary, segment) for summary, segment in manifest.segments}
    census = Census() if deep else None
    # Nothing that was found before is believed, and nothing is looked at twice.
    trust = Trust(OWN.name, Ledger.in_memory())
    sound = _segments(
        storage, files, list(current.values()), tally, census, leaves=deep or against is not None
    )
    trust.ledger.note(claims_of(*placed) for placed in sound)
    chain = _chain(
        storage,
        origin,
        {version: one for version, one in entries.items() if version not in refused},
        trust,
    )
    if deep or against is not None:
        _compacted(chain, sound, tally)
    named = verify_tiers(chain, files, tally)
    verify_schemas(storage, files, [entry.commit for _, entry in sorted(entries.items())], tally)
    verify_producers(entries, tally)
    verify_tables(storage, files, tally)
    if census is not None:
        verify_keys(chain, entries, files, census, tally)
        verify_typed(chain, files, tally)
    verify_hint(chain, hinted, max(entries, default=-1), tally)
    superseded = {
        segment.sha256 for entry in entries.values() for segment in entry.commit.segments
    } - set(current)
    unnamed = {
        path: size
        for path, size in files.items()
        if path not in named and layout.segment_sha256(path) not in current
    }
    _strangers(storage, unnamed, superseded, tally)
    try:
        if against is not None:
            at_checkpoint(chain, against)
        elif not tally.problems:
            pin(chain, chain.watermark)
    except EventlakeError as error:
        tally.blame(layout.LOG, error)
    checkpoint = (
        Checkpoint(chain.origin, chain.watermark, chain.root) if origin is not None else None
    )
    report = Report(
        checkpoint,
        deep or against is not None,
        tuple(tally.problems),
        tuple(tally.unproven),
        tuple(tally.notes),
        len(entries),
        len(current),
        0,
        tally.size_bytes,
    )
    return report, chain


def _lake(storage: Storage, tally: Tally) -> str | None:
    try:
        data = storage.read(layout.LAKE)
        tally.size_bytes += len(data)
        return read_lake(data, layout.LAKE).origin
    except EventlakeError as error:
        tally.blame(layout.LAKE, error)
        return None


def _commits(
    storage: Storage, files: dict[str, int], origin: str | None, tally: Tally
) -> dict[int, Entry]:
    """The commits that are whole, by version; a link is checked wherever both of its ends are readable."""
    versions = sorted(
        version for path in files if (version := layout.commit_version(path)) is not None
    )
    entries: dict[int, Entry] = {}
    hashes: dict[int, str] = {}
    with task("reading commits", len(versions)) as advance:
        for last, version in zip([-1, *versions], versions, strict=False):
            advance(1)
            path = layout.commit_path(version)
            if version > last + 1:
                missing = (
                    f"{version - last - 1:,} commits from here on are"
                    if version > last + 2
                    else "commit is"
                )
                tally.blame(
                    layout.commit_path(last + 1), f"{missing} missing, but later ones are there"
                )
            try:
                data = storage.read(path)
                tally.size_bytes += len(data)
                hashes[version] = commit_hash(data)
                commit = Commit.decode(data, path)
                entries[version] = Entry(commit, hashes[version])
                before = entries.get(version - 1)
                if before or not version:
                    check_follows(commit, before, origin or commit.origin, path)
                elif version - 1 in hashes and commit.prev != hashes[version - 1]:
                    tally.blame(path, f"expected prev {hashes[version - 1]}, found {commit.prev}")
            except EventlakeError as error:
                tally.blame(path, error)
    return entries


def _manifest(entries: dict[int, Entry], tally: Tally) -> tuple[Manifest, set[int]]:
    """What the readable commits add up to, and the versions of those that no history can go on with.

    A compacted segment must fold to the same range as those that it stands for.
    """
    manifest, refused = Manifest([], []), set()
    plain: list[Entry] = []
    for entry in entries.values():
        if entry.commit.kind != "compact":
            plain.append(entry)
            continue
        before = manifest = manifest.with_rows(one.row for one in plain)
        plain = []
        try:
            manifest = before.with_rows([entry.row])
        except EventlakeError as error:
            refused.add(entry.commit.version)
            tally.blame(layout.commit_path(entry.commit.version), error)
        for segment in entry.commit.segments:
            replaced = before.between(segment.start, segment.stop)
            if not replaced or (replaced[0][1].start, replaced[-1][1].stop) != (
                segment.start,
                segment.stop,
            ):
                continue
            path = layout.commit_path(entry.commit.version)
            if _folded([one for _, one in replaced]) != segment.range:
                tally.blame(
                    path,
                    f"its segment {segment.start:,}-{segment.stop:,} does not fold to what it replaces",
                )
            for problem in wrong_statistics(entry.summary, segment, replaced):
                tally.blame(path, problem)
    return manifest.with_rows(one.row for one in plain), refused


def _compacted(chain: Chain, sound: list[SegmentInCommit], tally: Tally) -> None:
    """Compares the compacted segments, those in which nothing else is wrong, with the commits that appended their events."""
    compacted = [
        one for one in sound if one[0].kind == "compact" and one[0].version < chain.next_version
    ]
    with task("comparing compactions with the log", len(compacted)) as advance:
        for summary, segment in compacted:
            path = layout.commit_path(summary.version)
            try:
                found = compare(chain, (summary, segment))
            except EventlakeError as error:
                tally.blame(path, error)
                continue
            for problem in found.problems:
                tally.blame(path, problem)
            for start, stop in found.unproven:
                tally.doubt(
                    path,
                    f"recorded_at of the events {start:,}-{stop:,}: the segment that they were copied in is gone",
                )
            chain.trust.ledger.note(
                [compacted_statement(chain, segment)] if not found.problems else []
            )
            advance(1)


def _folded(replaced: list[Segment]) -> CompactRange | None:
    total = CompactRange.empty(replaced[0].start)
    for segment in replaced:
        if segment.start != total.stop:
            return None
        total = total.merge(segment.range)
    return total


def _chain(storage: Storage, origin: str | None, entries: dict[int, Entry], trust: Trust) -> Chain:
    """As much of the chain as is whole from its beginning."""
    chain = Chain(
        storage,
        origin or (entries[0].commit.origin if 0 in entries else "unreadable"),
        0,
        trust=trust,
    )
    while (entry := entries.get(chain.next_version)) is not None:
        try:
            check_follows(
                entry.commit, chain.head, chain.origin, layout.commit_path(entry.commit.version)
            )
        except EventlakeError:
            break
        chain.adopt(entry)
    chain.fold([entries[version] for version in range(chain.next_version)])
    return chain


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a look at one segment found."""

    summary: CommitSummary
    segment: Segment
    problems: list[object]
    size_bytes: int
    seen: SegmentSummary | None


def _segments(
    storage: Storage,
    files: dict[str, int],
    expected: list[SegmentInCommit],
    tally: Tally,
    census: Census | None,
    *,
    leaves: bool,
) -> list[SegmentInCommit]:
    """Hashes every segment, with ``leaves`` also every event in it; gives those that are what their commits say in every respect."""
    sound = []
    with task("hashing segments", sum(segment.rows for _, segment in expected)) as advance:
        for looked in _looks(storage, files, expected, deep=leaves):
            path = layout.segment_path(looked.segment.sha256)
            for problem in looked.problems:
                tally.blame(path, problem)
            tally.size_bytes += looked.size_bytes
            if leaves and not looked.problems:
                sound.append((looked.summary, looked.segment))
            if census is not None and looked.seen is not None:
                census.add(looked.seen)
            advance(looked.segment.rows)
    if census is not None:
        for segment, sequence, key in census.repeated(lambda part: _decoded(storage, part)):
            tally.blame(
                _path(segment),
                f"(source, id) stands twice: {key}, the second time at sequence {sequence:,}",
            )
    return sound


def _decoded(storage: Storage, segment: Segment) -> pa.Table:
    return segments.decode(
        read_sized(storage, _path(segment), segment.size_bytes), _path(segment), rows=segment.rows
    )


def _looks(
    storage: Storage, files: dict[str, int], expected: list[SegmentInCommit], *, deep: bool
) -> Iterator[_Looked]:
    """Looks at the segments, a few at once, and says in order what it saw."""
    waiting: deque[Future[_Looked]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for placed in expected:
            waiting.append(pool.submit(_look, storage, files, placed, deep=deep))
            if len(waiting) > _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _path(segment: Segment) -> str:
    return layout.segment_path(segment.sha256)


def _look(
    storage: Storage, files: dict[str, int], placed: SegmentInCommit, *, deep: bool
) -> _Looked:
    summary, segment = placed
    path = _path(segment)
    where = f"events {segment.start:,}-{segment.stop:,} of commit {summary.version}"
    problems: list[object] = []
    data, seen = b"", None
    if path not in files:
        problems.append(f"missing; it holds {where}")
    elif files[path] != segment.size_bytes:
        problems.append(
            f"expected {segment.size_bytes:,} bytes, found {files[path]:,}; it holds {where}"
        )
    else:
        try:
            data = read_sized(storage, path, segment.size_bytes)
            found = sha256_hex(data)
            if found != segment.sha256:
                problems.append(
                    f"expected sha256 {segment.sha256}, found {found}; it holds {where}"
                )
            elif deep:
                more, seen = look_at_events(summary, segment, data, path)
                problems += more
        except EventlakeError as error:
            # One bad sector must not hide the rest.
            problems.append(error)
    return _Looked(summary, segment, problems, len(data), seen)


def _strangers(storage: Storage, files: dict[str, int], superseded: set[str], tally: Tally) -> None:
    """Files that the head does not need. Those below ``builds/`` are judged with the datasets."""
    for path, size_bytes in files.items():
        sha256 = layout.segment_sha256(path) or layout.keys_sha256(path) or layout.rows_sha256(path)
        elsewhere = path.startswith(
            (f"{layout.BUILDS}/", f"{layout.SCHEMAS}/", f"{layout.TABLES}/")
        )
        beside = (
            layout.made_hash(path)
            or layout.claim_number(path) is not None
            or layout.is_work(path)
            or layout.tag_name(path)
        )
        known = (
            path in {layout.LAKE, layout.HINT, layout.RESERVE}
            or layout.commit_version(path) is not None
            or elsewhere
            or beside
        )
        if known:
            continue
        if layout.is_temporary(path):
            tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
        elif sha256 is not None and (_sha256(storage, path, size_bytes, tally) or "").startswith(
            sha256
        ):
            tally.notes.append(Finding(path, _why_unneeded(path, sha256, superseded)))
        else:
            tally.blame(path, "extra: not a file of this lake")


def _why_unneeded(path: str, sha256: str, superseded: set[str]) -> str:
    if layout.segment_sha256(path) is None:
        return "a part of the manifest that newer parts stand for, or that an interrupted write left; harmless"
    if sha256 in superseded:
        return "compacted: another segment holds its events; harmless"
    return "no commit names this segment: an interrupted append left it; harmless"


def _sha256(storage: Storage, path: str, size_bytes: int, tally: Tally) -> str | None:
    """The hash of a file, or None where it cannot be read, which is a finding."""
    try:
        found = sha256_of(storage, path, size_bytes)
    except EventlakeError as error:
        tally.blame(path, error)
        return None
    tally.size_bytes += size_bytes
    return found


def with_findings(report: Report, found: Tally, datasets: int) -> Report:
    """``report`` with what the datasets' verification found."""
    return replace(
        report,
        problems=(*report.problems, *found.problems),
        unproven=(*report.unproven, *found.unproven),
        notes=(*report.notes, *found.notes),
        datasets=datasets,
        size_bytes=report.size_bytes + found.size_bytes,
    )
