"""The index of earlier builds: what a build reads instead of every manifest of its name.

All of it is derived and in ``recipes/``:

- ``<recipe_hash>/<manifest_hash>.made`` notes that a recipe made a dataset;
- ``<series_hash>/<watermark>.<manifest_hash>.<cutoffs>.base`` is an entry for a dataset that
  incremental builds may start from. Recipes of a *series* differ in history and spine alone;
- ``names/<name>.indexed`` marks a name whose datasets are noted. Without it, the next build of the
  name reads all its manifests once, and writes what is missing.

The facts in the names are read by one listing, further ones (see ``base_facts``) only of an entry
that may serve. They are never believed: whoever opens a dataset compares its manifest. A lost or
forged entry costs time. Builders at the same time only create entries, each its own, so none can
undo another's.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from eventlake.core import layout
from eventlake.core.documents.dataset import DatasetManifest, Recipe
from eventlake.datasets.store.archive import Archive
from eventlake.datasets.store.base_facts import Facts
from eventlake.errors import EventlakeError
from eventlake.storage import ObjectExistsError, Storage

MOST_ENTRIES = 64
"""Entries of a series that are kept: enough for a night of many spines, few enough to list."""
_RESTORED = 4
"""Entries of a series that are written when a name is indexed again; the longest serve best."""

NOTHING = Facts()
Cutoffs = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset that an incremental build may start from.

    Attributes:
        path: Of the entry.
        watermark: Of the dataset's history.
        manifest_hash: The dataset.
        cutoffs: The first and the last cutoff of its spine, in microseconds; None if unknown.
    """

    path: str
    watermark: int
    manifest_hash: str
    cutoffs: Cutoffs | None


def entries(storage: Storage, recipe: Recipe) -> list[Entry]:
    """The entries of a recipe's series, the longest history first."""
    found = [
        Entry(item.path, *facts)
        for item in storage.list(layout.recipe_folder(recipe.series_hash))
        if (facts := layout.base_of(item.path))
    ]
    return sorted(found, key=lambda entry: entry.watermark, reverse=True)


def facts_of(storage: Storage, entry: Entry) -> Facts:
    """What else an entry records of its dataset; nothing if it is gone or damaged."""
    try:
        return Facts.decode(storage.read(entry.path))
    except EventlakeError:
        return NOTHING


def note(storage: Storage, manifest: DatasetManifest) -> None:
    """Note that a recipe made a dataset."""
    _create(storage, layout.made_path(manifest.recipe.recipe_hash, manifest.manifest_hash))


def add(
    storage: Storage,
    manifest: DatasetManifest,
    cutoffs: Cutoffs | None,
    facts: Facts = NOTHING,
    most: int = MOST_ENTRIES,
) -> None:
    """Add an entry for a dataset to its series.

    Args:
        storage: The lake.
        manifest: A published dataset.
        cutoffs: The first and the last cutoff of its spine.
        facts: What else is known of it.
        most: Entries to keep; those with the shortest histories are deleted.
    """
    path = _path(manifest, cutoffs)
    _put(storage, path, facts)
    # The new entry stays, however short its history: a series may be built over older histories.
    others = [entry for entry in entries(storage, manifest.recipe) if entry.path != path]
    for entry in others[max(most - 1, 0) :]:
        storage.delete(entry.path)


def correct(storage: Storage, entry: Entry, manifest: DatasetManifest, cutoffs: Cutoffs) -> None:
    """Replace an entry whose facts are not those of its dataset."""
    if (path := _path(manifest, cutoffs)) != entry.path:
        _put(storage, path, facts_of(storage, entry))
        storage.delete(entry.path)


def drop(storage: Storage, manifest: DatasetManifest) -> None:
    """Delete the entries of a dataset whose rows are deleted."""
    for entry in entries(storage, manifest.recipe):
        if entry.manifest_hash == manifest.manifest_hash:
            storage.delete(entry.path)


def is_indexed(storage: Storage, name: str) -> bool:
    """Whether the datasets of a name are noted."""
    return storage.exists(layout.indexed_path(name))


def mark_indexed(storage: Storage, name: str) -> None:
    """Mark that the datasets of a name are noted."""
    _create(storage, layout.indexed_path(name))


def restore(storage: Storage, name: str, archives: Iterable[Archive]) -> None:
    """Note all datasets of a name again, and add entries for the longest histories.

    Args:
        storage: The lake.
        name: The name.
        archives: All of its datasets.
    """
    noted = {layout.made_hash(item.path) for item in storage.list(layout.RECIPES)}
    series: dict[str, list[DatasetManifest]] = {}
    for manifest in _reusable(archives):
        series.setdefault(manifest.recipe.series_hash, []).append(manifest)
        if manifest.manifest_hash not in noted:
            note(storage, manifest)
    for manifests in series.values():
        manifests.sort(key=lambda one: one.recipe.checkpoint.watermark, reverse=True)
        if not entries(storage, manifests[0].recipe):
            for manifest in manifests[:_RESTORED]:
                _put(storage, _path(manifest, None), NOTHING)
    mark_indexed(storage, name)


def _reusable(archives: Iterable[Archive]) -> Iterator[DatasetManifest]:
    """The manifests of datasets that may be found again; an unproven one never is."""
    for archive in archives:
        if archive.manifest.recipe.level != "unproven":
            yield archive.manifest


def _path(manifest: DatasetManifest, cutoffs: Cutoffs | None) -> str:
    recipe = manifest.recipe
    return layout.base_path(
        recipe.series_hash, recipe.checkpoint.watermark, manifest.manifest_hash, cutoffs
    )


def _create(storage: Storage, path: str) -> None:
    with suppress(ObjectExistsError):
        storage.create(path, b"{}")


def _put(storage: Storage, path: str, facts: Facts) -> None:
    # Not durable at once, as ``create`` is: a lost entry costs time.
    storage.replace(path, facts.encode())
