"""The datasets of one name that were built before, each read at most once in a build."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from eventlake.core import layout
from eventlake.core.documents.dataset import Recipe
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.datasets.store.find import folders
from eventlake.errors import EventlakeError
from eventlake.storage import Storage
from eventlake.trust import Trust


class EarlierBuilds:
    """Searches the earlier builds of a recipe's name.

    A build searches several times: before and after it holds the lease, for a base to start from,
    and for what others stored. A manifest never changes, so only new ones are read again.

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

    def of_recipe(self, trust: Trust | None = None) -> Archive | None:
        """A complete dataset that the recipe made before; None if there is none that is trusted.

        Args:
            trust: Defaults to the trust in the lake's writers.
        """
        noted = (
            layout.made_hash(item.path)
            for item in self._storage.list(layout.recipe_folder(self._recipe.recipe_hash))
        )
        places = [layout.build_path(self._recipe.name, one) for one in noted if one]
        # Notes may be lost: then all datasets of the name are searched.
        for archive in chain(self._opened(places), self._all()):
            known = _is_same(archive.manifest.recipe, self._recipe) and self._knows(archive, trust)
            if known and _is_whole(archive):
                return archive
        return None

    def bases(self, watermark: int) -> Iterator[Archive]:
        """Trusted, complete datasets whose recipe differs in history and spine alone.

        The longest history comes first; none is longer than ``watermark``.
        """
        wanted = self._recipe
        found = []
        for archive in self._all():
            other = archive.manifest.recipe
            # These three may differ, but none may be null in one of them only.
            same = replace(
                other,
                checkpoint=wanted.checkpoint,
                clock_hash=wanted.clock_hash,
                spine=wanted.spine,
            )
            alike = (other.clock_hash is None) == (wanted.clock_hash is None) and (
                other.spine is None
            ) == (wanted.spine is None)
            if alike and other.checkpoint.watermark <= watermark and _is_same(same, wanted):
                found.append(archive)
        found.sort(key=lambda one: one.manifest.recipe.checkpoint.watermark, reverse=True)
        for archive in found:
            if self._knows(archive) and _is_whole(archive):
                yield archive

    def _all(self) -> Iterator[Archive]:
        yield from self._opened(list(folders(self._storage, self._recipe.name)))

    def _opened(self, places: list[str]) -> Iterator[Archive]:
        for folder in places:
            if folder not in self._archives:
                # A damaged dataset is not used; building it again repairs it.
                with suppress(EventlakeError):
                    self._archives[folder] = open_archive(self._storage, folder)
            if folder in self._archives:
                yield self._archives[folder]

    def _knows(self, archive: Archive, trust: Trust | None = None) -> bool:
        return (trust or self._trust).knows(dataset_statement(archive.manifest.manifest_hash))


def _is_whole(archive: Archive) -> bool:
    with suppress(EventlakeError):
        return archive.is_whole()
    return False


def _is_same(one: Recipe, other: Recipe) -> bool:
    # Equality is quick, and takes 1 for True; the hash decides.
    return one == other and one.recipe_hash == other.recipe_hash
