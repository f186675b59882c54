"""Names for datasets that are to be found and kept: a tag is given once, never moved, and may be taken away."""

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
"""What looks like a hash."""
_LOCK = "lock-"
"""Tags that a lock gives begin with it."""


def tag(storage: Storage, name: str, manifest_hash: str) -> None:
    """Gives a dataset a name. Giving it again changes nothing.

    Raises:
        InvalidInputError: It is no name, or looks like a hash.
        AlreadyExistsError: Another dataset has it.
    """
    if (
        not isinstance(name, str)
        or not _NAME.fullmatch(name)
        or HEX.fullmatch(name)
        or name.startswith(_LOCK)
    ):
        message = f"expected a tag of at most 100 letters, digits, '.', '_' and '-', which is no hash and no lock's, found {name!r}"
        raise InvalidInputError(message)
    _write(storage, name, manifest_hash)


def keep_for_lock(storage: Storage, name: str, manifest_hash: str, *, release: bool) -> None:
    """Remembers that a lock names a dataset. Nothing is written if that is remembered already.

    Args:
        storage: Of the lake.
        name: The dataset's name.
        manifest_hash: The dataset.
        release: Whether it is a new lock, which takes the place of those before it: their datasets
            of the same name are let go, unless somebody has tagged them.
    """
    _write(storage, f"{_LOCK}{manifest_hash}", manifest_hash)
    if release:
        for other in _locked(storage) - {manifest_hash}:
            if storage.exists(f"{layout.build_path(name, other)}/{layout.MANIFEST}"):
                storage.delete(layout.tag_path(f"{_LOCK}{other}"))


def _locked(storage: Storage) -> set[str]:
    """The manifest hashes that lock tags have in their names."""
    names = (layout.tag_name(item.path) for item in storage.list(layout.TAGS))
    return {name.removeprefix(_LOCK) for name in names if name and is_lock(name)}


def _write(storage: Storage, name: str, manifest_hash: str) -> None:
    if (found := tagged(storage, name)) is None:
        with suppress(ObjectExistsError):
            storage.create(
                layout.tag_path(name),
                seal({"manifest_hash": manifest_hash, "tagged_at": time.time_ns() // 1000}),
            )
            return
        found = tagged(storage, name)
    if found != manifest_hash:
        message = f"the tag {name} is dataset {found}'s"
        raise AlreadyExistsError(
            message, "take it away first, or choose another name: a tag is never moved.", tag=name
        )


def untag(storage: Storage, name: str) -> None:
    """Takes a name away; the dataset stays, but retention may take its rows.

    Raises:
        NotFoundError: There is no such tag.
    """
    if name not in tags(storage):
        message = f"there is no tag {name}"
        raise NotFoundError(message, "'eventlake datasets LAKE' shows them.", tag=name)
    storage.delete(layout.tag_path(name))


def tagged(storage: Storage, name: str) -> str | None:
    """The manifest hash of the dataset that has a name; None where none has it.

    Raises:
        CorruptionError: What stands there is not what was written.
    """
    with suppress(ObjectMissingError):
        return read_tag(storage.read(layout.tag_path(name)), layout.tag_path(name)).manifest_hash
    return None


def tags(storage: Storage) -> dict[str, str]:
    """The manifest hash by name; those of locks among them.

    Raises:
        CorruptionError: A tag is damaged.
    """
    names = (layout.tag_name(item.path) for item in storage.list(layout.TAGS))
    found = {name: tagged(storage, name) for name in names if name}
    return {name: manifest_hash for name, manifest_hash in found.items() if manifest_hash}


def holders(storage: Storage) -> dict[str, list[str]]:
    """What holds datasets, in words, by manifest hash: tags, and locks, whose tags are named by the hash and not read.

    Raises:
        CorruptionError: A tag is damaged.
    """
    found = {manifest_hash: ["a dataset.lock"] for manifest_hash in _locked(storage)}
    for item in storage.list(layout.TAGS):
        name = layout.tag_name(item.path)
        if name and not is_lock(name) and (manifest_hash := tagged(storage, name)):
            found.setdefault(manifest_hash, []).append(f"the tag {name}")
    return found


def is_lock(name: str) -> bool:
    """Whether a tag says that a lock names the dataset."""
    return name.startswith(_LOCK)
