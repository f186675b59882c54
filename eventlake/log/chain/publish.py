"""Publish a log entry at its number, the one moment at which something becomes true.

A store can give three answers.

*Created*: it is ours. *Exists*: read it back, for it may be ours all the same (a store that retries
by itself reports its own success as somebody else's). *Failed*: unknown; read back until answered,
and put the same bytes again if nothing is there: create-if-absent makes that safe. Nothing is ever
deleted.
"""

import time

from eventlake.backoff import pause_after_failure
from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.lake import read_lake
from eventlake.core.documents.stored import check_writable
from eventlake.errors import CommitUnknownError, ConflictError, NotFoundError, StorageError
from eventlake.log.chain.chain import Chain
from eventlake.storage import (
    NotDurableError,
    NotStoredError,
    ObjectExistsError,
    ObjectMissingError,
    Storage,
)


def publish(chain: Chain, commit: Commit, data: bytes) -> bool:
    """Publish ``commit``, encoded as ``data``; return False if another commit has its number.

    The chain itself is not changed; see ``Chain.published``.

    Raises:
        InvalidInputError: No reader would accept the commit.
        StorageError: The store reports that nothing was published.
        NotFoundError: The lake was moved or deleted; nothing was published.
        ConflictError: Another lake has replaced it; nothing was published.
        CommitUnknownError: The store did not answer in time; ``resolve`` finds out.
    """
    path = layout.commit_path(commit.version)
    # A commit that no reader accepts would end the lake, since commits are never deleted.
    check_writable(Commit.decode, data, path)
    storage, first_pause = chain.storage, chain.limits.first_pause_seconds
    _check_place(storage, commit)
    deadline = time.monotonic() + chain.limits.patience_seconds
    attempt = 0
    while True:
        try:
            storage.create(path, data)
        except ObjectExistsError:
            return _read_back(chain, path, commit, deadline) == data
        except NotStoredError:
            raise
        except StorageError as error:
            # After a failed fsync, reading back proves nothing: the page cache may hold what the
            # disk lost.
            if isinstance(error, NotDurableError) or time.monotonic() > deadline:
                raise _unknown(commit, error) from error
            found = _read_back(chain, path, commit, deadline)
            if found is not None:
                return found == data
            pause_after_failure(attempt, first_pause)
            attempt += 1
        else:
            return True


def _check_place(storage: Storage, commit: Commit) -> None:
    """Check that the store still holds the commit before this one.

    Events that are appended to a lake that was moved or deleted would be lost.

    Raises:
        NotFoundError: It is missing.
        ConflictError: It is of another lake.
    """
    # A store creates missing folders, so a writer could build a second log where the lake used to
    # be.
    before = layout.commit_path(commit.version - 1) if commit.version else layout.LAKE
    try:
        data = storage.read(before)
    except ObjectMissingError:
        message = (
            f"there is no lake in {storage.uri} any more: "
            f"expected {before}, which commit {commit.version} follows"
        )
        hint = (
            "it was moved or deleted while it was open: open it where it is now; "
            "nothing was published."
        )
        raise NotFoundError(message, hint, uri=storage.uri) from None
    if commit.version:
        same = commit_hash(data) == commit.prev
    else:
        same = read_lake(data, before).origin == commit.origin
    if not same:
        message = (
            f"the lake in {storage.uri} is another one now: "
            f"{before} is not what commit {commit.version} follows"
        )
        hint = "it was replaced while it was open: open it again; nothing was published."
        raise ConflictError(message, hint, uri=storage.uri)


def _read_back(chain: Chain, path: str, commit: Commit, deadline: float) -> bytes | None:
    """Read what is at ``path``, or None; retried until the store answers."""
    attempt = 0
    while True:
        try:
            return chain.storage.read(path)
        except ObjectMissingError:
            return None
        except StorageError as error:
            if time.monotonic() > deadline:
                raise _unknown(commit, error) from error
            pause_after_failure(attempt, chain.limits.first_pause_seconds)
            attempt += 1


def _unknown(commit: Commit, error: StorageError) -> CommitUnknownError:
    message = f"it is unknown whether commit {commit.version} was published: {error.message}"
    hint = (
        f"lake.resolve({commit.commit_id!r}) finds out, and makes sure that it cannot land later; "
        "append again only if it did not."
    )
    return CommitUnknownError(message, hint, commit_id=commit.commit_id, version=commit.version)
