"""Building a dataset: run the projection at a pinned history, hash the rows, publish them."""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.columns.content import content_hash, logical_type, normalise, schema_of
from eventlake.core.canonical import sha256_hex
from eventlake.core.dataset import ALLOW_LIST, FORMAT, UNCHECKED, DatasetManifest, Recipe, Spine
from eventlake.datasets.archive import publish
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.perturb import check_perturbed
from eventlake.errors import InvalidInputError, InvalidProjectionError, NotIdenticalError
from eventlake.history.pinned import PinnedHistory
from eventlake.progress import task
from eventlake.projections import duckdb_runner, polars_runner
from eventlake.projections.definition import Projection
from eventlake.projections.exact import check_exact
from eventlake.projections.rows import Types, declared_types, finish, validate
from eventlake.projections.run import run

SPINE_ROW = "spine_row"


@dataclass(frozen=True, slots=True)
class Made:
    """Rows and their identity, not yet published."""

    manifest: DatasetManifest
    rows: pa.Table


def build(
    projection: Projection, history: PinnedHistory, *, spine: Any, engine: str | None, expected: str | None = None, perturb: bool = False
) -> Dataset:
    """Makes and publishes a dataset. On any error nothing is published.

    Args:
        projection: What to build.
        history: What from.
        spine: The caller's.
        engine: Which one it must run on; None for its own.
        expected: The content hash that a lock pins.
        perturb: Build once more under other circumstances, and compare.

    Raises:
        NotIdenticalError: The rows do not have the expected content hash, or another one under other circumstances.
        InvalidProjectionError: The projection cannot be built as declared, or not on ``engine``.
        SchemaMismatchError: The rows break the declared schema.
        CorruptionError: A segment of the history is damaged.
    """
    if engine not in {None, projection.engine}:
        message = f"projection {projection.name} runs on {projection.engine}, not on {engine}"
        raise InvalidProjectionError(message, "SQL runs on duckdb, Python functions on polars.", engine=engine)
    started = time.time_ns() // 1000
    spine_table = None if spine is None else spine_rows(spine)
    check = _checked(projection, history, spine_table)
    types = declared_types(projection.schema)
    made = make(projection, types, history, spine_table, check=check, exact=check == ALLOW_LIST)
    if expected not in {None, made.manifest.content_hash}:
        message = (
            f"dataset {projection.name} is not what its lock pins: expected content hash {expected}, made {made.manifest.content_hash}"
        )
        hint = f"nothing was published; made with {projection.engine} {made.manifest.recipe.engine_version}; compare engine and code."
        raise NotIdenticalError(message, hint, expected=expected, found=made.manifest.content_hash)
    validate(projection, made.rows, made.manifest.content_hash)
    if perturb:
        check_perturbed(projection, types, history, spine_table, made.rows)
    provenance = _provenance(history, started)
    archive = publish(history.storage, made.manifest, rows=made.rows, spine=spine_table, sources=projection.sources, provenance=provenance)
    return Dataset(archive, made.rows)


def make(projection: Projection, types: Types, history: PinnedHistory, spine: pa.Table | None, *, check: str, exact: bool = False) -> Made:
    """Runs a projection over a history whose segments are re-hashed first, and hashes the rows.

    Args:
        projection: What to run.
        types: The declared ones.
        history: What to run it over.
        spine: With ``spine_row`` in front.
        check: What its level rests on.
        exact: Whether to hold what a Python function returns to the allow-list; a reproduction keeps what its recipe says.
    """
    history.check()
    with task(f"building {projection.name}", 3) as advance:
        ran = run(projection, history, spine, exact=exact)
        advance(1)
        rows = finish(projection, types, ran.rows)
        advance(1)
        output = content_hash(rows)
        advance(1)
    schema = tuple((name, kind) for name, kind in schema_of(rows))
    recipe = recipe_of(projection, types, history, spine, schemas=ran.schemas, check=check)
    return Made(DatasetManifest(recipe, output, rows.num_rows, schema), rows)


def _checked(projection: Projection, history: PinnedHistory, spine: pa.Table | None) -> str:
    """What the projection's level rests on: of SQL it is looked at here, of Python when the function has returned its frame.

    Raises:
        InvalidProjectionError: It is declared exact and is not.
    """
    if projection.level != "exact":
        return UNCHECKED
    if projection.kind == "sql":
        check_exact(projection.name, projection.sources[projection.entry], history, spine, projection.parameters)
    return ALLOW_LIST


def recipe_of(
    projection: Projection, types: Types, history: PinnedHistory, spine: pa.Table | None, *, schemas: dict[str, str], check: str
) -> Recipe:
    """Everything that decides the rows."""
    sql = projection.kind == "sql"
    runner: Any = duckdb_runner if sql else polars_runner
    reads_clock = not sql or duckdb_runner.reads_clock(projection.sources[projection.entry], history, spine)
    return Recipe(
        name=projection.name,
        checkpoint=history.checkpoint,
        clock_hash=history.clock_hash() if reads_clock else None,
        kind=projection.kind,
        entry=projection.entry,
        sources={name: sha256_hex(text.encode()) for name, text in projection.sources.items()},
        parameters=dict(projection.parameters),
        spine=None if spine is None else Spine(spine.num_rows, content_hash(spine)),
        engine=projection.engine,
        engine_version=runner.VERSION,
        settings=dict(runner.SETTINGS),
        level=projection.level,
        check=check,
        key=projection.key,
        schemas=schemas,
        declared_schema=None if types is None else tuple((name, logical_type(kind)) for name, kind in types.items()),
    )


def spine_rows(spine: Any) -> pa.Table:
    """A caller's spine as a table in normal types with the 0-based column ``spine_row`` in front.

    Raises:
        InvalidInputError: Nothing that speaks Arrow, or a column is called ``spine_row``.
        SchemaMismatchError: A column has a type that cannot be hashed.
    """
    frame = spine.collect() if hasattr(spine, "collect") and not hasattr(spine, "__arrow_c_stream__") else spine
    if not hasattr(frame, "__arrow_c_stream__"):
        message = f"expected the spine as a Polars, pandas or Arrow table, found {type(spine).__name__}"
        raise InvalidInputError(message)
    if isinstance(frame, pl.DataFrame):
        frame = polars_runner.to_arrow(frame)
    table = pa.RecordBatchReader.from_stream(frame).read_all()
    if SPINE_ROW in table.column_names:
        message = f"the spine has a column {SPINE_ROW!r}; that name is for its row number"
        raise InvalidInputError(message, "rename the column.")
    return normalise(table.add_column(0, SPINE_ROW, pa.array(range(table.num_rows), pa.int64())))


def _provenance(history: PinnedHistory, started: int) -> dict[str, Any]:
    packages = ("duckdb", "eventlake", "numpy", "pandera", "polars", "pyarrow")
    return {
        "built_at": started,
        "commit_hash": history.commit_hash,
        "environment": {
            "machine": platform.machine(),
            "polars_threads": polars_runner.pool_size(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "format": FORMAT,
        "milliseconds": time.time_ns() // 1_000_000 - started // 1000,
        "versions": {name: version(name) for name in packages},
    }
