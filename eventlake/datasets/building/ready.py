"""Preparing a build: the recipe of a computation, and the hashes of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from eventlake.columns.hashing.content import content_hash, logical_type
from eventlake.core.documents.dataset import DatasetManifest, Recipe, Spine
from eventlake.core.documents.provenance import NOT_COUNTED
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.database import UNLIMITED, Limits
from eventlake.datasets.building.made_rows import MadeRows, kept, streamed
from eventlake.progress import task
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.kinds import kind_of, prepare
from eventlake.projections.rows import PreparedRun, finish


@dataclass(frozen=True, slots=True)
class ReadyBuild:
    """A computation that its engine has accepted and that can be run.

    Attributes:
        computation: What to compute.
        recipe: Everything that decides the rows.
        prepared: Runs the computation.
        spine_facts: What the provenance records about an event spine.
    """

    computation: Computation
    recipe: Recipe
    prepared: PreparedRun
    spine_facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """The kind of the projection."""
        return kind_of(self.computation.projection)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """Rows and their identity, not yet published.

    Attributes:
        manifest: The dataset's identity.
        rows: The rows.
        how: How the rows were computed (provenance only).
        hindsight: The hindsight of the rows, if it was counted (provenance only).
    """

    manifest: DatasetManifest
    rows: MadeRows
    how: dict[str, Any] = field(default_factory=dict)
    hindsight: Mapping[str, int] = field(default_factory=dict)


def ready(
    computation: Computation, *, as_in: Recipe | None = None, limits: Limits = UNLIMITED
) -> ReadyBuild:
    """Hand a computation to its engine and write its recipe.

    Args:
        computation: What to run.
        as_in: The recipe to reproduce, whose settings and exactness check are kept. Defaults to
            those of this version.
        limits: Time and memory limits of a SQL query.

    Raises:
        InvalidProjectionError: The engine rejects it, or it is Python that is declared exact and
            is not.
    """
    projection, history, spine = computation.projection, computation.history, computation.spine
    kind, types = kind_of(projection), computation.types
    # A reproduction keeps the level of its recipe even if today's allow-list is a different one.
    options = RunOptions(
        check_exact=projection.level == "exact" and as_in is None,
        settings=as_in.settings if as_in else None,
        limits=limits,
    )
    prepared = prepare(computation, options)
    recipe = Recipe(
        name=projection.name,
        checkpoint=history.checkpoint,
        # Without the clock, copies of a history that were recorded at other times share the recipe.
        clock_hash=history.clock_hash() if prepared.reads_clock else None,
        kind=projection.kind,
        entry=projection.entry,
        sources={name: sha256_hex(text.encode()) for name, text in projection.sources.items()},
        parameters=dict(projection.parameters),
        spine=None if spine is None else Spine(spine.num_rows, content_hash(spine)),
        engine=kind.engine(projection),
        engine_version=kind.engine_version(),
        settings=dict(as_in.settings if as_in else kind.settings(projection.level)),
        level=projection.level,
        check=as_in.check if as_in else kind.check(projection.level),
        key=projection.key,
        schemas=prepared.schemas,
        declared_schema=None
        if types is None
        else tuple((name, logical_type(kind)) for name, kind in types.items()),
    )
    return ReadyBuild(computation, recipe, prepared)


def make(ready_build: ReadyBuild, *, changed_only: bool = False) -> BuildResult:
    """Re-hash the history's segments, run a projection in full, and hash the rows.

    Args:
        ready_build: What to run.
        changed_only: Re-hash only segments that were not hashed before, or changed since.
    """
    ready_build.computation.history.check(changed_only=changed_only)
    return compute_in_full(ready_build, "in full")


def compute_in_full(ready_build: ReadyBuild, how: str, *, stores: bool = False) -> BuildResult:
    """Run a projection over its whole history.

    Args:
        ready_build: What to run.
        how: Recorded in the provenance.
        stores: Whether the rows will be stored: many are then encoded as they are made.
    """
    prepared, computation = ready_build.prepared, ready_build.computation
    with task(f"building {ready_build.recipe.name}", 2) as advance:
        stream = None if prepared.stream is None else prepared.stream()
        if stream is None:
            result, found = prepared.rows(), None
            advance(1)
            rows = kept(finish(computation, result))
        else:
            # Each table is in key order, and so are all: the key numbers the rows of the spine.
            tables = (finish(computation, table) for table in stream.tables())
            rows = streamed(tables) if stores else kept(pa.concat_tables(tables))
            found = stream.hindsight()
            advance(1)
        if found is None:
            how = uncounted(ready_build, how)
        advance(1)
    return replace(_result(ready_build, rows, {"way": how}), hindsight=found or {})


def uncounted(ready_build: ReadyBuild, how: str) -> str:
    """How rows were computed, whose hindsight was not counted; says so if they may have some."""
    has_hindsight = ready_build.kind.has_hindsight(ready_build.computation.projection)
    return f"{how}; {NOT_COUNTED}" if has_hindsight else how


def hashed(ready_build: ReadyBuild, rows: pa.Table, how: dict[str, Any]) -> BuildResult:
    """Hash finished rows and write their manifest; ``how`` is recorded in the provenance."""
    return _result(ready_build, kept(rows), how)


def _result(ready_build: ReadyBuild, rows: MadeRows, how: dict[str, Any]) -> BuildResult:
    manifest = DatasetManifest(ready_build.recipe, rows.content_hash, rows.number, rows.schema)
    return BuildResult(manifest, rows, how)
