"""Verify what is derived from the log: the tiers of the manifest, their keys, and the hint."""

from collections.abc import Callable, Iterator

from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.lake import read_hint
from eventlake.core.documents.manifest import KeyFile, Tier
from eventlake.errors import EventlakeError
from eventlake.history.verifying.report import Tally
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.stored_keys import checked_keys
from eventlake.storage import ObjectMissingError, Storage, check_hash, read_sized


def verify_tiers(chain: Chain, files: dict[str, int], tally: Tally) -> set[str]:
    """Compare the rows of the head's tiers with the log, and hash the head's key files.

    Returns:
        The paths of all files that the head names.
    """
    if chain.head is None:
        return set()
    head = chain.head.commit
    named = set()
    for tier in head.tiers:
        path = layout.rows_path(tier.stop, tier.rows_sha256)
        named |= {path, layout.keys_path(tier.keys.sha256)}
        try:
            tally.size_bytes += files.get(path, 0)
            data = read_sized(chain.storage, path, tier.rows_bytes)
            problem = "damaged, but derived (delete it, and it is rebuilt)"
            check_hash(data, tier.rows_sha256, path, problem)
            if manifest_rows.decode(data, path) != rows_from_log(chain.entry, tier):
                tally.blame(path, "its rows do not match the log")
        except EventlakeError as error:
            tally.blame(path, error)
    for file in _key_files(head):
        path = layout.keys_path(file.sha256)
        named.add(path)
        tally.size_bytes += files.get(path, 0)
        try:
            # Only hashed here; a deep verification also compares the keys with the events.
            checked_keys(chain.storage, file)
        except EventlakeError as error:
            tally.blame(path, error)
    return named


def rows_from_log(entry: Callable[[int], Entry], tier: Tier) -> list[manifest_rows.Row]:
    """The rows of a tier, rebuilt from the log; ``entry`` returns a commit by version."""
    rows = (entry(version).row for version in range(tier.start, tier.stop))
    return Manifest([], []).with_rows(rows).rows()


def _key_files(head: Commit) -> Iterator[KeyFile]:
    yield from (tier.keys for tier in head.tiers)
    yield from head.recent.files


def read_stored_hint(storage: Storage) -> bytes | EventlakeError | None:
    """The hint's bytes, or the error of reading it; None if there is no hint."""
    try:
        return storage.read(layout.HINT)
    except ObjectMissingError:
        return None
    except EventlakeError as error:
        return error


def verify_hint(
    chain: Chain, hinted: bytes | EventlakeError | None, newest: int, tally: Tally
) -> None:
    """Check that the hint is readable and does not name a commit that is missing."""
    if hinted is None:
        return
    try:
        if isinstance(hinted, EventlakeError):
            raise hinted
        tally.size_bytes += len(hinted)
        hint = read_hint(hinted, layout.HINT)
        # A hint may lag behind, because it is written after the commit; it may not be ahead.
        if hint.origin != chain.origin or hint.version > newest:
            problem = (
                f"it names commit {hint.version} of {hint.origin}; "
                f"the newest here is {newest} of {chain.origin}"
            )
            tally.blame(layout.HINT, problem)
    except EventlakeError as error:
        tally.blame(layout.HINT, f"{error.message}; it is advisory: delete it")
