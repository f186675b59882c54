"""Finding built datasets."""

import re
from collections.abc import Iterator

from eventlake.core import layout
from eventlake.datasets.archive import Archive, open_archive
from eventlake.errors import InvalidInputError, NotFoundError
from eventlake.storage import Storage

_PREFIX = re.compile(r"[0-9a-f]{6,64}")


def folders(storage: Storage) -> Iterator[str]:
    """The folders of all published datasets, by name, then hash."""
    for item in storage.list(layout.BUILDS):
        parts = layout.build_parts(item.path)
        if parts and parts[2] == layout.MANIFEST:
            yield item.path.removesuffix(f"/{layout.MANIFEST}")


def find(storage: Storage, prefix: str) -> Archive:
    """The one dataset whose manifest hash starts with ``prefix``.

    Raises:
        InvalidInputError: Not 6 to 64 hex digits, or it fits several.
        NotFoundError: No such dataset.
        CorruptionError: Its manifest is damaged.
    """
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        message = f"expected 6 to 64 hex digits of a dataset's manifest hash, found {prefix!r}"
        raise InvalidInputError(message, "'eventlake datasets LAKE' lists them.", prefix=prefix)
    short = prefix[: layout.SHORT_HASH]
    found = [folder for folder in folders(storage) if folder.rsplit("/", 1)[-1].startswith(short)]
    archives = [
        archive for archive in (open_archive(storage, folder) for folder in found) if archive.manifest.manifest_hash.startswith(prefix)
    ]
    if len(archives) > 1:
        message = f"{prefix} fits {len(archives)} datasets: {', '.join(archive.folder for archive in archives)}"
        raise InvalidInputError(message, "give more digits.", prefix=prefix)
    if not archives:
        message = f"there is no dataset whose manifest hash starts with {prefix}"
        raise NotFoundError(message, "'eventlake datasets LAKE' lists them.", prefix=prefix)
    return archives[0]
