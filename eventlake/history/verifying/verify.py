"""Verify a lake: hash the log, its segments and the manifest again and, if asked, every event.

Each file is checked by itself, so that one damaged file does not hide another: commits have a
checksum, segments and tiers are named by their hash, and every commit names the one before.
"""

from dataclasses import replace

from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.lake import read_lake
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import EventlakeError
from eventlake.history.pin import pin
from eventlake.history.resolve import at_checkpoint
from eventlake.history.verifying.extra_files import verify_extra_files
from eventlake.history.verifying.keys import verify_keys
from eventlake.history.verifying.manifest import read_stored_hint, verify_hint, verify_tiers
from eventlake.history.verifying.producers import verify_producers
from eventlake.history.verifying.report import Report, Tally
from eventlake.history.verifying.seen_events import SeenEvents
from eventlake.history.verifying.segments import verify_segments
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
from eventlake.storage import Storage
from eventlake.trust import OWN, Ledger, Trust


def verify(
    storage: Storage, *, deep: bool = False, against: Checkpoint | None = None
) -> tuple[Report, Chain]:
    """Verify everything except built datasets.

    Args:
        storage: Where the lake is.
        deep: Also decode every segment, hash every event again, rebuild the manifest's keys and
            the event tables, check every payload against its schema, and search for repeated
            ``(source, id)`` pairs.
        against: A checkpoint that was kept elsewhere. The history must extend it, and every event
            is hashed. Without one, missing newest commits may not be noticed.

    Returns:
        The report, and the chain up to the first commit that is damaged or missing.
    """
    tally = Tally()
    # Before the log is listed: writers that commit meanwhile move the hint on.
    hinted = read_stored_hint(storage)
    # One listing: what is stored later is not judged, and what is collected later is missing.
    files = {item.path: item.size_bytes for item in storage.list("")}
    origin = _verify_lake(storage, tally)
    # Commits first: everything else is named by them.
    entries = _verify_commits(storage, files, origin, tally)
    manifest, refused = _verify_manifest(entries, tally)
    current = {segment.sha256: (summary, segment) for summary, segment in manifest.segments}
    seen = SeenEvents() if deep else None
    # No earlier check is trusted, but nothing is checked twice in this one.
    trust = Trust(OWN.name, Ledger.in_memory())
    valid = verify_segments(
        storage, files, list(current.values()), tally, seen, hash_events=deep or against is not None
    )
    trust.ledger.note(claims_of(*placed) for placed in valid)
    chain = _chain(
        storage,
        origin,
        {version: one for version, one in entries.items() if version not in refused},
        trust,
    )
    # Only segments whose events were hashed can be compared; the others prove nothing.
    if deep or against is not None:
        _verify_compacted(chain, valid, tally)
    named = verify_tiers(chain, files, tally)
    verify_schemas(storage, files, [entry.commit for _, entry in sorted(entries.items())], tally)
    verify_producers(entries, tally)
    verify_tables(storage, files, tally)
    if seen is not None:
        verify_keys(chain, entries, files, seen, tally)
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
    verify_extra_files(storage, unnamed, superseded, tally)
    try:
        if against is not None:
            at_checkpoint(chain, against)
        # Pinning reads segments, which would only repeat what is wrong with them.
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


def _verify_lake(storage: Storage, tally: Tally) -> str | None:
    try:
        data = storage.read(layout.LAKE)
        tally.size_bytes += len(data)
        return read_lake(data, layout.LAKE).origin
    except EventlakeError as error:
        tally.blame(layout.LAKE, error)
        return None


def _verify_commits(
    storage: Storage, files: dict[str, int], origin: str | None, tally: Tally
) -> dict[int, Entry]:
    """The readable commits by version; a link is checked if both of its ends are readable."""
    versions = sorted(
        version for path in files if (version := layout.commit_version(path)) is not None
    )
    entries: dict[int, Entry] = {}
    hashes: dict[int, str] = {}
    with task("reading commits", len(versions)) as advance:
        # A missing commit breaks the chain, but the commits after it are still checked.
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
                    layout.commit_path(last + 1), f"{missing} missing, but later ones exist"
                )
            try:
                data = storage.read(path)
                tally.size_bytes += len(data)
                hashes[version] = commit_hash(data)
                commit = Commit.decode(data, path)
                entries[version] = Entry(commit, hashes[version])
                before = entries.get(version - 1)
                # Without a readable commit before it, only the hash of that commit's bytes can be
                # compared.
                if before or not version:
                    check_follows(commit, before, origin or commit.origin, path)
                elif version - 1 in hashes and commit.prev != hashes[version - 1]:
                    tally.blame(path, f"expected prev {hashes[version - 1]}, found {commit.prev}")
            except EventlakeError as error:
                tally.blame(path, error)
    return entries


def _verify_manifest(entries: dict[int, Entry], tally: Tally) -> tuple[Manifest, set[int]]:
    """Build the manifest of the readable commits; also return the versions that must be left out.

    A compacted segment must have the same hashes as the segments that it replaces.
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
            # Its neighbours were reported missing already, so there is nothing to compare.
            if not replaced or (replaced[0][1].start, replaced[-1][1].stop) != (
                segment.start,
                segment.stop,
            ):
                continue
            path = layout.commit_path(entry.commit.version)
            if _folded([one for _, one in replaced]) != segment.range:
                events = f"{segment.start:,}-{segment.stop:,}"
                tally.blame(path, f"its segment {events} does not fold to what it replaces")
            for problem in wrong_statistics(entry.summary, segment, replaced):
                tally.blame(path, problem)
    return manifest.with_rows(one.row for one in plain), refused


def _verify_compacted(chain: Chain, valid: list[SegmentInCommit], tally: Tally) -> None:
    """Compare otherwise valid compacted segments with the commits that appended their events."""
    compacted = [
        one for one in valid if one[0].kind == "compact" and one[0].version < chain.next_version
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
                reason = "the segment that they were copied in is gone"
                tally.doubt(path, f"recorded_at of the events {start:,}-{stop:,}: {reason}")
            chain.trust.ledger.note(
                [compacted_statement(chain, segment)] if not found.problems else []
            )
            advance(1)


def _folded(replaced: list[Segment]) -> CompactRange | None:
    total = CompactRange.empty(replaced[0].start)
    for segment in replaced:
        # A gap: one of the replaced segments is unknown, so the fold cannot be compared.
        if segment.start != total.stop:
            return None
        total = total.merge(segment.range)
    return total


def _chain(storage: Storage, origin: str | None, entries: dict[int, Entry], trust: Trust) -> Chain:
    """The chain up to the first commit that is damaged or missing."""
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
    # All tiers are derived from the commits that were read, and none is taken from storage.
    chain.fold([entries[version] for version in range(chain.next_version)])
    return chain


def with_findings(report: Report, found: Tally, datasets: int) -> Report:
    """Return ``report`` with the findings about datasets."""
    return replace(
        report,
        problems=(*report.problems, *found.problems),
        unproven=(*report.unproven, *found.unproven),
        notes=(*report.notes, *found.notes),
        datasets=datasets,
        size_bytes=report.size_bytes + found.size_bytes,
    )
