"""How an archived dataset was built: its projection, types, features and event spines."""

from collections.abc import Iterable

from eventlake.columns.hashing.content import from_logical
from eventlake.core.sql import folded
from eventlake.datasets.store.archive import Archive
from eventlake.features.feature_set import FeatureSet
from eventlake.features.spines.spine import EventSpine, spine_of
from eventlake.projections.computation import Types
from eventlake.projections.kinds import kind_of
from eventlake.projections.projection import Projection


def projection_of(archive: Archive) -> Projection:
    """The projection, from the sources archived with the dataset. Python is not imported.

    Raises:
        CorruptionError: A source is missing or was changed.
    """
    recipe = archive.manifest.recipe
    return Projection(
        name=recipe.name,
        kind=recipe.kind,
        entry=recipe.entry,
        sources=archive.sources(),
        key=recipe.key,
        level=recipe.level,
        parameters=recipe.parameters,
    )


def declared_types_of(archive: Archive) -> Types:
    """The output types that were declared when the dataset was built; None if there were none."""
    schema = archive.manifest.recipe.declared_schema
    return None if schema is None else {name: from_logical(kind) for name, kind in schema}


def features_of(archive: Archive) -> FeatureSet | None:
    """The feature set; None if the dataset was built by another kind of projection.

    Raises:
        CorruptionError: Its description is missing or was changed.
    """
    projection = projection_of(archive)
    return kind_of(projection).features(projection)


def event_spines_of(archive: Archive) -> list[EventSpine]:
    """The event spines for which the dataset was built; empty if its spine was given as rows.

    Raises:
        CorruptionError: The provenance is damaged.
    """
    return [spine_of(document) for document in archive.event_spines()]


def labels_of(archive: Archive) -> tuple[str, ...]:
    """The columns that the spine declares as labels, which look ahead of the cutoff.

    Names are compared regardless of case, for a SQL projection may spell a label in another one.

    Raises:
        CorruptionError: The provenance is damaged.
    """
    spines = event_spines_of(archive)
    return columns_called(archive, {name for spine in spines for name, _, _ in spine.labels})


def columns_called(archive: Archive, names: Iterable[str]) -> tuple[str, ...]:
    """The columns that have one of these names, regardless of case."""
    wanted = set(map(folded, names))
    return tuple(name for name, _ in archive.manifest.schema if folded(name) in wanted)
