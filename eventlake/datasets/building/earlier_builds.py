"""The datasets of one name that were built before, found through an index."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from eventlake.core import layout
from eventlake.core.documents.dataset import Recipe
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.store import build_index
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.datasets.store.build_index import Cutoffs, Entry
from eventlake.datasets.store.find import folders
from eventlake.errors import EventlakeError
from eventlake.storage import Storage
from eventlake.trust import Trust

_MOST_OPENED = 4
"""Manifests that are read in search of a base; damaged ones count too."""


class EarlierBuilds:
    """Searches the earlier builds of a recipe's name.

    A build searches several times: before and after it holds the lease, for a base to start from,
    and for what others stored. What it reads does not depend on how many there are, unless the
    index was lost; see ``build_index``.

    Args:
        storage: The lake.
        recipe: The recipe of the build.
        trust: The trust in the lake's writers.
    """

    def __init__(self, storage: Storage, recipe: Recipe, trust: Trust) -> None:
        self._storage = storage
        self._recipe = recipe
        self._trust = trust
        self._archives: dict[str, Archive] = {}
        self._indexed: bool | None = None

    def of_recipe(self, trust: Trust | None = None) -> Archive | None:
        """A complete dataset that the recipe made before; None if there is none that is trusted.

        Args:
            trust: Defaults to the trust in the lake's writers.
        """
        noted = self._noted()
        opened = list(self._opened(noted))
        found = self._made(opened, trust)
        # A note of what is not there says that the index is not to be relied on.
        if found is None and (len(opened) < len(noted) or not self._is_indexed()):
            every = list(self._opened(list(folders(self._storage, self._recipe.name))))
            self._restore_index(every)
            found = self._made(every, trust)
        return found

    def bases(
        self, watermark: int, serves: Callable[[Entry], bool] = lambda _: True
    ) -> Iterator[tuple[Entry, Archive]]:
        """Trusted datasets whose recipe differs in history and spine alone, and their entries.

        The longest history comes first; none is longer than ``watermark``.

        Args:
            watermark: Of the history to build from.
            serves: Whether a dataset with the facts of an entry can serve. Others are not opened.
        """
        promising = (
            entry
            for entry in build_index.entries(self._storage, self._recipe)
            if entry.watermark <= watermark and serves(entry) and self._knows(entry.manifest_hash)
        )
        for entry in islice(promising, _MOST_OPENED):
            folder = layout.build_path(self._recipe.name, entry.manifest_hash)
            for archive in self._opened([folder]):
                if _is_of(archive, entry) and _is_of_series(archive.manifest.recipe, self._recipe):
                    yield entry, archive

    def correct(self, entry: Entry, archive: Archive, cutoffs: Cutoffs) -> None:
        """Record the cutoffs of a dataset that were found in it."""
        with suppress(EventlakeError):
            build_index.correct(self._storage, entry, archive.manifest, cutoffs)

    def add(self, archive: Archive, cutoffs: Cutoffs | None) -> None:
        """Record that the recipe made a dataset."""
        build_index.note(self._storage, archive.manifest)
        # The dataset is published and found again without the rest.
        with suppress(EventlakeError):
            build_index.add(self._storage, archive.manifest, cutoffs)
            if not self._is_indexed():
                build_index.mark_indexed(self._storage, self._recipe.name)

    def _noted(self) -> list[str]:
        listed = self._storage.list(layout.recipe_folder(self._recipe.recipe_hash))
        hashes = [layout.made_hash(item.path) for item in listed]
        return [layout.build_path(self._recipe.name, one) for one in hashes if one]

    def _made(self, archives: list[Archive], trust: Trust | None) -> Archive | None:
        for archive in archives:
            if (
                _is_same(archive.manifest.recipe, self._recipe)
                and self._knows(archive.manifest.manifest_hash, trust)
                and _is_whole(archive)
            ):
                return archive
        return None

    def _is_indexed(self) -> bool:
        if not self._indexed:
            self._indexed = build_index.is_indexed(self._storage, self._recipe.name)
        return self._indexed

    def _restore_index(self, archives: list[Archive]) -> None:
        # A build that fails leaves nothing, so the first one marks its name when it is published.
        if archives:
            # A disk without room, or a lake that may only be read, is no reason to fail here.
            with suppress(EventlakeError):
                build_index.restore(self._storage, self._recipe.name, archives)

    def _opened(self, places: list[str]) -> Iterator[Archive]:
        for folder in places:
            if folder not in self._archives:
                # A damaged dataset is not used; building it again repairs it.
                with suppress(EventlakeError):
                    self._archives[folder] = open_archive(self._storage, folder)
            if folder in self._archives:
                yield self._archives[folder]

    def _knows(self, manifest_hash: str, trust: Trust | None = None) -> bool:
        return (trust or self._trust).knows(dataset_statement(manifest_hash))


def _is_whole(archive: Archive) -> bool:
    with suppress(EventlakeError):
        return archive.is_whole()
    return False


def _is_same(one: Recipe, other: Recipe) -> bool:
    # Equality is quick, and takes 1 for True; the hash decides.
    return one == other and one.recipe_hash == other.recipe_hash


def _is_of(archive: Archive, entry: Entry) -> bool:
    manifest = archive.manifest
    return (
        manifest.manifest_hash == entry.manifest_hash
        and manifest.recipe.checkpoint.watermark == entry.watermark
    )


def _is_of_series(other: Recipe, wanted: Recipe) -> bool:
    return other.series_hash == wanted.series_hash
