"""Verifying what is derived from the log: the tiers of the manifest, their keys, and the hint."""

from collections.abc import Iterator

from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.lake import read_hint
from eventlake.core.documents.manifest import KeyFile, Tier
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import EventlakeError
from eventlake.history.verifying.report import Tally
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.key_index import checked_keys
from eventlake.log.chain.manifest import Manifest
from eventlake.storage import ObjectMissingError, Storage, read_sized


def verify_tiers(chain: Chain, files: dict[str, int], tally: Tally) -> set[str]:
    """Compares the rows of the head's tiers with the log, and hashes their keys; gives the paths of all that the head names."""
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
            if sha256_hex(data) != tier.rows_sha256:
                tally.blame(
                    path,
                    f"expected sha256 {tier.rows_sha256}, found {sha256_hex(data)}; it is derived: delete it, and it is made again",
                )
            elif manifest_rows.decode(data, path) != _rows(chain, tier):
                tally.blame(path, "its rows are not what the log says")
        except EventlakeError as error:
            tally.blame(path, error)
    for file in _key_files(head):
        path = layout.keys_path(file.sha256)
        named.add(path)
        tally.size_bytes += files.get(path, 0)
        try:
            checked_keys(chain.storage, file)
        except EventlakeError as error:
            tally.blame(path, error)
    return named


def _rows(chain: Chain, tier: Tier) -> list[manifest_rows.Row]:
    return (
        Manifest([], [])
        .with_rows(chain.entry(version).row for version in range(tier.start, tier.stop))
        .rows()
    )


def _key_files(head: Commit) -> Iterator[KeyFile]:
    yield from (tier.keys for tier in head.tiers)
    yield from head.recent.files


def hint_as_stored(storage: Storage) -> bytes | EventlakeError | None:
    """The hint's bytes, or why they cannot be read; None where there is none. To be asked before the log is: writers move it on."""
    try:
        return storage.read(layout.HINT)
    except ObjectMissingError:
        return None
    except EventlakeError as error:
        return error


def verify_hint(
    chain: Chain, hinted: bytes | EventlakeError | None, newest: int, tally: Tally
) -> None:
    """The hint must be readable, and must not have seen more than there is."""
    if hinted is None:
        return
    try:
        if isinstance(hinted, EventlakeError):
            raise hinted
        tally.size_bytes += len(hinted)
        hint = read_hint(hinted, layout.HINT)
        if hint.origin != chain.origin or hint.version > newest:
            problem = f"it has seen commit {hint.version} of {hint.origin}; the newest here is {newest} of {chain.origin}"
            tally.blame(layout.HINT, problem)
    except EventlakeError as error:
        tally.blame(layout.HINT, f"{error.message}; it is advice only: delete it")
