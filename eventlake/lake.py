"""The lake: every operation that users call, with its full documentation."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from eventlake.columns.intake.problems import Problem
from eventlake.core.card import Card, Shown, counted
from eventlake.core.documents.dataset import Parameter
from eventlake.core.documents.delivery import Position
from eventlake.core.expectation import Expectation
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.proofs import ConsistencyProof, InclusionProof
from eventlake.core.instants import format_instant
from eventlake.datasets.handle import LakeHandle
from eventlake.datasets.lease_timing import LEASE_TIMING, LeaseTiming
from eventlake.errors import InvalidEventsError, InvalidInputError
from eventlake.history.resolve import At, resolve
from eventlake.history.snapshot import Snapshot
from eventlake.history.verifying.report import Report
from eventlake.log.appending.choices import REFUSE, SKIP, check_choice
from eventlake.log.appending.expectations import check_kinds
from eventlake.log.appending.receipt import Receipt
from eventlake.log.appending.resolve_commit import resolve_commit
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.events_of_commits import retry_after_compaction
from eventlake.log.chain.open_or_create import create_chain, open_chain, reopen
from eventlake.log.clock import Clock, accept, clock_of
from eventlake.log.maintaining.compact import TARGET_BYTES, Compaction, compact
from eventlake.log.maintaining.fold_behind import FoldBehind
from eventlake.log.maintaining.garbage import OLDER_THAN, Garbage, collect
from eventlake.log.maintaining.register_schema import register
from eventlake.log.maintaining.reserve import keep_reserve
from eventlake.public_calls import verb, verbs
from eventlake.schemas.infer import Proposal
from eventlake.schemas.version import Version
from eventlake.storage import Storage, from_uri
from eventlake.trust import trust_of
from eventlake.visible import redacted

if TYPE_CHECKING:
    import polars as pl

    from eventlake.datasets.auditing.predictions import PredictionExplanation
    from eventlake.datasets.building.buckets import Executor
    from eventlake.datasets.comparing.diff_report import DatasetDiff
    from eventlake.datasets.dataset import Dataset
    from eventlake.datasets.definitions.dataset_toml import Definition
    from eventlake.datasets.inspecting.explanation import Explanation
    from eventlake.datasets.reproduction import Reproduction
    from eventlake.features.feature_set import FeatureSet
    from eventlake.log.appending.group_commit import Member
    from eventlake.log.appending.writer import Writer
    from eventlake.projections.projection import Projection


@verb
def create(
    uri: str | os.PathLike[str] | Storage,
    origin: str,
    *,
    strict: bool = False,
    trust: str | None = None,
) -> Lake:
    """Create an empty lake.

    Args:
        uri: A new or empty folder, ``file://…``, ``memory://`` for a lake that ends with the
            process, a URI of an object store, or a ``Storage``.
        origin: The lake's permanent name, like ``bank.example/loans``; part of every checkpoint.
        strict: Permanently refuse events of types without a registered schema.
        trust: See ``open``.

    Returns:
        The new lake, durably stored.

    Raises:
        AlreadyExistsError: There is a lake already, or the folder has other files.
        InvalidInputError: ``origin`` or ``uri`` is invalid.
        StorageError: The store failed.
    """
    chain = create_chain(from_uri(uri), origin, _now(), strict=strict, trust=trust_of(trust))
    keep_reserve(chain.storage)
    return Lake(chain)


@verb
def open(uri: str | os.PathLike[str] | Storage, *, trust: str | None = None) -> Lake:  # noqa: A001 - el.open reads well
    """Open an existing lake. Nothing is written to it.

    Args:
        uri: As for ``create``.
        trust: Whose derived files are trusted. ``own``: only those that this user's processes wrote
            or checked; others are checked or derived again at their first use, and remembered in
            the user's cache folder. ``lake``: those of all writers of the lake, if their hashes
            match; for a lake that one team writes. Defaults to the environment variable
            ``EVENTLAKE_TRUST``, else ``own``.

    Raises:
        NotFoundError: There is no lake.
        UnsupportedFormatError: It was written by a newer eventlake.
        CorruptionError: The log is damaged.
        StorageError: The store failed.
    """
    return Lake(open_chain(from_uri(uri), trust_of(trust)))


def _now() -> int:
    return time.time_ns() // 1000


@verbs
class Lake(Shown):
    """An append-only, hash-chained history of events, and the datasets that were built from it.

    Open one with ``create`` or ``open``. It can be shared among threads.
    """

    def __init__(self, chain: Chain, *, lease: LeaseTiming = LEASE_TIMING) -> None:
        if type(chain) is not Chain:
            message = (
                f"expected el.open(…) or el.create(…) to make a lake, found el.Lake({chain!r})"
            )
            raise InvalidInputError(message, "write el.open('my-lake').")
        self._chain = chain
        self._lease = lease
        self._lock = threading.RLock()

    @property
    def _storage(self) -> Storage:
        return self._chain.storage

    @property
    def _handle(self) -> LakeHandle:
        # Functions and not the lake, because modules of datasets cannot import this one.
        return LakeHandle(
            self._storage, self.snapshot, self.append, self.register, self.schemas, self._lease
        )

    def __enter__(self) -> Self:
        """Return the lake itself; it holds no connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: a lake holds no connection."""

    @property
    def uri(self) -> str:
        """The URI of the lake's storage."""
        return self._chain.storage.uri

    @property
    def trust(self) -> str:
        """Whose derived files are trusted: ``own`` or ``lake``; see ``open``."""
        return self._chain.trust.name

    @property
    def origin(self) -> str:
        """The lake's permanent name."""
        return self._chain.origin

    @property
    def watermark(self) -> int:
        """Number of events at the head, including those of other writers."""
        with self._lock:
            self._chain.refresh()
            return self._chain.watermark

    @property
    def checkpoint(self) -> Checkpoint:
        """The identity of the history at the head."""
        return self.snapshot().checkpoint

    def append(
        self,
        events: Any,
        *,
        producer: str | None = None,
        position: int | None = None,
        expect: Iterable[Expectation] = (),
        duplicates: str = REFUSE,
    ) -> Receipt:
        """Append a batch of events atomically. On return it is durable.

        Args:
            events: An iterable of dicts, a Polars, pandas or Arrow table, anything with
                ``__arrow_c_stream__``, the path of an NDJSON or Parquet file, or the bytes of
                NDJSON. Attributes: ``id``, ``source``, ``type`` (required text), ``subject``,
                ``time`` (an instant with a time zone; null means the time of recording), ``data``
                (JSON text, kept as given, or a Python value in a dict), and the others of
                ``docs/reference/format.md``. With a column ``recorded_at`` the batch is a copied
                history: its instants must not decrease, nor precede the head's. A Parquet file of
                more than a million events, or a large file, is stored part by part.
            producer: The name of the stream to which the batch belongs. A producer can send a batch
                again after a failure: if the lake has it, the first receipt is returned and nothing
                is appended.
            position: The batch's position in that stream: the previous one plus one. The first
                position is free.
            expect: Conditions on the history that precedes the batch, from ``el.pristine``,
                ``el.populated``, ``el.on_event`` and ``el.at_watermark``. They are checked
                atomically with the commit.
            duplicates: What to do with an event whose ``(source, id)`` is already stored.
                ``refuse`` refuses the batch. ``skip_identical`` skips the event if it is stored
                byte-identically, and refuses the batch otherwise.

        Returns:
            The receipt: the half-open range ``[start, stop)`` of sequences, and the checkpoint of
            the resulting history. An empty batch changes nothing: ``start == stop``.

        Raises:
            InvalidEventsError: Events break the rules; every problem is listed by row and field.
                Nothing was appended.
            InvalidInputError: ``events`` is of an unsupported type.
            ConflictError: An expectation does not hold, a column ``sequence`` does not continue
                the history, or the position is taken, leaves a gap or goes back.
            CommitUnknownError: The store failed while the commit was published; call ``resolve``.
            StorageError: The store failed before that; nothing was appended.
        """
        from eventlake.log.appending.append import Terms
        from eventlake.log.appending.append_events import append_events

        at = Position.of(producer, position)
        check_choice(duplicates, positioned=at is not None)
        terms = Terms(at, check_kinds(expect), duplicates == SKIP)
        return append_events(self._chain, self._lock, events, _now, terms)

    def check(self, events: Any) -> list[Problem]:
        """List the problems for which ``append`` would refuse a batch, without appending it.

        Problems are violations of the event rules or a registered schema, known ids, corrections of
        unknown events, and instants before the head's.

        Args:
            events: As for ``append``.

        Returns:
            Every problem, by row and field; empty if there is none.

        Raises:
            InvalidInputError: ``events`` is of an unsupported type.
        """
        from eventlake.log.appending.append import problems_of
        from eventlake.log.appending.read_events import checked_batch

        # With ``drop_repeats`` the batch is not encoded, which a mere check does not need.
        try:
            batch = checked_batch(
                events, drop_repeats=lambda batch: batch, limits=self._chain.limits.batch
            )
        except InvalidEventsError as error:
            return list(error.problems)
        with self._lock:
            self._chain.refresh()
            return problems_of(self._chain, batch, _now())

    def next_position(self, producer: str) -> int | None:
        """The position of a producer's next batch; None if it may start anywhere.

        A producer that has appended nothing may start anywhere.
        """
        from eventlake.log.appending.positions import next_position

        with self._lock:
            self._chain.refresh()
            producer.encode()  # a lone surrogate is reported as such
            return next_position(self._chain, Position(producer, 0).producer)

    def writer(
        self, *, max_delay: float = 0.002, max_events: int = 10_000, max_pending: int = 100_000
    ) -> Writer:
        """A writer that commits the batches of many threads together (group commit).

        For services that append single events at a high rate.

            with lake.writer() as writer:
                future = writer.append([event])        # from any thread
                receipt = future.result()              # durable now

        Args:
            max_delay: Maximum seconds that a batch waits for others.
            max_events: Number of waiting events at which a group is committed immediately.
            max_pending: Number of waiting events above which ``append`` blocks.
        """
        from eventlake.log.appending.group_commit import commit_group
        from eventlake.log.appending.writer import Writer

        folding = FoldBehind(self._chain)

        def commit(members: Sequence[Member]) -> None:
            with self._lock:
                commit_group(self._chain, members, _now())
                folding.look()

        return Writer(commit, max_delay, max_events, max_pending, folding.close)

    def resolve(self, commit_id: str) -> Receipt | None:
        """Find out whether a commit of unknown outcome is in the log, and make that final.

        Args:
            commit_id: From the ``facts`` of a ``CommitUnknownError``.

        Returns:
            The receipt if the commit is in the log. None if it is not; then it never will be, for a
            fence takes the number that a delayed write could still have reached.

        Raises:
            CommitUnknownError: The store still does not answer; call again later.
            StorageError: The store failed.
            InvalidInputError: It is not a commit id.
        """
        with self._lock:
            return resolve_commit(self._chain, commit_id)

    def clock(self) -> Clock:
        """Compare the newest commit's ``recorded_at`` with this machine's clock."""
        with self._lock:
            return clock_of(self._chain, _now())

    def accept_clock(self, version: int) -> Entry:
        """Allow appends although the newest commits were recorded by a clock that ran ahead.

        Normally an append is refused if the head's ``recorded_at`` is more than five minutes ahead
        of the writer's clock. After this call every writer records at the instant of commit
        ``version`` until real time has passed it. A fence in the log records the decision.

        Args:
            version: The commit that the refusal names: the first with the head's ``recorded_at``.

        Returns:
            The fence, or the head if its clock was accepted before.

        Raises:
            InvalidInputError: The head is not ahead of this machine's clock, or its clock is that
                of another commit.
            NotFoundError: The lake is empty.
            CommitUnknownError: The store failed while the fence was published.
        """
        with self._lock:
            return accept(self._chain, version, _now())

    def register(
        self, event_type: str, schema: Any, *, upcast: Mapping[str, str] | None = None
    ) -> Version:
        """Register a schema for an event type.

        Its payloads become typed columns, and ``append`` refuses payloads that do not fit. Stored
        events of the type must fit too. If the type has a schema, this is a new version, which
        must accept all that the previous one accepts: it may add optional fields, digits and enum
        values. For any other change ``upcast`` says how to read older payloads; stored bytes never
        change. Registering the newest version again changes nothing.

        Args:
            event_type: The type, such as ``payment.received``; also its table's name in SQL.
            schema: A JSON Schema of the payload as a dict, a ``pandera.polars`` schema or model, or
                a pyarrow schema. An optional field may be absent or null, which are read alike; a
                required field may not.
            upcast: For fields of the new schema, a DuckDB expression over the fields of the
                previous version, such as ``{"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01"}``.
                Other fields are read from the old field of the same name. Expressions are recorded
                and part of the ``schema_hash``. They must be deterministic: no clock, randomness or
                subquery, and no DOUBLE on the way to an exact type.

        Returns:
            The version, numbered from 1, with its ``schema_hash``.

        Raises:
            InvalidInputError: The schema cannot be kept exactly or cannot follow the previous
                version, or an expression is not allowed.
            SchemaMismatchError: Stored events do not fit or their upcast fails; they are named by
                sequence. Nothing was registered.
            CommitUnknownError: The store failed while the commit was published.
        """
        from eventlake.schemas.coerce_schema import schema_of
        from eventlake.tables import payloads

        described = schema_of(event_type, schema)
        with self._lock:
            # The log knows no query engine, so it is given the module that reads payloads.
            return register(self._chain, described, upcast, payloads)

    def infer_schema(self, event_type: str, at: At = None) -> Proposal:
        """Propose a schema for an event type from its payloads, without registering it.

        At most 100,000 payloads are read, evenly spread. Numbers with a fraction become decimals
        with the digits that occur.

        Args:
            event_type: A type of which the history has events.
            at: As for ``snapshot``; defaults to the head.

        Returns:
            The proposal, with a reason for every field. ``.json_schema()`` is meant for editing,
            ``.schema`` for ``register``.

        Raises:
            NotFoundError: The history has no such event.
        """
        from eventlake.history.infer import infer_schema

        return infer_schema(self.snapshot(at), event_type)

    def schema(self, event_type: str, version: int | None = None) -> Version:
        """The registered schema of an event type.

        Args:
            event_type: The type.
            version: Numbered from 1; defaults to the newest.

        Raises:
            NotFoundError: The type has no schema, or no such version.
        """
        with self._lock:
            self._chain.refresh()
            return self._chain.catalogue().version(event_type, version)

    def schemas(self) -> dict[str, tuple[Version, ...]]:
        """The registered schemas by event type, oldest version first."""
        with self._lock:
            self._chain.refresh()
            return dict(self._chain.catalogue().types)

    def snapshot(self, at: At = None) -> Snapshot:
        """A read-only view of a history, which never changes.

        Args:
            at: A watermark (number of events); an aware datetime or RFC 3339 text (events with
                ``recorded_at`` strictly before it); a checkpoint or its text; or the hash of a
                commit or dataset manifest, or at least 6 hex digits of it. Defaults to the head.

        Raises:
            NotFoundError: There is no such watermark or hash.
            InvalidInputError: ``at`` is none of these, or fits several histories.
            ConflictError: ``at`` is an instant that later appends could still precede.
            CorruptionError: The history is not the one that the checkpoint names.
        """
        with self._lock:
            self._chain.refresh()
            return Snapshot(retry_after_compaction(self._chain, lambda chain: resolve(chain, at)))

    def follow(
        self, after: int = 0, *, poll_seconds: float = 0.2, timeout_seconds: float | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield stored events in sequence order, then new ones as any process appends them.

        A consumer that stores ``frame["sequence"][-1] + 1`` after each frame and passes it as
        ``after`` misses no event and sees none twice.

        Args:
            after: The first sequence to yield, that is, the number of events already processed.
            poll_seconds: Seconds between two reads of the log if there is nothing new.
            timeout_seconds: Seconds without a new event after which to stop; None waits forever.

        Yields:
            Non-empty frames of at most 100,000 events, with the columns of ``Snapshot.scan``.

        Raises:
            InvalidInputError: The lake is shorter than ``after``, or a number of seconds is
                invalid.
            CorruptionError: A segment is damaged.
        """
        from eventlake.history.follow import follow

        return follow(self.snapshot, after, poll_seconds, timeout_seconds)

    def log(self) -> list[Entry]:
        """The commits, oldest first."""
        with self._lock:
            self._chain.refresh()
            return list(self._chain.entries())

    def verify(
        self, *, deep: bool = False, against: Checkpoint | str | None = None, trust: bool = False
    ) -> Report:
        """Re-hash stored files and report what is damaged, missing, truncated or foreign.

        Args:
            deep: Also decode every segment, hash every event, read every payload under its schema,
                and derive keys, event tables and datasets again. A dataset that cannot be
                reproduced here is listed in the report's ``unproven``, with the reason.
            against: A checkpoint that was kept elsewhere, or its text; the history must extend it.
                Without one, the loss of the newest commits cannot be detected.
            trust: With ``deep``, run the Python that is archived with datasets. SQL and features
                need no trust.

        Returns:
            The report. Damage is reported, not raised.

        Raises:
            InvalidInputError: ``trust`` is given without ``deep``.
        """
        from eventlake.datasets.verifying.verify import verify_lake

        checkpoint = Checkpoint.parse(against) if isinstance(against, str) else against
        # Only the storage is passed, so that nothing this lake has read before is relied on.
        return verify_lake(self._chain.storage, deep=deep, against=checkpoint, trust=trust)

    def prove_inclusion(self, sequence: int, at: At = None) -> InclusionProof:
        """A proof that a history has an event at a sequence. Checking it needs no lake.

        Args:
            sequence: The 0-based sequence of the event.
            at: As for ``snapshot``; defaults to the head.

        Raises:
            InvalidInputError: The history has no such sequence.
            CorruptionError: A segment that must be read is damaged.
        """
        from eventlake.history.proofs import prove_inclusion

        return self.snapshot(at).read(lambda history: prove_inclusion(history, sequence))

    def prove_consistency(self, old: Checkpoint | str, at: At = None) -> ConsistencyProof:
        """A proof that a history extends that of an earlier checkpoint. Checking it needs no lake.

        Args:
            old: The earlier checkpoint, or its text.
            at: As for ``snapshot``; defaults to the head.

        Raises:
            CorruptionError: This lake has another history at that watermark.
            InvalidInputError: ``old`` is not a checkpoint, or is longer than the history.
            NotFoundError: ``old`` belongs to another lake, or is longer than this one.
        """
        from eventlake.history.proofs import prove_consistency

        checkpoint = Checkpoint.parse(old) if isinstance(old, str) else old
        # Refuses a checkpoint that this lake does not extend.
        self.snapshot(checkpoint)
        return self.snapshot(at).read(lambda history: prove_consistency(history, checkpoint))

    def compact(self, *, target_bytes: int = TARGET_BYTES) -> Compaction:
        """Merge small neighbouring segments, while others write and read.

        Root, watermarks and datasets do not change. Nothing is deleted: snapshots read the old
        segments until ``gc`` deletes them.

        Args:
            target_bytes: Target size of the merged segments; those of half that size are kept.

        Raises:
            CorruptionError: A segment is damaged.
            StorageError: The store failed; segments that were merged before stay merged.
        """
        # A chain of its own: merging takes long, and must not block appends of other threads.
        return compact(reopen(self._chain), target_bytes)

    def gc(self, *, older_than: timedelta = OLDER_THAN, dry_run: bool = True) -> Garbage:
        """List or delete unused files: compacted segments, and what interrupted writes left.

        Args:
            older_than: Minimum time since a file became unused. It should exceed the duration of
                the longest build, which may otherwise lose its unpublished files.
            dry_run: Only list the files; pass False to delete them.

        Raises:
            InvalidInputError: ``older_than`` is negative.
            CorruptionError: A commit is damaged; nothing was deleted.
            StorageError: The store failed.
        """
        return collect(reopen(self._chain), older_than, _now(), dry_run=dry_run)

    def build(
        self,
        projection: Projection | FeatureSet | Definition,
        *,
        at: At = None,
        spine: Any = None,
        engine: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        locked: bool = False,
        check: str | None = None,
        force: bool = False,
        workers: int = 1,
        buckets: int | None = None,
        incremental: bool | None = None,
        executor: Executor | None = None,
    ) -> Dataset:
        """Build a dataset from a projection at a pinned history, and publish it atomically.

        A recipe is computed once: if it was built before, that dataset is reused; if another
        process builds it now, this call waits. (Not so at the level ``unproven``.)

        Args:
            projection: From ``Projection.sql``, the decorator ``projection``, a ``FeatureSet``, or
                a dataset definition.
            at: As for ``snapshot``; defaults to the head.
            spine: The rows for which features are computed, with an entity and a cutoff column
                (an instant with a time zone): a Polars, pandas or Arrow table, or an event spine
                from ``el.spine.on`` or ``el.spine.month_ends``. Archived with the dataset.
            engine: ``duckdb`` or ``polars``; defaults to the projection's. Features run on both,
                with the same rows.
            parameters: Values of declared parameters.
            locked: Build a definition at the checkpoint in its ``dataset.lock``, and publish only
                if the content hash is that of the lock.
            check: ``"perturb"`` builds a second time with other threads, memory limit and order of
                rows, and publishes only if the rows are the same.
            force: Build even if the recipe was built before, and compare. A damaged dataset is
                stored again.
            workers: Number of processes for declared features, or for a projection that is declared
                ``by=`` an entity.
            buckets: Number of buckets of entities. Each is computed and kept on its own, so an
                interrupted build resumes. Defaults to four per worker, or none with one worker.
            incremental: Reuse the rows of an earlier build of declared features or ``by=``
                projections, and recompute only what may have changed. The rows are the same.
                ``None`` does so where it is probably cheaper, ``False`` never. Ignored with
                ``force``.
            executor: Computes the buckets in place of local processes; give ``workers`` or
                ``buckets`` with it. ``datasets.building.buckets.Executor`` is what it implements.

        Returns:
            The published dataset; ``Dataset.computed`` says whether its rows were computed now.

        Raises:
            NotIdenticalError: The rows are not those of the lock (``locked``), of an earlier build
                (``force``), or of the second run (``check``). Nothing was published.
            InvalidProjectionError: The projection cannot be built as declared.
            SchemaMismatchError: The rows break the declared schema; nothing was published.
            InvalidInputError: An argument is invalid.
            CorruptionError: A segment of the history is damaged.
            StorageError: The store or a worker failed.
        """
        from eventlake.datasets import verbs as dataset_verbs
        from eventlake.executors.choose import executor_for

        return dataset_verbs.build_dataset(
            self._handle,
            projection,
            at=at,
            spine=spine,
            engine=engine,
            parameters=parameters,
            locked=locked,
            check=check,
            force=force,
            workers=workers,
            buckets=buckets,
            incremental=incremental,
            executor=executor,
            executor_for=executor_for,
        )

    def reproduce(self, hash_prefix: str, *, trust: bool = False) -> Reproduction:
        """Compute a dataset again from scratch, and compare it with the stored one.

        Args:
            hash_prefix: A tag, or at least 6 hex digits of the ``manifest_hash``.
            trust: Run the Python that is archived with the dataset. SQL needs no trust.

        Returns:
            Whether the content hash is the same, and if not, what differs and why.

        Raises:
            NotFoundError: There is no such dataset.
            InvalidInputError: The prefix fits several datasets, or it is a Python projection and
                ``trust`` is false.
            CorruptionError: The history, the archived source or the spine is not what the manifest
                names; the message names the file.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.reproduce_dataset(self._handle, hash_prefix, trust=trust)

    def diff(self, a: str, b: str) -> DatasetDiff:
        """Compare two datasets: history, recipe, code, schema, and rows by key.

        Rows are read only if the content hashes differ, and then as a stream with one part of each
        dataset in memory. Null equals null; doubles are compared by their bits, with all NaN equal.
        Columns of different types are not compared. Rows are not compared if the keys differ in
        name, order or type, or if they were pruned.

        Args:
            a: The first dataset, as for ``dataset``.
            b: The second dataset; rows that only it has count as added.

        Raises:
            NotFoundError: There is no such dataset.
            InvalidInputError: A prefix fits several datasets.
            CorruptionError: A stored file is missing or changed.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.diff_datasets(self._handle, a, b)

    def explain(self, hash_prefix: str, key: Any, column: str | None = None) -> Explanation:
        """Find the events behind a row of a dataset, or behind one of its values.

        An event is behind a value if the value would change without it. For declared features it
        is an event inside the window.

        Args:
            hash_prefix: A tag, or at least 6 hex digits of a hash.
            key: The value of the key column, a tuple for several key columns, or a dict of columns
                and values that identify one row. Text can stand for a value of any type.
            column: The column to explain; defaults to the whole row.

        Raises:
            NotFoundError: There is no such dataset, or no such row.
            InvalidInputError: There is no such column, or the projection cannot be explained: it
                is Python, not exact, or its rows do not depend on one entity each.
            CorruptionError: The history does not make the stored row.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.explain_row(self._handle, hash_prefix, key, column)

    def record_predictions(
        self, dataset: Dataset, frame: Any, *, model: str | bytes | os.PathLike[str]
    ) -> Receipt:
        """Append a model's predictions for a dataset's rows as events of type ``prediction.made``.

        Each event names dataset, row and model, which together identify it: recording the same
        value again changes nothing, another value is refused. Its subject is the row's entity, if
        one is declared; its time is the time of recording.

        Args:
            dataset: The dataset that the model was applied to.
            frame: The dataset's key columns and ``prediction``, a finite number; as a Polars,
                pandas or Arrow table.
            model: Identifies the model: its digest or name as text, or its bytes or the path of its
                file, which are hashed with SHA-256.

        Returns:
            The receipt of the append.

        Raises:
            InvalidInputError: A column is missing, a key is not in the dataset, or a prediction is
                not a finite number.
            InvalidEventsError: Another value was recorded for the same dataset, row and model.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.record_predictions(self._handle, dataset, frame, model=model)

    def explain_prediction(self, event_id: str, column: str | None = None) -> PredictionExplanation:
        """Explain a recorded prediction: the row of its dataset, and the events behind it.

        Args:
            event_id: The ``id`` of the prediction event.
            column: The feature to explain; defaults to the whole row.

        Raises:
            NotFoundError: There is no such prediction, or its dataset was removed.
            InvalidInputError: The dataset's projection cannot be explained; see ``explain``.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.explain_prediction(self._handle, event_id, column)

    def dataset(self, hash_prefix: str) -> Dataset:
        """Open a published dataset by tag, hash or name.

        Args:
            hash_prefix: A tag; or at least 6 hex digits of a manifest hash, else of a recipe or
                content hash; or a name, for the dataset of that name with the highest watermark.

        Raises:
            NotFoundError: There is no such dataset.
            InvalidInputError: The prefix fits several datasets.
            CorruptionError: Its manifest is damaged.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.dataset(self._handle, hash_prefix)

    def datasets(self, hash_prefix: str | None = None) -> list[Dataset]:
        """List the published datasets, ordered by name, then by watermark.

        Damaged ones are left out with a warning; ``verify`` has the details.

        Args:
            hash_prefix: The beginning of a manifest, recipe or content hash; defaults to all.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.datasets(self._handle, hash_prefix)

    def tag(self, reference: str, name: str) -> None:
        """Tag a dataset, for example as ``model-2025-q3``. ``prune`` keeps tagged datasets.

        Args:
            reference: A hash, another tag or a dataset's name, as for ``dataset``.
            name: At most 100 letters, digits, ``.``, ``_`` and ``-``; must not look like a hash.
                A tag is never moved.

        Raises:
            AlreadyExistsError: Another dataset has this tag.
            InvalidInputError: The name is invalid.
            NotFoundError: There is no such dataset.
        """
        from eventlake.datasets import verbs as dataset_verbs

        dataset_verbs.tag(self._handle, reference, name)

    def untag(self, name: str) -> None:
        """Delete a tag. The dataset stays.

        Raises:
            NotFoundError: There is no such tag.
        """
        from eventlake.datasets import verbs as dataset_verbs

        dataset_verbs.untag(self._handle, name)

    def tags(self) -> dict[str, str]:
        """The manifest hash by tag. Tags ``lock-…`` are written for a ``dataset.lock``."""
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.tags(self._handle)

    def prune(
        self,
        *,
        older_than: timedelta,
        keep_last: int = 1,
        datasets: bool = False,
        dry_run: bool = True,
    ) -> Garbage:
        """List or delete the rows of old datasets, never those that a tag or a lock names.

        Manifest, source, spine and provenance stay: ``reproduce`` computes the rows again, and a
        build stores them again. With ``datasets`` they are deleted too, as by ``remove_dataset``.

        Args:
            older_than: Minimum age of a dataset, counted from when it was built.
            keep_last: Number of datasets of each name to keep in any case: those with the highest
                watermarks.
            datasets: Remove whole datasets, also those whose rows were pruned before, but not those
                that predictions name.
            dry_run: Only list the files; pass False to delete them.

        Raises:
            InvalidInputError: An age or a number is negative.
            CorruptionError: A manifest or a tag is damaged; nothing was deleted.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.prune_datasets(
            self._handle,
            older_than=older_than,
            keep_last=keep_last,
            datasets=datasets,
            dry_run=dry_run,
        )

    def remove_dataset(self, reference: str) -> Garbage:
        """Remove a dataset with all its files.

        Its hashes are remembered, so that a later look-up reports when it was removed.

        Args:
            reference: At least 6 hex digits of a hash.

        Returns:
            The deleted files.

        Raises:
            InvalidInputError: A tag, a ``dataset.lock`` or a recorded prediction names it; nothing
                was changed.
            NotFoundError: There is no such dataset.
            StorageError: The store failed. Removing it again finishes the removal.
        """
        from eventlake.datasets import verbs as dataset_verbs

        return dataset_verbs.remove_dataset(self._handle, reference)

    def card(self) -> Card:
        """The lake as a card."""
        snapshot = self.snapshot()
        head = self._chain.head
        commits = counted(head.commit.version + 1 if head else 0, "commit")
        facts = [
            ("where", self.uri),
            ("watermark", f"{counted(snapshot.watermark, 'event')} in {commits}"),
            ("checkpoint", str(snapshot.checkpoint)),
            ("trust", str(self._chain.trust)),
        ]
        if head:
            facts.append(
                (
                    "newest commit",
                    f"{head.commit_hash}, recorded {format_instant(head.commit.recorded_at)}",
                )
            )
        rows = tuple((name, f"{count:,}") for name, count in snapshot.types().items())
        return Card(f"lake {self.origin}", tuple(facts), ("event type", "events"), rows)

    def __repr__(self) -> str:
        """``Lake(origin, uri, watermark, trust)``."""
        # As last read: a representation must not access the store.
        watermark = f"watermark={self._chain.watermark}"
        return f"Lake({self.origin!r}, {redacted(self.uri)!r}, {watermark}, trust={self.trust!r})"
