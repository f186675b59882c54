"""Read segments and schemas, checked against the hashes and claims of their commits."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from eventlake.caches import CACHES
from eventlake.columns.parquet import segments
from eventlake.core import layout
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import CorruptionError
from eventlake.log.chain.claims import claims_of, wrong_claims
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.progress import task
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import (
    RESTORE_HINT,
    ObjectMissingError,
    State,
    Storage,
    check_hash,
    read_sized,
    state_of,
)
from eventlake.trust import Trust, statement

_AT_ONCE = 2


@CACHES.memo(1 << 16)
def commit_statement(commit_hash: str) -> bytes:
    """The statement that a commit and all commits before it are right."""
    return statement("commit", commit_hash)


@CACHES.memo(1 << 16)
def bytes_statement(sha256: str, state: State) -> bytes:
    """The statement that the file in this storage state has this hash."""
    return statement("bytes", sha256, state)


def check_segments(
    storage: Storage,
    placed: Sequence[SegmentInCommit],
    trust: Trust,
    *,
    changed_only: bool = False,
    listed: bool = False,
) -> Iterator[None]:
    """Hash segments again, two at a time, and check their events once; yields after each.

    Args:
        storage: Where the segments are.
        placed: The segments to check.
        trust: The trust in the lake.
        changed_only: Skip files that were hashed before and not written since, if their events are
            trusted.
        listed: Find the changed ones by one listing of all segments, instead of a request for each.

    Raises:
        CorruptionError: A segment does not match its hash or its commit; the message names it.
    """
    unknown = placed
    if changed_only:
        unknown = _unknown(placed, _states(storage, placed, listed=listed), trust)

    def check(one: SegmentInCommit) -> None:
        path = layout.segment_path(one[1].sha256)
        # Only if the state is the same afterwards, the hash belongs to it.
        before = state_of(storage, path)
        _check_claims(one, checked_bytes(storage, one[1]), trust)
        if before is not None and before == state_of(storage, path):
            trust.ledger.note([bytes_statement(one[1].sha256, before)])

    if len(unknown) == 1:
        check(unknown[0])
        yield
    elif unknown:
        # Hashing releases the interpreter's lock, and more than two segments at once would fill
        # memory.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(check, unknown)
    # Callers count one step for each segment, including those that were skipped.
    yield from (None for _ in range(len(placed) - len(unknown)))


def check_claims(storage: Storage, placed: Sequence[SegmentInCommit], trust: Trust) -> None:
    """Check the events of segments that were never checked, before relying on their statistics.

    Raises:
        CorruptionError: A segment does not match its hash or its commit.
    """
    new = [one for one, known in zip(placed, _are_trusted(placed, trust), strict=True) if not known]
    if new:
        with task(
            "checking segments of other users", sum(segment.rows for _, segment in new)
        ) as advance:
            for (_, segment), _ in zip(new, check_segments(storage, new, trust), strict=True):
                advance(segment.rows)


def _states(
    storage: Storage, placed: Sequence[SegmentInCommit], *, listed: bool
) -> Iterator[State | None]:
    """The state of each segment's file."""
    known = {item.path: item.state for item in storage.list(layout.SEGMENTS)} if listed else {}
    for _, segment in placed:
        path = layout.segment_path(segment.sha256)
        # Not every store's listing has states.
        yield known.get(path) or state_of(storage, path)


def _unknown(
    placed: Sequence[SegmentInCommit], states: Iterable[State | None], trust: Trust
) -> list[SegmentInCommit]:
    """The segments that were never checked, or were written since."""
    files = [
        None if state is None else bytes_statement(one[1].sha256, state)
        for one, state in zip(placed, states, strict=True)
    ]
    changed = trust.ledger.unknown(one for one in files if one is not None)
    trusted = _are_trusted(placed, trust)
    return [
        one
        for one, file, known in zip(placed, files, trusted, strict=True)
        if file is None or file in changed or not known
    ]


def _are_trusted(placed: Sequence[SegmentInCommit], trust: Trust) -> list[bool]:
    """Whether the events of each segment are trusted to match their commit."""
    if trust.believes:
        return [True] * len(placed)
    # A segment of a known commit needs no statement of its own, which keeps the ledger small.
    foreign = foreign_commits(placed, trust)
    claims = [claims_of(*one) if one[0].commit_hash in foreign else None for one in placed]
    unknown = trust.ledger.unknown(claim for claim in claims if claim is not None)
    return [claim is None or claim not in unknown for claim in claims]


def foreign_commits(placed: Sequence[SegmentInCommit], trust: Trust) -> set[str]:
    """The hashes of the commits that named these segments and are not trusted as a whole."""
    commits = {commit_statement(summary.commit_hash): summary.commit_hash for summary, _ in placed}
    return set() if trust.believes else {commits[one] for one in trust.ledger.unknown(commits)}


def _check_claims(placed: SegmentInCommit, data: bytes, trust: Trust) -> None:
    """Check, once, that the events of a segment match its commit.

    Raises:
        CorruptionError: They do not.
    """
    summary, segment = placed
    # A trusted commit vouches for its segments; otherwise each segment is checked once.
    if trust.knows(commit_statement(summary.commit_hash)) or trust.knows(
        claim := claims_of(summary, segment)
    ):
        return
    path = layout.segment_path(segment.sha256)
    if problems := wrong_claims(summary, segment, data, path):
        message = (
            f"segment {segment.start:,}-{segment.stop:,} is not what commit {summary.version} "
            f"says: {'; '.join(problems)} ({path})"
        )
        hint = (
            "another user wrote this lake, and its log and its events disagree: "
            "run 'eventlake verify LAKE --deep'."
        )
        raise CorruptionError(message, hint, path=path, version=summary.version)
    trust.ledger.note([claim])


def checked_bytes(storage: Storage, segment: Segment) -> bytes:
    """Read a segment's bytes.

    Raises:
        CorruptionError: The file is missing, or its bytes do not match its hash.
    """
    path = layout.segment_path(segment.sha256)
    problem = f"segment {segment.start:,}-{segment.stop:,} does not match its commit ({path})"
    hint = f"{RESTORE_HINT.removesuffix('.')}; never edit files under segments/."
    try:
        data = read_sized(storage, path, segment.size_bytes)
    except ObjectMissingError as error:
        raise missing(segment) from error
    return check_hash(data, segment.sha256, path, problem, hint)


def missing(segment: Segment) -> CorruptionError:
    """The error for a segment whose file is missing."""
    path = layout.segment_path(segment.sha256)
    message = f"segment {segment.start:,}-{segment.stop:,} is missing ({path})"
    return CorruptionError(message, RESTORE_HINT, path=path)


def stored_events(
    storage: Storage, placed: SegmentInCommit, trust: Trust, columns: list[str] | None = None
) -> pa.Table:
    """Read a segment's events.

    Args:
        storage: Where the segment is.
        placed: The segment.
        trust: The trust in the lake.
        columns: Columns to read, if the segment has them; None for all.

    Raises:
        CorruptionError: The file is missing, or does not match its hash or its commit.
    """
    data = checked_bytes(storage, placed[1])
    _check_claims(placed, data, trust)
    return segments.decode(
        data, layout.segment_path(placed[1].sha256), columns, rows=placed[1].rows
    )


def stored_batches(
    storage: Storage,
    placed: SegmentInCommit,
    trust: Trust,
    columns: list[str] | None = None,
    *,
    most_bytes: int | None = None,
) -> Iterator[tuple[int, pa.Table]]:
    """Read a segment's events in batches of about ``most_bytes``; see ``memory.batch_bytes``.

    Yields:
        The sequence of the first event, and the events.

    Raises:
        CorruptionError: As for ``stored_events``.
    """
    data = checked_bytes(storage, placed[1])
    _check_claims(placed, data, trust)
    start = placed[1].start
    path = layout.segment_path(placed[1].sha256)
    for table in segments.batches(data, path, columns, rows=placed[1].rows, most_bytes=most_bytes):
        yield start, table
        start += table.num_rows
        del table  # makes room for the next batch


def read_catalogue(storage: Storage, sha256: str | None, watermark: int) -> Catalogue:
    """Read the catalogue of schemas with this hash.

    Args:
        storage: Where it is.
        sha256: Its hash, as a commit names it; None for an empty catalogue.
        watermark: The watermark of that commit. A version registered later is an error.

    Raises:
        CorruptionError: It is missing, does not match its hash, or is of another history.
    """
    if sha256 is None:
        return Catalogue()
    path = layout.schemas_path(sha256)
    try:
        data = storage.read(path)
    except ObjectMissingError as error:
        message = f"the schemas are missing ({path})"
        raise CorruptionError(message, RESTORE_HINT, path=path) from error
    check_hash(data, sha256, path, f"the schemas do not match their hash ({path})")
    catalogue = Catalogue.decode(data, path)
    # A catalogue of a longer history has the right hash, too; its versions begin after the
    # watermark.
    for name, versions in catalogue.types.items():
        if (since := versions[-1].since) > watermark:
            message = (
                f"{path} is damaged: expected schemas of {name!r} from {watermark} or before, "
                f"found one since {since}"
            )
            raise CorruptionError(message, RESTORE_HINT, path=path)
    return catalogue


def part_of(
    storage: Storage, placed: SegmentInCommit, trust: Trust, first: int, last: int
) -> CompactRange:
    """The compact range of the events ``[first, last)`` of a segment.

    The segment is read only if the range is a part of it.

    Raises:
        CorruptionError: As for ``stored_events``.
    """
    segment = placed[1]
    if (first, last) == (segment.start, segment.stop):
        return segment.range
    table = stored_events(storage, placed, trust).slice(first - segment.start, last - first)
    from eventlake.columns.hashing.leaves import compact_range, leaf_hashes

    return compact_range(leaf_hashes(table), first)
