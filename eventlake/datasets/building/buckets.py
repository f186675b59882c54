"""A build by buckets of entities: tasks that are plain data, whoever runs them; what was done stays done when a build is interrupted.

A task names the lake, the checkpoint, the projection's text and a bucket; its outcome is a file in
the lake, named by its hash. So a task that is run twice makes one file, and an executor only
schedules.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import Protocol

import pyarrow as pa

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
from eventlake.log.chain.open_chain import open_chain
from eventlake.progress import task as progress
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kinds import kind_of, prepare
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
_WORK_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Task:
    """One bucket of a build.

    Attributes:
        lake: Its URI.
        checkpoint: The history, as text.
        schemas: Event type to hash of the schema, for every event table that is read.
        recipe_hash: Of the build.
        work: Names what its buckets have in common beside the recipe: the column, their number, and
            who works.
        name: The projection's.
        kind: ``sql`` or ``features``.
        engine: What it runs on.
        entry: The name of its text.
        text: A query, or what describes the features.
        parameters: Their values.
        by: The column that names the entity.
        spine_by: The one of the spine.
        bucket: Which one, from 0.
        buckets: Of how many.
        spine: Content hash of the spine, which lies in the recipe's folder; None if there is none.
        spine_rows: Its rows.
        spine_bytes: The length of its file.
        trust: What is believed of the lake.
    """

    lake: str
    checkpoint: str
    schemas: dict[str, str]
    recipe_hash: str
    work: str
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
        """What is run."""
        return Projection(
            self.name,
            self.kind,
            self.entry,
            {self.entry: self.text},
            key=(self.by,),
            parameters=self.parameters,
            by=self.by,
            spine_by=self.spine_by,
            runs_on=self.engine,
        )

    def line(self) -> str:
        """As JSON, on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> "Task":
        """The inverse of ``line``."""
        return cls(**json.loads(line))


class Executor(Protocol):
    """Runs tasks, in any order, some of them perhaps twice."""

    def run(self, storage: Storage, tasks: Sequence[Task]) -> Iterator[int]:
        """Yields the bucket of every task once its file is stored.

        Raises:
            EventlakeError: A task cannot be done.
        """


class InProcessExecutor:
    """Runs tasks one after the other in this process."""

    def run(self, storage: Storage, tasks: Sequence[Task]) -> Iterator[int]:
        """See ``Executor.run``."""
        read = _Reader(storage, trust_of(tasks[0].trust if tasks else None))
        for task in tasks:
            read.do(task)
            yield task.bucket


def build_by_bucket(
    computation: Computation,
    recipe: Recipe,
    *,
    buckets: int,
    executor: Executor,
    anew: bool = False,
) -> pa.Table:
    """The rows of a projection that was proved to be a function of one entity's rows at a time, as its engine returns them, in no order.

    Args:
        computation: SQL, or declared features.
        recipe: The recipe of the build.
        buckets: How many.
        executor: Runs the tasks.
        anew: Whether buckets that are done already are done again.

    Raises:
        InvalidProjectionError: The engine refuses the projection.
        CorruptionError: A file of the history is damaged.
        StorageError: A worker died again and again, or the store failed.
    """
    projection, history, spine = computation.projection, computation.history, computation.spine
    storage, recipe_hash = history.storage, recipe.recipe_hash
    common = [projection.by, projection.spine_entity, buckets, secrets.token_hex(8) if anew else ""]
    work = sha256_hex(canonical_json(common))[:_WORK_DIGITS]
    spine_hash = None if spine is None else content_hash(spine)
    spine_data = b"" if spine is None else frames.encode(spine)
    # What somebody else left there is not taken over.
    ignored = frozenset(_unknown(storage, recipe_hash, work, history.trust))
    tasks = [
        Task(
            lake=storage.uri,
            checkpoint=str(history.checkpoint),
            schemas=dict(recipe.schemas),
            recipe_hash=recipe_hash,
            work=work,
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
                _put_spine(storage, layout.spine_path(recipe_hash, work), spine_data)
            done = _done(storage, recipe_hash, work, ignored)
            left = [task for task in tasks if task.bucket not in done]
            advance(max(buckets - len(left) - len(rows), 0))
            for _ in executor.run(storage, left):
                advance(1)
            # What another builder or a collector has deleted meanwhile is made once more.
            ignored &= _unknown(storage, recipe_hash, work, history.trust)
            for number, path in _done(storage, recipe_hash, work, ignored).items():
                with suppress(ObjectMissingError):
                    rows[number] = _rows(storage, path)
            if len(rows) == buckets:
                _forget(storage, recipe_hash, work)
                return pa.concat_tables([rows[number] for number in range(buckets)])
            tasks = [task for task in tasks if task.bucket not in rows]
    message = f"the buckets of {projection.name} were deleted again and again while it was built"
    raise StorageError(message, "collect garbage with a longer --older-than, and build again.")


def _done(
    storage: Storage, recipe_hash: str, work: str, ignored: frozenset[str] = frozenset()
) -> dict[int, str]:
    """The file of each bucket that is done, without those that are ignored."""
    parts = (
        (layout.bucket_of(item.path), item.path)
        for item in storage.list(layout.recipe_folder(recipe_hash))
    )
    return {
        at[1]: path
        for at, path in parts
        if at is not None and at[0] == work and path not in ignored
    }


def _unknown(storage: Storage, recipe_hash: str, work: str, trust: Trust) -> set[str]:
    """The files of buckets that nobody who is believed has stored."""
    paths = {item.path for item in storage.list(layout.recipe_folder(recipe_hash))}
    return {
        path
        for path in paths
        if (at := layout.bucket_of(path))
        and at[0] == work
        and not trust.knows(statement("bucket", path))
    }


def _put_spine(storage: Storage, path: str, data: bytes) -> None:
    """Stores the spine for those who work; another one in its place is replaced."""
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
    if data is None:
        storage.delete(path)
        message = f"{path} is not what was written; it was deleted"
        raise CorruptionError(message, "build again: the other buckets are done.", path=path)
    return frames.decode(data, path)


def _forget(storage: Storage, recipe_hash: str, work: str) -> None:
    """Deletes what a build's buckets were kept in."""
    for path in (*_done(storage, recipe_hash, work).values(), layout.spine_path(recipe_hash, work)):
        storage.delete(path)


def do(task: Task) -> None:
    """Runs a task in a process of its own."""
    _reader(task.lake, task.trust).do(task)


@cache
def _reader(lake: str, trust: str) -> "_Reader":
    return _Reader(from_uri(lake), trust_of(trust))


class _Reader:
    """What tasks of one build have in common, read once."""

    def __init__(self, storage: Storage, trust: Trust) -> None:
        self._storage = storage
        self._trust = trust
        self._known: dict[tuple[str, str], tuple[Snapshot, pa.Table | None, pa.Table]] = {}

    def do(self, task: Task) -> None:
        """Stores the rows of a task's bucket."""
        snapshot, spine, chosen = self._common(task)
        only = EntityFilter(task.by, task.spine_by, in_bucket(chosen, task.bucket))
        options = RunOptions(only=only, settings=duckdb_runner.SETTINGS)
        projection = task.projection()

        def computed(history: PinnedHistory) -> pa.Table:
            return prepare(Computation(projection, history, spine), options).rows()

        rows = snapshot.read(computed)
        data = frames.encode(normalise(rows))
        path = layout.bucket_path(task.recipe_hash, task.work, task.bucket, sha256_hex(data))
        if not self._trust.believes:
            self._trust.ledger.note([statement("bucket", path)])
        with suppress(ObjectExistsError):
            self._storage.create(path, data)

    def _common(self, task: Task) -> tuple[Snapshot, pa.Table | None, pa.Table]:
        known = self._known.get((task.recipe_hash, task.work))
        if known is None:
            history = resolve(
                open_chain(self._storage, self._trust), Checkpoint.parse(task.checkpoint)
            )
            snapshot = Snapshot(history.with_schemas(task.schemas))
            path = layout.spine_path(task.recipe_hash, task.work)
            spine = None if task.spine is None else self._spine(task, path)
            projection = task.projection()
            found = snapshot.read(
                lambda history: kind_of(projection).entities(
                    Computation(projection, history, spine)
                )
            )
            known = (snapshot, spine, bucketed(found, task.buckets))
            self._known = {(task.recipe_hash, task.work): known}
        return known

    def _spine(self, task: Task, path: str) -> pa.Table:
        """The spine, of no more bytes and of the rows that the task says. Somebody else may have written the file since."""
        spine = frames.decode(
            read_sized(self._storage, path, task.spine_bytes), path, rows=task.spine_rows
        )
        if content_hash(spine) != task.spine:
            message = f"{path} is not the spine that the build was asked for"
            raise CorruptionError(message, "build again.", path=path)
        return spine
