"""Reading a segment so that nobody works on other bytes than were written, nor on other events than its commit names."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from eventlake.columns.hashing import leaves
from eventlake.columns.parquet import segments
from eventlake.core import layout
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import CorruptionError
from eventlake.log.chain.claims import claims_of, wrong_claims
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.progress import task
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import ObjectMissingError, State, Storage, read_sized, state_of
from eventlake.trust import Trust, statement

_AT_ONCE = 2


def commit_statement(commit_hash: str) -> bytes:
    """The statement that a commit is right in all that it says, and all before it are."""
    return statement("commit", commit_hash)


def bytes_statement(sha256: str, state: State) -> bytes:
    """The statement that the file of which the store says ``state`` has this hash."""
    return statement("bytes", sha256, state)


def check_segments(
    storage: Storage, placed: Sequence[SegmentInCommit], trust: Trust, *, changed_only: bool = False
) -> Iterator[None]:
    """Hashes segments again, two at a time, and checks their events if that was never done; yields after each.

    Args:
        storage: Where they are.
        placed: Which ones.
        trust: What is believed.
        changed_only: Pass over files that were hashed before and that nobody has written since, and
            whose events are believed.

    Raises:
        CorruptionError: One of them is not what was written, or not what its commit says; it is
            named.
    """
    unknown = _unknown(storage, placed, trust) if changed_only else placed

    def check(one: SegmentInCommit) -> None:
        path = layout.segment_path(one[1].sha256)
        before = state_of(storage, path)
        _check_claims(one, checked_bytes(storage, one[1]), trust)
        if before is not None and before == state_of(storage, path):
            trust.ledger.note([bytes_statement(one[1].sha256, before)])

    if len(unknown) == 1:
        check(unknown[0])
        yield
    elif unknown:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(check, unknown)
    yield from (None for _ in range(len(placed) - len(unknown)))


def check_claims(storage: Storage, placed: Sequence[SegmentInCommit], trust: Trust) -> None:
    """Checks the events of segments of which that was never done; to be called before anything is concluded from what commits say of them.

    Raises:
        CorruptionError: One of them is not what was written, or not what its commit says.
    """
    new = [one for one, known in zip(placed, _believed(placed, trust), strict=True) if not known]
    if new:
        with task(
            "checking what others stored", sum(segment.rows for _, segment in new)
        ) as advance:
            for (_, segment), _ in zip(new, check_segments(storage, new, trust), strict=True):
                advance(segment.rows)


def _unknown(
    storage: Storage, placed: Sequence[SegmentInCommit], trust: Trust
) -> list[SegmentInCommit]:
    """The segments that were written since they were checked, or never were checked."""
    states = [state_of(storage, layout.segment_path(segment.sha256)) for _, segment in placed]
    files = [
        None if state is None else bytes_statement(one[1].sha256, state)
        for one, state in zip(placed, states, strict=True)
    ]
    changed = trust.ledger.unknown(one for one in files if one is not None)
    believed = _believed(placed, trust)
    return [
        one
        for one, file, known in zip(placed, files, believed, strict=True)
        if file is None or file in changed or not known
    ]


def _believed(placed: Sequence[SegmentInCommit], trust: Trust) -> list[bool]:
    """Whether the events of each segment are believed to be what its commit says."""
    if trust.believes:
        return [True] * len(placed)
    foreign = foreign_commits(placed, trust)
    claims = [claims_of(*one) if one[0].commit_hash in foreign else None for one in placed]
    unknown = trust.ledger.unknown(claim for claim in claims if claim is not None)
    return [claim is None or claim not in unknown for claim in claims]


def foreign_commits(placed: Sequence[SegmentInCommit], trust: Trust) -> set[str]:
    """The hashes of the commits that named these segments and are not believed as a whole."""
    commits = {commit_statement(summary.commit_hash): summary.commit_hash for summary, _ in placed}
    return set() if trust.believes else {commits[one] for one in trust.ledger.unknown(commits)}


def _check_claims(placed: SegmentInCommit, data: bytes, trust: Trust) -> None:
    """Checks, once, that the events of a segment are what its commit says.

    Raises:
        CorruptionError: They are not.
    """
    summary, segment = placed
    if trust.knows(commit_statement(summary.commit_hash)) or trust.knows(
        claim := claims_of(summary, segment)
    ):
        return
    path = layout.segment_path(segment.sha256)
    if problems := wrong_claims(summary, segment, data, path):
        message = f"segment {segment.start:,}-{segment.stop:,} is not what commit {summary.version} says: {'; '.join(problems)} ({path})"
        hint = "somebody else wrote this lake, and its log and its events disagree: run 'eventlake verify LAKE --deep'."
        raise CorruptionError(message, hint, path=path, version=summary.version)
    trust.ledger.note([claim])


def checked_bytes(storage: Storage, segment: Segment) -> bytes:
    """A segment's bytes.

    Raises:
        CorruptionError: The file is gone, or its bytes are not those that were written.
    """
    path = layout.segment_path(segment.sha256)
    where = f"segment {segment.start:,}-{segment.stop:,}"
    try:
        data = read_sized(storage, path, segment.size_bytes)
    except ObjectMissingError as error:
        raise missing(segment) from error
    found = sha256_hex(data)
    if found != segment.sha256:
        message = f"{where} does not match its commit: expected sha256 {segment.sha256}, read {found} ({path})"
        hint = "run 'eventlake verify LAKE' and restore the file from a backup; never edit files under segments/."
        raise CorruptionError(message, hint, path=path, expected=segment.sha256, found=found)
    return data


def missing(segment: Segment) -> CorruptionError:
    """What to say where a segment's file is gone."""
    path = layout.segment_path(segment.sha256)
    message = f"segment {segment.start:,}-{segment.stop:,} is missing ({path})"
    return CorruptionError(
        message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
    )


def stored_events(
    storage: Storage, placed: SegmentInCommit, trust: Trust, columns: list[str] | None = None
) -> pa.Table:
    """A segment's events, those of ``columns`` that it has; all for None.

    Raises:
        CorruptionError: The file is gone, its bytes are not those that were written, or its events
            not what its commit says.
    """
    data = checked_bytes(storage, placed[1])
    _check_claims(placed, data, trust)
    return segments.decode(
        data, layout.segment_path(placed[1].sha256), columns, rows=placed[1].rows
    )


def read_catalogue(storage: Storage, sha256: str | None, watermark: int) -> Catalogue:
    """The catalogue of schemas with this hash; an empty one for None.

    Args:
        storage: Where it is.
        sha256: Its hash, as a commit names it.
        watermark: That of the commit; no version can have been registered later.

    Raises:
        CorruptionError: It is gone, not what was written, or not of this history.
    """
    if sha256 is None:
        return Catalogue()
    path = layout.schemas_path(sha256)
    try:
        data = storage.read(path)
    except ObjectMissingError as error:
        message = f"the schemas are missing ({path})"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
        ) from error
    found = sha256_hex(data)
    if found != sha256:
        message = (
            f"the schemas are not what was written: expected sha256 {sha256}, read {found} ({path})"
        )
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
        )
    catalogue = Catalogue.decode(data, path)
    for name, versions in catalogue.types.items():
        if (since := versions[-1].since) > watermark:
            message = f"{path} is damaged: expected schemas of {name!r} from {watermark} or before, found one since {since}"
            raise CorruptionError(
                message,
                "run 'eventlake verify LAKE' and restore the file from a backup.",
                path=path,
            )
    return catalogue


def part_of(
    storage: Storage, placed: SegmentInCommit, trust: Trust, first: int, last: int
) -> CompactRange:
    """The compact range of the events ``[first, last)`` of a segment; it is read only where the whole of it is not meant.

    Raises:
        CorruptionError: As ``stored_events``.
    """
    segment = placed[1]
    if (first, last) == (segment.start, segment.stop):
        return segment.range
    table = stored_events(storage, placed, trust).slice(first - segment.start, last - first)
    return leaves.compact_range(leaves.leaf_hashes(table), first)
