"""Retention: rows that can be made again are given back. Only when asked, and never those of a dataset that a tag or a lock names.

What a dataset is stays: its manifest, provenance, source and spine. So its hashes are found as before, ``reproduce`` makes its rows again,
and building its recipe stores them once more.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

from eventlake.core import layout
from eventlake.core.canonical import seal
from eventlake.core.provenance import PART
from eventlake.datasets.archive import Archive, open_archive
from eventlake.datasets.catalogue import folders
from eventlake.datasets.tags import tags
from eventlake.errors import InvalidInputError
from eventlake.log.collect import Garbage, Unneeded
from eventlake.log.room import keep_reserve, with_room
from eventlake.progress import task
from eventlake.storage import ObjectExistsError, Storage

_MICROSECOND = timedelta(microseconds=1)


def prune(storage: Storage, older_than: timedelta, keep_last: int, now: int, *, dry_run: bool) -> Garbage:
    """Gives back the rows of datasets that nobody has named.

    Args:
        storage: Of the lake.
        older_than: Only of datasets that were built longer ago.
        keep_last: How many of each name stay in any case, the newest by watermark, then by time of building.
        now: This machine's clock, microseconds.
        dry_run: Only say what would be deleted.

    Raises:
        InvalidInputError: An age or a number is negative.
        CorruptionError: A manifest or a tag is damaged; nothing was deleted.
    """
    if older_than < timedelta(0) or keep_last < 0:
        message = f"expected an age and a number from 0, found {older_than} and {keep_last}"
        raise InvalidInputError(message)
    named = set(tags(storage).values())
    by_name: dict[str, list[Archive]] = {}
    for folder in folders(storage):
        archive = open_archive(storage, folder)
        by_name.setdefault(archive.manifest.recipe.name, []).append(archive)
    found: list[Unneeded] = []
    for archives in by_name.values():
        archives.sort(key=lambda one: (one.manifest.recipe.checkpoint.watermark, one.provenance().get("built_at", 0)))
        for archive in archives[: max(len(archives) - keep_last, 0)]:
            if archive.manifest.manifest_hash not in named:
                found += [one for one in _rows(archive) if one.since < now - older_than // _MICROSECOND]
    return Garbage(tuple(found if dry_run else _deleted(storage, found)), deleted=not dry_run)


def _rows(archive: Archive) -> Iterator[Unneeded]:
    """The files that hold the rows of a dataset's finished attempts."""
    for provenance, _ in archive.attempts():
        for name, facts in sorted(provenance["files"].items()):
            path = f"{provenance['attempt']}/{name}"
            if name.startswith(PART) and archive.storage.exists(path):
                yield Unneeded(path, facts["bytes"], provenance.get("built_at", 0), "rows of a dataset without a tag or a lock")


def _deleted(storage: Storage, files: list[Unneeded]) -> Iterator[Unneeded]:
    with task("deleting rows", len(files)) as advance:
        for file in files:
            parts = layout.build_parts(file.path)
            if parts and any(manifest_hash.startswith(parts[1]) for manifest_hash in tags(storage).values()):
                advance(1)
                continue  # named since it was listed
            attempt = layout.attempt(file.path)
            # First it is said, then done: who finds rows missing must know why.
            note = f"{attempt}/{layout.PRUNED}"
            with suppress(ObjectExistsError):
                with_room(storage, partial(storage.create, note, seal({"pruned": True})))
            storage.delete(file.path)
            advance(1)
            yield file
    keep_reserve(storage)
