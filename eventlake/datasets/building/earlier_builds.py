"""The datasets of one name that were built before, found through an index."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice

import pyarrow as pa

from eventlake.core import layout
from eventlake.core.documents.dataset import Recipe
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.store import build_index
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.datasets.store.base_facts import Costs, Entities, Facts
from eventlake.datasets.store.build_index import Cutoffs, Entry
from eventlake.datasets.store.find import folders
from eventlake.errors import EventlakeError
from eventlake.storage import Storage
from eventlake.trust import Trust

_MOST_OPENED = 4
"""Entries that are read in search of a base; those of damaged datasets count too."""


class EarlierBuilds:
    """Searches the earlier builds of a recipe's name.

    A build searches several times: before and after it holds the lease, for a base to start from,
    and for what others stored. What it reads does not depend on how many there are, unless the
    index was lost; see ``build_index``.

    Args:
        storage: The lake.
        recipe: The recipe of the build.
        trust: The trust in the lake's writers.
        entities: The entity of each row of a spine, if rows are reused one by one.
    """

    def __init__(
        self,
        storage: Storage,
        recipe: Recipe,
        trust: Trust,
        entities: pa.ChunkedArray | None = None,
    ) -> None:
        self._storage = storage
        self._recipe = recipe
        self._trust = trust
        self._archives: dict[str, Archive] = {}
        self._indexed: bool | None = None
        self._costs = Costs()
        self._column = entities

    @cached_property
    def _entities(self) -> Entities | None:
        return None if self._column is None else Entities.of(self._column)

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

    def candidates(
        self, watermark: int, serves: Callable[[Entry], bool] = lambda _: True
    ) -> Iterator[tuple[Entry, Facts]]:
        """Entries of trusted datasets whose recipe differs in history and spine alone.

        The longest history comes first; none is longer than ``watermark``. Datasets of other
        entities are left out.

        Args:
            watermark: Of the history to build from.
            serves: Whether a dataset can serve, by the name of its entry. Of others nothing is
                read.
        """
        promising = (
            entry
            for entry in build_index.entries(self._storage, self._recipe)
            if entry.watermark <= watermark and serves(entry) and self._knows(entry.manifest_hash)
        )
        for number, entry in enumerate(islice(promising, _MOST_OPENED)):
            facts = build_index.facts_of(self._storage, entry)
            if not number:
                self._costs = facts.costs
            if not self._is_of_others(facts):
                yield entry, facts

    def base(self, entry: Entry) -> Archive | None:
        """The dataset of an entry; None if it is damaged, or not what the entry says."""
        folder = layout.build_path(self._recipe.name, entry.manifest_hash)
        for archive in self._opened([folder]):
            if _is_of(archive, entry) and _is_of_series(archive.manifest.recipe, self._recipe):
                return archive
        return None

    def correct(self, entry: Entry, archive: Archive, cutoffs: Cutoffs) -> None:
        """Record the cutoffs of a dataset that were found in it."""
        with suppress(EventlakeError):
            build_index.correct(self._storage, entry, archive.manifest, cutoffs)

    def took(self, began: int, *, reused: bool) -> None:
        """Record how long it took to compute the rows, as an estimate for later builds.

        Args:
            began: ``time.monotonic_ns`` before.
            reused: Whether rows of an earlier build were reused.
        """
        milliseconds = (time.monotonic_ns() - began) // 1_000_000
        costs = self._costs
        self._costs = costs.with_reuse(milliseconds) if reused else costs.with_full(milliseconds)

    def add(self, archive: Archive, cutoffs: Cutoffs | None) -> None:
        """Record that the recipe made a dataset, whose spine has these cutoffs."""
        build_index.note(self._storage, archive.manifest)
        # The dataset is published and found again without the rest.
        with suppress(EventlakeError):
            build_index.add(
                self._storage, archive.manifest, cutoffs, Facts(self._entities, self._costs)
            )
            if not self._is_indexed():
                build_index.mark_indexed(self._storage, self._recipe.name)

    def _is_of_others(self, facts: Facts) -> bool:
        mine, theirs = self._entities, facts.entities
        return mine is not None and theirs is not None and mine.is_apart(theirs)

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
