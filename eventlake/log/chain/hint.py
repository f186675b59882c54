"""Find the newest commit without listing the log.

A hint object names a recent commit; probing by number goes on from there. Versions are dense and
commits are never deleted, so an exponential search followed by a binary search ends at the newest.
"""

from contextlib import suppress

from eventlake.core import layout
from eventlake.core.documents.lake import read_hint
from eventlake.core.hashing.canonical import seal
from eventlake.errors import CorruptionError, EventlakeError, StorageError
from eventlake.storage import Storage


def leave(storage: Storage, origin: str, version: int) -> None:
    """Record that commit ``version`` exists; a failure is ignored, for the hint is advisory."""
    # The commit is durable already; a stale hint only costs the next reader some probes.
    with suppress(StorageError):
        storage.replace(layout.HINT, seal({"origin": origin, "version": version}))


def newest_version(storage: Storage, origin: str) -> int:
    """The version of the newest commit; -1 if there is none.

    Raises:
        CorruptionError: The hint names a commit that is missing.
        StorageError: The store failed.
    """
    hinted = _hinted(storage, origin)
    found = probe(storage, hinted)
    # Probing starts at the hint, so it cannot tell a missing hinted commit from the newest one.
    if hinted >= 0 and found == hinted and not storage.exists(layout.commit_path(hinted)):
        path = layout.commit_path(hinted)
        message = f"{path} is missing, but '{layout.HINT}' names it: the newest commits are lost"
        hint = (
            "restore the log from a backup; "
            f"if this lake is an older copy on purpose, delete '{layout.HINT}' in it."
        )
        raise CorruptionError(message, hint, path=layout.commit_path(hinted))
    return found


def _hinted(storage: Storage, origin: str) -> int:
    try:
        hint = read_hint(storage.read(layout.HINT), layout.HINT)
    except EventlakeError:
        return -1
    return hint.version if hint.origin == origin else -1


def probe(storage: Storage, known: int) -> int:
    """The newest version, searched upwards from ``known``, which exists (-1 for none)."""
    step = 1
    # Doubling steps pass the head after a logarithmic number of requests, however old the hint is.
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
