"""Tags name datasets and keep them. A tag is created once, never moved, and may be deleted."""

import re
import time
from contextlib import suppress

from eventlake.core import layout
from eventlake.core.documents.lake import read_tag
from eventlake.core.hashing.canonical import seal
from eventlake.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HEX = re.compile(r"[0-9a-fA-F]{6,}")
"""References that are read as a hash; no tag may look like one."""
_LOCK = "lock-"
"""The prefix of tags that are written for a ``dataset.lock``."""


def tag(storage: Storage, name: str, manifest_hash: str) -> None:
    """Tag a dataset. Tagging it again with the same name changes nothing.

    Raises:
        InvalidInputError: The name is invalid, looks like a hash, or is reserved for locks.
        AlreadyExistsError: Another dataset has this tag.
    """
    if (
        not isinstance(name, str)
        or not _NAME.fullmatch(name)
        or HEX.fullmatch(name)
        or name.startswith(_LOCK)
    ):
        message = (
            "expected a tag of at most 100 letters, digits, '.', '_' and '-' that does not look "
            f"like a hash or a lock's tag, found {name!r}"
        )
        raise InvalidInputError(message)
    _write(storage, name, manifest_hash)


def keep_for_lock(storage: Storage, name: str, manifest_hash: str, *, release: bool) -> None:
    """Record that a lock names a dataset. If that is recorded already, nothing is written.

    Args:
        storage: The lake.
        name: The dataset's name.
        manifest_hash: The dataset's manifest hash.
        release: Whether the lock is new and replaces earlier ones. Their datasets of the same name
            are released, unless they are tagged.
    """
    _write(storage, f"{_LOCK}{manifest_hash}", manifest_hash)
    if release:
        for other in _locked(storage) - {manifest_hash}:
            # A lock's tag does not hold the dataset's name, but the path of its manifest does.
            if storage.exists(f"{layout.build_path(name, other)}/{layout.MANIFEST}"):
                storage.delete(layout.tag_path(f"{_LOCK}{other}"))


def _locked(storage: Storage) -> set[str]:
    """The manifest hashes in the names of the tags of locks."""
    names = (layout.tag_name(item.path) for item in storage.list(layout.TAGS))
    return {name.removeprefix(_LOCK) for name in names if name and is_lock(name)}


def _write(storage: Storage, name: str, manifest_hash: str) -> None:
    # Looked up first: tagging again needs no permission to write.
    if (found := tagged(storage, name)) is None:
        with suppress(ObjectExistsError):
            storage.create(
                layout.tag_path(name),
                seal({"manifest_hash": manifest_hash, "tagged_at": time.time_ns() // 1000}),
            )
            return
        found = tagged(storage, name)
    if found != manifest_hash:
        message = f"the tag {name} already names dataset {found}"
        raise AlreadyExistsError(
            message, "delete it first, or choose another name: a tag is never moved.", tag=name
        )


def untag(storage: Storage, name: str) -> None:
    """Delete a tag. The dataset stays, but ``prune`` may now delete its rows.

    Raises:
        NotFoundError: There is no such tag.
    """
    valid = isinstance(name, str) and _NAME.fullmatch(name)
    if not valid or not storage.exists(layout.tag_path(name)):
        message = f"there is no tag {name}"
        raise NotFoundError(message, "'eventlake datasets LAKE' shows them.", tag=name)
    storage.delete(layout.tag_path(name))


def tagged(storage: Storage, name: str) -> str | None:
    """The manifest hash of the dataset with a tag; None if there is no such tag.

    Raises:
        CorruptionError: The tag is damaged.
    """
    with suppress(ObjectMissingError):
        return read_tag(storage.read(layout.tag_path(name)), layout.tag_path(name)).manifest_hash
    return None


def tags(storage: Storage) -> dict[str, str]:
    """The manifest hash by tag, including the tags of locks.

    Raises:
        CorruptionError: A tag is damaged.
    """
    names = (layout.tag_name(item.path) for item in storage.list(layout.TAGS))
    found = {name: tagged(storage, name) for name in names if name}
    return {name: manifest_hash for name, manifest_hash in found.items() if manifest_hash}


def holders(storage: Storage) -> dict[str, list[str]]:
    """The tags and locks that hold each dataset, in words, by manifest hash.

    Raises:
        CorruptionError: A tag is damaged.
    """
    # The tag of a lock has the hash in its name and need not be read.
    found = {manifest_hash: ["a dataset.lock"] for manifest_hash in _locked(storage)}
    for item in storage.list(layout.TAGS):
        name = layout.tag_name(item.path)
        if name and not is_lock(name) and (manifest_hash := tagged(storage, name)):
            found.setdefault(manifest_hash, []).append(f"the tag {name}")
    return found


def is_lock(name: str) -> bool:
    """Whether a tag was written for a lock."""
    return name.startswith(_LOCK)
