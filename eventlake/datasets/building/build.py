"""Building a dataset: run the projection at a pinned history, hash the rows, publish them."""

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from eventlake.columns.hashing.content import content_hash, logical_type, normalise, schema_of
from eventlake.columns.intake.given import table_of
from eventlake.core.attributes import MAX_ATTRIBUTE_BYTES
from eventlake.core.card import counted
from eventlake.core.documents.dataset import (
    ALLOW_LIST,
    CONSTRUCTION,
    FORMAT,
    UNCHECKED,
    DatasetManifest,
    Recipe,
    Spine,
)
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.sql import alike_in_sql, folded
from eventlake.database import UNLIMITED, Limits
from eventlake.datasets.building.buckets import Executor, InProcessExecutor, build_by_bucket
from eventlake.datasets.building.build_once import (
    build_lease,
    dataset_statement,
    made_by,
    query_statement,
    record_built,
)
from eventlake.datasets.building.incremental import Wanted, increment
from eventlake.datasets.building.perturb import check_perturbed
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.store.archive import EVENT_SPINE, SPINE_ROW, Archive, publish
from eventlake.errors import (
    EventlakeError,
    InvalidInputError,
    InvalidProjectionError,
    NotIdenticalError,
)
from eventlake.features.look_up import COMPILER, ENGINES, hindsight
from eventlake.features.spines.spine import EventSpine
from eventlake.features.spines.spine_rows import not_known, rows_of
from eventlake.features.spines.unmatched import unmatched
from eventlake.history.pinned import PinnedHistory
from eventlake.progress import task
from eventlake.projections.by_entity import carrier
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_duckdb.exact import check_exact
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.prepare import feature_plan, feature_set, prepare
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun, Types, declared_types, finish, validate
from eventlake.trust import LAKE, OWN
from eventlake.visible import warn

_LOG = logging.getLogger(__name__)

_BUCKETS_A_WORKER = 4
MOST_BUCKETS = 10_000
_UNMATCHED = "unmatched"
"""Of a provenance: the event types of which no entity of the spine has an event."""
PERTURB = "perturb"
"""The check that builds once more."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a build.

    Attributes:
        spine: The caller's rows, or what makes them of the history.
        engine: Which one it must run on; None for the projection's own.
        expected: The content hash that a lock pins.
        perturb: Build once more under other circumstances, and compare.
        force: Build even what was built before.
        workers: How many share the work of a projection by entity; one is this process itself.
        executor: Runs the tasks of more than one.
        buckets: Into how many buckets its entities are put; None for some for every worker, and none at all for one.
        incremental: Whether it may begin from an earlier build.
        pinned: The history of an earlier checkpoint of the lake; None where nothing earlier is to be looked at.
    """

    spine: Any = None
    engine: str | None = None
    expected: str | None = None
    perturb: bool = False
    force: bool = False
    workers: int = 1
    executor: Executor = field(default_factory=InProcessExecutor)
    buckets: int | None = None
    incremental: bool = True
    pinned: Callable[[Checkpoint], PinnedHistory] | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A projection over a history, ready to be run.

    Attributes:
        projection: What is run.
        types: Its declared ones.
        history: What it is run over.
        spine: With ``spine_row`` in front.
        recipe: Everything that decides the rows.
        prepared: Runs it.
        told: What the provenance says of a spine that is made of events.
    """

    projection: Projection
    types: Types
    history: PinnedHistory
    spine: pa.Table | None
    recipe: Recipe
    prepared: PreparedRun
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """Rows and their identity, not yet published, and the way that they were made; it is a matter of provenance."""

    manifest: DatasetManifest
    rows: pa.Table
    way: dict[str, Any] = field(default_factory=dict)


def build(projection: Projection, history: PinnedHistory, request: Request) -> Dataset:
    """Makes and publishes a dataset, or finds what its recipe made before. On any error nothing is published.

    Args:
        projection: What to build.
        history: What from.
        request: How.

    Raises:
        NotIdenticalError: The rows do not have the expected content hash, or another one under other circumstances or at another time.
        InvalidProjectionError: The projection cannot be built as declared, or not on the engine that is asked for.
        SchemaMismatchError: The rows break the declared schema.
        CorruptionError: A segment of the history is damaged.
    """
    if projection.kind == "features" and request.engine in ENGINES:
        projection = replace(projection, runs_on=request.engine)
    if request.engine not in {None, projection.engine}:
        message = (
            f"projection {projection.name} runs on {projection.engine}, not on {request.engine}"
        )
        raise InvalidProjectionError(
            message,
            "SQL runs on duckdb, Python functions on polars, features on both.",
            engine=request.engine,
        )
    spine, told = _spine(projection, history, request.spine)
    if spine is not None and projection.kind == "features":
        _check_apart(projection, spine)
    return _found_or_built(replace(work_of(projection, history, spine), told=told), request)


def _found_or_built(work: Work, request: Request) -> Dataset:
    projection, history = work.projection, work.history
    if projection.level == "unproven":
        return _built(work, request, None)
    storage, recipe, trust = history.storage, work.recipe, history.trust
    if request.force:
        return _built(work, request, made_by(storage, recipe, trust))
    with build_lease(storage, recipe, lambda: made_by(storage, recipe, trust)) as archive:
        return _built(work, request, None) if archive is None else _found(work, request, archive)


def _spine(
    projection: Projection, history: PinnedHistory, given: Any
) -> tuple[pa.Table | None, dict[str, Any]]:
    """The rows of a spine, and what the provenance says of one that is made of events."""
    if not isinstance(given, EventSpine):
        return None if given is None else spine_rows(given), {}
    declared = given.under(
        feature_set(projection).known if projection.kind == "features" else "cutoff"
    )
    rows, early = of_events(declared, history)
    return rows, {EVENT_SPINE: declared.document(), **early}


def of_events(declared: EventSpine, history: PinnedHistory) -> tuple[pa.Table, dict[str, int]]:
    """The rows of a spine of events, and how many of them see what was recorded later, and are of an event that was."""
    rows, late = rows_of(declared, history)
    return spine_rows(rows), {
        "spine_hindsight_rows": not_known(declared, history, rows),
        "spine_late_rows": late,
    }


def _found(work: Work, request: Request, archive: Archive) -> Dataset:
    """What the recipe made before, looked at as if it were new: a lock, a schema or a doubt may have come since."""
    if not _is_told(work, archive):
        _tell(work, archive)
    dataset = Dataset.found(archive)
    OWN.ledger.note([query_statement(dataset.manifest_hash)])
    _check_expected(work.projection, request, dataset.content_hash)
    if work.projection.schema is not None:
        validate(work.projection, dataset.arrow(), dataset.content_hash)
    if request.perturb:
        check_perturbed(work.projection, work.types, work.history, work.spine, dataset.arrow())
    if archive.provenance().get(_UNMATCHED):
        _unmatched(work, dataset.arrow())
    return dataset


def _unmatched(work: Work, rows: pa.Table) -> list[str]:
    """The event types of which no entity of the spine has an event, with a warning about each."""
    if work.projection.kind != "features" or not rows.num_rows:
        return []
    found = unmatched(feature_plan(work.projection, work.history), work.history, rows)
    for message in found.values():
        warn(message)
    return sorted(found)


def _is_told(work: Work, archive: Archive) -> bool:
    """Whether a dataset's provenance says how the spine is declared."""
    return not work.told or work.told[EVENT_SPINE] in archive.event_spines()


def _tell(work: Work, archive: Archive) -> None:
    """Notes how the spine of a dataset is declared, if it was built from the same rows without a declaration, or with another one."""
    rows, noted = Dataset(archive).arrow(), {**archive.provenance(), **work.told}
    noted.pop("attempt")
    sources = work.projection.sources
    publish(
        work.history.storage,
        archive.manifest,
        rows=rows,
        spine=work.spine,
        sources=sources,
        provenance=noted,
        anew=True,
    )


def _built(work: Work, request: Request, before: Archive | None) -> Dataset:
    started = time.time_ns() // 1000
    projection, history = work.projection, work.history
    if work.recipe.check == ALLOW_LIST and projection.kind == "sql":
        check_exact(
            projection.name,
            projection.sources[projection.entry],
            history,
            work.spine,
            projection.parameters,
        )
    built = _made(work, request)
    manifest = built.manifest
    _check_expected(projection, request, manifest.content_hash)
    if before is not None and before.manifest.content_hash != manifest.content_hash:
        message = (
            f"dataset {projection.name}: the same recipe made other rows before: content hash {before.manifest.content_hash} "
            f"in {before.folder}, now {manifest.content_hash}"
        )
        hint = "nothing was published; something decides the rows that no recipe knows of. 'eventlake diff' shows what differs."
        raise NotIdenticalError(
            message, hint, expected=before.manifest.content_hash, found=manifest.content_hash
        )
    validate(projection, built.rows, manifest.content_hash)
    if request.perturb:
        check_perturbed(projection, work.types, history, work.spine, built.rows)
    others = (
        _stored_by_others(work, built)
        if before is None and projection.level != "unproven"
        else None
    )
    alone = _unmatched(work, built.rows)
    archive = publish(
        history.storage,
        manifest,
        rows=built.rows,
        spine=work.spine,
        sources=projection.sources,
        provenance=_provenance(history, started)
        | built.way
        | dict(work.told)
        | ({_UNMATCHED: alone} if alone else {})
        | (of_features(work) if projection.kind == "features" else {})
        | ({"by": projection.by, "spine_by": projection.spine_entity} if projection.by else {}),
        anew=(before is not None and not (_is_sound(before) and _is_told(work, before)))
        or (others is not None and not _is_sound(others)),
    )
    if not history.trust.believes:
        history.trust.ledger.note([dataset_statement(manifest.manifest_hash)])
    OWN.ledger.note([query_statement(manifest.manifest_hash)])
    if projection.level != "unproven":
        record_built(archive)
    if request.expected is not None or before is not None:
        same = (
            "what the lock pins" if request.expected is not None else "what an earlier build stored"
        )
        return Dataset.compared(archive, built.rows, same, trust=history.trust)
    return Dataset(archive, built.rows, trust=history.trust)


def _stored_by_others(work: Work, built: Made) -> Archive | None:
    """What somebody who is not believed stored as made by the same recipe; it is compared with what was made now."""
    archive = made_by(work.history.storage, work.recipe, LAKE)
    if archive is not None and archive.manifest.content_hash != built.manifest.content_hash:
        _LOG.warning(
            "%s says that the recipe of %s made other rows than it makes here (content hash %s, here %s); it was not used",
            archive.folder,
            work.projection.name,
            archive.manifest.content_hash,
            built.manifest.content_hash,
        )
        return None
    return archive


def of_features(work: Work) -> dict[str, Any]:
    """What is noted of declared features: the engine, and how much is hindsight where that is allowed."""
    plan = feature_plan(work.projection, work.history)
    if plan.known_at_cutoff or work.spine is None:
        return {"engine": work.projection.engine}
    return {"engine": work.projection.engine, **hindsight(plan, work.history, work.spine)}


def _is_sound(archive: Archive) -> bool:
    """Whether the stored rows can be read and are those of the manifest."""
    try:
        Dataset(archive).arrow()
    except EventlakeError:
        return False
    return True


def _check_expected(projection: Projection, request: Request, found: str) -> None:
    if request.expected not in {None, found}:
        message = f"dataset {projection.name} is not what its lock pins: expected content hash {request.expected}, made {found}"
        hint = f"nothing was published; made with {projection.engine} {engine_version(projection)}; compare engine and code."
        raise NotIdenticalError(message, hint, expected=request.expected, found=found)


def make(work: Work, *, changed_only: bool = False) -> Made:
    """Runs a projection over a history whose segments are re-hashed first, and hashes the rows.

    Args:
        work: What to run.
        changed_only: Re-hash only segments that were not hashed before, or were written since.
    """
    work.history.check(changed_only=changed_only)
    return _in_full(work, "in full")


def _in_full(work: Work, way: str) -> Made:
    with task(f"building {work.projection.name}", 2) as advance:
        result = work.prepared.rows()
        advance(1)
        made = _hashed(work, finish(work.projection, work.types, result), {"way": way})
        advance(1)
    return made


def _hashed(work: Work, rows: pa.Table, way: dict[str, Any]) -> Made:
    schema = tuple((name, kind) for name, kind in schema_of(rows))
    return Made(DatasetManifest(work.recipe, content_hash(rows), rows.num_rows, schema), rows, way)


def _made(work: Work, request: Request) -> Made:
    """The rows by the shortest way that is open: from an earlier build, by buckets of entities, or in full."""
    projection = work.projection
    work.history.check(changed_only=True)
    if projection.by is None or projection.kind == "python":
        return _in_full(
            work, "in full: nothing is proved of Python projections" if projection.by else "in full"
        )
    carried = carrier(projection, work.history, work.spine)
    why = "from scratch, as asked"
    if request.incremental and request.pinned is not None and not request.force:
        found = increment(
            Wanted(projection, work.recipe, work.history, work.spine, work.types, carried),
            request.pinned,
        )
        if not isinstance(found, str):
            way: dict[str, Any] = {"way": f"{found.changed} anew", "derived_from": found.base}
            return _hashed(work, found.rows, way)
        why = found
    if request.workers == 1 and request.buckets is None:
        return _in_full(work, f"in full: {why}")
    buckets = min(request.buckets or request.workers * _BUCKETS_A_WORKER, MOST_BUCKETS)
    recipe = work.recipe
    result = build_by_bucket(
        projection,
        work.history,
        work.spine,
        recipe.recipe_hash,
        recipe.schemas,
        buckets=buckets,
        executor=request.executor,
        anew=request.force,
    )
    way = {
        "way": f"in full, in {counted(buckets, 'bucket')} by {projection.by}: {why}",
        "buckets": buckets,
        "workers": request.workers,
    }
    return _hashed(work, finish(projection, work.types, result), way)


def work_of(
    projection: Projection,
    history: PinnedHistory,
    spine: pa.Table | None,
    *,
    types: Types = None,
    as_in: Recipe | None = None,
    limits: Limits = UNLIMITED,
) -> Work:
    """Hands a projection to its engine, and says everything that decides the rows.

    Args:
        projection: What to run.
        history: What to run it over.
        spine: With ``spine_row`` in front.
        types: Declared ones; None for those of the projection's own schema.
        as_in: The recipe of what is made again: its settings, and what its level rests on; None for those of this version.
        limits: When a SQL query is given up.

    Raises:
        InvalidProjectionError: The engine does not take it, or it is Python, declared exact, and is not.
    """
    types = declared_types(projection.schema) if types is None else types
    exact = projection.level == "exact"
    # What is made again keeps what its recipe says, whatever the allow-list says today.
    chosen = as_in.settings if as_in else None
    prepared = prepare(
        projection, history, spine, exact=exact and as_in is None, settings=chosen, limits=limits
    )
    settings = {
        "sql": duckdb_runner.settings_of(projection.level),
        "python": polars_runner.SETTINGS,
    }.get(projection.kind, {})
    check = CONSTRUCTION if projection.kind == "features" else ALLOW_LIST if exact else UNCHECKED
    recipe = Recipe(
        name=projection.name,
        checkpoint=history.checkpoint,
        clock_hash=history.clock_hash() if prepared.reads_clock else None,
        kind=projection.kind,
        entry=projection.entry,
        sources={name: sha256_hex(text.encode()) for name, text in projection.sources.items()},
        parameters=dict(projection.parameters),
        spine=None if spine is None else Spine(spine.num_rows, content_hash(spine)),
        engine="eventlake" if projection.kind == "features" else projection.engine,
        engine_version=engine_version(projection),
        settings=dict(as_in.settings if as_in else settings),
        level=projection.level,
        check=as_in.check if as_in else check,
        key=projection.key,
        schemas=prepared.schemas,
        declared_schema=None
        if types is None
        else tuple((name, logical_type(kind)) for name, kind in types.items()),
    )
    return Work(projection, types, history, spine, recipe, prepared)


def engine_version(projection: Projection) -> str:
    """The version of what decides a projection's rows here: of its engine, or of the compiler of features."""
    return {"sql": duckdb_runner.VERSION, "python": polars_runner.VERSION}.get(
        projection.kind, COMPILER
    )


def spine_rows(spine: Any) -> pa.Table:
    """A caller's spine as a table in normal types with the 0-based column ``spine_row`` in front.

    Raises:
        InvalidInputError: It is no table, a column is called ``spine_row``, in letters of any case, or has NUL in its name, or two names
            differ by case alone.
        SchemaMismatchError: A column has a type that cannot be hashed.
    """
    table = table_of(spine, "the spine")
    _check_names(table.column_names)
    return normalise(table.add_column(0, SPINE_ROW, pa.array(range(table.num_rows), pa.int64())))


_NAMES = f"expected names of 1 to {MAX_ATTRIBUTE_BYTES:,} characters without NUL"


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        problem = (
            "that name is for its row number"
            if folded(name) == SPINE_ROW
            else None
            if 0 < len(name) <= MAX_ATTRIBUTE_BYTES and "\0" not in name
            else _NAMES
        )
        if problem:
            message = f"the spine has a column {name!r}; {problem}"
            raise InvalidInputError(message, "rename the column.", column=name)
    if alike := alike_in_sql(names):
        message = f"the spine has the columns {alike[0]!r} and {alike[1]!r}, which SQL does not tell apart"
        raise InvalidInputError(message, "rename one of them.", column=alike[1])


def _check_apart(projection: Projection, spine: pa.Table) -> None:
    """Refuses a feature whose name differs from a column of the spine by case alone; what was archived so is read as it is."""
    alike = alike_in_sql([*spine.column_names, *feature_set(projection).columns])
    if alike:
        what = f"{alike[0]} of the spine and the feature {alike[1]} would be one column"
        message = f"feature set {projection.name}: {what}: SQL does not tell them apart"
        raise InvalidInputError(message, "rename one of the two.", column=alike[1])


def _provenance(history: PinnedHistory, started: int) -> dict[str, Any]:
    return {
        "built_at": started,
        "commit_hash": history.commit_hash,
        "format": FORMAT,
        "milliseconds": time.time_ns() // 1_000_000 - started // 1000,
        **circumstances(),
    }


def circumstances() -> dict[str, Any]:
    """The machine and the versions that build here."""
    packages = ("duckdb", "eventlake", "numpy", "pandera", "polars", "pyarrow")
    return {
        "environment": {
            "machine": platform.machine(),
            "polars_threads": polars_runner.pool_size(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "versions": {name: _version(name) for name in packages},
    }


@cache
def _version(package: str) -> str:
    """The installed one, looked up once: it takes milliseconds."""
    return version(package)
