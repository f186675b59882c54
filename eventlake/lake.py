"""The lake: the verbs users type."""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import polars as pl

from eventlake.columns.intake.problems import Problem
from eventlake.core.card import Card, counted
from eventlake.core.documents.dataset import Parameter
from eventlake.core.documents.delivery import Position
from eventlake.core.expectation import Expectation
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.proofs import ConsistencyProof, InclusionProof
from eventlake.core.instants import format_instant
from eventlake.datasets import verbs as dataset_verbs
from eventlake.datasets.auditing.predictions import PredictionExplanation
from eventlake.datasets.building.buckets import Executor, InProcessExecutor
from eventlake.datasets.comparing.diff_report import DatasetDiff
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.definitions.dataset_toml import Definition
from eventlake.datasets.handle import LakeHandle
from eventlake.datasets.inspecting.explain import Explanation
from eventlake.datasets.reproduction import Reproduction
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import InvalidEventsError, InvalidInputError
from eventlake.executors.local import Processes
from eventlake.features.feature_set import FeatureSet
from eventlake.history.follow import follow
from eventlake.history.infer import infer_schema
from eventlake.history.proofs import prove_consistency, prove_inclusion
from eventlake.history.resolve import At, resolve
from eventlake.history.snapshot import Snapshot
from eventlake.history.verifying.report import Report
from eventlake.log.appending.append import Terms, append, append_parts, problems_of
from eventlake.log.appending.duplicates import REFUSE, SKIP, check_choice, drop_repeats
from eventlake.log.appending.expectations import check_kinds
from eventlake.log.appending.group_commit import Member, commit_group
from eventlake.log.appending.positions import next_position
from eventlake.log.appending.read_events import checked_batch, parts_of
from eventlake.log.appending.receipt import Receipt
from eventlake.log.appending.resolve_commit import resolve_commit
from eventlake.log.appending.writer import Writer
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.events_of_commits import retry_after_compaction
from eventlake.log.chain.open_chain import create_chain, open_chain
from eventlake.log.clock import Clock, accept, clock_of
from eventlake.log.maintaining.compact import TARGET_BYTES, Compaction, compact
from eventlake.log.maintaining.fold import keep_folded
from eventlake.log.maintaining.garbage import OLDER_THAN, Garbage, collect
from eventlake.log.maintaining.register_schema import register
from eventlake.log.maintaining.reserve import keep_reserve
from eventlake.projections.projection import Projection
from eventlake.schemas.coerce_schema import schema_of
from eventlake.schemas.infer import Proposal
from eventlake.schemas.version import Version
from eventlake.storage import Storage, can_be_reopened, from_uri
from eventlake.tables import payloads
from eventlake.trust import trust_of
from eventlake.verbs import verb, verbs
from eventlake.visible import redacted


@verb
def create(
    uri: str | os.PathLike[str] | Storage,
    origin: str,
    *,
    strict: bool = False,
    trust: str | None = None,
) -> "Lake":
    """Makes an empty lake.

    Args:
        uri: A new or empty folder, ``file://…``, or ``memory://`` for one that ends with the
            process.
        origin: Its name for ever, like ``bank.example/loans``; part of every checkpoint.
        strict: Refuse events of types that have no registered schema, for ever.
        trust: As of ``open``.

    Raises:
        AlreadyExistsError: There is a lake already, or the folder holds other files.
        InvalidInputError: ``origin`` or ``uri`` is not usable.
    """
    chain = create_chain(from_uri(uri), origin, _now(), strict=strict, trust=trust_of(trust))
    keep_reserve(chain.storage)
    return Lake(chain)


@verb
def open(uri: str | os.PathLike[str] | Storage, *, trust: str | None = None) -> "Lake":  # noqa: A001 - el.open reads well
    """Opens an existing lake. Writes nothing there.

    Args:
        uri: What ``create`` takes.
        trust: What is believed. ``own``: only what this user's processes wrote or checked;
            everything else is checked, or derived again, at its first use, and remembered in the
            user's cache folder. ``lake``: what the lake's writers stored, if its hash is the one it
            is named by; for a lake that one team writes to. None for the environment variable
            ``EVENTLAKE_TRUST``, or ``own``.

    Raises:
        NotFoundError: There is no lake.
        UnsupportedFormatError: Written by a newer eventlake.
        CorruptionError: The log is damaged.
    """
    return Lake(open_chain(from_uri(uri), trust_of(trust)))


def _now() -> int:
    return time.time_ns() // 1000


@verbs
class Lake:
    """An append-only, hash-chained history of events. Made by ``create`` and ``open``; safe to share among threads."""

    def __init__(self, chain: Chain) -> None:
        if type(chain) is not Chain:
            message = (
                f"expected el.open(…) or el.create(…) to make a lake, found el.Lake({chain!r})"
            )
            raise InvalidInputError(message, "write el.open('my-lake').")
        self._chain = chain
        self._lock = threading.RLock()

    @property
    def _storage(self) -> Storage:
        return self._chain.storage

    @property
    def _handle(self) -> LakeHandle:
        chain = self._chain
        return LakeHandle(
            chain.storage, chain.trust, self.snapshot, self.append, self.register, self.schemas
        )

    def _executor(self, workers: int) -> Executor:
        if workers > 1 and not can_be_reopened(self._storage):
            kind = type(self._storage).__name__
            message = f"workers={workers} opens the lake by its URI in other processes; that of a {kind} is only a name: {self.uri}"
            raise InvalidInputError(message, "build with workers=1.", workers=workers, storage=kind)
        return Processes(workers) if workers > 1 else InProcessExecutor()

    def __enter__(self) -> Self:
        """A lake holds no connection; the block is for the eye."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open, so nothing is closed."""

    @property
    def uri(self) -> str:
        """Where it is."""
        return self._chain.storage.uri

    @property
    def trust(self) -> str:
        """What is believed of it: ``own`` or ``lake``; see ``open``."""
        return self._chain.trust.name

    @property
    def origin(self) -> str:
        """Its name."""
        return self._chain.origin

    @property
    def watermark(self) -> int:
        """Number of events at the head, other writers' included."""
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
        """Appends a batch of events, whole or not at all. On return it is durable.

        Args:
            events: An iterable of dicts, a Polars, pandas or Arrow table, anything with
                ``__arrow_c_stream__``, the path of an NDJSON or Parquet file, or the bytes of
                NDJSON. Attributes: ``id``, ``source``, ``type`` (required text), ``subject``,
                ``time`` (with a zone), ``data`` (JSON text as given, or a Python value in a dict)
                and the rest of ``docs/reference/format.md``. A column ``recorded_at`` makes it a copied
                history: non-decreasing, not before the head's. A Parquet file of more than a
                million events is read and stored part by part, unless it has a position or
                ``skip_identical``.
            producer: The name of the stream the batch is a part of. A batch of a producer can be
                sent again after a failure: if it is in the lake, its first receipt comes back and
                nothing is appended.
            position: Where the batch stands in that stream: the position before plus one; the first
                may be any.
            expect: What must hold of the history that the batch follows, from ``el.pristine``,
                ``el.populated``, ``el.on_event`` and ``el.at_watermark``; checked at the commit, so
                that no other writer can come between.
            duplicates: ``refuse`` an event whose ``(source, id)`` is known; or ``skip_identical``:
                leave it out where it is the same event to the last byte, and refuse it where it is
                another one.

        Returns:
            Where the events stand and which history they made. An empty batch is a no-op: ``start
            == stop``.

        Raises:
            InvalidEventsError: Rules are broken; every problem is listed by row and field, nothing
                was appended.
            InvalidInputError: ``events`` is nothing that holds events.
            ConflictError: What was expected does not hold; a column ``sequence`` names other
                sequences than the next ones; or the position is another batch's, leaves a gap or
                steps back.
            CommitUnknownError: The store failed while the commit was published.
            StorageError: The store failed before that; nothing was appended.
        """
        at = Position.of(producer, position)
        check_choice(duplicates, positioned=at is not None)
        skip = duplicates == SKIP
        terms = Terms(at, check_kinds(expect), skip)
        parts = None if skip or at else parts_of(events)
        if parts is not None:
            # It takes long, and other threads go on meanwhile.
            chain = open_chain(self._storage, self._chain.trust)
            receipt = append_parts(chain, parts, _now(), terms)
            keep_folded(chain)
            return receipt
        batch = checked_batch(events, drop_repeats=drop_repeats if skip else None)
        with self._lock:
            receipt = append(self._chain, batch, _now(), terms)
            keep_folded(self._chain)
        return receipt

    def check(self, events: Any) -> list[Problem]:
        """Says what ``append`` would refuse of a batch, and appends nothing.

        That is: what breaks the event rules or a registered schema, ids that are known, corrections
        of nothing, instants before the head's.

        Args:
            events: What ``append`` takes.

        Returns:
            Every problem, by row and field; empty where there is none.

        Raises:
            InvalidInputError: ``events`` is nothing that holds events.
        """
        # A batch that may still lose rows is not encoded.
        try:
            batch = checked_batch(events, drop_repeats=lambda batch: batch)
        except InvalidEventsError as error:
            return list(error.problems)
        with self._lock:
            self._chain.refresh()
            return problems_of(self._chain, batch, _now())

    def next_position(self, producer: str) -> int | None:
        """The position that a producer's next batch must have; None for one that has appended nothing and may begin anywhere."""
        with self._lock:
            self._chain.refresh()
            producer.encode()  # half a character is told as such
            return next_position(self._chain, Position(producer, 0).producer)

    def writer(
        self, *, max_delay: float = 0.002, max_events: int = 10_000, max_pending: int = 100_000
    ) -> Writer:
        """A writer whose commits many threads share: for services that append single events at a high rate.

            with lake.writer() as writer:
                future = writer.append([event])        # from any thread
                receipt = future.result()              # durable now

        Args:
            max_delay: Seconds a batch may wait for others.
            max_events: Events at which a group is committed at once.
            max_pending: Events that may wait; above it ``append`` blocks.
        """

        def commit(members: Sequence[Member]) -> None:
            with self._lock:
                commit_group(self._chain, members, _now())
                keep_folded(self._chain)

        return Writer(commit, max_delay, max_events, max_pending)

    def resolve(self, commit_id: str) -> Receipt | None:
        """Settles a commit whose outcome was unknown.

        Args:
            commit_id: From the ``facts`` of a ``CommitUnknownError``.

        Returns:
            The receipt of the commit where it is in the log; None where it is not, and then it
            never will be: a fence takes the number that a delayed write could still have reached.

        Raises:
            CommitUnknownError: The store still does not answer; ask again.
            StorageError: The store failed.
            InvalidInputError: Not a commit id.
        """
        with self._lock:
            return resolve_commit(self._chain, commit_id)

    def clock(self) -> Clock:
        """How the newest commit's ``recorded_at`` compares with this machine's clock."""
        with self._lock:
            return clock_of(self._chain, _now())

    def accept_clock(self, version: int) -> Entry:
        """Lets a lake go on whose newest commits were recorded by a clock that ran ahead; a fence in the log records it.

        Without it, no append is at an instant more than five minutes ahead of the writer's clock.
        With it, every writer goes on at the instant of commit ``version`` until real time has
        passed that: ``recorded_at`` says for those events that they were recorded then.

        Args:
            version: The commit that the refusal named: the first one with the head's
                ``recorded_at``.

        Returns:
            The fence, or the commit that was the head if it was accepted before.

        Raises:
            InvalidInputError: The head is not ahead of this machine's clock, or has the clock of
                another commit.
            NotFoundError: The lake is empty.
            CommitUnknownError: The store failed while the fence was published.
        """
        with self._lock:
            return accept(self._chain, version, _now())

    def register(
        self, event_type: str, schema: Any, *, upcast: Mapping[str, str] | None = None
    ) -> Version:
        """Gives an event type a schema: its payloads become columns, and what does not fit is refused at append from now on.

        The lake's events of that type are checked first; all of them must fit. A type that has a
        schema gets a new version, which must accept whatever the one before accepts: new fields
        that are not required, more digits, more enum values. For any other change ``upcast`` says
        how older payloads are read with it; what is stored stays as it is. Registering the newest
        version again changes nothing.

        Args:
            event_type: Such as ``payment.received``; the name of its table in SQL.
            schema: A JSON Schema of the payload as a dict, a ``pandera.polars`` schema or model, or
                a pyarrow schema. A field may be absent or null unless it is required; then it is
                neither.
            upcast: For fields of the new schema, a SQL expression (DuckDB) over the fields of the
                version before, such as ``{"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01"}``.
                Fields without one are read from the old field of that name. It is recorded, part of
                the ``schema_hash``, and must give the same for ever: no clock, no randomness, no
                subquery, and no DOUBLE on the way to an exact type.

        Returns:
            The version, numbered from 1, with its ``schema_hash``.

        Raises:
            InvalidInputError: The schema says what cannot be kept exactly, or cannot follow the
                version before; or an expression is not allowed.
            SchemaMismatchError: Events of the lake do not fit, or their upcast fails; they are
                named by sequence. Nothing was registered.
            CommitUnknownError: The store failed while the commit was published.
        """
        described = schema_of(event_type, schema)
        with self._lock:
            return register(self._chain, described, upcast, payloads)

    def infer_schema(self, event_type: str, at: At = None) -> Proposal:
        """Proposes a schema for an event type from its payloads, with a reason for every field. Registers nothing.

        At most 100,000 payloads are looked at, evenly spread. Numbers with a fraction come out as
        decimals with the digits that were seen.

        Args:
            event_type: One that the history has.
            at: What ``snapshot`` takes; None for the head.

        Returns:
            The proposal; ``.json_schema()`` to edit it, ``.schema`` for ``register``.

        Raises:
            NotFoundError: The history has no such event.
        """
        return infer_schema(self.snapshot(at), event_type)

    def schema(self, event_type: str, version: int | None = None) -> Version:
        """The registered schema of an event type, the newest version for None.

        Raises:
            NotFoundError: It has none, or no such version.
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
        """A read-only view that never changes.

        Args:
            at: None for the head; a watermark; an aware datetime or RFC 3339 text (events with
                ``recorded_at <`` it); a checkpoint or its text; the hash, or a prefix of at least 6
                digits, of a commit or of a dataset manifest.

        Raises:
            NotFoundError: No such watermark or hash.
            InvalidInputError: ``at`` is none of these, or fits several.
            ConflictError: An instant that the lake has not moved past.
            CorruptionError: The history is not the one that the checkpoint names.
        """
        with self._lock:
            self._chain.refresh()
            return Snapshot(retry_after_compaction(self._chain, lambda chain: resolve(chain, at)))

    def follow(
        self, after: int = 0, *, poll_seconds: float = 0.2, timeout_seconds: float | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yields events in sequence order, those there are and then those that are appended, by whichever process.

        A consumer that remembers ``frame["sequence"][-1] + 1`` of the last frame it has dealt with
        goes on from there, missing none and seeing none twice.

        Args:
            after: The first sequence wanted: the number of events already dealt with.
            poll_seconds: Pause between two looks at the log while there is nothing new.
            timeout_seconds: End when nothing new has come for so long; None to wait for ever.

        Yields:
            Frames of at most 100,000 events with the columns of ``Snapshot.scan``; never an empty
            one.

        Raises:
            InvalidInputError: The lake is shorter than ``after``, or a pause is not a pause.
            CorruptionError: A segment is damaged.
        """
        return follow(self.snapshot, after, poll_seconds, timeout_seconds)

    def log(self) -> list[Entry]:
        """The commits, oldest first."""
        with self._lock:
            self._chain.refresh()
            return list(self._chain.entries())

    def verify(
        self, *, deep: bool = False, against: Checkpoint | str | None = None, trust: bool = False
    ) -> Report:
        """Re-hashes what is stored and says what is damaged, missing, truncated or foreign.

        Args:
            deep: Also decode every segment, hash every event again, read every payload under its
                schema, and make again what is derived: keys, event tables, and datasets, one after
                the other. A dataset that cannot be made again here is among the report's
                ``unproven``, with the reason.
            against: A checkpoint kept elsewhere, or its text; the history must extend it. Only with
                one can a lost newest commit be noticed.
            trust: With ``deep``, run the Python that is archived with datasets; SQL and features
                need no trust.

        Raises:
            InvalidInputError: ``trust`` without ``deep``.
        """
        checkpoint = Checkpoint.parse(against) if isinstance(against, str) else against
        return verify_lake(self._chain.storage, deep=deep, against=checkpoint, trust=trust)

    def prove_inclusion(self, sequence: int, at: At = None) -> InclusionProof:
        """A proof that the event at ``sequence`` stands in the history ``at`` names; checking it needs no lake.

        Raises:
            InvalidInputError: The history has no such sequence.
            CorruptionError: A segment that must be read is damaged.
        """
        return self.snapshot(at).read(lambda history: prove_inclusion(history, sequence))

    def prove_consistency(self, old: Checkpoint | str, at: At = None) -> ConsistencyProof:
        """A proof that the history ``at`` names extends the one of an earlier checkpoint; checking it needs no lake.

        Raises:
            CorruptionError: This lake has another history at that watermark.
            InvalidInputError: ``old`` is no checkpoint, or longer than the history.
            NotFoundError: ``old`` is another lake's, or longer than this one.
        """
        checkpoint = Checkpoint.parse(old) if isinstance(old, str) else old
        self.snapshot(checkpoint)
        return self.snapshot(at).read(lambda history: prove_consistency(history, checkpoint))

    def compact(self, *, target_bytes: int = TARGET_BYTES) -> Compaction:
        """Merges small neighbouring segments, while others write and read. Root, watermarks and datasets stay as they are.

        Nothing is deleted: snapshots go on reading the old segments until ``gc`` collects them.

        Args:
            target_bytes: How large the merged segments should become; those of half that size are
                left alone.

        Raises:
            CorruptionError: A segment is damaged.
            StorageError: The store failed; what was merged before stays merged.
        """
        return compact(open_chain(self._storage, self._chain.trust), target_bytes)

    def gc(self, *, older_than: timedelta = OLDER_THAN, dry_run: bool = True) -> Garbage:
        """Says which files nobody needs any more, and deletes them if asked: compacted segments, what interrupted writes left.

        Args:
            older_than: Only files that have been unneeded for longer. A build that takes longer
                than this may lose its unpublished parts.
            dry_run: Only say; with False, delete.

        Raises:
            InvalidInputError: ``older_than`` is negative.
            CorruptionError: A commit is damaged; nothing was deleted.
            StorageError: The store failed.
        """
        return collect(
            open_chain(self._storage, self._chain.trust), older_than, _now(), dry_run=dry_run
        )

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
        incremental: bool = True,
    ) -> Dataset:
        """Makes a dataset from a projection at a pinned history and publishes it, whole or not at all.

        Args:
            projection: From ``Projection.sql``, the decorator ``projection``, a ``FeatureSet``, or
                a dataset definition.
            at: What ``snapshot`` takes; None for the head.
            spine: Rows to look features up for, as a Polars, pandas or Arrow table, or made of
                events by ``el.spine.on`` and ``el.spine.month_ends``; archived with the dataset.
            engine: ``duckdb`` or ``polars``; None for the projection's own. Features run on both,
                with the same rows.
            parameters: Values for declared parameters.
            locked: Build a definition at the checkpoint its ``dataset.lock`` pins, and publish only
                what the lock's content hash names.
            check: ``"perturb"`` to build once more under other threads, memory limit and order of
                rows, and to publish only if the rows are the same.
            workers: Processes that share the work of declared features, or of a projection that is
                declared ``by=`` an entity.
            buckets: Into how many buckets its entities are put, each done and kept for itself; None
                for four for each of several workers.
            incremental: Whether these may begin from an earlier build of themselves: only what may
                have changed is computed, the rows are the same. Not with ``force``.
            force: Build even what the same recipe has built before, and compare; a stored dataset
                that is damaged is stored anew.

        Returns:
            The published dataset. The same recipe is not computed twice, by whichever process: what
            it made is found again, and who asks while another one builds it waits. That is not for
            datasets of the level ``unproven``.

        Raises:
            NotIdenticalError: With ``locked``, the rows are not the pinned ones; with ``check``,
                they are others under other circumstances: which columns, which rows, and what made
                the difference; with ``force``, they are others than before.
            InvalidProjectionError: The projection cannot be built as declared.
            SchemaMismatchError: The rows break the declared schema; nothing was published.
            CorruptionError: A segment of the history is damaged.
        """
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
            executor_of=self._executor,
        )

    def reproduce(self, hash_prefix: str, *, trust: bool = False) -> Reproduction:
        """Makes a dataset again from its manifest hash, from scratch, and compares.

        Args:
            hash_prefix: A tag, or at least 6 hex digits of the ``manifest_hash``.
            trust: Run the Python that is archived with the dataset; SQL needs no trust.

        Raises:
            NotFoundError: No such dataset.
            InvalidInputError: The prefix fits several, or Python without ``trust``.
            CorruptionError: The history, or the archived source or spine, is not what the manifest
                names; the file is named.
        """
        return dataset_verbs.reproduce_dataset(self._handle, hash_prefix, trust=trust)

    def diff(self, a: str, b: str) -> DatasetDiff:
        """Says what lies between two datasets: history, recipe, code, schema, and rows by key.

        Rows are not read where their content hashes agree, and else as a stream, at most a part of
        each dataset in memory. Null equals null, and doubles are compared by their bits, all NaN
        being one. Columns of different types are not compared, and neither are rows whose keys
        differ in name, order or type, or that were given back.

        Args:
            a: The first dataset, as ``dataset`` takes it.
            b: The second; what only it has counts as added.

        Raises:
            NotFoundError: No such dataset.
            InvalidInputError: A prefix fits several.
            CorruptionError: A stored file that must be read is missing or not what was written.
        """
        return dataset_verbs.diff_datasets(self._handle, a, b)

    def explain(self, hash_prefix: str, key: Any, column: str | None = None) -> Explanation:
        """The events behind a row of a dataset, or behind one value of it: those without which it would be another.

        Args:
            hash_prefix: A tag, or at least 6 hex digits of a hash.
            key: The value of the dataset's key column, a tuple of several, or a dict of the values
                of any columns that one row alone has; text stands for a value of any type.
            column: Whose value is asked about; None for the whole row.

        Raises:
            NotFoundError: No such dataset, or no such row.
            InvalidInputError: There is no such column, or it cannot be told which events a row was
                made of.
            CorruptionError: The history does not make the stored row again.
        """
        return dataset_verbs.explain_row(self._handle, hash_prefix, key, column)

    def record_predictions(
        self, dataset: Dataset, frame: Any, *, model: str | bytes | os.PathLike[str]
    ) -> Receipt:
        """Appends what a model said of a dataset's rows, as events of the type ``prediction.made`` that name dataset, row and model.

        A prediction of the same dataset, row and model is one event: recording it again changes
        nothing, recording another value is refused. Its subject is the row's entity, where one is
        declared; its time is when it is recorded.

        Args:
            dataset: That the model was given.
            frame: The dataset's key columns and ``prediction``, a finite number; as a Polars,
                pandas or Arrow table.
            model: What names the model: its digest or name as text, or its bytes or the path of its
                file, which are hashed with SHA-256.

        Returns:
            Where the events stand.

        Raises:
            InvalidInputError: A column is missing, a key is not the dataset's, a prediction is no
                finite number.
            InvalidEventsError: Something else was recorded for the same dataset, row and model.
        """
        return dataset_verbs.record_predictions(self._handle, dataset, frame, model=model)

    def explain_prediction(self, event_id: str, column: str | None = None) -> PredictionExplanation:
        """What a recorded prediction was made of: the row of its dataset, and the events behind it, as they were then.

        Args:
            event_id: Of the prediction.
            column: The feature that is asked about; None for the whole row.

        Raises:
            NotFoundError: There is no such prediction, or its dataset is gone.
            InvalidInputError: It cannot be told which events a row was made of.
        """
        return dataset_verbs.explain_prediction(self._handle, event_id, column)

    def dataset(self, hash_prefix: str) -> Dataset:
        """A published dataset by its tag, by at least 6 hex digits of its ``manifest_hash``, else its recipe or content hash, or by name.

        A name means the dataset of that name with the highest watermark.

        Raises:
            NotFoundError: No such dataset.
            InvalidInputError: The prefix fits several.
            CorruptionError: Its manifest is damaged.
        """
        return dataset_verbs.dataset(self._handle, hash_prefix)

    def datasets(self, hash_prefix: str | None = None) -> list[Dataset]:
        """The published datasets, by name, then by watermark. A damaged one is left out with a warning; ``verify`` says more.

        Args:
            hash_prefix: Only those whose manifest, recipe or content hash begins with it; None for
                all.
        """
        return dataset_verbs.datasets(self._handle, hash_prefix)

    def tag(self, reference: str, name: str) -> None:
        """Gives a dataset a name, such as ``model-2025-q3``, by which it is found; retention leaves its rows alone.

        Args:
            reference: A hash, another tag or a dataset's name, as ``dataset`` takes.
            name: At most 100 letters, digits, ``.``, ``_`` and ``-``; nothing that looks like a
                hash. A tag is never moved.

        Raises:
            AlreadyExistsError: Another dataset has the name.
            InvalidInputError: It is no name.
            NotFoundError: No such dataset.
        """
        dataset_verbs.tag(self._handle, reference, name)

    def untag(self, name: str) -> None:
        """Takes a name away. The dataset stays.

        Raises:
            NotFoundError: There is no such tag.
        """
        dataset_verbs.untag(self._handle, name)

    def tags(self) -> dict[str, str]:
        """The manifest hash by tag. ``lock-…`` are those that a ``dataset.lock`` named when it was written."""
        return dataset_verbs.tags(self._handle)

    def prune(
        self,
        *,
        older_than: timedelta,
        keep_last: int = 1,
        datasets: bool = False,
        dry_run: bool = True,
    ) -> Garbage:
        """Says which datasets' rows could be given back, and deletes them if asked; never those that a tag or a lock names.

        Manifest, source, spine and provenance stay: ``reproduce`` makes the rows again, and
        building the recipe stores them again. With ``datasets`` they go too, as by
        ``remove_dataset``.

        Args:
            older_than: Only rows that were built longer ago.
            keep_last: How many datasets of each name keep their rows in any case, those of the
                highest watermarks.
            datasets: Remove the datasets themselves, those whose rows were given back before too;
                not those that predictions name.
            dry_run: Only say; with False, delete.

        Raises:
            InvalidInputError: An age or a number is negative.
            CorruptionError: A manifest or a tag is damaged; nothing was deleted.
        """
        return dataset_verbs.prune_datasets(
            self._handle,
            older_than=older_than,
            keep_last=keep_last,
            datasets=datasets,
            dry_run=dry_run,
        )

    def remove_dataset(self, reference: str) -> Garbage:
        """Removes a dataset with all its files. Its hash is remembered: whoever asks for it is told when it was removed.

        Args:
            reference: A hash, as ``dataset`` takes; at least 6 hex digits.

        Returns:
            The files that were deleted.

        Raises:
            InvalidInputError: A tag, a ``dataset.lock`` or a recorded prediction names it; nothing
                was changed.
            NotFoundError: No such dataset.
            StorageError: The store failed; removing it again ends what was begun.
        """
        return dataset_verbs.remove_dataset(self._handle, reference)

    def card(self) -> Card:
        """What to show."""
        snapshot = self.snapshot()
        head = self._chain.head
        facts = [
            ("where", self.uri),
            (
                "watermark",
                f"{counted(snapshot.watermark, 'event')} in {counted(head.commit.version + 1 if head else 0, 'commit')}",
            ),
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
        return f"Lake({self.origin!r}, {redacted(self.uri)!r}, watermark={self._chain.watermark}, trust={self.trust!r})"
