"""Finding built datasets."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches

from eventlake.core import layout
from eventlake.core.names import HASH_PREFIX
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.datasets.store.removal import check_not_removed
from eventlake.datasets.store.tags import HEX, tagged
from eventlake.errors import EventlakeError, InvalidInputError, NotFoundError
from eventlake.storage import ObjectMissingError, Storage

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST_NAMES = 16
"""Names of datasets up to which a hash is looked for in the folder of each."""


def folders(storage: Storage, name: str | None = None) -> Iterator[str]:
    """Yield the folders of published datasets, of all or of one name, by name, then hash."""
    for item in storage.list(layout.BUILDS if name is None else f"{layout.BUILDS}/{name}"):
        parts = layout.build_parts(item.path)
        if parts and parts[2] == layout.MANIFEST:
            yield item.path.removesuffix(f"/{layout.MANIFEST}")


def opened(storage: Storage, places: Iterable[str]) -> Iterator[Archive]:
    """Yield the datasets in these folders, except those that were removed since the listing.

    Raises:
        CorruptionError: A manifest is damaged.
    """
    for folder in places:
        try:
            archive = open_archive(storage, folder)
        except ObjectMissingError:
            continue
        yield archive


def find(storage: Storage, reference: str) -> Archive:
    """Find the one dataset with a tag or a hash prefix.

    Manifest hashes are searched first, then recipe and content hashes.

    Raises:
        InvalidInputError: It is neither a tag nor 6 to 64 hex digits, or fits several datasets.
        NotFoundError: There is no such dataset.
        CorruptionError: Its manifest is damaged.
    """
    if isinstance(reference, str) and not HEX.fullmatch(reference) and _TAG.fullmatch(reference):
        manifest_hash = tagged(storage, reference)
        if manifest_hash is None:
            message = f"there is no dataset with the tag {reference}"
            raise NotFoundError(
                message, "'eventlake datasets LAKE' lists datasets and tags.", tag=reference
            )
        return find(storage, manifest_hash)
    if not isinstance(reference, str) or not re.fullmatch(HASH_PREFIX, reference):
        message = (
            "expected a tag, or 6 to 64 hex digits of a dataset's manifest, recipe or content "
            f"hash, found {reference!r}"
        )
        raise InvalidInputError(message, _hint(reference), prefix=reference)
    if len(reference) == layout.HASH_DIGITS and (archive := _by_manifest_hash(storage, reference)):
        return archive
    short = reference[: layout.SHORT_HASH]
    named = list(
        opened(
            storage,
            (folder for folder in folders(storage) if folder.rsplit("/", 1)[-1].startswith(short)),
        )
    )
    # Folders have the manifest hash in their names; other hashes need every manifest to be read.
    archives = [
        archive for archive in named if archive.manifest.manifest_hash.startswith(reference)
    ] or by_any_hash(storage, reference)
    if len(archives) > 1:
        fitting = ", ".join(archive.folder for archive in archives)
        message = f"{reference} fits {len(archives)} datasets: {fitting}"
        raise InvalidInputError(
            message, "give more digits, or the manifest hash.", prefix=reference
        )
    if not archives:
        check_not_removed(storage, reference)
        message = f"there is no dataset with a hash that starts with {reference}"
        raise NotFoundError(message, "'eventlake datasets LAKE' lists them.", prefix=reference)
    return archives[0]


def _by_manifest_hash(storage: Storage, manifest_hash: str) -> Archive | None:
    """The dataset with this hash, if its name is indexed; found without a listing of all files."""
    names = [layout.indexed_name(item.path) for item in storage.list(layout.INDEXED)]
    # Each name costs a request; with many names a listing is cheaper.
    for name in filter(None, names if len(names) <= _MOST_NAMES else ()):
        with suppress(ObjectMissingError):
            archive = open_archive(storage, layout.build_path(name, manifest_hash))
            if archive.manifest.manifest_hash == manifest_hash:
                return archive
    return None


def _hint(reference: object) -> str:
    if isinstance(reference, str) and re.fullmatch(HASH_PREFIX, plain := reference.strip().lower()):
        return f"write {plain!r}."
    if hasattr(reference, "manifest_hash"):
        return "write dataset.manifest_hash."
    return "'eventlake datasets LAKE' lists them, lake.datasets() in Python."


def find_named(storage: Storage, reference: str) -> Archive:
    """Find a dataset like ``find``, or the newest one of a name.

    The newest is the one with the highest watermark.

    Raises:
        InvalidInputError: It is not a valid reference, or fits several datasets.
        NotFoundError: There is no such dataset.
        CorruptionError: Its manifest is damaged.
    """
    try:
        return find(storage, reference)
    except (NotFoundError, InvalidInputError) as error:
        archives = list(opened(storage, _named(storage, reference)))
        if not archives and isinstance(error, NotFoundError):
            message = f"{error.message}, and none of that name"
            names = {folder.split("/")[1] for folder in folders(storage)}
            near = get_close_matches(reference, names, 1)
            raise NotFoundError(
                message, f"did you mean {near[0]!r}?" if near else error.hint, **error.facts
            ) from None
        if not archives:
            raise
    newest = max(archive.manifest.recipe.checkpoint.watermark for archive in archives)
    found = [
        archive for archive in archives if archive.manifest.recipe.checkpoint.watermark == newest
    ]
    if len(found) > 1:
        hashes = ", ".join(archive.manifest.manifest_hash[: layout.SHORT_HASH] for archive in found)
        message = (
            f"{len(found)} datasets called {reference} have the watermark {newest:,}: {hashes}"
        )
        raise InvalidInputError(
            message, "give the hash of one of them, or its tag.", prefix=reference
        )
    return found[0]


def _named(storage: Storage, name: object) -> list[str]:
    # A name that is not a plain word must not become part of a path.
    return list(folders(storage, name)) if isinstance(name, str) and _TAG.fullmatch(name) else []


def by_any_hash(storage: Storage, prefix: str) -> list[Archive]:
    """The undamaged datasets whose manifest, recipe or content hash starts with a prefix."""
    found = []
    for folder in folders(storage):
        with suppress(EventlakeError):
            archive = open_archive(storage, folder)
            if archive.manifest.has_hash(prefix):
                found.append(archive)
    return found
