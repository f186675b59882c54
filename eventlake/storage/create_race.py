"""Check a store's fundamental guarantee before a lake is created.

Of many writers that create one object, exactly one succeeds.
"""

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

from eventlake.core.layout import TEMPORARY_PREFIX
from eventlake.errors import StorageError
from eventlake.storage.port import ObjectExistsError, Storage

_WRITERS = 4
_ROUNDS = 3
_BODY_BYTES = 100_000
"""Large enough for two uploads to overlap."""


def probe(storage: Storage) -> None:
    """Let writers race for a few names, then remove the objects.

    Raises:
        StorageError: A race had no winner or several, or the stored bytes are not the winner's. The
            store cannot hold a lake.
    """
    for _ in range(_ROUNDS):
        path = f"{TEMPORARY_PREFIX}probe-{secrets.token_hex(6)}"
        try:
            _race(storage, path)
        finally:
            with suppress(StorageError):
                storage.delete(path)


def _race(storage: Storage, path: str) -> None:
    # All requests are sent at once: a store that compares before it writes fails only under a race.
    start = Barrier(_WRITERS)

    def create(number: int) -> bool:
        start.wait()
        try:
            storage.create(path, bytes([number]) * _BODY_BYTES)
        except ObjectExistsError:
            return False
        return True

    with ThreadPoolExecutor(_WRITERS) as pool:
        won = [number for number, answer in enumerate(pool.map(create, range(_WRITERS))) if answer]
    found = storage.read(path)
    if len(won) != 1 or found != bytes(won) * _BODY_BYTES:
        message = (
            f"{storage.uri} let {len(won)} of {_WRITERS} writers create one object; "
            "expected exactly one, and its bytes"
        )
        hint = (
            "put the lake on a local disk, or in a store with conditional writes (S3, GCS, Azure)."
        )
        raise StorageError(message, hint, uri=storage.uri, winners=len(won))
