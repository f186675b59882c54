"""Retention: deletes rows that can be computed again, never those of a tagged or locked dataset.

The manifest, provenance, source and spine stay. So the hashes are found as before, ``reproduce``
computes the rows again, and building the recipe stores them again. On request whole datasets are
removed instead; see ``removal``.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

from eventlake.core import counts, layout
from eventlake.core.documents.provenance import PART
from eventlake.core.hashing.canonical import seal
from eventlake.core.instants import MICROSECOND
from eventlake.datasets.store import build_index
from eventlake.datasets.store.archive import Archive
from eventlake.datasets.store.find import opened
from eventlake.datasets.store.removal import Holders, files_of, remove_free
from eventlake.datasets.store.tags import holders
from eventlake.errors import InvalidInputError
from eventlake.log.maintaining.garbage import Garbage, Unneeded
from eventlake.log.maintaining.reserve import keep_reserve, with_room
from eventlake.progress import task
from eventlake.storage import ObjectExistsError, Storage, StoredObject

_WHOLE = "of a dataset without a tag or a lock"


def prune(
    storage: Storage,
    older_than: timedelta,
    keep_last: int,
    now: int,
    *,
    dry_run: bool,
    whole: bool = False,
    held: Holders | None = None,
) -> Garbage:
    """Delete the rows of datasets that nothing holds, or remove the datasets.

    Args:
        storage: The lake.
        older_than: Minimum age of a dataset, counted from when it was built.
        keep_last: How many datasets of each name to keep in any case: the newest by watermark,
            then by time of building.
        now: This machine's clock, in microseconds since the epoch.
        dry_run: Only list what would be deleted.
        whole: Remove whole datasets, also those whose rows were pruned before.
        held: What holds datasets. Defaults to tags and locks.

    Raises:
        InvalidInputError: An age or a number is negative.
        CorruptionError: A manifest or a tag is damaged; nothing was deleted.
    """
    if older_than < timedelta(0):
        message = f"expected older_than as an age from 0, found {older_than}"
        raise InvalidInputError(message)
    keep_last = counts.count(keep_last, "keep_last")
    held = held or partial(holders, storage)
    listed = _by_folder(storage)
    found = [
        (one, _rows(one, listed) if not whole else files_of(one, _WHOLE, listed[one.folder]))
        for one in _old(storage, keep_last, held(), listed)
    ]
    found = [
        (one, [file for file in files if file.since < now - older_than // MICROSECOND])
        for one, files in found
    ]
    found = [(one, files) for one, files in found if files]
    if dry_run:
        return Garbage(tuple(file for _, files in found for file in files), deleted=False)
    deleted = (
        list(remove_free([one for one, _ in found], held, _WHOLE))
        if whole
        else list(_deleted(found, held))
    )
    keep_reserve(storage)
    return Garbage(tuple(deleted), deleted=True)


def _by_folder(storage: Storage) -> dict[str, list[StoredObject]]:
    """The files of each published dataset, from one listing, by name and hash."""
    found: dict[str, list[StoredObject]] = {}
    published = []
    for item in storage.list(layout.BUILDS):
        parts = layout.build_parts(item.path)
        if parts is not None:
            folder = item.path.removesuffix(f"/{parts[2]}")
            found.setdefault(folder, []).append(item)
            if parts[2] == layout.MANIFEST:
                published.append(folder)
    return {folder: found[folder] for folder in published}


def _old(
    storage: Storage, keep_last: int, held: Container[str], listed: Iterable[str]
) -> list[Archive]:
    """The datasets that nothing holds, except the newest of each name."""
    by_name: dict[str, list[Archive]] = {}
    for archive in opened(storage, listed):
        by_name.setdefault(archive.manifest.recipe.name, []).append(archive)
    found: list[Archive] = []
    for archives in by_name.values():
        older = _without_newest(archives, keep_last)
        found += [one for one in older if one.manifest.manifest_hash not in held]
    return found


def _without_newest(archives: list[Archive], keep_last: int) -> list[Archive]:
    """All but the newest, by watermark, then by time of building."""
    archives = sorted(archives, key=_watermark)
    first = max(len(archives) - keep_last, 0)
    if first == 0 or keep_last == 0:
        return archives[:first]
    # Only among those of the watermark of the first that is kept does the time matter, and it is
    # in another file.
    tied = _watermark(archives[first])
    older = [one for one in archives if _watermark(one) < tied]
    equal = [one for one in archives if _watermark(one) == tied]
    if len(equal) > 1:
        equal.sort(key=_built_at)
    return [*older, *equal][:first]


def _watermark(archive: Archive) -> int:
    return archive.manifest.recipe.checkpoint.watermark


def _built_at(archive: Archive) -> int:
    """When the dataset was built; 0 if it is being removed."""
    return next((int(provenance.get("built_at", 0)) for provenance, _ in archive.attempts()), 0)


def _rows(archive: Archive, listed: Mapping[str, list[StoredObject]]) -> list[Unneeded]:
    """The files that hold the rows of a dataset's finished attempts."""
    present = {item.path for item in listed[archive.folder]}
    # Of a dataset that was pruned before, nothing but its manifest is read.
    if not any(path.rpartition("/")[2].startswith(PART) for path in present):
        return []
    found = []
    for provenance, _ in archive.attempts(present):
        for name, facts in sorted(provenance["files"].items()):
            path = f"{provenance['attempt']}/{name}"
            if name.startswith(PART) and path in present:
                found.append(
                    Unneeded(
                        path,
                        facts["bytes"],
                        provenance.get("built_at", 0),
                        "rows of a dataset without a tag or a lock",
                    )
                )
    return found


def _deleted(
    found: Sequence[tuple[Archive, list[Unneeded]]], holders: Holders, at_once: int = 64
) -> Iterator[Unneeded]:
    """Delete rows, and look for new tags and locks before every ``at_once`` datasets."""
    held: Container[str] = ()
    for number, (archive, files) in enumerate(found):
        if number % at_once == 0:
            held = holders()
        if archive.manifest.manifest_hash not in held:
            yield from _deleted_rows(archive, files)


def _deleted_rows(archive: Archive, files: list[Unneeded]) -> Iterator[Unneeded]:
    storage = archive.storage
    # Nothing can be built from it any more, so no build opens it in vain.
    build_index.drop(storage, archive.manifest)
    with task(f"deleting rows of {archive.manifest.recipe.name}", len(files)) as advance:
        for file in files:
            # The note comes before the deletion: a reader who misses rows must be able to say why.
            note = f"{layout.attempt(file.path)}/{layout.PRUNED}"
            with suppress(ObjectExistsError):
                with_room(storage, partial(storage.create, note, seal({"pruned": True})))
            storage.delete(file.path)
            advance(1)
            yield file
