"""Finding the newest commit without listing the log: an advisory object that names one, and probing by number from there.

Versions are dense and commits are never deleted, so steps that double, and then halve, end at the
newest one.
"""

from contextlib import suppress

from eventlake.core import layout
from eventlake.core.documents.lake import read_hint
from eventlake.core.hashing.canonical import seal
from eventlake.errors import CorruptionError, EventlakeError, StorageError
from eventlake.storage import Storage


def leave(storage: Storage, origin: str, version: int) -> None:
    """Says that commit ``version`` was there; nothing depends on it, so a store that fails is not asked again."""
    with suppress(StorageError):
        storage.replace(layout.HINT, seal({"origin": origin, "version": version}))


def newest_version(storage: Storage, origin: str) -> int:
    """The version of the newest commit, -1 where there is none.

    Raises:
        CorruptionError: The hint names a commit that is not there.
        StorageError: The store failed.
    """
    hinted = _hinted(storage, origin)
    found = probe(storage, hinted)
    if hinted >= 0 and found == hinted and not storage.exists(layout.commit_path(hinted)):
        message = f"{layout.commit_path(hinted)} is missing, but '{layout.HINT}' has seen it: the newest commits are lost"
        hint = f"restore the log from a backup; if this lake is an older copy on purpose, delete '{layout.HINT}' in it."
        raise CorruptionError(message, hint, path=layout.commit_path(hinted))
    return found


def _hinted(storage: Storage, origin: str) -> int:
    try:
        hint = read_hint(storage.read(layout.HINT), layout.HINT)
    except EventlakeError:
        return -1
    return hint.version if hint.origin == origin else -1


def probe(storage: Storage, known: int) -> int:
    """The newest version, asked for upwards from one that is known to be there (-1 for none)."""
    step = 1
    while storage.exists(layout.commit_path(known + step)):
        known += step
        step *= 2
    beyond = known + step
    while beyond - known > 1:
        middle = (known + beyond) // 2
        if storage.exists(layout.commit_path(middle)):
            known = middle
        else:
            beyond = middle
    return known
