"""The kinds of projections, by the name that a manifest records."""

from eventlake.projections.computation import DEFAULT_OPTIONS, Computation, RunOptions
from eventlake.projections.features import FeatureProjections
from eventlake.projections.kind import Kind
from eventlake.projections.projection import Projection
from eventlake.projections.python import PythonProjections
from eventlake.projections.rows import PreparedRun
from eventlake.projections.sql import SqlProjections

_KINDS: dict[str, Kind] = {
    "sql": SqlProjections(),
    "python": PythonProjections(),
    "features": FeatureProjections(),
}


def kind_of(projection: Projection) -> Kind:
    """The kind of a projection."""
    return _KINDS[projection.kind]


def kind_named(name: str) -> Kind:
    """The kind with the name that a recipe records."""
    return _KINDS[name]


def prepare(computation: Computation, options: RunOptions = DEFAULT_OPTIONS) -> PreparedRun:
    """Hand a computation to its engine.

    Raises:
        InvalidProjectionError: The engine rejects it.
    """
    return kind_of(computation.projection).prepare(computation, options)
