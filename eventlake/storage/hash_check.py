"""Compare bytes with the hash that they were recorded under."""

from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError

RESTORE_HINT = "run 'eventlake verify LAKE' and restore the file from a backup."


def check_hash(
    data: bytes, sha256: str, path: str, problem: str = "", hint: str = RESTORE_HINT
) -> bytes:
    """Return ``data`` if it has this hash.

    Args:
        data: The bytes that were read.
        sha256: The recorded hash, in hex.
        path: The path of the object.
        problem: The beginning of the error message; defaults to "PATH is damaged".
        hint: The hint of the error.

    Raises:
        CorruptionError: The hashes differ.
    """
    found = sha256_hex(data)
    if found == sha256:
        return data
    message = f"{problem or f'{path} is damaged'}: expected sha256 {sha256}, read {found}"
    raise CorruptionError(message, hint, path=path, expected=sha256, found=found)
