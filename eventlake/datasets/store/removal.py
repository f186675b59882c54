"""Removing datasets, safely beside concurrent builds, and remembering what was removed.

First every finished attempt is marked by a ``removed.json``; from then on no builder and no reader
uses it. Then the manifest is deleted: the dataset is gone. Then its files are deleted. The marks
stay and record when the dataset was removed. An interrupted removal leaves either a dataset that
can be removed or built again, or files that ``gc`` collects.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from eventlake.core import layout
from eventlake.core.documents.lake import read_removed
from eventlake.core.hashing.canonical import seal
from eventlake.core.instants import format_instant
from eventlake.datasets.store import build_index
from eventlake.datasets.store.archive import Archive
from eventlake.errors import InvalidInputError, NotFoundError
from eventlake.log.maintaining.garbage import Unneeded
from eventlake.log.maintaining.reserve import keep_reserve, with_room
from eventlake.progress import task
from eventlake.storage import ObjectExistsError, Storage, StoredObject

Holders = Callable[[], dict[str, list[str]]]
"""Lists what holds each dataset, in words, by manifest hash."""


def files_of(
    archive: Archive, reason: str, listed: Iterable[StoredObject] | None = None
) -> list[Unneeded]:
    """The files that removing a dataset deletes.

    Args:
        archive: The dataset.
        reason: Describes the files to users.
        listed: The files of its folder, if they were listed before.
    """
    found = list(archive.storage.list(archive.folder) if listed is None else listed)
    attempts = archive.attempts({item.path for item in found})
    built_at = next((provenance.get("built_at", 0) for provenance, _ in attempts), 0)
    return [
        Unneeded(item.path, item.size_bytes, built_at, reason)
        for item in found
        if not item.path.endswith(f"/{layout.REMOVED}")
    ]


def remove(archive: Archive, holders: Holders, reason: str) -> Iterator[Unneeded]:
    """Remove a dataset and yield the deleted files.

    Raises:
        InvalidInputError: Something holds the dataset; nothing was changed.
        StorageError: The store failed. Removing it again finishes the removal.
    """
    check_free(archive, holders())
    marks = _mark(archive)
    try:
        # ``Lake.tag`` writes the tag first and then looks for marks, so one of the two sees the
        # other.
        check_free(archive, holders())
    except InvalidInputError:
        _unmark(archive, marks)
        raise
    yield from _deleted(archive, reason)
    keep_reserve(archive.storage)


def remove_free(
    archives: Sequence[Archive], holders: Holders, reason: str, at_once: int = 64
) -> Iterator[Unneeded]:
    """Remove those of the datasets that nothing holds, and yield the deleted files.

    Args:
        archives: The datasets.
        holders: What holds datasets. It is asked twice for ``at_once`` datasets.
        reason: Describes the files to users.
        at_once: Datasets that are marked together. An interruption leaves so many marked.
    """
    for start in range(0, len(archives), at_once):
        some, held = archives[start : start + at_once], holders()
        marked = [
            (archive, _mark(archive))
            for archive in some
            if archive.manifest.manifest_hash not in held
        ]
        # After all are marked, as for a single one.
        held = holders()
        for archive, marks in marked:
            if archive.manifest.manifest_hash in held:
                _unmark(archive, marks)
            else:
                yield from _deleted(archive, reason)


def _mark(archive: Archive) -> list[str]:
    """Mark every finished attempt, so that no reader and no builder uses it; return the marks."""
    storage = archive.storage
    marks = [f"{provenance['attempt']}/{layout.REMOVED}" for provenance, _ in archive.attempts()]
    for path in marks:
        with suppress(ObjectExistsError):
            with_room(storage, partial(storage.create, path, _record(archive)))
    return marks


def _unmark(archive: Archive, marks: Iterable[str]) -> None:
    for path in marks:
        archive.storage.delete(path)


def _deleted(archive: Archive, reason: str) -> Iterator[Unneeded]:
    """Delete the files of a marked dataset."""
    storage = archive.storage
    marked = {
        path.rpartition("/")[0]
        for item in storage.list(archive.folder)
        if (path := item.path).endswith(f"/{layout.REMOVED}")
    }
    # A build may have begun another attempt meanwhile, which has no mark: it stays.
    files = files_of(archive, reason)
    files = [file for file in files if layout.attempt(file.path) in {None, *marked}]
    # The manifest first: without it the dataset does not exist, whatever an interruption leaves.
    files.sort(key=lambda file: not file.path.endswith(f"/{layout.MANIFEST}"))
    with task(f"removing {archive.manifest.recipe.name}", len(files)) as advance:
        for file in files:
            storage.delete(file.path)
            advance(1)
            yield file
    build_index.drop(storage, archive.manifest)
    recipe_hash, manifest_hash = archive.manifest.recipe.recipe_hash, archive.manifest.manifest_hash
    storage.delete(layout.made_path(recipe_hash, manifest_hash))


def check_free(archive: Archive, holders: Mapping[str, list[str]]) -> None:
    """Check that nothing holds a dataset.

    Args:
        archive: The dataset.
        holders: What holds each dataset, in words, by manifest hash.

    Raises:
        InvalidInputError: Something does; the message names it.
    """
    manifest_hash = archive.manifest.manifest_hash
    held = holders.get(manifest_hash)
    if held:
        short = manifest_hash[: layout.SHORT_HASH]
        message = (
            f"expected a dataset that nothing holds, found {archive.manifest.recipe.name} {short}, "
            f"held by {', '.join(held)}"
        )
        hint = (
            "remove its tags first: 'eventlake tag LAKE NAME --delete'. The tag of a lock is "
            "lock-HASH; locking the definition again releases it. Predictions need the dataset to "
            "be explained: 'eventlake prune' deletes its rows and keeps the rest."
        )
        raise InvalidInputError(message, hint, manifest_hash=manifest_hash, held_by=held)


def _record(archive: Archive) -> bytes:
    manifest = archive.manifest
    return seal(
        {
            "content_hash": manifest.content_hash,
            "manifest_hash": manifest.manifest_hash,
            "name": manifest.recipe.name,
            "recipe_hash": manifest.recipe.recipe_hash,
            "removed_at": time.time_ns() // 1000,
        }
    )


def check_not_removed(storage: Storage, prefix: str) -> None:
    """Check that a hash that was not found is not that of a removed dataset.

    Args:
        storage: The lake.
        prefix: At least 6 hex digits of a manifest, recipe or content hash.

    Raises:
        NotFoundError: Such a dataset was removed; the message names it and the time.
        CorruptionError: The record of the removal is damaged.
    """
    for item in storage.list(layout.BUILDS):
        if layout.attempt(item.path) is None or not item.path.endswith(f"/{layout.REMOVED}"):
            continue
        record = read_removed(storage.read(item.path), item.path)
        if any(
            one.startswith(prefix)
            for one in (record.manifest_hash, record.recipe_hash, record.content_hash)
        ):
            which = f"dataset {record.manifest_hash[: layout.SHORT_HASH]} ({record.name})"
            message = f"{which} was removed on {format_instant(record.removed_at)}"
            raise NotFoundError(
                message,
                "build its definition again at the same checkpoint to have it again.",
                prefix=prefix,
            )
