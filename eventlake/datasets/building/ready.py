"""Handing a computation to its engine, and hashing the rows that come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from eventlake.columns.hashing.content import content_hash, logical_type, schema_of
from eventlake.core.documents.dataset import DatasetManifest, Recipe, Spine
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.database import UNLIMITED, Limits
from eventlake.progress import task
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.kinds import kind_of, prepare
from eventlake.projections.rows import PreparedRun, finish


@dataclass(frozen=True, slots=True)
class ReadyBuild:
    """A computation that was handed to its engine and can be run.

    Attributes:
        computation: What is computed.
        recipe: Everything that decides the rows.
        prepared: Runs it.
        spine_facts: What the provenance says of a spine that is made of events.
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
        rows: In key order.
        how: How the rows were computed (provenance only).
    """

    manifest: DatasetManifest
    rows: pa.Table
    how: dict[str, Any] = field(default_factory=dict)


def ready(
    computation: Computation, *, as_in: Recipe | None = None, limits: Limits = UNLIMITED
) -> ReadyBuild:
    """Hands a computation to its engine, and says everything that decides the rows.

    Args:
        computation: What to run.
        as_in: The recipe of what is made again: its settings, and what its level rests on; None for
            those of this version.
        limits: When a SQL query is given up.

    Raises:
        InvalidProjectionError: The engine does not take it, or it is Python, declared exact, and is
            not.
    """
    projection, history, spine = computation.projection, computation.history, computation.spine
    kind, types = kind_of(projection), computation.types
    # What is made again keeps what its recipe says, whatever the allow-list says today.
    options = RunOptions(
        check_exact=projection.level == "exact" and as_in is None,
        settings=as_in.settings if as_in else None,
        limits=limits,
    )
    prepared = prepare(computation, options)
    recipe = Recipe(
        name=projection.name,
        checkpoint=history.checkpoint,
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


def make(work: ReadyBuild, *, changed_only: bool = False) -> BuildResult:
    """Runs a projection over a history whose segments are re-hashed first, and hashes the rows.

    Args:
        work: What to run.
        changed_only: Re-hash only segments that were not hashed before, or were written since.
    """
    work.computation.history.check(changed_only=changed_only)
    return compute_in_full(work, "in full")


def compute_in_full(work: ReadyBuild, how: str) -> BuildResult:
    """Runs a projection over its whole history; ``how`` goes to the provenance."""
    with task(f"building {work.recipe.name}", 2) as advance:
        result = work.prepared.rows()
        advance(1)
        made = hashed(work, finish(work.computation, result), {"way": how})
        advance(1)
    return made


def hashed(work: ReadyBuild, rows: pa.Table, how: dict[str, Any]) -> BuildResult:
    """Finished rows with the manifest that names them."""
    schema = tuple((name, kind) for name, kind in schema_of(rows))
    manifest = DatasetManifest(work.recipe, content_hash(rows), rows.num_rows, schema)
    return BuildResult(manifest, rows, how)
