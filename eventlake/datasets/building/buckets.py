"""Builds by buckets of entities: tasks are plain data, and their results survive an interruption.

A task names the lake, the checkpoint, the projection's text and a bucket. Its result is a file in
the lake, named by its hash. So running a task twice makes one file, and an executor only schedules.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import pyarrow as pa

from eventlake.caches import CACHES
from eventlake.columns.hashing.content import content_hash, normalise
from eventlake.columns.parquet import frames
from eventlake.columns.parquet.footers import PARQUET_ENDING
from eventlake.core import layout
from eventlake.core.documents.dataset import Parameter, Recipe
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import CorruptionError, StorageError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import resolve
from eventlake.history.snapshot import Snapshot
from eventlake.history.sql.duckdb_views import EntityFilter
from eventlake.log.chain.open_or_create import open_chain
from eventlake.progress import task as progress
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kinds import kind_of
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_duckdb.by_entity import bucketed, in_bucket
from eventlake.projections.projection import Projection
from eventlake.storage import (
    ObjectExistsError,
    ObjectMissingError,
    Storage,
    from_uri,
    read_named,
    read_sized,
)
from eventlake.trust import Trust, statement, trust_of

_ROUNDS = 5
_BUILD_ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Task:
    """One bucket of a build.

    Attributes:
        lake: The lake's URI.
        checkpoint: The history, as text.
        schemas: The hash of the schema by event type, for every event table that is read.
        recipe_hash: The hash of the build's recipe.
        build_id: Identifies the set of buckets within the recipe: the entity columns, the number of
            buckets, and a random part for a forced build.
        name: The projection's name.
        kind: ``sql`` or ``features``.
        engine: Engine to use.
        entry: The name of the source file.
        text: The source: a query, or declared features.
        parameters: The values of its parameters.
        by: The event column that identifies the entity.
        spine_by: The spine column that identifies the entity.
        bucket: The 0-based number of this bucket.
        buckets: Number of buckets.
        spine: Content hash of the spine, which is stored in the recipe's folder; None without one.
        spine_rows: Number of rows of the spine.
        spine_bytes: Size of the spine's file.
        trust: The writers whose stored results are trusted; see ``trust_of``.
    """

    lake: str
    checkpoint: str
    schemas: dict[str, str]
    recipe_hash: str
    build_id: str
    name: str
    kind: str
    engine: str
    entry: str
    text: str
    parameters: dict[str, Parameter]
    by: str
    spine_by: str
    bucket: int
    buckets: int
    spine: str | None
    spine_rows: int
    spine_bytes: int
    trust: str

    def projection(self) -> Projection:
        """The projection that the task runs."""
        return Projection(
            self.name,
            self.kind,
            self.entry,
            {self.entry: self.text},
            # Required of a projection, but unused: a task returns rows before they are put in
            # order.
            key=(self.by,),
            parameters=self.parameters,
            by=self.by,
            spine_by=self.spine_by,
            runs_on=self.engine,
        )

    def line(self) -> str:
        """The task as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> "Task":
        """The inverse of ``line``."""
        return cls(**json.loads(line))


class Executor(Protocol):
    """Runs the tasks of a build: on threads, processes or machines.

    An implementation must keep four rules:

    - Every task runs to its end with ``do(task)``, or ``do(Task.of(line))`` on another machine,
      where the same version of eventlake can open ``task.lake``. ``do`` stores the result.
    - A bucket is yielded only after ``do`` returned: the builder then looks for its file.
    - Order is free, and a task may run twice or again after a crash: the file has the same name.
    - An error of ``do`` is raised to the caller. Swallowed, it would repeat the tasks five times.

    An executor neither reads nor combines rows, so it cannot change a dataset.
    """

    def run(self, storage: Storage, tasks: Sequence[Task]) -> Iterator[int]:
        """Run the tasks and yield the number of each bucket once its file is stored.

        Args:
            storage: The lake as the builder opened it. Another process opens ``Task.lake``.
            tasks: Those that are not done yet; may be empty.

        Raises:
            EventlakeError: A task failed.
        """


class InProcessExecutor:
    """Runs tasks one after another in this process."""

    def run(self, storage: Storage, tasks: Sequence[Task]) -> Iterator[int]:
        """See ``Executor.run``."""
        runner = _TaskRunner(storage, trust_of(tasks[0].trust if tasks else None))
        for task in tasks:
            runner.do(task)
            yield task.bucket


def build_by_bucket(
    computation: Computation,
    recipe: Recipe,
    *,
    buckets: int,
    executor: Executor,
    rewrite: bool = False,
) -> pa.Table:
    """The rows of a projection that depends on one entity at a time, as the engine returns them.

    Args:
        computation: SQL, or declared features.
        recipe: The recipe of the build.
        buckets: Number of buckets.
        executor: Runs the tasks.
        rewrite: Compute all buckets, including those that an interrupted build has stored.

    Returns:
        The rows in no particular order.

    Raises:
        InvalidProjectionError: The engine rejects the projection.
        CorruptionError: A file of the history is damaged.
        StorageError: A worker died repeatedly, or the store failed.
    """
    projection, history, spine = computation.projection, computation.history, computation.spine
    storage, recipe_hash = history.storage, recipe.recipe_hash
    # A forced build must not find the buckets of an earlier one.
    nonce = secrets.token_hex(8) if rewrite else ""
    common = [projection.by, projection.spine_entity, buckets, nonce]
    build_id = sha256_hex(canonical_json(common))[:_BUILD_ID_DIGITS]
    spine_hash = None if spine is None else content_hash(spine)
    spine_data = b"" if spine is None else frames.encode(spine)
    # Buckets that untrusted writers stored are not reused.
    ignored = frozenset(_untrusted(storage, recipe_hash, build_id, history.trust))
    tasks = [
        Task(
            lake=storage.uri,
            checkpoint=str(history.checkpoint),
            schemas=dict(recipe.schemas),
            recipe_hash=recipe_hash,
            build_id=build_id,
            name=projection.name,
            kind=projection.kind,
            engine=projection.engine,
            entry=projection.entry,
            text=projection.sources[projection.entry],
            parameters=dict(projection.parameters),
            by=projection.by or "",
            spine_by=projection.spine_entity,
            bucket=number,
            buckets=buckets,
            spine=spine_hash,
            spine_rows=0 if spine is None else spine.num_rows,
            spine_bytes=len(spine_data),
            trust=history.trust.name,
        )
        for number in range(buckets)
    ]
    rows: dict[int, pa.Table] = {}
    with progress(f"building {projection.name} by {projection.by}", buckets) as advance:
        for _ in range(_ROUNDS):
            if spine is not None:
                _store_spine(storage, layout.spine_path(recipe_hash, build_id), spine_data)
            done = _done(storage, recipe_hash, build_id, ignored)
            left = [task for task in tasks if task.bucket not in done]
            advance(max(buckets - len(left) - len(rows), 0))
            for _ in executor.run(storage, left):
                advance(1)
            # Our own task may have stored the same file as an untrusted writer: it counts now.
            ignored &= _untrusted(storage, recipe_hash, build_id, history.trust)
            # Another builder or a collector may have deleted files: the next round computes them.
            for number, path in _done(storage, recipe_hash, build_id, ignored).items():
                # A name may have any number.
                if number < buckets:
                    with suppress(ObjectMissingError):
                        rows[number] = _rows(storage, path)
            if len(rows) == buckets:
                _delete_buckets(storage, recipe_hash, build_id)
                return pa.concat_tables([rows[number] for number in range(buckets)])
            tasks = [task for task in tasks if task.bucket not in rows]
    message = f"the buckets of {projection.name} were repeatedly deleted during the build"
    raise StorageError(message, "collect garbage with a longer --older-than, and build again.")


def _done(
    storage: Storage, recipe_hash: str, build_id: str, ignored: frozenset[str] = frozenset()
) -> dict[int, str]:
    """The stored file of each bucket, except ignored ones."""
    parts = (
        (layout.bucket_of(item.path), item.path)
        for item in storage.list(layout.recipe_folder(recipe_hash))
    )
    return {
        at[1]: path
        for at, path in parts
        if at is not None and at[0] == build_id and path not in ignored
    }


def _untrusted(storage: Storage, recipe_hash: str, build_id: str, trust: Trust) -> set[str]:
    """The bucket files that no trusted writer has stored."""
    paths = {item.path for item in storage.list(layout.recipe_folder(recipe_hash))}
    return {
        path
        for path in paths
        if (at := layout.bucket_of(path))
        and at[0] == build_id
        and not trust.knows(statement("bucket", path))
    }


def _store_spine(storage: Storage, path: str, data: bytes) -> None:
    """Store the spine for the workers, replacing a different file at the path."""
    try:
        storage.create(path, data)
    except ObjectExistsError:
        if not _holds(storage, path, data):
            storage.replace(path, data)


def _holds(storage: Storage, path: str, data: bytes) -> bool:
    with suppress(CorruptionError):
        return read_sized(storage, path, len(data)) == data
    return False


def _rows(storage: Storage, path: str) -> pa.Table:
    at = layout.bucket_of(path)
    data = None if at is None else read_named(storage, path, at[2], ending=PARQUET_ENDING)
    # Deleted, so that the next build computes this bucket again.
    if data is None:
        storage.delete(path)
        message = f"{path} was changed after it was written; it was deleted"
        raise CorruptionError(message, "build again: the other buckets are kept.", path=path)
    return frames.decode(data, path)


def _delete_buckets(storage: Storage, recipe_hash: str, build_id: str) -> None:
    spine = layout.spine_path(recipe_hash, build_id)
    for path in (*_done(storage, recipe_hash, build_id).values(), spine):
        storage.delete(path)


def do(task: Task) -> None:
    """Run a task and store its result; for executors that run it in another process.

    Raises:
        EventlakeError: The task failed.
    """
    _task_runner(task.lake, task.trust).do(task)


@CACHES.memo(8)
def _task_runner(lake: str, trust: str) -> "_TaskRunner":
    return _TaskRunner(from_uri(lake), trust_of(trust))


class _TaskRunner:
    """Runs tasks; reads what the tasks of one build share only once."""

    def __init__(self, storage: Storage, trust: Trust) -> None:
        self._storage = storage
        self._trust = trust
        self._known: dict[tuple[str, str], tuple[Snapshot, Computation, pa.Table]] = {}

    def do(self, task: Task) -> None:
        """Compute and store the rows of a task's bucket."""
        snapshot, shared, chosen = self._shared(task)
        only = EntityFilter(task.by, task.spine_by, in_bucket(chosen, task.bucket))
        # One thread each, because workers share the cores; exact rows do not depend on it.
        options = RunOptions(only=only, settings=duckdb_runner.SETTINGS)

        def computed(history: PinnedHistory) -> pa.Table:
            # The snapshot takes another history if segments of its own were collected.
            same = history is shared.history
            computation = shared if same else replace(shared, history=history)
            return kind_of(computation.projection).rows(computation, options)

        rows = snapshot.read(computed)
        data = frames.encode(normalise(rows))
        path = layout.bucket_path(task.recipe_hash, task.build_id, task.bucket, sha256_hex(data))
        # Noted before the file exists: a builder that sees the file must find it trusted.
        if not self._trust.believes:
            self._trust.ledger.note([statement("bucket", path)])
        # The path has the hash of the bytes: an existing file is the same.
        with suppress(ObjectExistsError):
            self._storage.create(path, data)

    def _shared(self, task: Task) -> tuple[Snapshot, Computation, pa.Table]:
        """The snapshot, the computation over all entities, and the bucket of each entity."""
        known = self._known.get((task.recipe_hash, task.build_id))
        if known is None:
            history = resolve(
                open_chain(self._storage, self._trust), Checkpoint.parse(task.checkpoint)
            )
            snapshot = Snapshot(history.with_schemas(task.schemas))
            path = layout.spine_path(task.recipe_hash, task.build_id)
            spine = None if task.spine is None else self._spine(task, path)
            projection = task.projection()

            def read(history: PinnedHistory) -> tuple[Computation, pa.Table]:
                computation = Computation(projection, history, spine)
                return computation, kind_of(projection).entities(computation)

            computation, entities = snapshot.read(read)
            known = (snapshot, computation, bucketed(entities, task.buckets))
            # Only the last build is kept: a worker serves one build at a time.
            self._known = {(task.recipe_hash, task.build_id): known}
        return known

    def _spine(self, task: Task, path: str) -> pa.Table:
        """The spine, read with the task's size and row limits: the file may have been replaced."""
        spine = frames.decode(
            read_sized(self._storage, path, task.spine_bytes), path, rows=task.spine_rows
        )
        if content_hash(spine) != task.spine:
            message = f"{path} is not the spine of this build: it was replaced"
            raise CorruptionError(message, "build again.", path=path)
        return spine
