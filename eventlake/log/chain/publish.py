"""Publishing a log entry at its number: the one moment at which something becomes true, and the three answers a store can give to it.

*Created*: it is ours. *Exists*: read it back, for it may be ours all the same (a store that retries
by itself reports its own success as somebody else's). *Failed*: unknown; read back until answered,
and put the same bytes again where nothing is: create-if-absent makes that safe. Nothing is ever
deleted.
"""

import random
import time

from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.lake import read_lake
from eventlake.core.documents.stored import check_writable
from eventlake.errors import CommitUnknownError, ConflictError, NotFoundError, StorageError
from eventlake.storage import (
    NotDurableError,
    NotStoredError,
    ObjectExistsError,
    ObjectMissingError,
    Storage,
)

PATIENCE_SECONDS = 10.0
"""How long an unknown outcome is asked after before the caller hears of it."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


def publish(storage: Storage, commit: Commit, data: bytes) -> bool:
    """Whether ``commit``, encoded as ``data``, is the one that stands at its number now; False where another one does.

    Raises:
        InvalidInputError: No reader would accept it.
        StorageError: The store is sure that nothing was published.
        NotFoundError: The lake was moved or deleted meanwhile; nothing was published.
        ConflictError: Another lake has taken its place; nothing was published.
        CommitUnknownError: It could not be found out in time; ``resolve`` settles it.
    """
    path = layout.commit_path(commit.version)
    check_writable(Commit.decode, data, path)
    _check_place(storage, commit)
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            storage.create(path, data)
        except ObjectExistsError:
            return _read_back(storage, path, commit, deadline) == data
        except NotStoredError:
            raise
        except StorageError as error:
            if isinstance(error, NotDurableError) or time.monotonic() > deadline:
                raise _unknown(commit, error) from error
            found = _read_back(storage, path, commit, deadline)
            if found is not None:
                return found == data
            time.sleep(random.uniform(0, pause))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            return True


def _check_place(storage: Storage, commit: Commit) -> None:
    """Checks that the commit before this one is still in the store. Events appended where no lake is would be lost.

    Raises:
        NotFoundError: It is not there.
        ConflictError: It is another lake's.
    """
    before = layout.commit_path(commit.version - 1) if commit.version else layout.LAKE
    try:
        data = storage.read(before)
    except ObjectMissingError:
        message = f"there is no lake in {storage.uri} any more: expected {before}, which commit {commit.version} follows"
        hint = "it was moved or deleted while it was open: open it where it is now; nothing was published."
        raise NotFoundError(message, hint, uri=storage.uri) from None
    same = (
        commit_hash(data) == commit.prev
        if commit.version
        else read_lake(data, before).origin == commit.origin
    )
    if not same:
        message = f"the lake in {storage.uri} is another one now: {before} is not what commit {commit.version} follows"
        hint = "another lake was put in its place while it was open: open it again; nothing was published."
        raise ConflictError(message, hint, uri=storage.uri)


def _read_back(storage: Storage, path: str, commit: Commit, deadline: float) -> bytes | None:
    """What stands at ``path``, None for nothing; asked until the store answers."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return storage.read(path)
        except ObjectMissingError:
            return None
        except StorageError as error:
            if time.monotonic() > deadline:
                raise _unknown(commit, error) from error
            time.sleep(random.uniform(0, pause))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _unknown(commit: Commit, error: StorageError) -> CommitUnknownError:
    message = f"it is unknown whether commit {commit.version} was published: {error.message}"
    hint = f"lake.resolve({commit.commit_id!r}) finds out, and makes sure that it cannot land later; append again only if it did not."
    return CommitUnknownError(message, hint, commit_id=commit.commit_id, version=commit.version)
