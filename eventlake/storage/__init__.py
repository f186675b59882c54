"""Storage of bytes: one small port and its adapters for local disks, object stores and memory.

Knows paths and bytes; must not know what a commit or a segment is. May import ``eventlake.core``
and ``eventlake.errors``.
"""

from eventlake.storage.create_race import probe
from eventlake.storage.hash_check import RESTORE_HINT, check_hash
from eventlake.storage.local import LocalStorage
from eventlake.storage.memory import MemoryStorage
from eventlake.storage.nearby import lake_nearby
from eventlake.storage.objects import ObjectStorage
from eventlake.storage.port import (
    ByteRange,
    NotDurableError,
    NotStoredError,
    ObjectExistsError,
    ObjectMissingError,
    SpecialFileError,
    State,
    Storage,
    StorageFullError,
    StoredObject,
    is_named_by,
    read_named,
    read_sized,
    sha256_of,
    size_of,
    state_of,
)
from eventlake.storage.uri import can_be_reopened, from_uri, is_in_memory, is_uri

__all__ = [
    "RESTORE_HINT",
    "ByteRange",
    "LocalStorage",
    "MemoryStorage",
    "NotDurableError",
    "NotStoredError",
    "ObjectExistsError",
    "ObjectMissingError",
    "ObjectStorage",
    "SpecialFileError",
    "State",
    "Storage",
    "StorageFullError",
    "StoredObject",
    "can_be_reopened",
    "check_hash",
    "from_uri",
    "is_in_memory",
    "is_named_by",
    "is_uri",
    "lake_nearby",
    "probe",
    "read_named",
    "read_sized",
    "sha256_of",
    "size_of",
    "state_of",
]
